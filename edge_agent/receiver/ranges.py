"""Sets of integers as sorted ranges, and sets of rows as bits. Pure."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.wire.batch import RowRange, RowsOfBatch

END: Final = (1 << 63) - 1
"""Last number there is; a range up to it is open-ended."""
ALL: Final = -1
"""The set of all rows, whatever their number: every bit is set."""


class Ranges:
    """A set of integers 0..END, kept as ranges that neither touch nor overlap, in ascending order.

    Args:
        ranges: (first, last) pairs in any order, both included.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add first..last; without `last`, one number."""
        last = first if last is None else last
        firsts, lasts = self._firsts, self._lasts
        low = bisect_left(lasts, first - 1)  # the first range that touches or follows
        high = bisect_right(firsts, last + 1)  # the first range beyond
        if low < high:
            first, last = min(first, firsts[low]), max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]

    def __contains__(self, number: int) -> bool:
        place = bisect_left(self._lasts, number)
        return place < len(self._firsts) and self._firsts[place] <= number

    def touches(self, number: int) -> bool:
        """Whether adding the number would make no new range."""
        return number in self or number - 1 in self or number + 1 in self

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        """Number of ranges."""
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # it changes

    def size(self) -> int:
        """How many integers it holds."""
        return sum(last - first + 1 for first, last in self)

    def union(self, other: Ranges) -> Ranges:
        """What is in one of them."""
        return Ranges(sorted([*self, *other]))

    def common(self, other: Ranges) -> Ranges:
        """What is in both."""
        found = Ranges()
        mine, theirs = list(self), list(other)
        at = to = 0
        while at < len(mine) and to < len(theirs):
            first, last = max(mine[at][0], theirs[to][0]), min(mine[at][1], theirs[to][1])
            if first <= last:
                found.add(first, last)
            if mine[at][1] < theirs[to][1]:
                at += 1
            else:
                to += 1
        return found

    def gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Ranges of first..last that are not in the set."""
        for low, high in self:
            if high < first:
                continue
            if low > last:
                break
            if low > first:
                yield first, low - 1
            first = high + 1
        if first <= last:
            yield first, last

    def to_text(self) -> str:
        """As JSON, `[[1,5],[7,7]]`."""
        return json.dumps([list(each) for each in self], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Ranges:
        """Read what `to_text` wrote."""
        ranges = cls()
        pairs = json.loads(text)
        ranges._firsts = [first for first, _ in pairs]
        ranges._lasts = [last for _, last in pairs]
        return ranges


def full(total: int) -> int:
    """The rows 0..total-1."""
    return (1 << total) - 1


def rows_held(rows: RowsOfBatch) -> int:
    """The rows that a message holds."""
    return _stride(rows.first, rows.count, rows.step) | rows_dropped(rows.more)


def rows_dropped(rows: Iterable[RowRange]) -> int:
    """The rows that a tombstone names."""
    mask = 0
    for dropped in rows:
        mask |= _stride(dropped.first, (dropped.last - dropped.first) // dropped.step + 1, dropped.step)
    return mask


def row_ranges(mask: int) -> list[tuple[int, int]]:
    """A set of rows as ranges of rows; not for `ALL`."""
    ranges: list[tuple[int, int]] = []
    at = 0
    while mask >> at:
        at += ((mask >> at) & -(mask >> at)).bit_length() - 1
        inverse = ~(mask >> at)
        length = (inverse & -inverse).bit_length() - 1
        ranges.append((at, at + length - 1))
        at += length
    return ranges


def _stride(first: int, count: int, step: int) -> int:
    """Bits first, first + step, …, `count` of them, by doubling: a bit at a time would take seconds for a million."""
    if step == 1:
        return full(count) << first
    mask, have = 1, 1
    while have < count:
        more = min(have, count - have)
        mask |= (mask & full(more * step)) << (have * step)
        have += more
    return mask << first
