"""Requests to the outbox: one at a time, and which lanes have no more records. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.reading import Lane
from edge_agent.uplink.action import HandOut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Record


class Requests:
    """The request that is open, if any.

    Args:
        timeout_ns: time without answer after which a request counts as lost, nanoseconds.

    Attributes:
        open: the request that is not answered yet.
        due_ns: when it counts as lost; None if nobody waits for it.
    """

    def __init__(self, timeout_ns: int) -> None:
        self.open: HandOut | None = None
        self.due_ns: int | None = None
        self._timeout_ns = timeout_ns
        self._outdated = False  # the open request is from before the last rewind
        self._drained: set[Lane] = set()

    @property
    def drained(self) -> bool:
        """Whether the outbox has no more records for now."""
        return len(self._drained) == len(Lane)

    def stored(self) -> None:
        """Handle that there may be new records."""
        self._drained.clear()

    def exhausted(self) -> None:
        """Request nothing more before something new is stored."""
        self._drained = set(Lane)

    def rewound(self) -> None:
        """Handle a rewind: the answer to an open request is worthless."""
        self._drained.clear()
        self._outdated = self.open is not None

    def make(self, live: int, backlog: int) -> HandOut | None:
        """Make a request for live records and for records of the backlog; None if one is open, or nothing is there."""
        wanted = (live > 0 and Lane.LIVE not in self._drained) or (backlog > 0 and Lane.BACKLOG not in self._drained)
        if not wanted or self.open is not None:
            return None
        self.open = HandOut(max(live, backlog), max(0, backlog))
        return self.open

    def answered(self, records: Sequence[tuple[Lane, Record]]) -> tuple[HandOut | None, bool]:
        """Handle an answer. Returns the request that it belongs to, and whether it can be used."""
        request, self.open, self.due_ns = self.open, None, None
        outdated, self._outdated = self._outdated, False
        if request is None or outdated:
            return request, False
        live = sum(lane is Lane.LIVE for lane, _record in records)
        if live < request.limit:  # live records are handed out first
            self._drained.add(Lane.LIVE)
        if len(records) - live < min(request.backlog, request.limit - live):
            self._drained.add(Lane.BACKLOG)
        return request, True

    def is_lost(self, now_ns: int) -> bool:
        """Whether the open request was lost in the store; then there is none any more."""
        if self.open is None:
            return False
        if self.due_ns is None:
            self.due_ns = now_ns + self._timeout_ns
        if now_ns < self.due_ns:
            return False
        self.open, self.due_ns = None, None
        return True
