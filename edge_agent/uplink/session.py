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
- With `receipts`, a PUBACK confirms nothing: the record is sent, and stays in the outbox until receivers have
  confirmed it. After connecting, the backlog waits for a first ack, at most ACK_WAIT_NS.
- Live records go first, and not more bytes are in flight than the link carries in about a second: see `flow`.
- Waits between attempts, and clients with the same id, are decided about in `ends`; closed topics in `topics`.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.action import (
    Action,
    Answer,
    Confirm,
    Drop,
    Open,
    Readmit,
    Rewind,
    Send,
    SetAside,
    Teach,
    Way,
    way_of,
)
from edge_agent.uplink.codes import HOPELESS, OF_ONE_TOPIC, REASONS, SUCCESS
from edge_agent.uplink.ends import Ending, Ends
from edge_agent.uplink.flow import Flow
from edge_agent.uplink.pace import Limits
from edge_agent.uplink.requests import Requests
from edge_agent.uplink.suspects import Suspects
from edge_agent.uplink.topics import Topics

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.confirmation import Ack, Ask
    from edge_agent.uplink.receipts import Receipts
    from edge_agent.uplink.terms import Terms

READMIT_NS: Final = 3600 * NS_PER_S
"""Time after which records that were set aside are sent again."""

_NO_LIMITS: Final = Limits()
ACK_WAIT_NS: Final = 2 * NS_PER_S
"""Time for the retained acks of receivers to arrive after connecting."""


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
        limits: configured limits of what is sent.
        receipts: confirmations of receivers; None: a PUBACK confirms.

    Attributes:
        state: state of the link.
        reason: why it is not simply online; empty if it is.
        sent: number of records published, repeated ones included.
        acknowledged_count: number of successful PUBACKs.
        aside_reason: why the latest record was set aside; empty if none is.
    """

    def __init__(
        self,
        *,
        in_flight_limit: int,
        ack_timeout_ns: int,
        rng: random.Random,
        limits: Limits = _NO_LIMITS,
        receipts: Receipts | None = None,
    ) -> None:
        self.state = LinkState.CONNECTING
        self.reason = "not connected yet"
        self.aside_reason = ""
        self.sent = self.acknowledged_count = 0
        self._configured_limit = self._granted_limit = self._limit = in_flight_limit
        self._ack_timeout_ns = ack_timeout_ns
        self._receipts = receipts
        self._backlog_ns: int | None = None  # when the backlog is sent although no ack has arrived on this link
        self._ends = Ends(rng)
        self._topics = Topics(rng)
        self._actions: list[Action] = [Open()]
        self._flow = Flow(limits, ack_timeout_ns)
        self._pause_reason = ""  # why nothing is sent at all
        self._may_send = False
        self._requests = Requests(ack_timeout_ns)
        self._retry_ns: int | None = None
        self._suspects = Suspects()
        self._terms: Terms | None = None  # those of the last link
        self._readmit_ns: int | None = None  # when what was set aside is sent again; None if nothing is

    # ---- events

    def connected(self, now_ns: int, terms: Terms) -> None:
        """Handle a new link."""
        self.state, self._pause_reason = LinkState.ONLINE, ""
        self._retry_ns = None
        self._ends.connected(now_ns)
        self._granted_limit = max(1, min(self._configured_limit, terms.receive_maximum))
        self._suspects.connected()
        self._flow.connected()
        if self._terms is not None and _other_limits(self._terms, terms):
            self._readmit()
        self._terms = terms
        self._backlog_ns = None if self._receipts is None else now_ns + ACK_WAIT_NS
        self._restart(now_ns, 1 if self._suspects.any else self._granted_limit)
        self._explain()

    def disconnected(self, now_ns: int, reason: str, ending: Ending = Ending.OTHER) -> None:
        """Handle the end of a link, or that it could not be made."""
        at_record = self.in_flight > 0 and not self._suspects.acquitted
        if ending is not Ending.TAKEN_OVER:
            self._suspect_record(now_ns)
        self._may_send = False
        self._requests.due_ns = None
        self._flow.disconnected()
        self._retry_ns = now_ns + self._ends.ended(now_ns, ending, at_record=at_record)
        self.state, self.reason = LinkState.OFFLINE, self._ends.duplicate or reason

    def stored(self) -> None:
        """Handle a commit of the outbox: there may be new records."""
        self._requests.stored()
        self._request()

    def offered(self, now_ns: int, records: Sequence[tuple[Lane, Record]]) -> None:
        """Handle the answer of the outbox to a request."""
        request, usable = self._requests.answered(records)
        if not self._may_send:
            return  # requested before a break or a pause; a rewind follows
        if request is None or not usable:
            if records and request is None:
                self._restart(now_ns, self._limit)  # late answer to a request that had timed out
            self._request()
            return
        sendable = [(lane, record) for lane, record in records if way_of(lane, record) not in self._topics.closed]
        if records and not sendable:
            self._requests.exhausted()  # many more records of a closed topic may follow
        fresh = [held for held in sendable if not self._is_sent(held[1].rowid)]
        self._flow.lanes.add(fresh)
        if len(records) < request.limit and self._requests.drained:
            self._suspects.keep(self._flow.in_flight.keys() | self._flow.lanes.rowids())
        self._send_held(now_ns)
        self._explain()

    def acknowledged(self, now_ns: int, record: Record, code: int) -> None:
        """Handle a PUBACK with this reason code (0 in MQTT 3.1.1)."""
        sent = self._flow.acknowledged(now_ns, record.rowid)
        if sent is None:
            return  # from an earlier link
        way = sent.way
        if code != SUCCESS and self._receipts is not None:
            self._receipts.withdrawn(record.rowid)
        if code == SUCCESS:
            self._succeed(now_ns, record, way)
        elif code in HOPELESS:
            self._set_aside(now_ns, record, f"refused by the broker: {HOPELESS[code]} ({code:#04x})")
        elif code in OF_ONE_TOPIC:
            self._close(now_ns, way, f"the broker says of {way.value}: {REASONS[code]} ({code:#04x})")
        else:
            self.state = LinkState.PAUSED
            self._pause_reason = f"the broker says: {REASONS.get(code, 'refused')} ({code:#04x})"
            self._may_send = False
            if self._retry_ns is None:
                self._retry_ns = now_ns + self._ends.wait_ns()
        self._send_held(now_ns)
        self._explain()

    def published(self, now_ns: int, record: Record, size_bytes: int, *, refers: bool = False) -> None:
        """Handle the size of the payload of a `Send` action, and whether it needs an announcement."""
        self._flow.measured(now_ns, record, size_bytes)
        if refers and self._receipts is not None:
            self._receipts.refers(record.rowid)

    def progressed(self, now_ns: int, record: Record) -> None:
        """Handle that a part of the record of a `Send` action was acknowledged, and that the next part is sent."""
        self._flow.progressed(now_ns, record.rowid)

    def confirmed(self, now_ns: int, ack: Ack) -> None:
        """Handle what a receiver has confirmed."""
        if self._receipts is not None:
            self._actions += [Confirm(record) for record in self._receipts.confirmed(now_ns, ack)]
            self._backlog_ns = None
            self._send_held(now_ns)
            self._explain()

    def asked(self, now_ns: int, ask: Ask) -> None:
        """Handle what a receiver lacks: what waits is sent again, and the outbox tells of what does not."""
        if self._receipts is None or not self._receipts.heeds(ask.receiver):
            return
        again = self._receipts.asked(now_ns, ask)
        if ask.teach and self._receipts.teach(now_ns):
            self._actions.append(Teach())
            again = True
        if ask.missing:
            self._actions.append(Answer(ask.missing))
        if again and self._may_send:
            self._restart(now_ns, self._limit)

    def refused(self, now_ns: int, record: Record, reason: str) -> None:
        """Handle that the record of a `Send` action cannot be sent on this link."""
        if self._flow.withdrawn(record.rowid):
            if self._receipts is not None:
                self._receipts.withdrawn(record.rowid)
            self.sent -= 1
            self._set_aside(now_ns, record, reason)
            self._send_held(now_ns)

    def tick(self, now_ns: int) -> None:
        """Handle timeouts and retries that are due at `now_ns`."""
        overdue_ns, ready_ns = self._flow.overdue_ns(), self._flow.ready_ns
        if overdue_ns is not None and now_ns >= overdue_ns:
            self._actions.append(Drop())
            self.disconnected(now_ns, "the broker acknowledges nothing any more")
        if self._retry_ns is not None and now_ns >= self._retry_ns:
            if self.state is LinkState.OFFLINE:
                self._retry_ns = None
                self.state = LinkState.CONNECTING
                self._actions.append(Open())
            elif not self.in_flight:  # paused: one record tests whether the cause has ended
                self._retry_ns = None
                self._restart(now_ns, 1)
        if self._may_send and self._readmit_ns is not None and now_ns >= self._readmit_ns:
            self._restart(now_ns, self._limit)
        if self._may_send and self._requests.is_lost(now_ns):
            self._restart(now_ns, self._limit)
        self._tick_receipts(now_ns)
        if ready_ns is not None and now_ns >= ready_ns:
            self._send_held(now_ns)
        self._ends.tick(now_ns)
        self._explain()

    # ---- actions

    def take_actions(self) -> list[Action]:
        """Return and remove the pending actions, in order."""
        actions, self._actions = self._actions, []
        return actions

    def deadline_ns(self) -> int | None:
        """Time at which `tick` must be called, nanoseconds since boot; None: not needed."""
        times = (
            self._flow.overdue_ns(),
            self._flow.ready_ns if self._may_send else None,
            self._retry_ns if not self.in_flight else None,
            self._requests.due_ns,
            self._ends.calm_ns,
            self._backlog_ns if self._may_send else None,
            self._receipts.resend_ns if self._may_send and self._receipts is not None else None,
            self._readmit_ns if self._may_send else None,
        )
        return min((due_ns for due_ns in times if due_ns is not None), default=None)

    @property
    def in_flight(self) -> int:
        """Number of records published and not acknowledged."""
        return len(self._flow.in_flight)

    @property
    def bytes_per_s(self) -> float | None:
        """Measured rate of acknowledged bytes; None if it is not known, or no time passed."""
        rate = self._flow.pace.bytes_per_s
        return None if rate is None or math.isinf(rate) else rate

    @property
    def records_per_s(self) -> float | None:
        """Number of records that can arrive in a second at the measured rate; None if it is not known."""
        rate = self._flow.records_per_s if self.state is LinkState.ONLINE else None
        return None if rate is None or math.isinf(rate) else rate

    @property
    def unconfirmed(self) -> int:
        """Number of records that the broker has and no receiver has confirmed; 0 if none is asked to."""
        return 0 if self._receipts is None else self._receipts.unconfirmed

    @property
    def ignored_receivers(self) -> tuple[str, ...]:
        """Names of receivers that are heard, and ignored because others are required."""
        return () if self._receipts is None else tuple(sorted(self._receipts.others))

    @property
    def idle(self) -> bool:
        """Whether no answer is pending that a short wait would bring."""
        waiting = self.in_flight or self.unconfirmed or (self._requests.open and self._may_send)
        return self.state is not LinkState.CONNECTING and not waiting

    # ---- internal

    def _tick_receipts(self, now_ns: int) -> None:
        if self._receipts is not None and self._may_send and self._receipts.resend(now_ns):
            self._restart(now_ns, self._limit)
        if self._backlog_ns is not None and now_ns >= self._backlog_ns:
            self._backlog_ns = None
            self._request()

    def _is_sent(self, rowid: int) -> bool:
        return rowid in self._flow.in_flight or (self._receipts is not None and self._receipts.is_taken(rowid))

    def _may_take(self, *, backlog: bool) -> bool:
        """Whether one more record may be sent and not confirmed."""
        return self._receipts is None or self._receipts.has_room(self.in_flight, backlog=backlog)

    def _succeed(self, now_ns: int, record: Record, way: Way) -> None:
        self.acknowledged_count += 1
        self._topics.arrived(way)
        self._ends.acknowledged()
        self._suspects.acknowledged(record.rowid)
        if self._may_send:
            self.state, self._pause_reason = LinkState.ONLINE, ""
        self._limit = self._granted_limit
        if self._receipts is None:
            self._actions.append(Confirm(record))
        else:
            self._receipts.taken(now_ns, record.rowid)

    def _close(self, now_ns: int, way: Way, reason: str) -> None:
        """Do not use a topic for some time; its records stay in the outbox, and other topics are still used."""
        self._topics.close(way, reason)
        self.state = LinkState.PAUSED
        self._flow.lanes.drop(self._topics.closed)
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
        self._requests.rewound()
        self._flow.lanes.clear()
        self._topics.open_all()
        self._actions.append(Rewind())
        self._request()

    def _send_held(self, now_ns: int) -> None:
        """Send records that were handed out, as many as may be in flight, and request more."""
        while self._may_send and self._may_take(backlog=False):
            with_backlog = self._may_take(backlog=True)
            held = self._flow.next(now_ns, self._limit, self._suspects, with_backlog=with_backlog)
            if held is None:
                break
            self._flow.send(now_ns, held)
            again = self._receipts is not None and self._receipts.published(now_ns, held[1])
            self._actions.append(Send(*held, again))
            self.sent += 1
        self._request()

    def _request(self) -> None:
        """Request as many live records as may be in flight, although others are held: they go first."""
        lanes, waiting = self._flow.lanes, len(self._suspects.waiting)
        room = self._limit - self.in_flight
        # Suspects may be held for long; others must come past them.
        backlog = room + waiting - len(lanes)
        if self._backlog_ns is not None or not self._may_take(backlog=True):
            backlog = 0
        live = room + waiting - lanes.live
        if self._may_send and room > 0 and self._may_take(backlog=False):
            request = self._requests.make(live, backlog)
            if request is not None:
                self._actions.append(request)

    def _suspect_record(self, now_ns: int) -> None:
        """Set the record in flight aside if it is the cause of the break."""
        oldest = next(iter(self._flow.in_flight.values()), None)
        if oldest is not None and self._suspects.broken(
            oldest.record, oldest.sent_ns, now_ns, alone=self.in_flight == 1
        ):
            self._set_aside(now_ns, oldest.record, "the link broke whenever it was sent")

    @property
    def unheard(self) -> str:
        """Sentence if records were sent a second time and no receiver has ever confirmed one."""
        silent = self._receipts is not None and self._receipts.is_silent
        return 'ack = "receiver" and no receiver has confirmed anything yet' if silent else ""

    def _explain(self) -> None:
        """Set the reason of a link that stands, and end a pause whose cause has ended."""
        if self._requests.drained and not self.in_flight and not self._flow.lanes:
            self._topics.emptied()
        if self.state in {LinkState.ONLINE, LinkState.PAUSED}:
            self.reason = self._pause_reason or self._ends.duplicate or self._topics.reason or self.unheard
            if not self._pause_reason and not self._topics.reason:
                self.state = LinkState.ONLINE


def _other_limits(before: Terms, now: Terms) -> bool:
    """Whether a broker may take what it or another one did not take before."""
    return (before.maximum_packet_bytes, before.broker) != (now.maximum_packet_bytes, now.broker)
