"""Ends of links: how long to wait before the next one, and whether another client has the same client id. Pure.

A broker closes the link of a client when another one connects with the same id. Two gateways with one id would take
the link from each other once a second for ever. So after more than three such ends in a minute the wait is minutes,
until a link has lasted. A broker that could not be reached in between has failed by itself.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    import random

_FIRST_CAP_S: Final = 1.0
_LAST_CAP_S: Final = 30.0
_FIRST_DUPLICATE_CAP_S: Final = 60.0
_LAST_DUPLICATE_CAP_S: Final = 300.0
_MOST_TAKEOVERS: Final = 3
_TAKEOVERS_NS: Final = 60 * NS_PER_S
_SHORT_NS: Final = 10 * NS_PER_S
CALM_NS: Final = 600 * NS_PER_S
"""A link that lasts this long has no rival. Longer than the longest wait, because the rival may wait as well."""


class Ending(Enum):
    """How a link ended."""

    OTHER = "other"
    CLOSED = "closed"
    """The broker accepted it, and closed it later without a reason, as MQTT 3.1.1 does at a take-over."""
    TAKEN_OVER = "taken over"
    """The broker says that another client has connected with the same id."""


class Ends:
    """Decides about the wait after a link.

    Args:
        rng: draws waiting times.

    Attributes:
        duplicate: sentence about the client id if another client seems to have the same; empty if not.
    """

    def __init__(self, rng: random.Random) -> None:
        self.duplicate = ""
        self._rng = rng
        self._attempts = 0
        self._since_ns: int | None = None
        self._takeovers_ns: list[int] = []
        self._rivalries = 0

    @property
    def calm_ns(self) -> int | None:
        """Time at which this link has lasted long enough; None if that decides nothing."""
        return None if self._since_ns is None or not self.duplicate else self._since_ns + CALM_NS

    def connected(self, now_ns: int) -> None:
        """Handle a new link."""
        self._since_ns = now_ns

    def acknowledged(self) -> None:
        """Handle that a record arrived: the next wait is short."""
        self._attempts = 0

    def tick(self, now_ns: int) -> None:
        """Forget the rival if this link has lasted."""
        calm_ns = self.calm_ns
        if calm_ns is not None and now_ns >= calm_ns:
            self.duplicate, self._rivalries = "", 0

    def ended(self, now_ns: int, ending: Ending, *, at_record: bool) -> int:
        """Handle the end of a link, or that it could not be made.

        Args:
            now_ns: now.
            ending: how it ended.
            at_record: whether it may have ended because of the record in flight.

        Returns:
            Time until the next attempt, nanoseconds.
        """
        self.tick(now_ns)
        since_ns, self._since_ns = self._since_ns, None
        short = since_ns is not None and now_ns - since_ns < _SHORT_NS
        if since_ns is None:
            self._takeovers_ns.clear()  # the broker was away: it, and no rival, may have ended the links before
        if ending is Ending.TAKEN_OVER or (ending is Ending.CLOSED and short and not at_record):
            self._takeovers_ns = [*(at for at in self._takeovers_ns if now_ns - at < _TAKEOVERS_NS), now_ns]
            if ending is Ending.TAKEN_OVER and len(self._takeovers_ns) > _MOST_TAKEOVERS:
                self.duplicate = "duplicate client id: another client with our id takes the link over"
            elif len(self._takeovers_ns) > _MOST_TAKEOVERS:
                self.duplicate = "perhaps a duplicate client id: the broker closes each link soon after it accepted it"
        if self.duplicate:
            self._rivalries += 1
            cap_s = min(_LAST_DUPLICATE_CAP_S, _FIRST_DUPLICATE_CAP_S * 2.0 ** min(self._rivalries - 1, 10))
            return round(self._rng.uniform(0.5, 1.0) * cap_s * NS_PER_S)
        return self.wait_ns()

    def wait_ns(self) -> int:
        """Random wait below a limit that doubles with each attempt, nanoseconds."""
        self._attempts += 1
        return random_wait_ns(self._rng, self._attempts - 1)


def random_wait_ns(rng: random.Random, attempts: int) -> int:
    """Random wait below a limit that doubles with each attempt, so that many gateways do not return at once, ns."""
    cap_s = min(_LAST_CAP_S, _FIRST_CAP_S * 2.0 ** min(attempts, 10))
    return round(rng.uniform(0.05, 1.0) * cap_s * NS_PER_S)
