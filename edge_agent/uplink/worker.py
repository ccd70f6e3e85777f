"""Worker of the uplink: owns the link, passes events to the session and executes its actions."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.runtime import Inbox
from edge_agent.uplink.action import (
    Action,
    Answer,
    Confirm,
    Drop,
    HandOut,
    Open,
    Readmit,
    Rewind,
    Send,
    SetAside,
    Teach,
)
from edge_agent.uplink.confirmation import Ack, Ask
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.mqtt import Link, LinkDown, LinkEvent, LinkUp, Puback, Received
from edge_agent.uplink.notices import Notices
from edge_agent.uplink.sending import Sending
from edge_agent.uplink.session import LinkState, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Command
    from edge_agent.uplink.confirmation import Seqs
    from edge_agent.uplink.dialect import Dialect, Notice
    from edge_agent.uplink.mqtt import Broker

log = logging.getLogger(__name__)

INBOX_LIMIT: Final = 100_000
_MQTT_5: Final = 5
_ONLINE: Final = f"{LinkState.ONLINE.value} "
_SILENT_ENDS: Final = 3
"""Number of consecutive connections closed without an answer, after which another version of MQTT is tried."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The outbox hands out records."""

    records: Sequence[tuple[Lane, Record]]


@dataclass(frozen=True, slots=True)
class Stored:
    """The outbox has committed."""


@dataclass(frozen=True, slots=True)
class PublishStatus:
    """Publish the notices of an occasion: a heartbeat, or a birth that a host requested."""

    occasion: Occasion = Occasion.HEARTBEAT


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of the link with this number. Events of earlier links may arrive late."""

    link: int
    event: LinkEvent


UplinkInput = Heard | Offered | Stored | PublishStatus


@dataclass(frozen=True, slots=True)
class OutboxSide:
    """Requests to the outbox; each call only puts a message into the inbox of the store."""

    rewind: Callable[[], object]
    hand_out: Callable[[int, int], object]
    confirm: Callable[[Record], object]
    set_aside: Callable[[Record], object]
    readmit: Callable[[], object]
    answer: Callable[[tuple[Seqs, ...]], object] = lambda _missing: None


@dataclass(frozen=True, slots=True)
class UplinkPart:
    """State and counts of the uplink.

    Attributes:
        state: state of the link.
        reason: why it is not simply online; empty if it is.
        sent: number of PUBLISH packets of records, repeated ones included.
        acknowledged: number of successful PUBACKs.
        bytes_sent: size of all payloads of records.
        aside_reason: why the latest record was set aside; empty if none is.
        bytes_per_s: measured rate at which payloads of records arrive; None if it is not known.
        records_per_s: records that arrive in a second at that rate, within the configured limits; None if not known.
        unconfirmed: number of records that the broker has and no receiver has confirmed yet.
        unheard: sentence if receivers are awaited and none has ever confirmed anything; empty otherwise.
        ignored_receivers: names of receivers that are ignored because others are required.
        ignored_messages: number of messages of receivers that cannot be read, or lack a valid signature.
    """

    state: LinkState
    reason: str
    sent: int
    acknowledged: int
    bytes_sent: int
    aside_reason: str = ""
    bytes_per_s: float | None = None
    records_per_s: float | None = None
    unconfirmed: int = 0
    unheard: str = ""
    ignored_receivers: tuple[str, ...] = ()
    ignored_messages: int = 0


class UplinkWorker:
    """Keeps one link up and sends records over it.

    Args:
        broker: address and identity.
        dialect: builds all messages and their topics.
        versions: MQTT versions to try in turn: 5, or 4 for MQTT 3.1.1.
        session: decides what to do next.
        outbox: requests to the outbox.
        command: called with each command that arrives over the link.
        too_large: called with a record that is larger than the broker takes, and which share of it would be taken.
        link: makes a connection; a test of failing networks passes another factory.
        clock: source of time for the deadlines of the session.
    """

    name = "uplink"

    def __init__(
        self,
        *,
        broker: Broker,
        dialect: Dialect,
        versions: tuple[int, ...],
        session: Session,
        outbox: OutboxSide,
        clock: Clock,
        command: Callable[[Command], object] = lambda _command: None,
        too_large: Callable[[Record, float], object] = lambda _record, _share: None,
        link: Callable[..., Link] = Link,
    ) -> None:
        self.inbox: Inbox[UplinkInput] = Inbox(INBOX_LIMIT)
        self.session = session
        self._broker = broker
        self._dialect = dialect
        self._notices = Notices(dialect)
        self._versions = versions
        self._version = versions[0]
        self._outbox = outbox
        self._clock = clock
        self._command = command
        self._sending = Sending(dialect, self._notices, session, too_large)
        self._make_link = link
        self._link: Link | None = None
        self._links = 0
        self._silent_ends = 0
        self._logged: set[str] = set()
        self._logged_aside: set[str] = set()

    def step(self) -> int | None:
        """Handle what arrived, and execute the resulting actions."""
        for message in self.inbox.take_all():
            self._handle(message)
        while True:
            self.session.tick(self._clock.now_ns())
            actions = self.session.take_actions()
            if not actions:
                break
            for action in actions:
                self._carry_out(action)
        self._log_changes()
        return self.session.deadline_ns()

    def snapshot(self) -> UplinkPart:
        """State and counts for the snapshot of the agent."""
        session = self.session
        return UplinkPart(
            session.state,
            session.reason,
            session.sent,
            session.acknowledged_count,
            self._sending.bytes_sent,
            session.aside_reason,
            session.bytes_per_s,
            session.records_per_s,
            session.unconfirmed,
            session.unheard,
            session.ignored_receivers,
            self._dialect.ignored,
        )

    def stop(self) -> None:
        """Publish the farewell notices and close the link."""
        if self._link is None:
            return
        self._notify(Occasion.FAREWELL)
        self._link.close()
        self._link = None

    def _handle(self, message: UplinkInput) -> None:
        now_ns = self._clock.now_ns()
        match message:
            case Heard(link, event):
                if link == self._links and self._link is not None:
                    self._handle_link(event, now_ns)
            case Offered(records):
                self.session.offered(now_ns, records)
            case Stored():
                self.session.stored()
            case PublishStatus(occasion):
                self._notify(occasion)

    def _handle_link(self, event: LinkEvent, now_ns: int) -> None:
        match event:
            case LinkUp(terms):
                self._silent_ends = 0
                self.session.connected(now_ns, terms)
                self._notices.connected(now_ns, terms)
                self._notify(Occasion.BIRTH)
            case LinkDown():
                self._choose_version(wrong_version=event.wrong_version, at_once=event.refused)
                self._forget_link()
                self.session.disconnected(now_ns, event.reason, event.ending)
            case Puback(mid, code):
                self._sending.acknowledged(now_ns, self._link, mid, code)
            case Received(topic, payload):
                for heard in self._dialect.heard(topic, payload):
                    self._hear(heard, now_ns)

    def _hear(self, heard: Command | Ack | Ask, now_ns: int) -> None:
        match heard:
            case Ack():
                self.session.confirmed(now_ns, heard)
            case Ask():
                self.session.asked(now_ns, heard)
            case command:
                self._command(command)

    def _choose_version(self, *, wrong_version: bool, at_once: bool) -> None:
        """Choose the next version if the broker does not support this one; the first after an established connection.

        A broker that shuts down also closes connections without an answer. To stay with 3.1.1 for that reason would be
        harmful: its PUBACK cannot report that there was no subscriber.
        """
        if not wrong_version:
            self._silent_ends = 0
            if self.session.state in {LinkState.ONLINE, LinkState.PAUSED}:
                self._version = self._versions[0]
            return
        self._silent_ends += 1
        if at_once or self._silent_ends >= _SILENT_ENDS:
            self._silent_ends = 0
            self._version = self._versions[(self._versions.index(self._version) + 1) % len(self._versions)]

    def _carry_out(self, action: Action) -> None:
        match action:
            case Open():
                self._open()
            case Drop():
                if self._link is not None:
                    self._link.abandon()
                self._forget_link()
            case Send():
                if self._link is not None:  # else it went down within this step; the record is sent on the next one
                    self._sending.send(self._clock.now_ns(), self._link, action)
            case Teach():
                self._notify(Occasion.TEACH)
            case _:
                self._tell_outbox(action)

    def _tell_outbox(self, action: Rewind | HandOut | Confirm | SetAside | Readmit | Answer) -> None:
        match action:
            case Rewind():
                self._outbox.rewind()
            case HandOut(limit, backlog):
                self._outbox.hand_out(limit, backlog)
            case Confirm(record):
                self._outbox.confirm(record)
            case SetAside(record, reason):
                self._log_aside(record, reason)
                self._outbox.set_aside(record)
            case Readmit():
                self._logged_aside.clear()
                self._outbox.readmit()
            case Answer(missing):
                self._outbox.answer(missing)

    def _open(self) -> None:
        self._links += 1
        number = self._links
        try:
            link = self._make_link(
                self._broker,
                self._dialect.will(),
                self._version,
                lambda event: self.inbox.put(Heard(number, event)),
                self._dialect.topics,
            )
            link.open()
        except Exception as error:  # no thread, descriptor or memory available: try again later
            log.exception("the link cannot be opened and is tried again")
            self.session.disconnected(self._clock.now_ns(), f"internal error: {error}")
        else:
            self._link = link

    def _forget_link(self) -> None:
        self._link = None
        self._notices.disconnected(self._clock.now_ns())
        self._sending.disconnected()

    def _notify(self, occasion: Occasion) -> None:
        if self.session.state in {LinkState.ONLINE, LinkState.PAUSED}:
            self._publish_notices(self._notices.due(occasion, self.session.bytes_per_s))

    def _publish_notices(self, notices: Sequence[Notice]) -> None:
        if self._link is not None:
            for notice in notices:
                self._link.notify(notice.topic, notice.payload, retain=notice.retain)

    def _log_aside(self, record: Record, reason: str) -> None:
        """Log each reason once until all records are tried again: it may hold for thousands of them."""
        if reason not in self._logged_aside:
            text = "records are set aside; they wait in the outbox and are tried again within the hour"
            log.error("%s reason=%r first_epoch=%d first_seq=%d", text, reason, record.epoch, record.seq)
            self._logged_aside.add(reason)

    def _log_changes(self) -> None:
        """Log each state and reason once until the link is online again: two closed topics may alternate for long."""
        state, reason = self.session.state, self.session.reason
        entry = f"{state.value} {reason}"
        if state is LinkState.CONNECTING or entry in self._logged:
            return
        where = f"{self._broker.host}:{self._broker.port}"
        if state is LinkState.ONLINE and not reason:
            self._logged.clear()
            log.info("uplink online broker=%s mqtt=%s", where, "5" if self._version == _MQTT_5 else "3.1.1")
        else:
            self._logged.discard(_ONLINE)
            text = "online, but" if state is LinkState.ONLINE else f"{state.value}, records wait in the outbox"
            log.warning("uplink %s reason=%r", text, reason)
        self._logged.add(entry)
