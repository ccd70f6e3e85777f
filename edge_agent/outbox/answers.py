"""Answers to receivers that ask for records which do not wait here any more: tombstones tell them so.

There is no index of records by seq, because each insertion would write it to the card. So an answer reads all records
that wait, a slice at a time, and takes what it finds out of what was asked for. One request is answered at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.outbox.epochs import mark_of
from edge_agent.outbox.tombstones import Dropped, Loss

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

GONE: Final = "confirmed before, or dropped and told"
UNKNOWN: Final = "unknown here"
MOST_ANSWERS: Final = 64
"""Tombstones for answers in a minute, and so per request. Whoever may publish requests can cause no more."""
ANSWERED_NS: Final = 60 * NS_PER_S
"""Time in which the same is not answered again, and to which MOST_ANSWERS refers."""
MOST_PIECES: Final = 1024
"""Ranges that one request may come to while records are taken out of it; the highest ones are left unanswered."""
MOST_REQUESTS: Final = 4
"""Requests that wait; more are not answered. Receivers ask again."""
MOST_WAITING: Final = 1024
"""Tombstones that wait to be sent, of whatever kind, beyond which nothing is answered."""
ROWS_AT_ONCE: Final = 512
_SELECT: Final = "SELECT rowid, epoch, seq FROM record WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?"


@dataclass(frozen=True, slots=True)
class Asked:
    """Records of one epoch that a receiver lacks.

    Attributes:
        epoch: the epoch.
        ranges: first and last seq of each range; they may overlap.
    """

    epoch: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Present:
    """What the outbox says of itself when an answer begins.

    Attributes:
        epoch, boot: current ones.
        last_rowid: highest rowid that is committed.
        unsettled: ranges of seqs of the current epoch that are drawn and that no commit has stored.
    """

    epoch: int
    boot: int
    last_rowid: int
    unsettled: tuple[tuple[int, int], ...]


class _Pieces:
    """What is asked for and was not found yet, by epoch: ascending ranges that do not overlap."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.by_epoch: dict[int, list[tuple[int, int]]] = {}
        self._count = 0
        for each in asked:
            self.by_epoch.setdefault(each.epoch, []).extend((max(1, first), last) for first, last in each.ranges)
        for epoch, ranges in self.by_epoch.items():
            merged: list[tuple[int, int]] = []
            for first, last in sorted(ranges):
                if merged and first <= merged[-1][1] + 1:
                    merged[-1] = merged[-1][0], max(last, merged[-1][1])
                elif first <= last:
                    merged.append((first, last))
            self.by_epoch[epoch] = merged[: max(0, MOST_PIECES - self._count)]
            self._count += len(self.by_epoch[epoch])

    def __len__(self) -> int:
        return self._count

    def remove(self, epoch: int, first: int, last: int) -> None:
        """Take out the seqs from `first` to `last`."""
        ranges = self.by_epoch.get(epoch)
        if not ranges:
            return
        start = bisect_right(ranges, first, key=lambda each: each[1] + 1)  # the first one that does not end before
        end = bisect_right(ranges, last, key=lambda each: each[0])
        if start >= end:
            return
        rest = [(ranges[start][0], first - 1), (last + 1, ranges[end - 1][1])]
        before = len(ranges)
        ranges[start:end] = [(low, high) for low, high in rest if low <= high]
        self._count += len(ranges) - before
        if self._count > MOST_PIECES:
            ranges.pop()
            self._count -= 1


class _Lookup:
    """One answer on its way through the records."""

    def __init__(self, db: sqlite3.Connection, pieces: _Pieces, present: Present) -> None:
        self.present = present
        self.pieces = pieces
        self._after = 0
        self._marks = {epoch: mark_of(db, epoch) for epoch in pieces.by_epoch}
        for first, last in present.unsettled:
            pieces.remove(present.epoch, first, last)
        # What is not committed yet may come with any seq above the mark.
        pieces.remove(present.epoch, self._marks.get(present.epoch, 0) + 1, 1 << 63)

    def read(self, db: sqlite3.Connection) -> bool:
        """Take some of the records that wait out of what is asked for. Returns whether all were read."""
        rows = db.execute(_SELECT, (self._after, self.present.last_rowid, ROWS_AT_ONCE)).fetchall()
        for rowid, epoch, seq in rows:
            self._after = rowid
            if isinstance(seq, int):
                self.pieces.remove(epoch, seq, seq)
        return len(rows) < ROWS_AT_ONCE or not len(self.pieces)

    def losses(self) -> Iterator[Loss]:
        """What does not wait here, range by range; nobody knows how many readings that was."""
        for epoch, ranges in self.pieces.by_epoch.items():
            mark = self._marks[epoch]
            for first, last in ranges:
                for low, high, reason in ((first, min(last, mark), GONE), (max(first, mark + 1), last, UNKNOWN)):
                    if low <= high:
                        records = high - low + 1 if reason == GONE else 0
                        yield Loss(self.present.boot, Dropped(epoch, low, high, records, 0, 0, 0, reason))


class Answers:
    """Requests that wait, the one that is being answered, and what was answered in the last minute."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Asked, ...]] = deque()
        self._lookup: _Lookup | None = None
        self._recent: deque[tuple[int, int, int, int]] = deque()  # when, epoch, first and last seq

    def ask(self, asked: tuple[Asked, ...]) -> bool:
        """Take in a request. Returns whether it will be looked at."""
        if not asked or len(self._waiting) >= MOST_REQUESTS:
            return False
        self._waiting.append(asked)
        return True

    @property
    def is_active(self) -> bool:
        """Whether there is something to do."""
        return self._lookup is not None or bool(self._waiting)

    def cancel(self) -> None:
        """Answer nothing of what was asked so far: the records that wait are no longer those that were read."""
        self._lookup = None
        self._waiting.clear()

    def step(self, db: sqlite3.Connection, now_ns: int, present: Callable[[], Present]) -> list[Loss]:
        """Do a slice of work. Returns what to tell by tombstones.

        Raises:
            sqlite3.Error: the records cannot be read.
        """
        while self._recent and now_ns - self._recent[0][0] >= ANSWERED_NS:
            self._recent.popleft()
        if self._lookup is None:
            if not self._waiting:
                return []
            pieces = _Pieces(self._waiting.popleft())
            for _when_ns, epoch, first, last in self._recent:
                pieces.remove(epoch, first, last)
            self._lookup = _Lookup(db, pieces, present())
        if not self._lookup.read(db):
            return []
        losses = list(self._lookup.losses())[: max(0, MOST_ANSWERS - len(self._recent))]
        self._lookup = None
        for loss in losses:
            self._recent.append((now_ns, loss.dropped.epoch, loss.dropped.first_seq, loss.dropped.last_seq or 0))
        return losses
