"""What to do next on the link, given what happened on it. Sans-I/O: no socket, no clock, no thread.

Rules:
- A record is confirmed only by PUBACK 0x00. 0x10 (no matching subscribers) does not: the broker threw the message away.
- A refusal that may pass pauses sending, and one record at a time tries whether the cause is gone. If it concerns the
  topic (nobody subscribed, not authorised) the other topics go on; if the broker (quota, any code we do not know) none.
  A refusal that cannot pass (too large, wrong format, bad topic) makes the record undeliverable.
- Whatever was in flight when a link goes down is sent again on the next one, from the outbox, which alone remembers.
- One question to the outbox at a time; the answer to a question from before a rewind is thrown away.
- A record at which the link breaks is sent alone. If it breaks so five times in a row, at once, the record is set aside
  and the next ones are tried. It is undeliverable if the link breaks at it once more right after another record got
  through: a broker that breaks at everything is no reason to throw records away.
- Waits between attempts are drawn from up to a cap that doubles, so that a fleet does not return in step.
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
"""Reasons that concern one topic: the others may still be used."""
_FIRST_CAP_S: Final = 1.0
_LAST_CAP_S: Final = 30.0
_ALONE_LOSSES: Final = 5
_AT_ONCE_NS: Final = 10 * NS_PER_S
"""A record that was alone in flight at so many breaks in a row, each this soon after it was sent, is suspected."""
_MOST_ASIDE: Final = 16


class LinkState(Enum):
    """Where the session stands. The text is shown to people."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    PAUSED = "paused"


class Session:
    """The state of one uplink.

    Args:
        in_flight_limit: how many records may be in flight.
        ack_timeout_ns: a link on which a PUBACK is missing for so long is given up; an outbox that does not answer
            for so long is asked anew.
        rng: draws waiting times.
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
        self._closed: set[Way] = set()
        self._refusals: dict[Way, int] = {}
        self._may_send = False
        self._asked = 0
        self._answer_due_ns: int | None = None
        self._outdated = False  # the answer that is on its way was asked for before the last rewind
        self._dry = False
        self._attempts = 0
        self._retry_ns: int | None = None
        self._acked_on_link = False
        self._suspect: int | None = None
        self._losses_alone = 0
        self._aside: list[int] = []
        self._held: list[tuple[Lane, Record]] = []

    # ---- what happened

    def connected(self, receive_maximum: int) -> None:
        """The broker accepted us and will take so many unacknowledged publishes."""
        self.state, self.reason = LinkState.ONLINE, ""
        self._retry_ns = None
        self._granted_limit = max(1, min(self._configured_limit, receive_maximum))
        self._acked_on_link = False
        self._begin_anew(1 if self._suspect is not None or self._aside else self._granted_limit)

    def disconnected(self, now_ns: int, reason: str) -> None:
        """The link is down, or could not be made."""
        self._look_for_poison(now_ns)
        self.state, self.reason = LinkState.OFFLINE, reason
        self._may_send = False
        self._answer_due_ns = None
        self._in_flight.clear()
        self._retry_ns = now_ns + self._backoff_ns()

    def stored(self) -> None:
        """The outbox has committed something."""
        self._dry = False
        self._request()

    def offered(self, now_ns: int, records: Sequence[tuple[Lane, Record]]) -> None:
        """The outbox answers."""
        asked, self._asked, self._answer_due_ns = self._asked, 0, None
        outdated, self._outdated = self._outdated or not asked, False
        if not self._may_send:
            return  # asked before a break or a pause; the outbox is rewound after it
        if outdated:
            if records and not asked:
                self._begin_anew(self._limit)  # the answer was given up too early, and who got it is not clear
            self._request()
            return
        self._dry = len(records) < asked
        open_ways = [each for each in records if way_of(*each) not in self._closed]
        # Behind what has to wait there may be much more of it: look again when something new was stored.
        self._dry = self._dry or not open_ways
        self._held += [each for each in open_ways if each[1].rowid not in self._in_flight]
        self._go_on(now_ns)

    def acknowledged(self, now_ns: int, record: Record, code: int) -> None:
        """A PUBACK came, with this reason code (0 in MQTT 3.1.1)."""
        sent = self._in_flight.pop(record.rowid, None)
        if sent is None:
            return  # of an earlier link
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
        self._go_on(now_ns)

    def refused(self, now_ns: int, record: Record, reason: str) -> None:
        """The record that was to be sent cannot be, by anyone."""
        if self._in_flight.pop(record.rowid, None) is not None:
            self.sent -= 1
            self._refuse(record, reason)
            self._go_on(now_ns)

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        if any(now_ns >= due_ns for _record, due_ns, _way in self._in_flight.values()):
            self._actions.append(Drop())
            self.disconnected(now_ns, "the broker acknowledges nothing any more")
        if self._retry_ns is not None and now_ns >= self._retry_ns:
            if self.state is LinkState.OFFLINE:
                self._retry_ns = None
                self.state = LinkState.CONNECTING
                self._actions.append(Open())
            elif not self._in_flight:  # paused: one record tells whether the cause is gone
                self._retry_ns = None
                self._begin_anew(1)
        if self._asked and self._may_send:
            if self._answer_due_ns is None:
                self._answer_due_ns = now_ns + self._ack_timeout_ns
            elif now_ns >= self._answer_due_ns:  # the store fell over this question
                self._asked, self._answer_due_ns = 0, None
                self._begin_anew(self._limit)

    # ---- what to do

    def take_actions(self) -> list[Action]:
        """What is to be done now, in order."""
        actions, self._actions = self._actions, []
        return actions

    def deadline_ns(self) -> int | None:
        """When `tick` is wanted."""
        times = [due_ns for _record, due_ns, _way in self._in_flight.values()]
        if self._retry_ns is not None and not self._in_flight:
            times.append(self._retry_ns)
        if self._answer_due_ns is not None:
            times.append(self._answer_due_ns)
        return min(times, default=None)

    @property
    def in_flight(self) -> int:
        """Records published and not acknowledged."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether nothing is going on that a short wait would finish."""
        waiting = self._in_flight or (self._asked and self._may_send)
        return self.state is not LinkState.CONNECTING and not waiting

    # ---- inside

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
        """Stop using a topic for a while; what belongs there stays in the outbox, and the others go on."""
        self._closed.add(way)
        self.state, self.reason = LinkState.PAUSED, reason
        self._held = [each for each in self._held if way_of(*each) not in self._closed]
        if self._retry_ns is None:
            self._retry_ns = now_ns + self._wait_ns(self._refusals.get(way, 0))
            self._refusals[way] = self._refusals.get(way, 0) + 1

    def _refuse(self, record: Record, reason: str) -> None:
        self._forget_aside(record)
        self._actions.append(Refuse(record, reason))

    def _forget_aside(self, record: Record) -> None:
        if record.rowid in self._aside:
            self._aside.remove(record.rowid)

    def _begin_anew(self, in_flight_limit: int) -> None:
        """Send from the oldest record on. An answer that is still on its way was asked for before."""
        self._may_send = True
        self._limit = in_flight_limit
        self._dry = False
        self._outdated = self._asked > 0
        self._held.clear()
        self._closed.clear()
        self._actions.append(Rewind())
        self._request()

    def _go_on(self, now_ns: int) -> None:
        """Send what was handed out as far as there is room, and ask for more.

        Records that were set aside wait until another one got through on this link, and are then sent alone.
        """
        if not self._may_send:
            return
        aside = [each for each in self._held if each[1].rowid in self._aside]
        if aside and self._acked_on_link:
            if not self._in_flight:
                self._send(now_ns, *aside[0])
            return
        for each in [each for each in self._held if each not in aside][: self._limit - len(self._in_flight)]:
            self._send(now_ns, *each)
        self._request()

    def _request(self) -> None:
        room = self._limit - len(self._in_flight)
        if self._may_send and room > 0 and not self._asked and not self._dry:
            self._asked = room + max(0, len(self._aside) - len(self._held))
            self._actions.append(HandOut(self._asked))

    def _look_for_poison(self, now_ns: int) -> None:
        """Judge the record at which the link broke."""
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
        """A random wait below a cap that doubles with each attempt."""
        cap_s = min(_LAST_CAP_S, _FIRST_CAP_S * 2.0 ** min(attempts, 10))
        return round(self._rng.uniform(0.05, 1.0) * cap_s * NS_PER_S)
