"""Topics that the broker refuses for now: not authorised, nobody is subscribed. Other topics are still used. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.uplink.ends import random_wait_ns

if TYPE_CHECKING:
    import random

    from edge_agent.uplink.action import Way


class Topics:
    """Refused topics.

    Args:
        rng: draws waiting times.

    Attributes:
        closed: topics that are not used for now.
        reason: why one of them was closed last. It holds until a record arrived on each of the closed topics, or none
            waits any more, so that a topic that is tried every few seconds is reported once; empty if all is well.
    """

    def __init__(self, rng: random.Random) -> None:
        self.closed: set[Way] = set()
        self.reason = ""
        self._rng = rng
        self._doubted: set[Way] = set()  # used again, and no record has arrived yet
        self._refusals: dict[Way, int] = {}

    def close(self, way: Way, reason: str) -> None:
        """Do not use a topic for now."""
        self.closed.add(way)
        self._doubted.discard(way)
        self.reason = reason

    def wait_ns(self, way: Way) -> int:
        """Time until a topic that was closed is tried again, nanoseconds; longer each time."""
        refusals = self._refusals.get(way, 0)
        self._refusals[way] = refusals + 1
        return random_wait_ns(self._rng, refusals)

    def open_all(self) -> None:
        """Use all topics again."""
        self._doubted |= self.closed
        self.closed.clear()

    def arrived(self, way: Way) -> None:
        """Handle that a record arrived on a topic."""
        self._refusals.pop(way, None)
        self._doubted.discard(way)
        self._settle()

    def emptied(self) -> None:
        """Handle that no record waits but those of closed topics."""
        self._doubted.clear()
        self._settle()

    def _settle(self) -> None:
        if not self.closed and not self._doubted:
            self.reason = ""
