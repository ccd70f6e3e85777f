"""Worker of the uplink: owns the link, passes events to the session and executes its actions."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.runtime import Inbox
from edge_agent.uplink.action import Action, Confirm, Drop, HandOut, Open, Readmit, Rewind, Send, SetAside
from edge_agent.uplink.confirmation import Ack, Ask
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.mqtt import Link, LinkDown, LinkEvent, LinkUp, Puback, Received, TooLarge
from edge_agent.uplink.notices import Notices
from edge_agent.uplink.session import LinkState, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Command
    from edge_agent.uplink.dialect import Dialect, Notice, Publication
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
        self._bytes_sent = 0
        self._broker = broker
        self._dialect = dialect
        self._notices = Notices(dialect)
        self._versions = versions
        self._version = versions[0]
        self._outbox = outbox
        self._clock = clock
        self._command = command
        self._too_large = too_large
        self._make_link = link
        self._link: Link | None = None
        self._links = 0
        self._silent_ends = 0
        self._mids: dict[int, Record] = {}
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
            self._bytes_sent,
            session.aside_reason,
            session.bytes_per_s,
            session.records_per_s,
            session.unconfirmed,
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
                record = self._mids.pop(mid, None)
                if record is not None:
                    self._notices.acknowledged()
                    self._dialect.answered(record, taken=code == 0)
                    self.session.acknowledged(now_ns, record, code)
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
            case Rewind():
                self._outbox.rewind()
            case HandOut(limit, backlog):
                self._outbox.hand_out(limit, backlog)
            case Send(lane, record):
                self._send(lane, record)
            case Confirm(record):
                self._outbox.confirm(record)
            case SetAside(record, reason):
                self._log_aside(record, reason)
                self._outbox.set_aside(record)
            case Readmit():
                self._logged_aside.clear()
                self._outbox.readmit()

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
        self._mids.clear()

    def _send(self, lane: Lane, record: Record) -> None:
        if self._link is None:
            return  # the link went down within this step; the record is sent again on the next one
        try:
            publication = self._dialect.publication(lane, record)
            try:
                self._publish(self._link, record, publication)
            except TooLarge:  # perhaps only because of the announcement in it
                self._dialect.answered(record, taken=False)
                smaller = self._dialect.publication(lane, record)
                if len(smaller.payload) >= len(publication.payload):
                    raise
                self._publish(self._link, record, smaller)
        except TooLarge as error:
            self._dialect.answered(record, taken=False)
            reason = f"larger than the {error.limit_bytes} bytes that the broker takes"
            self.session.refused(self._clock.now_ns(), record, reason)
            self._too_large(record, error.limit_bytes / error.size_bytes)
        except Exception as error:
            # A record that cannot be encoded must not block the following ones.
            log.debug("a record cannot be encoded epoch=%d seq=%d", record.epoch, record.seq, exc_info=True)
            self._dialect.answered(record, taken=False)
            self.session.refused(self._clock.now_ns(), record, f"it cannot be encoded: {error}")

    def _publish(self, link: Link, record: Record, publication: Publication) -> None:
        self._publish_notices(self._notices.sendable(publication.before))
        mid = link.publish(
            publication.topic, publication.payload, publication.content_type, publication.user_properties
        )
        self._mids[mid] = record
        self.session.published(self._clock.now_ns(), record, len(publication.payload))
        self._bytes_sent += len(publication.payload)

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
