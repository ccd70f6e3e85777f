"""State machine of the link: decides the next actions from events. Sans-I/O: no socket, no clock, no thread.

Rules:
- Only PUBACK 0x00 confirms a record. 0x10 (no matching subscribers) does not: the broker has discarded the message.
- A refusal that may pass pauses sending; then one record at a time tests whether the cause has ended. If it concerns
  the topic (no subscriber, not authorised), the other topics are still used; if it concerns the broker (quota, any
  unknown code), none is.
- No refusal deletes a record. One that the broker or the link does not take (too large, wrong format, bad topic, the
  link breaks whenever it is sent, it cannot be encoded) is set aside: it stays pending in the outbox and is skipped.
  Records that are set aside are sent again when the terms of the broker have changed, an hour after the first was set
  aside, and after the next start of the program, because the outbox keeps this in memory only.
- Records in flight when a link goes down are sent again on the next one. They come from the outbox; the session keeps
  no records over a break.
- One request to the outbox at a time; the answer to a request from before a rewind is discarded.
- Which record makes links break is found in `suspects`.
- Waits between attempts, and clients with the same id, are decided about in `ends`; closed topics in `topics`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.action import Action, Confirm, Drop, HandOut, Open, Readmit, Rewind, Send, SetAside, Way, way_of
from edge_agent.uplink.ends import Ending, Ends
from edge_agent.uplink.suspects import Suspects
from edge_agent.uplink.topics import Topics

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.terms import Terms

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
READMIT_NS: Final = 3600 * NS_PER_S
"""Time after which records that were set aside are sent again."""


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
        aside_reason: why the latest record was set aside; empty if none is.
    """

    def __init__(self, *, in_flight_limit: int, ack_timeout_ns: int, rng: random.Random) -> None:
        self.state = LinkState.CONNECTING
        self.reason = "not connected yet"
        self.aside_reason = ""
        self.sent = self.acknowledged_count = 0
        self._configured_limit = self._granted_limit = self._limit = in_flight_limit
        self._ack_timeout_ns = ack_timeout_ns
        self._ends = Ends(rng)
        self._topics = Topics(rng)
        self._actions: list[Action] = [Open()]
        self._in_flight: dict[int, tuple[Record, int, Way]] = {}
        self._pause_reason = ""  # why nothing is sent at all
        self._may_send = False
        self._requested = 0  # records requested from the outbox and not answered yet
        self._answer_due_ns: int | None = None
        self._outdated = False  # the open request is from before the last rewind
        self._drained = False  # the outbox has no more records to send for now
        self._retry_ns: int | None = None
        self._suspects = Suspects()
        self._terms: Terms | None = None  # those of the last link
        self._readmit_ns: int | None = None  # when what was set aside is sent again; None if nothing is
        self._held: list[tuple[Lane, Record]] = []  # handed out, not sent yet

    # ---- events

    def connected(self, now_ns: int, terms: Terms) -> None:
        """Handle a new link."""
        self.state, self._pause_reason = LinkState.ONLINE, ""
        self._retry_ns = None
        self._ends.connected(now_ns)
        self._granted_limit = max(1, min(self._configured_limit, terms.receive_maximum))
        self._suspects.connected()
        if self._terms is not None and _other_limits(self._terms, terms):
            self._readmit()
        self._terms = terms
        self._restart(now_ns, 1 if self._suspects.any else self._granted_limit)
        self._explain()

    def disconnected(self, now_ns: int, reason: str, ending: Ending = Ending.OTHER) -> None:
        """Handle the end of a link, or that it could not be made."""
        at_record = bool(self._in_flight) and not self._suspects.acquitted
        if ending is not Ending.TAKEN_OVER:
            self._suspect_record(now_ns)
        self._may_send = False
        self._answer_due_ns = None
        self._in_flight.clear()
        self._retry_ns = now_ns + self._ends.ended(now_ns, ending, at_record=at_record)
        self.state, self.reason = LinkState.OFFLINE, self._ends.duplicate or reason

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
                self._restart(now_ns, self._limit)  # late answer to a request that had timed out
            self._request()
            return
        self._drained = len(records) < requested
        sendable = [(lane, record) for lane, record in records if way_of(lane, record) not in self._topics.closed]
        # Many more records of a closed topic may follow: request again only when something new was stored.
        self._drained = self._drained or not sendable
        self._held += [(lane, record) for lane, record in sendable if record.rowid not in self._in_flight]
        if len(records) < requested:
            self._suspects.keep({*self._in_flight, *(record.rowid for _lane, record in self._held)})
        self._send_held(now_ns)
        self._explain()

    def acknowledged(self, now_ns: int, record: Record, code: int) -> None:
        """Handle a PUBACK with this reason code (0 in MQTT 3.1.1)."""
        sent = self._in_flight.pop(record.rowid, None)
        if sent is None:
            return  # from an earlier link
        _record, _due_ns, way = sent
        if code == _SUCCESS:
            self._succeed(record, way)
        elif code in _HOPELESS:
            self._set_aside(now_ns, record, f"refused by the broker: {_HOPELESS[code]} ({code:#04x})")
        elif code in _OF_THE_TOPIC:
            self._close(now_ns, way, f"the broker says of {way.value}: {_REASONS[code]} ({code:#04x})")
        else:
            self.state = LinkState.PAUSED
            self._pause_reason = f"the broker says: {_REASONS.get(code, 'refused')} ({code:#04x})"
            self._may_send = False
            if self._retry_ns is None:
                self._retry_ns = now_ns + self._ends.wait_ns()
        self._send_held(now_ns)
        self._explain()

    def refused(self, now_ns: int, record: Record, reason: str) -> None:
        """Handle that the record of a `Send` action cannot be sent on this link."""
        if self._in_flight.pop(record.rowid, None) is not None:
            self.sent -= 1
            self._set_aside(now_ns, record, reason)
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
                self._restart(now_ns, 1)
        if self._may_send and self._readmit_ns is not None and now_ns >= self._readmit_ns:
            self._restart(now_ns, self._limit)
        if self._requested and self._may_send:
            if self._answer_due_ns is None:
                self._answer_due_ns = now_ns + self._ack_timeout_ns
            elif now_ns >= self._answer_due_ns:  # the request was lost in the store
                self._requested, self._answer_due_ns = 0, None
                self._restart(now_ns, self._limit)
        self._ends.tick(now_ns)
        self._explain()

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
        others = (self._answer_due_ns, self._ends.calm_ns, self._readmit_ns if self._may_send else None)
        times += [due_ns for due_ns in others if due_ns is not None]
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
        self._topics.arrived(way)
        self._ends.acknowledged()
        self._suspects.acknowledged(record.rowid)
        if self._may_send:
            self.state, self._pause_reason = LinkState.ONLINE, ""
        self._limit = self._granted_limit
        self._actions.append(Confirm(record))

    def _close(self, now_ns: int, way: Way, reason: str) -> None:
        """Do not use a topic for some time; its records stay in the outbox, and other topics are still used."""
        self._topics.close(way, reason)
        self.state = LinkState.PAUSED
        self._held = [(lane, record) for lane, record in self._held if way_of(lane, record) not in self._topics.closed]
        if self._retry_ns is None:
            self._retry_ns = now_ns + self._topics.wait_ns(way)

    def _set_aside(self, now_ns: int, record: Record, reason: str) -> None:
        self._suspects.forget(record.rowid)
        self.aside_reason = reason
        if self._readmit_ns is None:
            self._readmit_ns = now_ns + READMIT_NS
        self._actions.append(SetAside(record, reason))

    def _readmit(self) -> None:
        if self._readmit_ns is not None:
            self._readmit_ns, self.aside_reason = None, ""
            self._suspects.readmitted()
            self._actions.append(Readmit())

    def _restart(self, now_ns: int, in_flight_limit: int) -> None:
        """Rewind and send from the oldest record on. The answer to an open request will be outdated."""
        if self._readmit_ns is not None and now_ns >= self._readmit_ns:
            self._readmit()
        self._may_send = True
        self._limit = in_flight_limit
        self._drained = False
        self._outdated = self._requested > 0
        self._held.clear()
        self._topics.open_all()
        self._actions.append(Rewind())
        self._request()

    def _send_held(self, now_ns: int) -> None:
        """Send records that were handed out, up to the limit, and request more."""
        if not self._may_send:
            return
        waiting = [held for held in self._held if held[1].rowid in self._suspects.waiting]
        if waiting and self._suspects.may_send(waiting[0][1].rowid):
            if not self._in_flight:
                self._send(now_ns, *waiting[0])
            return
        for lane, record in [held for held in self._held if held not in waiting][: self._limit - len(self._in_flight)]:
            self._send(now_ns, lane, record)
        self._request()

    def _request(self) -> None:
        room = self._limit - len(self._in_flight)
        if self._may_send and room > 0 and not self._requested and not self._drained:
            self._requested = room + max(0, len(self._suspects.waiting) - len(self._held))
            self._actions.append(HandOut(self._requested))

    def _suspect_record(self, now_ns: int) -> None:
        """Set the record in flight aside if it is the cause of the break."""
        if self._in_flight:
            record, due_ns, _way = next(iter(self._in_flight.values()))
            alone = len(self._in_flight) == 1
            if self._suspects.broken(record, due_ns - self._ack_timeout_ns, now_ns, alone=alone):
                self._set_aside(now_ns, record, "the link broke whenever it was sent")

    def _explain(self) -> None:
        """Set the reason of a link that stands, and end a pause whose cause has ended."""
        if self._drained and not self._in_flight and not self._held:
            self._topics.emptied()
        if self.state in {LinkState.ONLINE, LinkState.PAUSED}:
            self.reason = self._pause_reason or self._ends.duplicate or self._topics.reason
            if not self._pause_reason and not self._topics.reason:
                self.state = LinkState.ONLINE


def _other_limits(before: Terms, now: Terms) -> bool:
    """Whether a broker may take what it or another one did not take before."""
    return (before.maximum_packet_bytes, before.broker) != (now.maximum_packet_bytes, now.broker)
