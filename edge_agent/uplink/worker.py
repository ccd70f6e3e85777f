"""The uplink's worker: owner of the link. Carries out what the session decides, and tells it what happened."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.runtime import Inbox
from edge_agent.uplink.action import Action, Confirm, Drop, HandOut, Open, Refuse, Rewind, Send
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.mqtt import Link, LinkDown, LinkEvent, LinkUp, Puback, Received, TooLarge
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
_ALL_WELL: Final = f"{LinkState.ONLINE.value} "
_SILENT_ENDS: Final = 3
"""Connections in a row that the broker closed without a word before another version of MQTT is tried."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The outbox hands out records."""

    records: Sequence[tuple[Lane, Record]]


@dataclass(frozen=True, slots=True)
class Stored:
    """The outbox has committed."""


@dataclass(frozen=True, slots=True)
class PublishStatus:
    """It is time for a heartbeat, or somebody asked for a birth."""

    occasion: Occasion = Occasion.HEARTBEAT


@dataclass(frozen=True, slots=True)
class Heard:
    """Something happened on the link with this number. Links before it may still have something to say."""

    link: int
    event: LinkEvent


UplinkInput = Heard | Offered | Stored | PublishStatus


@dataclass(frozen=True, slots=True)
class OutboxSide:
    """What the uplink does to records; each call only puts something into the store's inbox."""

    rewind: Callable[[], object]
    hand_out: Callable[[int], object]
    confirm: Callable[[Record], object]
    refuse: Callable[[Record, str], object]


@dataclass(frozen=True, slots=True)
class UplinkPart:
    """What the uplink has done so far.

    Attributes:
        state: of the link.
        reason: why it is not simply online; empty if it is.
        sent: PUBLISH packets of records, repeated ones too.
        acknowledged: successful answers to them.
        bytes_sent: payloads of records.
    """

    state: LinkState
    reason: str
    sent: int
    acknowledged: int
    bytes_sent: int


class UplinkWorker:
    """Keeps one link and sends records over it.

    Args:
        broker: where to.
        dialect: builds what is published, and says on which topics.
        versions: MQTT versions to try in turn: 5, 4 (which is 3.1.1).
        session: decides.
        outbox: gives and takes back records.
        command: takes what the link hears besides answers to records.
        link: makes a connection; a test of failing networks gives another.
        clock: only for the session's deadlines.
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
        link: Callable[..., Link] = Link,
    ) -> None:
        self.inbox: Inbox[UplinkInput] = Inbox(INBOX_LIMIT)
        self.session = session
        self._bytes_sent = 0
        self._broker = broker
        self._dialect = dialect
        self._versions = versions
        self._version = versions[0]
        self._outbox = outbox
        self._clock = clock
        self._command = command
        self._make_link = link
        self._link: Link | None = None
        self._links = 0
        self._silent_ends = 0
        self._mids: dict[int, Record] = {}
        self._said: set[str] = set()

    def step(self) -> int | None:
        """Hear what happened and do what follows from it."""
        for message in self.inbox.take_all():
            self._hear(message)
        while True:
            self.session.tick(self._clock.now_ns())
            actions = self.session.take_actions()
            if not actions:
                break
            for action in actions:
                self._carry_out(action)
        self._say_changes()
        return self.session.deadline_ns()

    def snapshot(self) -> UplinkPart:
        """Its part of a snapshot."""
        session = self.session
        return UplinkPart(session.state, session.reason, session.sent, session.acknowledged_count, self._bytes_sent)

    def stop(self) -> None:
        """Say a last word and close the link."""
        if self._link is None:
            return
        self._notify(Occasion.FAREWELL)
        self._link.close()
        self._link = None

    def _hear(self, message: UplinkInput) -> None:
        now_ns = self._clock.now_ns()
        match message:
            case Heard(link, event):
                if link == self._links and self._link is not None:
                    self._hear_link(event, now_ns)
            case Offered(records):
                self.session.offered(now_ns, records)
            case Stored():
                self.session.stored()
            case PublishStatus(occasion):
                self._notify(occasion)

    def _hear_link(self, event: LinkEvent, now_ns: int) -> None:
        match event:
            case LinkUp(receive_maximum):
                self._silent_ends = 0
                self.session.connected(receive_maximum)
                self._notify(Occasion.BIRTH)
            case LinkDown(reason, wrong_version, refused):
                self._choose_version(wrong_version=wrong_version, at_once=refused)
                self._forget_link()
                self.session.disconnected(now_ns, reason)
            case Puback(mid, code):
                record = self._mids.pop(mid, None)
                if record is not None:
                    self._dialect.answered(record, taken=code == 0)
                    self.session.acknowledged(now_ns, record, code)
            case Received(payload):
                for command in self._dialect.heard(payload):
                    self._command(command)

    def _choose_version(self, *, wrong_version: bool, at_once: bool) -> None:
        """The next one if the broker does not know this one; after any connection that stood, the first again.

        A broker that is just going down closes without a word, too, and staying with 3.1.1 because of it would mean
        to trust a PUBACK that cannot say that nobody was there.
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
            case HandOut(limit):
                self._outbox.hand_out(limit)
            case Send(lane, record):
                self._send(lane, record)
            case Confirm(record):
                self._outbox.confirm(record)
            case Refuse(record, reason):
                log.error("a record cannot be delivered and is replaced by a tombstone reason=%r", reason)
                self._outbox.refuse(record, reason)

    def _open(self) -> None:
        self._links += 1
        number = self._links
        try:
            link = self._make_link(
                self._broker,
                self._dialect.will(),
                self._version,
                lambda event: self.inbox.put(Heard(number, event)),
                self._dialect.command_topic,
            )
            link.open()
        except Exception as error:  # no thread, no descriptor, no memory: later there may be
            log.exception("the link cannot be opened and is tried again")
            self.session.disconnected(self._clock.now_ns(), f"internal error: {error}")
        else:
            self._link = link

    def _forget_link(self) -> None:
        self._link = None
        self._mids.clear()

    def _send(self, lane: Lane, record: Record) -> None:
        if self._link is None:
            return  # it went down within this step, and the record is sent again after that
        try:
            said = self._dialect.publication(lane, record)
            try:
                self._publish(self._link, record, said)
            except TooLarge:  # maybe because of what it told beside the record
                self._dialect.answered(record, taken=False)
                plainer = self._dialect.publication(lane, record)
                if len(plainer.payload) >= len(said.payload):
                    raise
                self._publish(self._link, record, plainer)
        except TooLarge as error:
            self._dialect.answered(record, taken=False)
            self.session.refused(self._clock.now_ns(), record, str(error))
        except Exception as error:
            # One record that cannot be put into a message must not hold up those behind it.
            log.exception("a record cannot be encoded epoch=%d seq=%d", record.epoch, record.seq)
            self._dialect.answered(record, taken=False)
            self.session.refused(self._clock.now_ns(), record, f"it cannot be encoded: {error}")

    def _publish(self, link: Link, record: Record, said: Publication) -> None:
        self._say(said.before)
        mid = link.publish(said.topic, said.payload, said.content_type, said.user_properties)
        self._mids[mid] = record
        self._bytes_sent += len(said.payload)

    def _notify(self, occasion: Occasion) -> None:
        if self.session.state in {LinkState.ONLINE, LinkState.PAUSED}:
            self._say(self._dialect.notices(occasion))

    def _say(self, notices: Sequence[Notice]) -> None:
        if self._link is not None:
            for each in notices:
                self._link.notify(each.topic, each.payload, retain=each.retain)

    def _say_changes(self) -> None:
        """Log each state and cause once, until all is well again: two topics that wait may take turns for ever."""
        state, reason = self.session.state, self.session.reason
        said = f"{state.value} {reason}"
        if state is LinkState.CONNECTING or said in self._said:
            return
        where = f"{self._broker.host}:{self._broker.port}"
        if state is LinkState.ONLINE and not reason:
            self._said.clear()
            log.info("uplink online broker=%s mqtt=%s", where, "5" if self._version == _MQTT_5 else "3.1.1")
        else:
            self._said.discard(_ALL_WELL)
            some = "online, but some" if state is LinkState.ONLINE else f"{state.value},"
            log.warning("uplink %s records wait in the outbox reason=%r", some, reason)
        self._said.add(said)
