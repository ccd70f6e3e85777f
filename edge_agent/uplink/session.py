"""State machine of the link: decides the next actions from events. Sans-I/O: no socket, no clock, no thread.

Rules:
- Only PUBACK 0x00 confirms a record. 0x10 (no matching subscribers) does not: the broker has discarded the message.
- A temporary refusal pauses sending; then one record at a time tests whether the cause has ended. If it concerns the
  topic (no subscriber, not authorised), the other topics are still used; if it concerns the broker (quota, any unknown
  code), none is. A permanent refusal (too large, wrong format, bad topic) makes the record undeliverable.
- Records in flight when a link goes down are sent again on the next one. They come from the outbox; the session keeps
  no records over a break.
- One request to the outbox at a time; the answer to a request from before a rewind is discarded.
- A record at which the link breaks is sent alone. If the link then breaks five times in a row, each time soon after
  sending, the record is set aside and the next ones are tried. If the link breaks at it once more after another record
  was acknowledged on that link, it is undeliverable. A broker that breaks at every record makes none undeliverable.
- Waits between attempts are random below a limit that doubles, so that many gateways do not reconnect at the same time.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.action import Action, Confirm, Drop, HandOut, Open, Refuse, Rewind, Send, Way, way_of

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from edge_agent.reading import Lane, Record

NO_MATCHING_SUBSCRIBERS: Final = 0x10
_SUCCESS: Final = 0x00
_HOPELESS: Final = {0x90: "topic invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
_REASONS: Final = {
    NO_MATCHING_SUBSCRIBERS: "nobody is subscribed",
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorised",
    0x97: "quota exceeded",
}
_OF_THE_TOPIC: Final = frozenset({NO_MATCHING_SUBSCRIBERS, 0x87})
"""Reasons that concern one topic: other topics are still used."""
_FIRST_CAP_S: Final = 1.0
_LAST_CAP_S: Final = 30.0
_ALONE_LOSSES: Final = 5
_AT_ONCE_NS: Final = 10 * NS_PER_S
"""A record is set aside after _ALONE_LOSSES breaks in a row, each within this time after it was sent alone."""
_MOST_ASIDE: Final = 16


class LinkState(Enum):
    """State of the link. The text is shown to people."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    PAUSED = "paused"


class Session:
    """State machine of one uplink.

    Args:
        in_flight_limit: largest number of records in flight.
        ack_timeout_ns: time without PUBACK after which a link is abandoned, and time without answer after which a
            request to the outbox is repeated, nanoseconds.
        rng: draws waiting times.

    Attributes:
        state: state of the link.
        reason: why it is not simply online; empty if it is.
        sent: number of records published, repeated ones included.
        acknowledged_count: number of successful PUBACKs.
    """

    def __init__(self, *, in_flight_limit: int, ack_timeout_ns: int, rng: random.Random) -> None:
        self.state = LinkState.CONNECTING
        self.reason = "not connected yet"
        self.sent = self.acknowledged_count = 0
        self._configured_limit = self._granted_limit = self._limit = in_flight_limit
        self._ack_timeout_ns = ack_timeout_ns
        self._rng = rng
        self._actions: list[Action] = [Open()]
        self._in_flight: dict[int, tuple[Record, int, Way]] = {}
        self._closed: set[Way] = set()  # topics that are not used for now
        self._refusals: dict[Way, int] = {}
        self._may_send = False
        self._requested = 0  # records requested from the outbox and not answered yet
        self._answer_due_ns: int | None = None
        self._outdated = False  # the open request is from before the last rewind
        self._drained = False  # the outbox has no more records to send for now
        self._attempts = 0
        self._retry_ns: int | None = None
        self._acked_on_link = False
        self._suspect: int | None = None  # rowid of the record at which the link broke
        self._losses_alone = 0
        self._aside: list[int] = []  # rowids of records that were set aside
        self._held: list[tuple[Lane, Record]] = []  # handed out, not sent yet

    # ---- events

    def connected(self, receive_maximum: int) -> None:
        """Handle a new link, on which the broker takes `receive_maximum` unacknowledged publishes."""
        self.state, self.reason = LinkState.ONLINE, ""
        self._retry_ns = None
        self._granted_limit = max(1, min(self._configured_limit, receive_maximum))
        self._acked_on_link = False
        self._restart(1 if self._suspect is not None or self._aside else self._granted_limit)

    def disconnected(self, now_ns: int, reason: str) -> None:
        """Handle the end of a link, or that it could not be made."""
        self._suspect_record(now_ns)
        self.state, self.reason = LinkState.OFFLINE, reason
        self._may_send = False
        self._answer_due_ns = None
        self._in_flight.clear()
        self._retry_ns = now_ns + self._backoff_ns()

    def stored(self) -> None:
        """Handle a commit of the outbox: there may be new records."""
        self._drained = False
        self._request()

    def offered(self, now_ns: int, records: Sequence[tuple[Lane, Record]]) -> None:
        """Handle the answer of the outbox to a request."""
        requested, self._requested, self._answer_due_ns = self._requested, 0, None
        outdated, self._outdated = self._outdated or not requested, False
        if not self._may_send:
            return  # requested before a break or a pause; a rewind follows
        if outdated:
            if records and not requested:
                self._restart(self._limit)  # late answer to a request that had timed out
            self._request()
            return
        self._drained = len(records) < requested
        sendable = [(lane, record) for lane, record in records if way_of(lane, record) not in self._closed]
        # Many more records of a closed topic may follow: request again only when something new was stored.
        self._drained = self._drained or not sendable
        self._held += [(lane, record) for lane, record in sendable if record.rowid not in self._in_flight]
        self._send_held(now_ns)

    def acknowledged(self, now_ns: int, record: Record, code: int) -> None:
        """Handle a PUBACK with this reason code (0 in MQTT 3.1.1)."""
        sent = self._in_flight.pop(record.rowid, None)
        if sent is None:
            return  # from an earlier link
        _record, _due_ns, way = sent
        if code == _SUCCESS:
            self._succeed(record, way)
        elif code in _HOPELESS:
            self._refuse(record, f"refused by the broker: {_HOPELESS[code]} ({code:#04x})")
        elif code in _OF_THE_TOPIC:
            self._close(now_ns, way, f"the broker says of {way.value}: {_REASONS[code]} ({code:#04x})")
        else:
            self.state, self.reason = (
                LinkState.PAUSED,
                f"the broker says: {_REASONS.get(code, 'refused')} ({code:#04x})",
            )
            self._may_send = False
            if self._retry_ns is None:
                self._retry_ns = now_ns + self._backoff_ns()
        self._send_held(now_ns)

    def refused(self, now_ns: int, record: Record, reason: str) -> None:
        """Handle that the record of a `Send` action cannot be sent on any link."""
        if self._in_flight.pop(record.rowid, None) is not None:
            self.sent -= 1
            self._refuse(record, reason)
            self._send_held(now_ns)

    def tick(self, now_ns: int) -> None:
        """Handle timeouts and retries that are due at `now_ns`."""
        if any(now_ns >= due_ns for _record, due_ns, _way in self._in_flight.values()):
            self._actions.append(Drop())
            self.disconnected(now_ns, "the broker acknowledges nothing any more")
        if self._retry_ns is not None and now_ns >= self._retry_ns:
            if self.state is LinkState.OFFLINE:
                self._retry_ns = None
                self.state = LinkState.CONNECTING
                self._actions.append(Open())
            elif not self._in_flight:  # paused: one record tests whether the cause has ended
                self._retry_ns = None
                self._restart(1)
        if self._requested and self._may_send:
            if self._answer_due_ns is None:
                self._answer_due_ns = now_ns + self._ack_timeout_ns
            elif now_ns >= self._answer_due_ns:  # the request was lost in the store
                self._requested, self._answer_due_ns = 0, None
                self._restart(self._limit)

    # ---- actions

    def take_actions(self) -> list[Action]:
        """Return and remove the pending actions, in order."""
        actions, self._actions = self._actions, []
        return actions

    def deadline_ns(self) -> int | None:
        """Time at which `tick` must be called, nanoseconds since boot; None: not needed."""
        times = [due_ns for _record, due_ns, _way in self._in_flight.values()]
        if self._retry_ns is not None and not self._in_flight:
            times.append(self._retry_ns)
        if self._answer_due_ns is not None:
            times.append(self._answer_due_ns)
        return min(times, default=None)

    @property
    def in_flight(self) -> int:
        """Number of records published and not acknowledged."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether no answer is pending that a short wait would bring."""
        waiting = self._in_flight or (self._requested and self._may_send)
        return self.state is not LinkState.CONNECTING and not waiting

    # ---- internal

    def _send(self, now_ns: int, lane: Lane, record: Record) -> None:
        self._held.remove((lane, record))
        self._in_flight[record.rowid] = (record, now_ns + self._ack_timeout_ns, way_of(lane, record))
        self._actions.append(Send(lane, record))
        self.sent += 1

    def _succeed(self, record: Record, way: Way) -> None:
        self.acknowledged_count += 1
        self._refusals.pop(way, None)
        self._attempts = 0
        self._suspect, self._losses_alone = None, 0
        self._acked_on_link = True
        if self._may_send:
            self.state = LinkState.ONLINE
            self.reason = self.reason if self._closed else ""
        self._forget_aside(record)
        self._limit = self._granted_limit
        self._actions.append(Confirm(record))

    def _close(self, now_ns: int, way: Way, reason: str) -> None:
        """Do not use a topic for some time; its records stay in the outbox, and other topics are still used."""
        self._closed.add(way)
        self.state, self.reason = LinkState.PAUSED, reason
        self._held = [(lane, record) for lane, record in self._held if way_of(lane, record) not in self._closed]
        if self._retry_ns is None:
            self._retry_ns = now_ns + self._wait_ns(self._refusals.get(way, 0))
            self._refusals[way] = self._refusals.get(way, 0) + 1

    def _refuse(self, record: Record, reason: str) -> None:
        self._forget_aside(record)
        self._actions.append(Refuse(record, reason))

    def _forget_aside(self, record: Record) -> None:
        if record.rowid in self._aside:
            self._aside.remove(record.rowid)

    def _restart(self, in_flight_limit: int) -> None:
        """Rewind and send from the oldest record on. The answer to an open request will be outdated."""
        self._may_send = True
        self._limit = in_flight_limit
        self._drained = False
        self._outdated = self._requested > 0
        self._held.clear()
        self._closed.clear()
        self._actions.append(Rewind())
        self._request()

    def _send_held(self, now_ns: int) -> None:
        """Send records that were handed out, up to the limit, and request more.

        Records that were set aside wait until another one was acknowledged on this link; they are then sent alone.
        """
        if not self._may_send:
            return
        aside = [held for held in self._held if held[1].rowid in self._aside]
        if aside and self._acked_on_link:
            if not self._in_flight:
                self._send(now_ns, *aside[0])
            return
        for lane, record in [held for held in self._held if held not in aside][: self._limit - len(self._in_flight)]:
            self._send(now_ns, lane, record)
        self._request()

    def _request(self) -> None:
        room = self._limit - len(self._in_flight)
        if self._may_send and room > 0 and not self._requested and not self._drained:
            self._requested = room + max(0, len(self._aside) - len(self._held))
            self._actions.append(HandOut(self._requested))

    def _suspect_record(self, now_ns: int) -> None:
        """Decide whether the record in flight is the cause of the break: suspect it, set it aside, or refuse it."""
        if not self._in_flight:
            return
        rowid, (record, due_ns, _way) = next(iter(self._in_flight.items()))
        alone = len(self._in_flight) == 1 and now_ns - (due_ns - self._ack_timeout_ns) < _AT_ONCE_NS
        if rowid in self._aside:
            if alone:
                self._refuse(record, "the link broke whenever it was sent")
            return
        if self._acked_on_link:
            return
        if self._suspect != rowid:
            self._suspect, self._losses_alone = rowid, 0
        self._losses_alone += alone
        if self._losses_alone >= _ALONE_LOSSES and len(self._aside) < _MOST_ASIDE:
            self._aside.append(rowid)
            self._suspect, self._losses_alone = None, 0

    def _backoff_ns(self) -> int:
        self._attempts += 1
        return self._wait_ns(self._attempts - 1)

    def _wait_ns(self, attempts: int) -> int:
        """Random wait below a limit that doubles with each attempt, nanoseconds."""
        cap_s = min(_LAST_CAP_S, _FIRST_CAP_S * 2.0 ** min(attempts, 10))
        return round(self._rng.uniform(0.05, 1.0) * cap_s * NS_PER_S)
