"""Whether everything of every gateway is here: the report of a receiver. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.receiver.digest import Digest


class State(Enum):
    """How an epoch stands. The texts are public."""

    COMPLETE = "complete"
    """Every record that is known of is stored, or was dropped with a reason."""
    RECEIVING = "receiving"
    """Records are missing, and the node still holds them."""
    INCOMPLETE = "incomplete"
    """Records are missing, and the node does not say whether it holds them."""
    OUTBOX_GONE = "outbox gone"
    """Records are missing, and the node does not list the epoch any more."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What tombstones say was dropped for one reason.

    Attributes:
        reason: as they say it.
        tombstones, records, readings: how many tombstones, and the sums of their numbers.
        open_ended: whether one of them has no end.
    """

    reason: str
    tombstones: int
    records: int
    readings: int
    open_ended: bool


@dataclass(frozen=True, slots=True)
class EpochState:
    """One epoch of a node.

    Attributes:
        epoch, boot: as in an envelope; boot 0: not known.
        state: how it stands.
        upto: every seq from 1 to this one is stored or dropped.
        highest: highest seq that was met.
        mark: highest seq that the node says it has committed; 0: not said.
        records, duplicates: messages stored, and repetitions that came.
        missing: ranges of seqs that are neither stored nor dropped.
        missing_rows: of batches that came in part: seq and ranges of rows.
        never_came: number of seqs that were dropped and did not come.
        dropped: by reason.
        digest: of the stored readings.
    """

    epoch: int
    boot: int
    state: State
    upto: int
    highest: int
    mark: int
    records: int
    duplicates: int
    missing: tuple[tuple[int, int], ...]
    missing_rows: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    never_came: int
    dropped: tuple[Dropped, ...]
    digest: Digest


@dataclass(frozen=True, slots=True)
class NodeState:
    """One gateway.

    Attributes:
        node, prefix: its id, and the topic it was last heard below.
        state: what it said last: `online`, `stopped`, `offline`; empty: nothing.
        alarm: one sentence; None: there is none.
        refused: reasons and numbers of messages that were not stored.
        epochs: oldest first.
    """

    node: str
    prefix: str
    state: str
    alarm: str | None
    refused: tuple[tuple[str, int], ...]
    epochs: tuple[EpochState, ...]


def state_of(*, missing: bool, is_present: bool, is_held: bool | None) -> State:
    """Judge an epoch.

    Args:
        missing: whether a record is missing.
        is_present: whether the node works under it now.
        is_held: whether the node says that it holds records of it; None: it does not say.
    """
    if not missing:
        return State.COMPLETE
    if is_present or is_held:
        return State.RECEIVING
    return State.INCOMPLETE if is_held is None else State.OUTBOX_GONE


def as_json(nodes: Sequence[NodeState], refused: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Make the object that `--report --json` prints. Keys are public; new ones may be added."""
    return {
        "v": 1,
        "nodes": [
            {
                "node": node.node,
                "prefix": node.prefix,
                "state": node.state,
                "alarm": node.alarm,
                "refused": dict(node.refused),
                "epochs": [_epoch_json(epoch) for epoch in node.epochs],
            }
            for node in nodes
        ],
        "refused": dict(refused),
    }


def _epoch_json(epoch: EpochState) -> dict[str, Any]:
    return {
        "epoch": epoch.epoch,
        "boot": epoch.boot,
        "state": epoch.state.value,
        "upto": epoch.upto,
        "highest": epoch.highest,
        "mark": epoch.mark,
        "records": epoch.records,
        "duplicates": epoch.duplicates,
        "missing": [list(each) for each in epoch.missing],
        "missing_rows": [{"seq": seq, "rows": [list(each) for each in rows]} for seq, rows in epoch.missing_rows],
        "never_came": epoch.never_came,
        "dropped": [
            {
                "reason": each.reason,
                "tombstones": each.tombstones,
                "records": each.records,
                "readings": each.readings,
                "open_ended": each.open_ended,
            }
            for each in epoch.dropped
        ],
        "digest": {
            "rows": epoch.digest.rows,
            "readings": epoch.digest.readings,
            "crc_sum": f"{epoch.digest.crc_sum:016x}",
        },
    }


def as_text(nodes: Sequence[NodeState], refused: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Write the report for people, line by line."""
    if not nodes:
        yield "no gateway has been heard yet"
    for node in nodes:
        yield f"{node.node}  {node.state or 'no status yet'}  {node.prefix}"
        if node.alarm is not None:
            yield f"  ALARM: {node.alarm}"
        for reason, count in node.refused:
            yield f"  refused: {count} messages, {reason}"
        for epoch in node.epochs:
            yield from _epoch_text(epoch)
    for reason, count in refused:
        yield f"refused, of no known gateway: {count} messages, {reason}"


def _epoch_text(epoch: EpochState) -> Iterator[str]:
    digest = epoch.digest
    yield (
        f"  epoch {epoch.epoch}: {epoch.state.value} up to {epoch.upto} of {max(epoch.highest, epoch.mark)}, "
        f"{epoch.records} records, {digest.readings} readings, {epoch.duplicates} duplicates, "
        f"digest {digest.crc_sum:016x}"
    )
    if epoch.missing:
        shown = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in epoch.missing[:10])
        more = len(epoch.missing) - 10
        yield f"    missing: {shown}" + (f" and {more} more ranges" if more > 0 else "")
    for seq, rows in epoch.missing_rows[:10]:
        yield f"    missing of {seq}: rows " + ", ".join(f"{first}-{last}" for first, last in rows[:10])
    for each in epoch.dropped:
        until = ", and all that follow" if each.open_ended else ""
        yield f"    dropped: {each.records} records, {each.readings} readings{until}: {each.reason}"
