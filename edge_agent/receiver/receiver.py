"""The receiver: takes messages, stores them in groups, acknowledges them, asks for what is missing. Read first.

A message is acknowledged to the broker (PUBACK) after the transaction that stores it, and to its gateway by the
retained message on `<prefix>/ack/<name>`. It does no input or output itself: the connection and the sinks do.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.clock import NS_PER_S
from edge_agent.errors import Unavailable
from edge_agent.receiver.acks import AckPlan, ack_message
from edge_agent.receiver.arrival import Refused
from edge_agent.receiver.asks import AskPlan, ask_message
from edge_agent.receiver.group import Group
from edge_agent.receiver.inbound import Inbound
from edge_agent.receiver.link import Arrived, Down, LinkEvent, Up
from edge_agent.receiver.signature import signed
from edge_agent.receiver.sinks import look
from edge_agent.receiver.sinks.writing import Stored
from edge_agent.runtime import Inbox

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.receiver.link import Connection
    from edge_agent.receiver.sinks.sqlite import SqliteSink

log = logging.getLogger(__name__)

MOST_WAITING: Final = 1024
"""Most events between the connection and us."""
_JUMP_BITS: Final = 40
RETRY_NS: Final = NS_PER_S
RETRY_MOST_NS: Final = 60 * NS_PER_S


class Feed(Protocol):
    """A sink that is fed from the database, after the commit."""

    def feed(self) -> None:
        """Write what is new in the database."""


class Receiver:
    """The one owner of the database and of the connection.

    Args:
        name: last level of the topics of acknowledgements and requests.
        sink: where records and ledger go.
        connect: makes a connection that emits to the given function; `version` is 5, or 4 for MQTT 3.1.1.
        clock: time.
        rng: spreads attempts to connect, and requests.
        feeds: other sinks.
        key: signs what is said to gateways; None: it is not signed.

    Attributes:
        total: what was stored since the start.
    """

    name = "receiver"

    def __init__(
        self,
        name: str,
        sink: SqliteSink,
        connect: Callable[[int, Callable[[LinkEvent], object]], Connection],
        clock: Clock,
        rng: random.Random,
        feeds: Sequence[Feed] = (),
        key: str | None = None,
    ) -> None:
        self.inbox: Inbox[tuple[int, LinkEvent]] = Inbox(MOST_WAITING)
        self.total = Stored()
        self._topic_name = name
        self._sink = sink
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._feeds = feeds
        self._key = key
        self._inbound = self._new_inbound()
        self._group: Group | None = None
        self._connection: Connection | None = None
        self._number = 0
        self._version = 5
        self._is_up = False
        self._overflowed = 0
        self._retry_ns = RETRY_NS
        now_ns = clock.now_ns()
        self._connect_ns = now_ns
        self._acks = AckPlan(now_ns)
        self._asks = AskPlan(rng)
        for prefix in look.prefixes(sink.db):
            self._asks.watch(prefix, now_ns)
        for feed in feeds:
            feed.feed()

    def step(self) -> int | None:
        """Do everything that is due. Returns the time of the next call."""
        for number, event in self.inbox.take_all():
            if number == self._number:
                self._hear(event)
        now_ns = self._clock.now_ns()
        if self._overflowed:
            self.total.refused[Refused.OVERFLOW] += self._overflowed
            self._overflowed = 0
            self._commit()
            self._disconnect("messages came faster than they could be stored", now_ns)
        if self._group is not None and now_ns >= self._group.due_ns():
            self._commit()
        if self._is_up:
            self._say(self._clock.now_ns())
        elif self._connection is None and now_ns >= self._connect_ns:
            self._open()
        return self._next_ns()

    def stop(self) -> None:
        """Store what has come, acknowledge it, and disconnect. The broker keeps what comes from now on."""
        for number, event in self.inbox.take_all():
            if number == self._number and isinstance(event, Arrived):
                self._hear(event)
        if self._group is not None:
            self._commit()
        if self._connection is not None:
            for prefix in self._acks.pending():
                self._acknowledge(prefix, frozenset())
            self._connection.close()
            self._connection = None
            self._is_up = False

    def _new_inbound(self) -> Inbound:
        return Inbound(self._sink.announcements(), self._sink.kept(), self._rng.getrandbits(_JUMP_BITS))

    def _emitter(self, number: int) -> Callable[[LinkEvent], object]:
        def emit(event: LinkEvent) -> None:
            if isinstance(event, Arrived):
                self._overflowed += not self.inbox.put((number, event))
            else:
                self.inbox.put_always((number, event))

        return emit

    def _open(self) -> None:
        self._number += 1
        self._connection = self._connect(self._version, self._emitter(self._number))
        self._connection.open()

    def _hear(self, event: LinkEvent) -> None:
        now_ns = self._clock.now_ns()
        match event:
            case Up(has_session):
                log.info("connected to the broker session=%s", "kept" if has_session else "new")
                self._is_up = True
                self._retry_ns = RETRY_NS
                if has_session:
                    self._acks.repeat_recent(now_ns)  # they may have been lost with the connection
                else:
                    self._acks.repeat(look.prefixes(self._sink.db), now_ns)
            case Down(reason, wrong_version):
                if wrong_version and not self._is_up:
                    self._version = 4 if self._version == 5 else 5
                self._commit()
                self._connection = None
                self._lost(reason, now_ns)
            case Arrived():
                self._arrived(event, now_ns)

    def _arrived(self, event: Arrived, now_ns: int) -> None:
        arrivals = self._inbound.take(event.topic, event.payload, retained=event.retained)
        if self._group is None:
            self._group = Group(now_ns)
        self._group.add(arrivals, event, now_ns)
        if self._group.is_full():
            self._commit()

    def _commit(self) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        now_ns = self._clock.now_ns()
        try:
            stored = self._sink.store(group.arrivals, self._wall_ns())
        except Unavailable as error:
            # Nothing is acknowledged, so the broker sends it all again, to the next connection.
            self._disconnect(str(error), now_ns)
            self._inbound = self._new_inbound()
            return
        if self._connection is not None:
            for token in group.tokens:
                self._connection.acknowledge(token)
        self._follow(group, stored, now_ns)

    def _follow(self, group: Group, stored: Stored, now_ns: int) -> None:
        """What follows from a commit: acknowledgements, requests, other sinks."""
        self.total.add(stored)
        for prefix, epochs in stored.touched.items():
            self._acks.touch(prefix, epochs, now_ns)
        for prefix in stored.heard | stored.touched.keys():
            self._asks.watch(prefix, now_ns)
        for prefix in stored.waiting:
            if self._inbound.waits_for(prefix) and self._asks.wants_teaching(prefix, now_ns):
                self._ask(prefix, ask_message((), teach=True))
        for arrival in group.arrivals:
            if arrival.taught is not None:
                self._asks.taught(arrival.prefix)
        for feed in self._feeds:
            feed.feed()

    def _say(self, now_ns: int) -> None:
        """Publish the acknowledgements and requests that are due."""
        for prefix, touched in self._acks.take(now_ns):
            self._acknowledge(prefix, touched)
        for prefix in self._asks.due(now_ns):
            gaps = look.gaps(self._sink.db, prefix)
            if not gaps.missing or not gaps.is_reachable:
                self._asks.forget(prefix)  # its next status or record brings it back
                continue
            wanted = self._asks.look(prefix, gaps.missing, now_ns)
            if wanted:
                self._ask(prefix, ask_message(wanted, teach=bool(self._inbound.waits_for(prefix))))

    def _acknowledge(self, prefix: str, touched: frozenset[int]) -> None:
        answers = look.answers(self._sink.db, prefix, touched)
        self._publish(f"{prefix}/ack/{self._topic_name}", ack_message(answers), retain=True)

    def _ask(self, prefix: str, payload: bytes) -> None:
        self._publish(f"{prefix}/ask/{self._topic_name}", payload, retain=False)

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if self._connection is not None:
            self._connection.publish(topic, signed(topic, payload, self._key), retain=retain)

    def _disconnect(self, reason: str, now_ns: int) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._number += 1  # what the old connection still tells is not heard
        self._lost(reason, now_ns)

    def _lost(self, reason: str, now_ns: int) -> None:
        if self._is_up or self._retry_ns == RETRY_NS:
            log.warning("no connection to the broker: %s", reason)
        self._is_up = False
        self._connect_ns = now_ns + round(self._rng.uniform(0.5, 1.0) * self._retry_ns)
        self._retry_ns = min(2 * self._retry_ns, RETRY_MOST_NS)

    def _wall_ns(self) -> int:
        return self._clock.now_ns() + self._clock.anchor().offset_ns

    def _next_ns(self) -> int | None:
        times: list[int | None] = []
        if self._group is not None:
            times.append(self._group.due_ns())
        if self._is_up:
            times += [self._acks.next_ns(), self._asks.next_ns()]
        elif self._connection is None:
            times.append(self._connect_ns)
        return min((each for each in times if each is not None), default=None)
