"""A simulated broker with one subscriber, and the links to it. The campaign sets its faults.

It answers as paho does: a `Puback` also for a message with QoS 0 (when it was written to the socket), one `LinkDown`
per connection, mids from 1 on for each connection.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S
from edge_agent.runtime import Inbox
from edge_agent.uplink.mqtt import LinkDown, LinkEvent, LinkUp, Puback, TooLarge

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock, SimulatedClock
    from edge_agent.uplink.mqtt import Broker, Will
    from tests.campaign.history import History

CONNECT_NS: Final = 5 * NS_PER_S
HALF_OPEN_NS: Final = 60 * NS_PER_S
"""Twice the keep-alive period of the configuration."""
NO_SUBSCRIBER: Final = 0x10
HOPELESS: Final = frozenset({0x90, 0x95, 0x99})
_FREE_NS: Final = 1_000_000
_LINGERS_NS: Final = 15 * NS_PER_S
"""An abandoned connection whose thread hangs may still report for this long."""


class Door(Enum):
    """What happens to a new connection."""

    OPEN = "open"
    REFUSES = "refuses"
    BLACK_HOLE = "black hole"
    SILENT = "accepts and says nothing"


@dataclass(slots=True)
class Network:
    """What is wrong at present.

    Attributes:
        door: what happens to new connections.
        rtt_ns: time between a message and its answer.
        code: reason code of every PUBACK; 0: success.
        reader: whether the subscriber takes messages; if not, the broker keeps them.
        receive_maximum: what the broker tells of itself.
        largest: size of the largest payload that it takes.
    """

    door: Door = Door.OPEN
    rtt_ns: int = 20_000_000
    code: int = 0
    reader: bool = True
    receive_maximum: int = 20
    largest: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way.

    Attributes:
        identity: epoch and seq; None for a status.
        at_ns: when it was published, of the campaign's own time.
    """

    topic: str
    payload: bytes
    identity: tuple[int, int] | None
    at_ns: int


@dataclass(order=True, slots=True)
class _Due:
    at_ns: int
    number: int
    act: Callable[[], object] = field(compare=False)


class SimulatedBroker:
    """A worker on the simulated timeline, put before all others.

    Args:
        clock: of the life in which it is used.
        history: is told what was accepted and delivered.
        elapsed_ns: the campaign's own time, which no boot resets.
    """

    name = "broker"

    def __init__(self, clock: Clock, history: History, elapsed_ns: Callable[[], int]) -> None:
        self.inbox: Inbox[Any] = Inbox(1 << 20)
        self.network = Network()
        self.links: list[SimulatedLink] = []
        self.elapsed_ns = elapsed_ns
        self.kept: list[Sent] = []
        """Accepted, and not delivered to the subscriber yet."""
        self._clock = clock
        self._history = history
        self._dues: list[_Due] = []
        self._number = 0
        self.calls = 0
        self.fail_call: Callable[[str], object] = lambda _call: None

    def use(self, clock: Clock) -> None:
        """Go on in the next life: nobody hears of earlier links."""
        self._clock = clock
        for link in self.links:
            link.dead = True
        self.links.clear()
        self._dues.clear()
        self.inbox.take_all()

    def link(self, *arguments: Any) -> SimulatedLink:
        """The factory of links for the agent."""
        return SimulatedLink(self, *arguments)

    def now_ns(self) -> int:
        """Time of the present life."""
        return self._clock.now_ns()

    def after(self, delay_ns: int, act: Callable[[], object]) -> None:
        """Do something later."""
        self._number += 1
        heapq.heappush(self._dues, _Due(self._clock.now_ns() + delay_ns, self._number, act))
        self.inbox.put(None)

    @property
    def due_ns(self) -> int | None:
        """When something is to be done."""
        return self._dues[0].at_ns if self._dues else None

    def step(self) -> int | None:
        """Do what is due."""
        self.inbox.take_all()
        while self._dues and self._dues[0].at_ns <= self._clock.now_ns():
            heapq.heappop(self._dues).act()
        return self.due_ns

    # ---- faults

    def break_links(self, reason: str) -> None:
        """End every connection at once."""
        for link in list(self.links):
            link.down(reason)

    def deafen(self) -> None:
        """Let every connection be half open: what is sent vanishes, and nothing comes."""
        for link in list(self.links):
            if not link.mute:
                link.mute = True
                self.after(HALF_OPEN_NS, link.unanswered)

    def stop_answering(self) -> None:
        """Acknowledge nothing more on the present connections, as a broker whose disk is full."""
        for link in self.links:
            link.answers = False

    def wipe(self) -> None:
        """Lose what was accepted and not delivered."""
        for sent in self.kept:
            self._history.lost_by_broker(sent)
        self.kept.clear()

    def read(self) -> None:
        """Deliver what was kept for the subscriber."""
        kept, self.kept = self.kept, []
        for sent in kept:
            self._history.deliver(sent)

    # ---- messages

    def take(self, link: SimulatedLink, mid: int, sent: Sent) -> None:
        """A PUBLISH with QoS 1 arrives."""
        if link.dead or link.mute:
            return
        network = self.network
        code = network.code
        self.after(network.rtt_ns // 2, lambda: link.answer(mid, code))
        if code == 0:
            self._history.accept(sent)
            self.keep(sent)
        elif code in HOPELESS:
            self._history.refuse(sent)

    def keep(self, sent: Sent) -> None:
        """Pass a message on to the subscriber, now or when it is there."""
        if self.network.reader:
            self._history.deliver(sent)
        else:
            self.kept.append(sent)


class SimulatedLink:
    """One connection; takes the place of `edge_agent.uplink.mqtt.Link`."""

    def __init__(
        self,
        broker: SimulatedBroker,
        _address: Broker,
        _will: Will,
        _version: int,
        emit: Callable[[LinkEvent], object],
        _commands: str | None = None,
    ) -> None:
        self._broker = broker
        self._emit = emit
        self._mid = 0
        self._up = False
        self.dead = False
        self.mute = False
        self.answers = True

    def open(self) -> None:
        """Start to connect."""
        broker = self._broker
        broker.fail_call("open")
        broker.links.append(self)
        match broker.network.door:
            case Door.OPEN:
                broker.after(broker.network.rtt_ns, self._connected)
            case Door.REFUSES:
                broker.after(_FREE_NS, lambda: self.down("nothing listens"))
            case Door.BLACK_HOLE:
                broker.after(CONNECT_NS, lambda: self.down("no answer"))
            case Door.SILENT:
                broker.after(HALF_OPEN_NS // 2, lambda: self.down("no answer"))

    def publish(self, topic: str, payload: bytes, _content_type: str, properties: Sequence[tuple[str, str]]) -> int:
        """Send with QoS 1."""
        broker = self._broker
        broker.fail_call("publish")
        if len(payload) > broker.network.largest:
            raise TooLarge(f"{len(payload)} bytes, and the broker takes {broker.network.largest}")
        self._mid += 1
        mid, told = self._mid, dict(properties)
        sent = Sent(topic, payload, (int(told["epoch"]), int(told["seq"])), broker.elapsed_ns())
        broker.after(broker.network.rtt_ns // 2, lambda: broker.take(self, mid, sent))
        return mid

    def notify(self, topic: str, payload: bytes, *, retain: bool) -> None:  # noqa: ARG002 a broker's matter
        """Send with QoS 0. paho tells of it when it is written, also to a half-open connection."""
        broker = self._broker
        broker.fail_call("notify")
        self._mid += 1
        mid, sent = self._mid, Sent(topic, payload, None, broker.elapsed_ns())
        broker.after(_FREE_NS, lambda: self.answer(mid, 0, written=True))
        broker.after(broker.network.rtt_ns // 2, lambda: None if self.dead or self.mute else broker.keep(sent))

    def close(self) -> None:
        """Disconnect; what was written before arrives."""
        self._end()

    def abandon(self) -> None:
        """Give up; a `LinkDown` follows."""
        self._broker.after(_LINGERS_NS, lambda: self.down("given up"))

    def answer(self, mid: int, code: int, *, written: bool = False) -> None:
        """A PUBACK arrives."""
        if not self.dead and (written or (self.answers and not self.mute)):
            self._emit(Puback(mid, code))

    def down(self, reason: str) -> None:
        """The connection ends."""
        if not self.dead:
            self._end()
            self._emit(LinkDown(reason))

    def unanswered(self) -> None:
        """The keep-alive finds that nobody answers."""
        self.down("the broker does not answer any more")

    def _connected(self) -> None:
        if not self.dead and not self.mute:
            self._up = True
            self._emit(LinkUp(self._broker.network.receive_maximum))

    def _end(self) -> None:
        self.dead = True
        if self in self._broker.links:
            self._broker.links.remove(self)


class NetworkClock:
    """Lets simulated time pass while the agent drains. Implements `Clock`."""

    def __init__(self, clock: SimulatedClock, broker: SimulatedBroker) -> None:
        self._clock = clock
        self._broker = broker
        self.now_ns, self.anchor, self.boot_id = clock.now_ns, clock.anchor, clock.boot_id

    def wait(self, event: threading.Event, deadline_ns: int | None) -> None:
        """Let the broker work until it has an answer or the deadline has passed."""
        while not event.is_set():
            due_ns = self._broker.due_ns
            if due_ns is None and deadline_ns is None:
                return
            stops = [time_ns for time_ns in (due_ns, deadline_ns) if time_ns is not None]
            self._clock.advance_to(min(stops))
            self._broker.step()
            if deadline_ns is not None and self._clock.now_ns() >= deadline_ns:
                return
