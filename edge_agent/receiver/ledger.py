"""What of one epoch is stored here, and what its node has declared dropped. Pure.

`have` and `gone` are kept apart. Only `have` decides whether something is a repetition, so a record that arrives after
the tombstone that covers it is stored. Both count as answered: what is gone is not waited for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.receiver.ranges import ALL, END, Ranges, full, row_ranges, rows_dropped, rows_held

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.wire.batch import RowRange, RowsOfBatch

MOST_RANGES: Final = 32_768
"""Most separate ranges in `have` and in `gone`: bounds what a sender of random numbers can make us keep."""
MOST_PARTS: Final = 1024
MOST_PART_ROWS: Final = 1 << 22
"""Most batches of which only some rows have come, and most rows of all of them together."""


class LedgerRefusal(ValueError):
    """A record that cannot be entered: it contradicts what is there, or there is no room. The ledger is unchanged."""


@dataclass(slots=True)
class Part:
    """A batch of which some rows have come, or some were dropped.

    Attributes:
        total: rows of the whole batch; None: no part of it has come yet.
        have, gone: rows as bits, bit 0 for row 0.
    """

    total: int | None = None
    have: int = 0
    gone: int = 0

    def is_complete(self) -> bool:
        """Whether every row is stored or was dropped."""
        return self.total is not None and (self.have | self.gone) & full(self.total) == full(self.total)

    def missing(self) -> list[tuple[int, int]]:
        """Ranges of rows that are neither stored nor dropped, as far as is known."""
        return row_ranges(full(self.total) & ~(self.have | self.gone)) if self.total is not None else []


@dataclass(slots=True)
class Ledger:
    """The account of one epoch of one node.

    Attributes:
        have: seqs of records that are stored in full.
        gone: seqs that a tombstone covers.
        parts: batches that are neither, by seq.
        highest: highest seq that was met.
        mark: highest seq that the node says it has committed; 0: not said.
    """

    have: Ranges = field(default_factory=Ranges)
    gone: Ranges = field(default_factory=Ranges)
    parts: dict[int, Part] = field(default_factory=dict)
    highest: int = 0
    mark: int = 0

    def deliver(self, seq: int, total: int = 0, rows: RowsOfBatch | None = None) -> int:
        """Enter a record that is about to be stored.

        Args:
            seq: of the record.
            total: rows of the message; of no meaning for what is no batch.
            rows: which rows of its batch the message holds; None: all.

        Returns:
            Its rows that are new, as bits; ALL if the whole record is; 0 if it is a repetition.

        Raises:
            LedgerRefusal: it contradicts what came before, or there is no room.
        """
        if seq in self.have:
            return 0
        part = self.parts.get(seq)
        if part is None and rows is None:
            self._check_room(self.have, seq)
            self._complete(seq)
            return ALL
        total = total if rows is None else rows.total
        if part is None:
            self._check_room_for_part(total)
            part = self.parts[seq] = Part(total)
        elif part.total is None and not (part.have | part.gone) >> total:
            part.total = total
        elif part.total != total:
            raise LedgerRefusal("parts of one batch name different numbers of rows")
        self.highest = max(self.highest, seq)
        new = (full(total) if rows is None else rows_held(rows)) & ~part.have
        part.have |= new
        if part.have == full(total) and (self.have.touches(seq) or len(self.have) < MOST_RANGES):
            self._complete(seq)
        return new

    def drop(self, first: int, last: int | None, rows: Iterable[RowRange] = ()) -> None:
        """Enter that records, or rows of one, were dropped. Records that are stored stay stored.

        Args:
            first: the first record; 0: they had no seq.
            last: the last record; None: everything from `first` on.
            rows: not empty: only these rows of the record `first`.

        Raises:
            LedgerRefusal: there is no room.
        """
        if first == 0:
            return
        mask = rows_dropped(rows)
        if mask:
            self._drop_rows(first, mask)
        else:
            end = END if last is None else last
            if len(self.gone) >= MOST_RANGES and not (self.gone.touches(first) or self.gone.touches(end)):
                raise LedgerRefusal("tombstones of too many separate ranges")
            self.gone.add(first, end)
        self.highest = max(self.highest, first - 1 if last is None else last)

    def _drop_rows(self, seq: int, mask: int) -> None:
        if seq in self.have:
            return
        part = self.parts.get(seq)
        if part is None:
            self._check_room_for_part(mask.bit_length())
            part = self.parts[seq] = Part()
        if part.total is not None and mask >> part.total:
            raise LedgerRefusal("a tombstone names rows that its batch does not have")
        part.gone |= mask

    def answered(self) -> Ranges:
        """Seqs that are not waited for: stored or dropped, in full or row by row."""
        ranges = self.have.union(self.gone)
        for seq, part in self.parts.items():
            if part.is_complete():
                ranges.add(seq)
        return ranges

    def upto(self) -> int:
        """The highest seq up to which everything, from 1 on, is answered; 0: nothing."""
        first_gap = next(self.answered().gaps(1, END), None)
        return max(self.highest, self.mark) if first_gap is None else first_gap[0] - 1

    def ranges_beyond(self) -> list[tuple[int, int]]:
        """Answered ranges above `upto`."""
        upto, top = self.upto(), max(self.highest, self.mark)
        return [(first, min(last, top)) for first, last in self.answered() if upto < first <= top]

    def missing(self) -> list[tuple[int, int]]:
        """Ranges of seqs that must exist and are not answered. A record with missing rows is among them."""
        return list(self.answered().gaps(1, max(self.highest, self.mark)))

    def dropped(self) -> Ranges:
        """Seqs that were dropped and never came, up to the highest known one."""
        found = Ranges()
        for first, last in self.gone:
            for gap in self.have.gaps(first, min(last, max(self.highest, self.mark))):
                found.add(*gap)
        return found

    def _complete(self, seq: int) -> None:
        self.parts.pop(seq, None)
        self.have.add(seq)
        self.highest = max(self.highest, seq)

    @staticmethod
    def _check_room(ranges: Ranges, seq: int) -> None:
        if len(ranges) >= MOST_RANGES and not ranges.touches(seq):
            raise LedgerRefusal("records with too many gaps between them")

    def _check_room_for_part(self, rows: int) -> None:
        """Make room for a part. Of the parts that are complete, the oldest count as stored in full.

        A row of them that was dropped and comes all the same is then a repetition. A gateway that thins a long backlog
        sends one such batch after the other, and they would never end otherwise.
        """
        if len(self.parts) >= MOST_PARTS:
            settled = sorted(seq for seq, part in self.parts.items() if part.is_complete())[: max(1, MOST_PARTS // 8)]
            for seq in settled:
                if self.have.touches(seq) or len(self.have) < MOST_RANGES:
                    self._complete(seq)
        held = sum(part.total or part.gone.bit_length() for part in self.parts.values())
        if len(self.parts) >= MOST_PARTS or held + rows > MOST_PART_ROWS:
            raise LedgerRefusal("too many batches of which only parts have come")
