"""Salvage: moves the rows of a damaged database into the new one, a few in each transaction, while the agent works.

What is missing is told by tombstones at the end, per range of seqs: a gap in the file hides the seqs between the row
before it and the row after it. The progress is stored with the rows, so an interrupted salvage goes on where it was.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from edge_agent.outbox.pages import Found, PageFile
from edge_agent.outbox.rows import StoredRow
from edge_agent.outbox.schema import COLUMNS, PAGE_BYTES, REPLACE_STATE
from edge_agent.outbox.tombstones import DAMAGED, Dropped, Loss
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.outbox.epochs import Epoch
    from edge_agent.outbox.rows import Small

STATE: Final = "salvage"
"""Name under which the new database keeps the progress."""
_MOST_GAPS: Final = 1000
"""Ranges of lost seqs that are told one by one; a further one is joined with the one before it."""


@dataclass(slots=True)
class Missing:
    """Seqs of an epoch that may be lost.

    Attributes:
        epoch, boot: the epoch, and the boot of the rows around the gap.
        first_seq, last_seq: the range; None: it has no known end.
    """

    epoch: int
    boot: int
    first_seq: int
    last_seq: int | None


@dataclass(slots=True)
class Expected:
    """An epoch of the damaged database.

    Attributes:
        epoch, boot: its number, and the boot in which it began.
        mark: highest seq committed in it.
        pending: batches and events that are to be found; -1: not known.
        found: those that were found.
    """

    epoch: int
    boot: int
    mark: int
    pending: int
    found: int = 0


@dataclass(slots=True)
class Progress:
    """How far a salvage is.

    Attributes:
        name: name of the damaged file.
        after: rowid up to which it is done.
        epochs: epochs that are known, oldest first.
        missing: what may be lost, because damage was found there, in the order of the file.
        holes: what may be lost, or was delivered before: seqs that were not found, without visible damage.
        last: epoch, boot and seq of the last row; None before the first one.
        in_gap: whether a gap follows that row.
        urgent: rowids of urgent records.
        finished: whether everything is done.
    """

    name: str
    after: int = 0
    epochs: list[Expected] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    holes: list[Missing] = field(default_factory=list)
    last: tuple[int, int, int] | None = None
    in_gap: bool = False
    urgent: list[int] = field(default_factory=list)
    finished: bool = False

    def to_bytes(self) -> bytes:
        """The stored form."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Progress:
        """Read the stored form. Raises ValueError, TypeError or KeyError for anything else."""
        fields: dict[str, Any] = json.loads(body)
        fields["epochs"] = [Expected(**each) for each in fields["epochs"]]
        fields["missing"] = [Missing(**each) for each in fields["missing"]]
        fields["holes"] = [Missing(**each) for each in fields["holes"]]
        fields["last"] = tuple(fields["last"]) if fields["last"] else None
        return cls(**fields)

    def known(self, epoch: int) -> Expected | None:
        """What is known of an epoch."""
        return next((each for each in self.epochs if each.epoch == epoch), None)

    def remaining(self) -> int:
        """Number of batches and events that are still to be found."""
        return sum(max(0, each.pending - each.found) for each in self.epochs)


class Salvage:
    """One damaged database.

    Args:
        path: path of the database.
        progress: how far it is.

    Attributes:
        unexpected: batches and events of the last `take` that the damaged database does not count.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path = path
        self.progress = progress
        self._file = PageFile(path, PAGE_BYTES)
        self._items = self._file.rows("record", COLUMNS, progress.after + 1)
        self.unexpected = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def take(self, limit: int) -> list[StoredRow]:
        """Intact rows that follow, at most `limit` of them; fewer when the end is reached, and `progress` says so."""
        rows: list[StoredRow] = []
        self.unexpected = 0
        for item in self._items:
            if item is None:
                break  # it takes long to find the next one
            row = None
            if isinstance(item, Found):
                self.progress.after = item.rowid
                row = _row(item)
            if row is None:
                self.progress.in_gap = True
                continue
            self._note(row)
            rows.append(row)
            if len(rows) == limit:
                break
        else:
            self._end()
        return rows

    def losses(self) -> list[Loss]:
        """What is missing, when everything was taken: one loss per range, with its records as far as known."""
        losses = []
        for epoch in dict.fromkeys([each.epoch for each in self.progress.epochs]):
            known = self.progress.known(epoch)
            if known is not None:
                ranges = [each for each in self.progress.missing if each.epoch == epoch]
                losses += _shared_out(known, ranges, [each for each in self.progress.holes if each.epoch == epoch])
        return losses

    # ---- internal

    def _note(self, row: StoredRow) -> None:
        """Note a row that follows, and what is missing before it."""
        epoch, seq, boot = row.epoch, row.seq, row.boot
        progress = self.progress
        known = progress.known(epoch)
        if known is None:
            known = Expected(epoch, boot, 0, -1)
            progress.epochs.append(known)
        known.mark = max(known.mark, seq)
        if row.kind != RecordKind.TOMBSTONE:
            known.found += 1
            self.unexpected += known.found > known.pending
        if progress.in_gap:
            self._note_gap(epoch, boot, seq)
        else:
            first_seq = progress.last[2] + 1 if progress.last is not None and progress.last[0] == epoch else 1
            if first_seq < seq:
                _add(progress.holes, Missing(epoch, boot, first_seq, seq - 1))
        progress.last = (epoch, boot, seq)
        progress.in_gap = False

    def _note_gap(self, epoch: int, boot: int, seq: int) -> None:
        """Note the seqs between the last row and this one: of one epoch, or of two and of all between them."""
        last = self.progress.last
        first_seq = 1
        if last is not None and last[0] == epoch:
            first_seq = last[2] + 1
        else:
            if last is not None:
                self._to_end_of(last)
            known = self.progress.epochs
            numbers = [each.epoch for each in known]
            begin = numbers.index(last[0]) + 1 if last is not None else 0
            for between in known[begin : numbers.index(epoch)]:
                _add(self.progress.missing, Missing(between.epoch, between.boot, 1, between.mark or None))
        if first_seq < seq:
            _add(self.progress.missing, Missing(epoch, boot, first_seq, seq - 1))

    def _to_end_of(self, last: tuple[int, int, int]) -> None:
        epoch, boot, seq = last
        known = self.progress.known(epoch)
        mark = known.mark if known is not None and known.pending >= 0 else None
        if mark is None or seq < mark:
            _add(self.progress.missing, Missing(epoch, boot, seq + 1, mark))

    def _end(self) -> None:
        progress = self.progress
        if progress.in_gap:
            if progress.last is not None:
                self._to_end_of(progress.last)
            numbers = [each.epoch for each in progress.epochs]
            begin = numbers.index(progress.last[0]) + 1 if progress.last is not None else 0
            for after in progress.epochs[begin:]:
                _add(self.progress.missing, Missing(after.epoch, after.boot, 1, after.mark or None))
        progress.finished = True


def _add(ranges: list[Missing], missing: Missing) -> None:
    if len(ranges) >= _MOST_GAPS and ranges[-1].epoch == missing.epoch:
        ranges[-1].last_seq = missing.last_seq
    else:
        ranges.append(missing)


def expected_of(small: Small) -> list[Expected]:
    """What the damaged database says of its epochs, oldest first."""
    rows = sorted(small.epochs, key=lambda row: row[2])
    return [Expected(epoch, boot, mark, pending) for epoch, boot, _ordinal, mark, pending, waiting in rows if waiting]


def expected_in(epochs: Sequence[Epoch]) -> list[Expected]:
    """What a running agent knows of the epochs of the database that was damaged under it."""
    return [Expected(each.epoch, each.boot, each.mark, each.pending) for each in epochs]


def save_progress(db: sqlite3.Connection, progress: Progress) -> bytes:
    """Store the progress, inside a transaction. Returns the bytes that prove it."""
    body = progress.to_bytes()
    db.execute(REPLACE_STATE, (STATE, crc32(body), body))
    return body


def _row(item: Found) -> StoredRow | None:
    """A record; None if it is damaged."""
    if len(item.values) != COLUMNS:
        return None
    row = StoredRow(item.rowid, *item.values[1:])
    return row if row.is_intact() else None


def _shared_out(known: Expected, ranges: list[Missing], holes: list[Missing]) -> list[Loss]:
    """Losses of an epoch: one per range, then, if these do not explain all that is lost, one per hole.

    How many records are lost is known, but not which of the seqs were delivered before. Ranges between two rows are
    counted first, because records are delivered in order: most of what is gone was before the first row.
    """
    lost = max(0, known.pending - known.found) if known.pending >= 0 else sum(map(_length, ranges))
    losses: list[Loss] = []

    def tell(some: list[Missing]) -> None:
        nonlocal lost
        for each in sorted(some, key=lambda each: each.first_seq == 1):
            records = lost if each.last_seq is None else min(lost, _length(each))
            lost -= records
            dropped = Dropped(each.epoch, each.first_seq, each.last_seq, records, 0, 0, 0, DAMAGED)
            losses.append(Loss(each.boot, dropped))

    tell(ranges)
    if lost:
        tell(holes)
    if lost:
        losses.append(Loss(known.boot, Dropped(known.epoch, 0, 0, lost, 0, 0, 0, DAMAGED)))
    return losses


def _length(missing: Missing) -> int:
    return 0 if missing.last_seq is None else missing.last_seq - missing.first_seq + 1
