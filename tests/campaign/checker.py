"""The rules that can be judged only at the end of a history."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING

from edge_agent.reading import RecordKind
from edge_agent.wire.batch import Batch
from tests.campaign.facts import keys_of

if TYPE_CHECKING:
    from edge_agent.agent.report import RecordCounts
    from tests.campaign.facts import ReadingKey
    from tests.campaign.history import History


def check_sums(history: History, records: RecordCounts, *, settled: bool) -> None:
    """The agent's numbers add up, and agree with what was seen if no transaction is in doubt."""
    if records.committed != records.confirmed + records.tombstoned + records.pending:
        history.violate("sums", f"{records} do not add up")
    if settled and not history.doubtful and records.pending != history.pending():
        history.violate("sums", f"{records.pending} records are said to be pending, {history.pending()} are")


def check_end(history: History, *, every_reading: bool) -> None:
    """Everything committed has arrived, was tombstoned, or was lost by the broker after its acknowledgement.

    Args:
        history: from the first start to the quiet end.
        every_reading: whether this also holds of each reading that a sensor delivered, because no process was killed.
    """
    for row in history.present.values():
        history.violate("liveness", f"{row.identity} is still pending after all faults have stopped")
    readings = dict(history.readings)
    for identity, row in history.stored.items():
        arrived = identity in history.delivered
        told, lost, exposed = identity in history.buried, identity in history.lost, identity in history.exposed
        history.counts["delivered"] += arrived
        history.counts["tombstoned"] += told and not arrived
        history.counts["delivered and tombstoned"] += told and arrived
        history.counts["lost by the broker after its acknowledgement"] += lost and not arrived and not told
        history.counts["lost with damaged bytes"] += exposed and not (arrived or told or lost)
        if not arrived and row.kind == RecordKind.BATCH:
            readings |= dict.fromkeys(keys_of(row.message()), identity)
        unread = any(identity == sent.identity for sent in history.unread)
        excused = lost and history.broker_may_lose
        if not (arrived or told or excused or unread):
            history.violate("lost", f"{identity} with {row.readings} readings never arrived")
    for sent in history.unread:
        if not history.lost:
            history.violate("readable", f"{sent.identity} refers to what never came")
    _check_readings(history, set(readings), every_reading=every_reading)
    _check_order(history)
    _check_gaps(history)


def _check_readings(history: History, recorded: set[ReadingKey], *, every_reading: bool) -> None:
    """Readings of segments, and perhaps all readings, are in some record."""
    for key in history.sampled if every_reading else ():
        if key not in recorded:
            history.violate("never stored", f"reading {key} was measured and is in no record")
    for key in history.owed:
        if key not in recorded and key not in history.exposed_readings:
            history.violate("lost", f"reading {key} was secured and is in no record")


def _check_gaps(history: History) -> None:
    """Per epoch, every seq up to the highest is accounted for: a receiver waits for none for ever."""
    seen: dict[int, set[int]] = defaultdict(set)
    for some in (history.delivered, history.buried, history.lost, history.exposed, history.refused):
        for epoch, seq in some:
            seen[epoch].add(seq)
    for sent in history.unread:
        if sent.identity is not None:
            seen[sent.identity[0]].add(sent.identity[1])
    for epoch, seqs in seen.items():
        missing = set(range(1, max(seqs) + 1)) - seqs
        if missing and epoch in history.ended_volatile:
            history.counts["lost, volatile"] += len(missing)
        elif missing:
            history.violate("gap", f"of epoch {epoch} nothing tells of {sorted(missing)[:5]}")


def _check_order(history: History) -> None:
    """Per epoch, boot and channel, stamps ascend with seq and row."""
    stamps: dict[tuple[int, int, str, str], int] = defaultdict(int)
    for identity in sorted(history.delivered):
        message = history.delivered[identity]
        if not isinstance(message.content, Batch):
            continue
        for group in message.content.groups:
            for column in group.columns:
                channel = (identity[0], message.envelope.boot, group.sensor, column.quantity)
                times_ns = [at for at, status in zip(group.times_ns, column.statuses, strict=True) if status >= 0]
                last_ns = stamps[channel]
                for at_ns in times_ns:
                    if at_ns <= last_ns:
                        history.violate("order", f"{channel} has {at_ns} in {identity} after {last_ns}")
                    last_ns = at_ns
                stamps[channel] = last_ns


def digest(history: History) -> str:
    """SHA-256 of what was delivered, in its order, and of when it was measured."""
    told = (list(history.delivered), sorted(history.readings.items()), sorted(history.sampled.items()))
    return sha256(repr(told).encode()).hexdigest()
