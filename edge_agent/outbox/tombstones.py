"""What was dropped, and the tombstones that tell of it: one per run of neighbours of one epoch, boot and reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from zlib import crc32

from edge_agent.outbox.schema import INSERT_RECORD, used_bytes
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable

DAMAGED: Final = "damaged in the store"
FULL: Final = "outbox full"
_AT_ONCE: Final = 16
"""Rows dropped between two looks at how much room there is."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A run of records that a tombstone tells of, within one epoch.

    Attributes:
        first_seq, last_seq: the run; both 0 where what was dropped has no number that is known.
        records, readings: how many.
        first_ns, last_ns: boot time of the first and last reading.
        reason: for people.
    """

    first_seq: int
    last_seq: int
    records: int
    readings: int
    first_ns: int
    last_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Loss:
    """What was dropped, and the epoch and boot that its numbers and stamps belong to."""

    epoch: int
    boot: int
    dropped: Dropped

    def joined(self, later: Loss) -> Loss | None:
        """Both as one, if `later` continues this one."""
        one, two = self.dropped, later.dropped
        here, there = (self.epoch, self.boot, one.reason), (later.epoch, later.boot, two.reason)
        if here != there or one.last_seq + 1 != two.first_seq:
            return None
        both = replace(
            one,
            last_seq=two.last_seq,
            records=one.records + two.records,
            readings=one.readings + two.readings,
            first_ns=min(one.first_ns, two.first_ns),
            last_ns=max(one.last_ns, two.last_ns),
        )
        return replace(self, dropped=both)


def append_loss(losses: list[Loss], loss: Loss) -> None:
    """Append, or widen the last one."""
    joined = losses[-1].joined(loss) if losses else None
    if joined is None:
        losses.append(loss)
    else:
        losses[-1] = joined


class Tombstones:
    """Drops records and writes tombstones, inside the transaction of a commit.

    Args:
        encode: makes the body of a tombstone.
        next_rowid: a place behind everything that was ever stored.
    """

    def __init__(self, encode: Callable[[Dropped], bytes], next_rowid: Callable[[], int]) -> None:
        self._encode = encode
        self._next_rowid = next_rowid
        self._last: tuple[int, Loss] | None = None

    def drop(self, db: sqlite3.Connection, rowid: int, reason: str, losses: list[Loss]) -> int:
        """Delete a record; what is to be told goes to `losses`. Returns 1 if a batch or event went, else 0."""
        row = db.execute(
            "DELETE FROM record WHERE rowid = ? RETURNING epoch, seq, kind, boot, readings, first_ns, last_ns", (rowid,)
        ).fetchone()
        if row is None:
            return 0
        epoch, seq, kind, boot, readings, first_ns, last_ns = row
        was_tombstone = kind == RecordKind.TOMBSTONE
        if not all(isinstance(number, int) for number in row):
            return int(not was_tombstone)  # its numbers are damaged as well: nothing true can be told of it
        # A tombstone that the other end refuses is not replaced by one that it would refuse again.
        if not was_tombstone or reason == DAMAGED:
            append_loss(losses, Loss(epoch, boot, Dropped(seq, seq, 1, readings, first_ns, last_ns, reason)))
        return int(not was_tombstone)

    def make_room(self, db: sqlite3.Connection, max_bytes: int, spared: Collection[int], losses: list[Loss]) -> int:
        """Drop the oldest batches, and when there are no more the oldest events, until the tables take `max_bytes`.

        Args:
            db: in a transaction.
            max_bytes: what they may take.
            spared: rowids of records that are on their way.
            losses: takes what is to be told.

        Returns:
            How many were dropped.
        """
        count = 0
        for kind in (RecordKind.BATCH, RecordKind.EVENT):
            after = 0
            while used_bytes(db) > max_bytes:
                rows = db.execute(
                    "SELECT rowid FROM record WHERE kind = ? AND rowid > ? ORDER BY rowid LIMIT ?",
                    (int(kind), after, _AT_ONCE),
                ).fetchall()
                if not rows:
                    break
                (after,) = rows[-1]
                count += sum(self.drop(db, rowid, FULL, losses) for (rowid,) in rows if rowid not in spared)
        return count

    def write(self, db: sqlite3.Connection, losses: Iterable[Loss], handed_out: Collection[int]) -> int | None:
        """Write one tombstone each; the last one written before is widened instead if it has not been handed out.

        Returns:
            The place of the last one, None if there was none to write.
        """
        rowid = None
        for loss in losses:
            told = self._widened(db, loss, handed_out) or loss
            rowid, dropped = self._next_rowid(), told.dropped
            body = self._encode(dropped)
            row = (rowid, told.epoch, dropped.last_seq, int(RecordKind.TOMBSTONE), told.boot, dropped.readings)
            db.execute(INSERT_RECORD, (*row, dropped.first_ns, dropped.last_ns, crc32(body), body))
            self._last = rowid, told
        return rowid

    def forget(self) -> None:
        """The transaction did not hold: what was written last is not there."""
        self._last = None

    def _widened(self, db: sqlite3.Connection, loss: Loss, handed_out: Collection[int]) -> Loss | None:
        if self._last is None or self._last[0] in handed_out:
            return None
        joined = self._last[1].joined(loss)
        if joined is None or db.execute("DELETE FROM record WHERE rowid = ?", (self._last[0],)).rowcount == 0:
            return None
        return joined
