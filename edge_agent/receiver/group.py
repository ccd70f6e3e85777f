"""Messages that go into one transaction. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.receiver.arrival import Arrival
    from edge_agent.receiver.link import Arrived

MOST_GROUP: Final = 256
MOST_GROUP_BYTES: Final = 1 << 22
GROUP_NS: Final = NS_PER_S // 5
IDLE_NS: Final = NS_PER_S // 200
"""A group of messages is committed when it has so many messages or bytes, so long after its first message, or when
nothing has come for so long: a broker whose window is full waits for us."""


class Group:
    """Messages that have come and are in no transaction yet.

    Args:
        now_ns: when the first one came, nanoseconds since boot.

    Attributes:
        arrivals: what is to be stored.
        tokens: what is to be acknowledged to the broker afterwards.
    """

    def __init__(self, now_ns: int) -> None:
        self.arrivals: list[Arrival] = []
        self.tokens: list[int] = []
        self._bytes = 0
        self._first_ns = self._last_ns = now_ns

    def add(self, arrivals: Iterable[Arrival], event: Arrived, now_ns: int) -> None:
        """Take in a message and what it holds."""
        self.arrivals += arrivals
        self._bytes += len(event.payload)
        self._last_ns = now_ns
        if event.token is not None:
            self.tokens.append(event.token)

    def is_full(self) -> bool:
        """Whether it has to be committed before anything else is taken in."""
        return len(self.arrivals) >= MOST_GROUP or self._bytes >= MOST_GROUP_BYTES

    def due_ns(self) -> int:
        """When to commit it if nothing else comes."""
        return min(self._first_ns + GROUP_NS, self._last_ns + IDLE_NS)
