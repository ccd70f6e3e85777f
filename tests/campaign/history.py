"""What happened in one campaign, as seen from outside the agent, and the rules that are checked at once.

Three witnesses: the database connection (which rows a commit made durable or deleted), the blocks of the segments, and
the broker with its subscriber. The agent's own counters are compared with these, and believed in nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.clock import Anchor, ClockQuality
from edge_agent.errors import UnknownReference, WireError
from edge_agent.outbox.segments import _block_at
from edge_agent.pipeline.open_rows import promote_rows
from edge_agent.reading import Event, Measurement, RecordKind
from edge_agent.wire.batch import Tombstone
from edge_agent.wire.codec import Known, decode_message, learn_stream
from tests.campaign.facts import Held, Identity, Look, ReadingKey, Row, Violation, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.wire.batch import Message
    from tests.campaign.network import Sent


@dataclass
class History:
    """All that was seen.

    Attributes:
        now_ns: the campaign's own time.
        broker_may_lose: whether an acknowledgement of the broker ends the agent's duty, as with `ack = "puback"`.
        look: reads the database again, if all that can be read is durable. Returns whether it did.
        stored: batches and events that were ever reported as durable.
        present: rows in the database as of the last commit.
        doubtful: rowids that a failed COMMIT concerned.
        accepted, delivered: what the broker acknowledged, and what the subscriber got.
        lost: accepted, and lost by the broker.
        buried: covered by a tombstone that is durable.
        volatile: epochs of which records were in memory only, and from when to when the agent said so.
        volatile_since: those of which they are now.
        in_damaged: rowids of records that are in a damaged database, which is being salvaged.
        ended_volatile: those of which some were when their process ended.
        readings: readings that were delivered, each with the record that brought it.
        sampled: readings that sensors delivered, and when.
        recent: those of the present life.
        owed: readings that had to be durable when a process ended.
        exposed, exposed_readings: what was stored when stored bytes were damaged.
    """

    now_ns: Callable[[], int]
    look: Look = lambda: False
    broker_may_lose: bool = True
    stored: dict[Identity, Row] = field(default_factory=dict)
    present: dict[int, Row] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    accepted: Counter[Identity] = field(default_factory=Counter)
    refused: set[Identity] = field(default_factory=set)
    delivered: dict[Identity, Message] = field(default_factory=dict)
    lost: set[Identity] = field(default_factory=set)
    buried: dict[Identity, str] = field(default_factory=dict)
    volatile: list[tuple[int, int, int]] = field(default_factory=list)
    volatile_since: dict[int, int] = field(default_factory=dict)
    ended_volatile: set[int] = field(default_factory=set)
    in_damaged: set[int] = field(default_factory=set)
    readings: dict[ReadingKey, Identity] = field(default_factory=dict)
    sampled: dict[ReadingKey, int] = field(default_factory=dict)
    recent: list[tuple[ReadingKey, int]] = field(default_factory=list)
    owed: dict[ReadingKey, int] = field(default_factory=dict)
    exposed_readings: set[ReadingKey] = field(default_factory=set)
    exposed: set[Identity] = field(default_factory=set)
    blocks: list[bytes] = field(default_factory=list)
    anchors: dict[int, list[Held]] = field(default_factory=dict)
    boot: int = 0
    epoch: int = 0
    known: Known = field(default_factory=Known)
    unread: list[Sent] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def violate(self, rule: str, what: str) -> None:
        """Note that a rule did not hold."""
        self.violations.append(Violation(self.now_ns() / 1e9, rule, what))

    # ---- the store

    def commit(self, rows: Iterable[Row], touched: set[int], *, opened: bool, salvaging: bool = False) -> None:
        """A commit succeeded.

        Args:
            rows: those of the touched rows that are in the table now.
            touched: rowids that it may have changed.
            opened: whether it is the first of a connection: all rows are touched then.
            salvaging: whether a damaged database is there, from which rows may come back.
        """
        found = {row.rowid: row for row in rows}
        before = set(self.present) if opened else touched & set(self.present)
        tombstones = [
            row for row in found.values() if row.kind == RecordKind.TOMBSTONE and row.identity not in self.exposed
        ]
        for row in tombstones:
            self._bury(row)
        reborn = {row.identity for row in tombstones}
        for rowid in sorted(before):
            now = found.get(rowid)
            if now is None and salvaging and rowid not in touched and self.present[rowid].identity not in self.buried:
                self.in_damaged.add(rowid)
                continue
            if now is None or now.identity != self.present[rowid].identity:
                gone = self.present.pop(rowid)
                # A deletion that is not part of this transaction may only be one of a transaction in doubt.
                self._gone(
                    gone, deleted=rowid in touched | self.doubtful | self.in_damaged, reborn=gone.identity in reborn
                )
        for rowid, row in found.items():
            if rowid not in self.present:
                self._born(row)
            self.present[rowid] = row
        self.doubtful -= set(found) | touched
        if not salvaging:
            self.in_damaged.clear()
        if opened:
            self.doubtful.clear()

    def secured(self, block: bytes) -> None:
        """A block of the segments is durable."""
        if any(block):
            self.blocks.append(block)

    def expose(self) -> None:
        """Stored bytes were damaged: what is stored may be lost, but nothing wrong may be sent."""
        self.exposed |= {row.identity for row in self.present.values()}
        self.exposed_readings |= set(self.owed)

    def said(self, payload: bytes) -> None:
        """The agent publishes a status."""
        told = json.loads(payload)
        epoch, is_volatile = told.get("epoch"), "volatile" in told
        if is_volatile != (epoch in self.volatile_since):
            if is_volatile:
                self.volatile_since[epoch] = self.now_ns()
            else:
                self.volatile.append((epoch, self.volatile_since.pop(epoch), self.now_ns()))

    def was_volatile(self, at_ns: int) -> bool:
        """Whether the agent had said at that time that it cannot store anything: what it reads may not be durable."""
        now_ns = self.now_ns()
        periods = [*self.volatile, *((own, since_ns, now_ns) for own, since_ns in self.volatile_since.items())]
        return any(since_ns <= at_ns <= until_ns for _own, since_ns, until_ns in periods)

    def process_ended(self, window_ns: int | None) -> None:
        """What the blocks since the last batch hold must go on as records, and so must older readings.

        Args:
            window_ns: age from which a reading must be durable; None: the disk failed, so that none need be.
        """
        self.anchor_ended()
        self.ended_volatile |= set(self.volatile_since)
        if window_ns is not None:
            until_ns = self.now_ns() - window_ns
            self.owed |= {key: at_ns for key, at_ns in self.recent if at_ns <= until_ns}
        self.recent.clear()
        for block in self.blocks:
            found = _block_at(block, 0)
            if found is not None:
                row = Row(0, 0, 0, RecordKind.BATCH, found[2].boot, 0, promote_rows([found[2].body]))
                for key in keys_of(row.message()):
                    self.owed.setdefault(key, self.now_ns())
        self.blocks.clear()

    def _born(self, row: Row) -> None:
        if row.kind == RecordKind.TOMBSTONE:
            return
        if row.identity in self.exposed:
            return
        known = self.stored.setdefault(row.identity, row)
        if known.body != row.body:
            self.violate("identity", f"{row.identity} stands for two records")
        if row.kind == RecordKind.BATCH and row.epoch == self.epoch:
            self.blocks.clear()
        self.counts["committed"] += known is row

    def _gone(self, row: Row, *, deleted: bool, reborn: bool) -> None:
        identity = row.identity
        if row.kind == RecordKind.TOMBSTONE:
            if not (reborn or self.accepted[identity] or identity in self.refused or identity in self.exposed):
                self.violate("tombstone", f"tombstone {identity} went and was never sent")
            return
        if identity in self.buried or (deleted and self.accepted[identity]) or identity in self.exposed:
            return
        how = "was deleted" if deleted else "is not there after a restart"
        if not self.accepted[identity] or not deleted:
            self.violate("durable", f"committed record {identity} {how}, neither confirmed nor tombstoned")

    def _bury(self, row: Row) -> None:
        content = row.message().content
        if isinstance(content, Tombstone):
            epoch = row.epoch if content.epoch is None else content.epoch
            if not content.first_seq:
                self.counts["records in tombstones without numbers"] += content.records
                return
            last_seq = content.last_seq
            if last_seq is None:  # everything that follows in an epoch that has ended
                last_seq = max([seq for own, seq in self.stored if own == epoch], default=content.first_seq)
            for seq in range(content.first_seq, last_seq + 1):
                if (epoch, seq) not in self.buried:
                    self.buried[epoch, seq] = content.reason

    # ---- sensors

    def measured(self, item: Measurement | Event) -> None:
        """A sensor delivered a measurement."""
        if isinstance(item, Measurement):
            at_ns = item.boot_ns // 1_000_000 * 1_000_000  # the resolution of the configuration
            for quantity in item.quantities:
                self.sampled[self.boot, item.sensor, quantity, at_ns] = self.now_ns()
                self.recent.append(((self.boot, item.sensor, quantity, at_ns), self.now_ns()))

    # ---- clock

    def anchor(self, anchor: Anchor, *, started: bool) -> None:
        """Wall time changed, or a process started with it. A worse anchor replaces no better one."""
        known = self.anchors.setdefault(self.boot, [])
        self.anchor_ended()
        best = max((each.anchor.quality for each in known), default=ClockQuality.NONE)
        settled = [each for each in known if each.is_settled(self.now_ns())]
        if anchor.quality >= best:
            known.append(Held(anchor, self.now_ns()))
        elif started or anchor.quality >= max((each.anchor.quality for each in settled), default=ClockQuality.NONE):
            # Whether the better one was noticed, or stored by the process before, is not known.
            known.append(Held(anchor, self.now_ns(), ended_ns=0))

    def anchor_ended(self) -> None:
        """The clock shows another time from now on, or the process ends."""
        known = self.anchors.get(self.boot)
        if known and known[-1].ended_ns is None:
            known[-1].ended_ns = self.now_ns()

    # ---- broker and subscriber

    def accept(self, sent: Sent) -> None:
        """The broker took a record and will acknowledge it with success."""
        assert sent.identity is not None
        self.accepted[sent.identity] += 1

    def refuse(self, sent: Sent) -> None:
        """The broker refuses a record for ever."""
        assert sent.identity is not None
        self.refused.add(sent.identity)

    def lost_by_broker(self, sent: Sent) -> None:
        """The broker lost what it had acknowledged."""
        if sent.identity is not None:
            self.lost.add(sent.identity)

    def deliver(self, sent: Sent) -> None:
        """The subscriber gets a message."""
        if sent.identity is None:
            learn_stream(sent.payload, self.known)
            self._read_again()
            return
        try:
            message = decode_message(sent.payload, self.known)
        except UnknownReference:
            self.unread.append(sent)
            return
        except WireError as error:
            self.violate("readable", f"{sent.identity} cannot be read: {error}")
            return
        self.known.learn(message)
        self._receive(sent, message)
        if message.announcement is not None:
            self._read_again()

    def _read_again(self) -> None:
        unread, self.unread = self.unread, []
        for sent in unread:
            self.deliver(sent)

    def _receive(self, sent: Sent, message: Message) -> None:
        identity = (message.envelope.epoch, message.envelope.seq)
        if identity != sent.identity:
            self.violate("identity", f"{sent.identity} beside the payload, {identity} in it")
        self._check_anchor(sent, message)
        first = self.delivered.setdefault(identity, message)
        if first is not message:
            self.counts["repeated"] += 1
            if first.content != message.content and not self._is_rest(identity, first, message):
                self.violate("identity", f"{identity} arrived with two contents")
            return
        if isinstance(message.content, Tombstone):
            return
        if identity not in self.stored:
            self.look()
        row = self.stored.get(identity)
        if row is None and identity in self.exposed:
            return
        if row is None and self.was_volatile(sent.at_ns):
            self.counts["sent from memory, as the status says"] += 1
            self._check_readings(identity, message)
            return
        if row is None:
            self.violate("committed first", f"{identity} was published before it was durable")
            return
        stored = row.message()
        if stored.content != message.content and not self._is_rest(identity, stored, message):
            self.violate("content", f"{identity} arrived with another content than was stored")
        self._check_readings(identity, message)

    def _is_rest(self, identity: Identity, first: Message, second: Message) -> bool:
        """Whether both hold the same batch, one of them only the rows that were secured when its process ended.

        That is possible where the whole batch was sent and did not last: from memory, or before bytes were damaged.
        """
        if identity[0] not in self.ended_volatile and identity not in self.exposed:
            return False
        some, others = set(keys_of(first)), set(keys_of(second))
        self.counts["batches that came whole and in part"] += 1
        return some <= others or others <= some

    def _check_readings(self, identity: Identity, message: Message) -> None:
        """No reading arrives in two records."""
        for key in keys_of(message):
            other = self.readings.setdefault(key, identity)
            if other != identity:
                self.violate("twice", f"reading {key} arrived with {other} and with {identity}")

    def _check_anchor(self, sent: Sent, message: Message) -> None:
        """Wall time must be that of an anchor of its boot, and of no worse one than has been known for a while.

        A step of a synchronised clock restates only what follows, so an earlier anchor may be the right one.
        """
        anchors = self.anchors.get(message.envelope.boot)
        if anchors is None:
            self.violate("boot", f"{sent.identity} is of a boot that never was")
            return
        settled = [each.anchor.quality for each in anchors if each.is_settled(sent.at_ns)]
        best = max(settled, default=ClockQuality.NONE)
        if self.exposed and message.envelope.time_quality < best:
            return  # the anchor was among the damaged bytes, and the message does not claim to know it
        allowed = [each.anchor for each in anchors if each.anchor.quality >= best]
        if not any(abs(each.offset_ns - message.envelope.offset_ns) <= 1_000_000 for each in allowed):
            self.violate("wall time", f"{sent.identity} was sent with offset {message.envelope.offset_ns}")

    def pending(self) -> int:
        """Batches and events in the database."""
        return sum(
            row.kind != RecordKind.TOMBSTONE and not (rowid in self.in_damaged and self.accepted[row.identity])
            for rowid, row in self.present.items()
        )
