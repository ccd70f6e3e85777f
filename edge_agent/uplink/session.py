"""What to do next on the link, given what happened on it. Sans-I/O: no socket, no clock, no thread.

Rules:
- A record is settled only by a PUBACK that says it was taken in. 0x10 (no matching subscribers) does not: the broker
  threw the message away.
- A refusal that may pass (quota, not authorised, nobody subscribed) pauses sending; one that cannot (too large,
  wrong format, bad topic) makes the record undeliverable.
- Whatever was in flight when a link goes down is sent again on the next one, from the outbox, which alone remembers.
- A record at which the link breaks again and again is sent alone; if it breaks even so, it is undeliverable.
- Waits between attempts are drawn from [0, cap] with the cap doubling, so that a fleet does not return in step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from edge_agent.reading import Lane, Record

NS_PER_S: Final = 1_000_000_000
NO_MATCHING_SUBSCRIBERS: Final = 0x10
_FAILURE: Final = 0x80
_HOPELESS: Final = {0x90: "topic invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
_REASONS: Final = {
    NO_MATCHING_SUBSCRIBERS: "nobody is subscribed",
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorised",
    0x97: "quota exceeded",
}
_FIRST_CAP_S: Final = 1.0
_LAST_CAP_S: Final = 30.0
_ALONE_LOSSES: Final = 5
_AT_ONCE_NS: Final = 10 * NS_PER_S
"""A record that was alone in flight at so many breaks in a row, each this soon after it was sent, is their cause."""


class LinkState(Enum):
    """Where the session stands. The text is shown to people."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Open:
    """Begin to connect."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Give the link up: it does not answer any more."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The next records asked for begin at the oldest."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the outbox for up to `limit` records."""

    limit: int


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a record on its lane."""

    lane: Lane
    record: Record


@dataclass(frozen=True, slots=True)
class Settle:
    """The record has arrived."""

    record: Record


@dataclass(frozen=True, slots=True)
class Bury:
    """The record can never be delivered."""

    record: Record
    reason: str


Action = Open | Drop | Restart | Ask | Send | Settle | Bury


class Session:
    """The state of one uplink.

    Args:
        window: how many records may be in flight.
        ack_timeout_ns: a link on which a PUBACK is missing for so long is given up.
        rng: draws waiting times.
    """

    def __init__(self, *, window: int, ack_timeout_ns: int, rng: random.Random) -> None:
        self.state = LinkState.OFFLINE
        self.reason = "not connected yet"
        self.sent = self.acknowledged_count = 0
        self._configured_window = self._granted_window = self._window = window
        self._ack_timeout_ns = ack_timeout_ns
        self._rng = rng
        self._actions: list[Action] = [Open()]
        self._in_flight: dict[int, tuple[Record, int]] = {}
        self._asked = 0
        self._dry = False
        self._attempts = 0
        self._retry_ns: int | None = None
        self._acked_on_link = False
        self._suspect: int | None = None
        self._losses_alone = 0
        self.state = LinkState.CONNECTING

    # ---- what happened

    def connected(self, receive_maximum: int) -> None:
        """The broker accepted us and will take so many unacknowledged publishes."""
        self.state, self.reason = LinkState.ONLINE, ""
        self._granted_window = max(1, min(self._configured_window, receive_maximum))
        self._window = 1 if self._suspect else self._granted_window
        self._acked_on_link = False
        self._begin_anew()

    def disconnected(self, now_ns: int, reason: str) -> None:
        """The link is down, or could not be made."""
        was_up = self.state in {LinkState.ONLINE, LinkState.PAUSED}
        if was_up and self._in_flight and not self._acked_on_link:
            self._look_for_poison(now_ns)
        self.state, self.reason = LinkState.OFFLINE, reason
        self._in_flight.clear()
        self._retry_ns = now_ns + self._backoff_ns()

    def stored(self) -> None:
        """The outbox has committed something."""
        self._dry = False
        self._ask()

    def offered(self, now_ns: int, records: Sequence[tuple[Lane, Record]]) -> None:
        """The outbox answers."""
        asked, self._asked = self._asked, 0
        self._dry = len(records) < asked
        if self.state is not LinkState.ONLINE:
            return  # asked before a break; the outbox is rewound when the link is back
        for lane, record in records:
            self._in_flight[record.rowid] = (record, now_ns + self._ack_timeout_ns)
            self._actions.append(Send(lane, record))
            self.sent += 1
        self._ask()

    def acknowledged(self, now_ns: int, record: Record, code: int) -> None:
        """A PUBACK came, with this reason code (0 in MQTT 3.1.1)."""
        if self._in_flight.pop(record.rowid, None) is None:
            return  # of an earlier link
        if code < _FAILURE and code != NO_MATCHING_SUBSCRIBERS:
            self._succeed(record)
        elif code in _HOPELESS:
            self._actions.append(Bury(record, f"refused by the broker: {_HOPELESS[code]} ({code:#04x})"))
        else:
            reason = _REASONS.get(code, "refused")
            self.state, self.reason = LinkState.PAUSED, f"the broker says: {reason} ({code:#04x})"
            self._retry_ns = self._retry_ns or now_ns + self._backoff_ns()
        self._ask()

    def too_large(self, record: Record, size: int, limit: int) -> None:
        """The encoded record exceeds what the broker said it takes."""
        self._in_flight.pop(record.rowid, None)
        self._actions.append(Bury(record, f"{size} bytes, and the broker takes {limit}"))

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        if self._retry_ns is not None and now_ns >= self._retry_ns:
            if self.state is LinkState.OFFLINE:
                self._retry_ns = None
                self.state = LinkState.CONNECTING
                self._actions.append(Open())
            elif self.state is LinkState.PAUSED and not self._in_flight:
                self._retry_ns = None
                self.state = LinkState.ONLINE
                self._window = 1  # one record tells whether the cause is gone
                self._begin_anew()
        if any(now_ns >= due_ns for _record, due_ns in self._in_flight.values()):
            self._actions.append(Drop())
            self.disconnected(now_ns, "the broker acknowledges nothing any more")

    # ---- what to do

    def take_actions(self) -> list[Action]:
        """What is to be done now, in order."""
        actions, self._actions = self._actions, []
        return actions

    def deadline_ns(self) -> int | None:
        """When `tick` is wanted."""
        times = [due_ns for _record, due_ns in self._in_flight.values()]
        if self._retry_ns is not None and not (self.state is LinkState.PAUSED and self._in_flight):
            times.append(self._retry_ns)
        return min(times, default=None)

    @property
    def in_flight(self) -> int:
        """Records published and not acknowledged."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether nothing is going on that a short wait would finish."""
        return self.state is not LinkState.CONNECTING and not self._in_flight and not self._asked

    # ---- inside

    def _succeed(self, record: Record) -> None:
        self.acknowledged_count += 1
        self._attempts = 0
        self._suspect, self._losses_alone = None, 0
        self._acked_on_link = True
        self._window = self._granted_window
        self._actions.append(Settle(record))

    def _begin_anew(self) -> None:
        self._asked, self._dry = 0, False
        self._actions.append(Restart())
        self._ask()

    def _ask(self) -> None:
        room = self._window - len(self._in_flight)
        if self.state is LinkState.ONLINE and room > 0 and not self._asked and not self._dry:
            self._asked = room
            self._actions.append(Ask(room))

    def _look_for_poison(self, now_ns: int) -> None:
        """Count breaks at the same record. From the first on it travels alone; at the last it is given up."""
        oldest = min(self._in_flight)
        record, due_ns = self._in_flight[oldest]
        at_once = now_ns - (due_ns - self._ack_timeout_ns) < _AT_ONCE_NS
        if len(self._in_flight) > 1 or self._suspect != oldest:
            self._suspect, self._losses_alone = oldest, 0
        elif at_once:
            self._losses_alone += 1
        if self._losses_alone == _ALONE_LOSSES:
            self._actions.append(Bury(record, "the link broke whenever it was sent"))
            self._suspect, self._losses_alone = None, 0

    def _backoff_ns(self) -> int:
        cap_s = min(_LAST_CAP_S, _FIRST_CAP_S * 2.0**self._attempts)
        self._attempts = min(self._attempts + 1, 10)
        return round(self._rng.uniform(0.05, 1.0) * cap_s * NS_PER_S)
