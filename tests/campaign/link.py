"""Connections to the simulated broker. One takes the place of `edge_agent.uplink.mqtt.Link`.

It answers as paho does: a `Puback` also for a message with QoS 0 (when it was written to the socket), one `LinkDown`
per connection, mids from 1 on for each connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.mqtt import LinkDown, LinkEvent, LinkUp, Puback, TooLarge
from edge_agent.uplink.terms import Terms
from tests.campaign.network import CONNECT_NS, HALF_OPEN_NS, Door, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.uplink.mqtt import Broker, Will
    from tests.campaign.broker import SimulatedBroker

_FREE_NS: Final = 1_000_000
_LINGERS_NS: Final = 15 * NS_PER_S
"""An abandoned connection whose thread hangs may still report for this long."""


class SimulatedLink:
    """One connection; takes the place of `edge_agent.uplink.mqtt.Link`."""

    def __init__(
        self,
        broker: SimulatedBroker,
        _address: Broker,
        _will: Will,
        _version: int,
        emit: Callable[[LinkEvent], object],
        _topics: Sequence[str] = (),
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
            raise TooLarge(len(payload), broker.network.largest)
        self._mid += 1
        mid, told = self._mid, dict(properties)
        sent = Sent(topic, payload, (int(told["epoch"]), int(told["seq"])), broker.elapsed_ns())
        broker.after(broker.network.rtt_ns // 2, lambda: broker.take(self, mid, sent))
        return mid

    def notify(self, topic: str, payload: bytes, *, retain: bool) -> None:  # noqa: ARG002 a broker's matter
        """Send with QoS 0. paho tells of it when it is written, also to a half-open connection."""
        broker = self._broker
        broker.fail_call("notify")
        if topic.endswith("/status"):
            broker.said(payload)
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
            network = self._broker.network
            self._emit(LinkUp(Terms(network.receive_maximum)))

    def _end(self) -> None:
        self.dead = True
        if self in self._broker.links:
            self._broker.links.remove(self)
