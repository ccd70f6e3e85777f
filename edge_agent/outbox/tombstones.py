"""Dropped records and their tombstones: one tombstone per run of consecutive seqs of one epoch, boot and reason.

A tombstone is a record of the current epoch with a seq of its own, because a receiver throws away what it has already,
and it may have a record that was dropped here. Its seq is used once: numbers that a failed commit drew are used by the
next one, and told as unused if it needs none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.outbox.part import Told
from edge_agent.outbox.schema import INSERT_RECORD, checksum, used_bytes
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable

    from edge_agent.outbox.epochs import Changes
    from edge_agent.reading import RowRange

DAMAGED: Final = "damaged in the store"
FULL: Final = "outbox full"
REFUSED: Final = "outbox full, and what is new is refused"
ROLLED_BACK: Final = "the store went back to an earlier state"
UNUSED: Final = "this number was not used"
_NEIGHBOUR: Final = "SELECT epoch, boot, seq FROM record WHERE"
_LAST_ROWID: Final = (1 << 63) - 1
_AT_ONCE: Final = 16
"""Rows dropped between two checks of the size."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A run of dropped records of one epoch, as a tombstone describes it.

    Attributes:
        epoch: epoch of the seqs.
        first_seq, last_seq: first and last seq; both 0 if the seqs are not known; last_seq None: everything that
            follows in this epoch, which has ended.
        records, readings: number of records, and of readings in them.
        first_ns, last_ns: stamps of the first and the last reading, nanoseconds since boot.
        reason: text for people.
        rows: not empty: only these rows of the batch first_seq (= last_seq) were dropped; the record goes on.
    """

    epoch: int
    first_seq: int
    last_seq: int | None
    records: int
    readings: int
    first_ns: int
    last_ns: int
    reason: str
    rows: tuple[RowRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """Dropped records, with the boot of their stamps."""

    boot: int
    dropped: Dropped

    def joined(self, later: Loss) -> Loss | None:
        """Join both losses; None if `later` does not directly follow this one."""
        first, second = self.dropped, later.dropped
        own_key, later_key = (first.epoch, self.boot, first.reason), (second.epoch, later.boot, second.reason)
        if own_key != later_key or first.last_seq is None or first.last_seq + 1 != second.first_seq:
            return None
        if first.rows or second.rows or not first.first_seq:
            return None
        both = replace(
            first,
            last_seq=second.last_seq,
            records=first.records + second.records,
            readings=first.readings + second.readings,
            first_ns=min(first.first_ns, second.first_ns),
            last_ns=max(first.last_ns, second.last_ns),
        )
        return replace(self, dropped=both)


def append_loss(losses: list[Loss], loss: Loss) -> None:
    """Append a loss, or join it with the last one."""
    joined = losses[-1].joined(loss) if losses else None
    if joined is None:
        losses.append(loss)
    else:
        losses[-1] = joined


class Tombstones:
    """Drops records and writes tombstones, inside the transaction of a commit.

    Args:
        encode: makes the body of a tombstone.
        next_rowid: draws a rowid above all that were ever used.
        next_seq: draws the next seq of the current epoch.
    """

    def __init__(
        self, encode: Callable[[Dropped], bytes], next_rowid: Callable[[], int], next_seq: Callable[[], int]
    ) -> None:
        self._encode = encode
        self._next_rowid = next_rowid
        self._next_seq = next_seq
        self._last: tuple[int, int, Loss] | None = None  # rowid, seq, and what it tells
        self._drawn: list[int] = []  # seqs drawn by a transaction that is not known to be durable
        self._spare: list[int] = []  # seqs drawn by transactions that failed

    def drop(self, db: sqlite3.Connection, rowid: int, reason: str, losses: list[Loss], changes: Changes) -> int:
        """Delete a record and append its loss to `losses`. Returns 1 if it was a batch or an event, else 0."""
        row = db.execute(
            "DELETE FROM record WHERE rowid = ? RETURNING epoch, seq, kind, boot, readings, first_ns, last_ns", (rowid,)
        ).fetchone()
        if row is None:
            return 0
        epoch, seq, kind, boot, readings, first_ns, last_ns = row
        if reason == DAMAGED:  # what its columns say may be as wrong as the rest
            return self._drop_damaged(db, rowid, row, losses, changes)
        changes.deleted(epoch, kind)
        was_tombstone = kind == RecordKind.TOMBSTONE
        # A tombstone that the receiver refuses is not replaced by a new one, which it would refuse as well.
        if not was_tombstone:
            append_loss(losses, Loss(boot, Dropped(epoch, seq, seq, 1, readings, first_ns, last_ns, reason)))
        return int(not was_tombstone)

    @staticmethod
    def _drop_damaged(
        db: sqlite3.Connection, rowid: int, row: tuple[Any, ...], losses: list[Loss], changes: Changes
    ) -> int:
        """Append the loss of a damaged record that was deleted: the seqs between the records before and after it."""
        own_epoch, own_seq, kind = row[:3]
        before = db.execute(f"{_NEIGHBOUR} rowid < ? ORDER BY rowid DESC LIMIT 1", (rowid,)).fetchone()
        after = db.execute(f"{_NEIGHBOUR} rowid > ? ORDER BY rowid LIMIT 1", (rowid,)).fetchone()
        mark = db.execute("SELECT mark, boot FROM epoch WHERE epoch = ?", (own_epoch,)).fetchone()
        is_plausible = mark is not None and isinstance(own_seq, int) and 0 < own_seq <= mark[0]
        ranges: list[tuple[int, int, int, int | None]] = []
        if before is not None and after is not None and before[0] == after[0]:
            ranges = [(*before[:2], before[2] + 1, after[2] - 1)]
        elif is_plausible:
            ranges = [(own_epoch, mark[1], own_seq, own_seq)]
        else:
            if before is not None:
                (last,) = db.execute("SELECT mark FROM epoch WHERE epoch = ?", before[:1]).fetchone() or (None,)
                ranges.append((*before[:2], before[2] + 1, last))
            if after is not None:
                ranges.append((*after[:2], 1, after[2] - 1))
        was_tombstone = kind == RecordKind.TOMBSTONE
        changes.deleted(ranges[0][0] if ranges else own_epoch, kind)
        records = 1
        for epoch, boot, first, last in ranges:
            append_loss(losses, Loss(boot, Dropped(epoch, first, last, records, 0, 0, 0, DAMAGED)))
            records = 0
        if not ranges:
            append_loss(losses, Loss(0, Dropped(own_epoch, 0, 0, 1, 0, 0, 0, DAMAGED)))
        return int(not was_tombstone)

    def make_room(
        self,
        db: sqlite3.Connection,
        max_bytes: int,
        spared: Collection[int],
        losses: list[Loss],
        changes: Changes,
        *,
        newest_first: bool = False,
    ) -> int:
        """Drop the oldest batches, then the oldest events, until the tables take at most `max_bytes`.

        Args:
            db: database, in a transaction.
            max_bytes: largest size of the tables.
            spared: rowids that must not be dropped, because their records are being sent.
            losses: list to which the losses are appended.
            changes: numbers of records that the transaction changes.
            newest_first: drop the newest batches instead of the oldest, one at a time.

        Returns:
            Number of dropped records.
        """
        count = 0
        after = _LAST_ROWID
        while newest_first and used_bytes(db) > max_bytes:
            query = "SELECT rowid FROM record WHERE kind = ? AND rowid < ? ORDER BY rowid DESC LIMIT 1"
            row = db.execute(query, (int(RecordKind.BATCH), after)).fetchone()
            if row is None:
                break
            (after,) = row
            count += self.drop(db, after, REFUSED, losses, changes) if after not in spared else 0
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
                count += sum(self.drop(db, rowid, FULL, losses, changes) for (rowid,) in rows if rowid not in spared)
        return count

    def tell(self, db: sqlite3.Connection, epoch: int, loss: Loss, changes: Changes) -> Told:
        """Write a tombstone now, inside a transaction, under a seq of its own of the current epoch."""
        seq = self._seq()
        return Told(self._insert(db, epoch, seq, loss, changes), epoch, seq)

    def grow(self, db: sqlite3.Connection, told: Told, loss: Loss, changes: Changes) -> Told | None:
        """Let a tombstone of rows that was not offered yet tell of more rows of the same record, under its own seq.

        Args:
            db: database, in a transaction.
            told: the tombstone.
            loss: all rows that are gone; readings and times are those of the rows that the tombstone does not name yet.
            changes: numbers of records that the transaction changes.

        Returns:
            Where it is now; None if it is not there.
        """
        row = db.execute(
            "DELETE FROM record WHERE rowid = ? AND epoch = ? AND seq = ? AND kind = ?"
            " RETURNING readings, first_ns, last_ns",
            (*told, int(RecordKind.TOMBSTONE)),
        ).fetchone()
        if row is None:
            return None
        changes.deleted(told.epoch, RecordKind.TOMBSTONE)
        readings, first_ns, last_ns = row
        dropped = replace(
            loss.dropped,
            readings=loss.dropped.readings + readings,
            first_ns=min(loss.dropped.first_ns, first_ns),
            last_ns=max(loss.dropped.last_ns, last_ns),
        )
        return told._replace(rowid=self._insert(db, told.epoch, told.seq, replace(loss, dropped=dropped), changes))

    def write(
        self, db: sqlite3.Connection, epoch: int, boot: int, losses: Iterable[Loss], changes: Changes
    ) -> int | None:
        """Write a tombstone per loss; joins a loss with the last tombstone if that was not offered yet.

        Args:
            db: database, in a transaction.
            epoch: current epoch, of the tombstones.
            boot: current boot.
            losses: what was dropped.
            changes: numbers of records that the transaction changes.

        Returns:
            Rowid of the last tombstone written, None if there was none.
        """
        rowid = None
        for loss in losses:
            joined, seq = self._joined_with_last(db, loss, changes) or (loss, self._seq())
            rowid = self._insert(db, epoch, seq, joined, changes)
            self._last = rowid, seq, joined
        while self._spare:
            nothing = Loss(boot, Dropped(epoch, 0, 0, 0, 0, 0, 0, UNUSED))
            rowid = self._insert(db, epoch, self._seq(), nothing, changes)
        return rowid

    def unsettled(self) -> list[int]:
        """Seqs that were drawn and are not known to be stored."""
        return self._drawn + self._spare

    def settle(self, *, durable: bool) -> None:
        """Note whether the last transaction is durable. If not, the next one uses the seqs that it drew."""
        if not durable:
            self._spare += self._drawn
        self._drawn = []

    def offered(self, rowids: Collection[int]) -> None:
        """Note that records are handed out: a tombstone among them must not change any more."""
        if self._last is not None and self._last[0] in rowids:
            self._last = None

    def _seq(self) -> int:
        self._drawn.append(self._spare.pop(0) if self._spare else self._next_seq())
        return self._drawn[-1]

    def _insert(self, db: sqlite3.Connection, epoch: int, seq: int, loss: Loss, changes: Changes) -> int:
        rowid, dropped, body = self._next_rowid(), loss.dropped, self._encode(loss.dropped)
        kind = int(RecordKind.TOMBSTONE)
        columns = (epoch, seq, kind, loss.boot, dropped.readings, dropped.first_ns, dropped.last_ns)
        db.execute(INSERT_RECORD, (rowid, *columns, checksum(columns, body), body))
        changes.stored(epoch, seq, kind)
        return rowid

    def _joined_with_last(self, db: sqlite3.Connection, loss: Loss, changes: Changes) -> tuple[Loss, int] | None:
        """The loss joined with that of the last tombstone, which is deleted, and its seq; None if that cannot be."""
        if self._last is None:
            return None
        rowid, seq, last = self._last
        joined = last.joined(loss) or _over(seq, last).joined(loss)
        if joined is None:
            return None
        row = db.execute("DELETE FROM record WHERE rowid = ? RETURNING epoch", (rowid,)).fetchone()
        if row is None:
            return None
        changes.deleted(row[0], RecordKind.TOMBSTONE)
        return joined, seq


def _over(seq: int, loss: Loss) -> Loss:
    """The loss with the seq of its own tombstone, if that follows it: what follows both can be joined then.

    Where the newest batches are refused, each tombstone takes the seq between two of them. The tombstone arrives, and
    what is there is never taken for dropped.
    """
    dropped = loss.dropped
    follows = dropped.reason == REFUSED and dropped.last_seq == seq - 1
    return replace(loss, dropped=replace(dropped, last_seq=seq)) if follows else loss
