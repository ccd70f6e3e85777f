"""Finds the record at which links break. Pure.

A record at which the link breaks is sent alone. If the link then breaks five times in a row, each time soon after
sending, the record waits until another one was acknowledged on the same link. Then it is sent alone once more, and if
the link breaks again, the record is the cause. A broker that breaks at every record makes none the cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.reading import Record

_BREAKS: Final = 5
_SOON_NS: Final = 10 * NS_PER_S
"""Only a break within this time after the record was sent alone counts."""
_MOST_WAITING: Final = 16
"""Suspected records. If there are more, the broker breaks the link at everything, and the next record is sent."""
_MOST_FOUND: Final = 64
"""Known causes that are remembered. The outbox is asked for so many more after an hour, hence not many."""


class Suspects:
    """Suspicions about records. Records are named by their rowids.

    Attributes:
        waiting: records that are sent alone, after another one was acknowledged on the same link.
    """

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self._first: int | None = None  # the record at which the last links broke
        self._breaks = 0
        self._acknowledged = False  # whether a record was acknowledged on this link
        self._found: list[int] = []  # records that are the cause, and are set aside

    @property
    def any(self) -> bool:
        """Whether a new link begins with one record."""
        return self._first is not None or bool(self.waiting)

    @property
    def acquitted(self) -> bool:
        """Whether a record was acknowledged on this link, so that its end has another cause."""
        return self._acknowledged

    def connected(self) -> None:
        """Handle a new link."""
        self._acknowledged = False

    def may_send(self, rowid: int) -> bool:
        """Whether a record may be sent now, alone if it is `waiting`."""
        return rowid not in self.waiting or self._acknowledged

    def acknowledged(self, rowid: int) -> None:
        """Handle that a record arrived, so that it is not the cause."""
        self._first, self._breaks, self._acknowledged = None, 0, True
        self.forget(rowid)

    def forget(self, rowid: int) -> None:
        """Forget a record: it is not sent any more."""
        if rowid in self.waiting:
            self.waiting.remove(rowid)

    def keep(self, rowids: Collection[int]) -> None:
        """Forget all records that wait but are not among `rowids`: the outbox does not have them any more."""
        self.waiting = [rowid for rowid in self.waiting if rowid in rowids]

    def readmitted(self) -> None:
        """Handle that records that were set aside are sent again: one break decides about each of the known ones."""
        self.waiting += self._found
        self._found = []

    def broken(self, oldest: Record, sent_ns: int, now_ns: int, *, alone: bool) -> bool:
        """Handle that the link broke while records were in flight.

        Args:
            oldest: the one that was sent first.
            sent_ns: when it was sent.
            now_ns: now.
            alone: whether no other one was in flight.

        Returns:
            Whether this record is the cause.
        """
        rowid = oldest.rowid
        counts = alone and now_ns - sent_ns < _SOON_NS
        if rowid in self.waiting:
            if counts:
                self.waiting.remove(rowid)
                self._found = [*self._found[-_MOST_FOUND + 1 :], rowid]
            return counts
        if self._acknowledged:
            return False
        if self._first != rowid:
            self._first, self._breaks = rowid, 0
        self._breaks += counts
        if self._breaks >= _BREAKS and len(self.waiting) < _MOST_WAITING:
            self.waiting.append(rowid)
            self._first, self._breaks = None, 0
        return False
