"""The connection of a receiver to a real broker."""

from __future__ import annotations

import queue
import socket
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.receiver.link import Arrived, Down, LinkEvent, Up
from edge_agent.receiver.subscriber import Subscriber
from edge_agent.uplink.mqtt import Broker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Mosquitto


class Heard:
    """A subscriber and what it tells."""

    def __init__(self, port: int, version: int = 5, topics: tuple[str, ...] = ("edge/+/live",)) -> None:
        self.events: queue.Queue[LinkEvent] = queue.Queue()
        broker = Broker("127.0.0.1", port, None, "edge-receiver-hq", None, None, 30)
        self.link = Subscriber(broker, topics, version, self.events.put)
        self.link.open()

    def next(self) -> LinkEvent:
        """The next event."""
        return self.events.get(timeout=10)

    def close(self) -> None:
        """End it."""
        self.link.close()
        assert isinstance(self.next(), Down)


def publish(port: int, *payloads: bytes, qos: int = 1) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for payload in payloads:
        client.publish("edge/n/live", payload, qos=qos).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


@pytest.mark.broker
@pytest.mark.parametrize("version", [5, 4])
def test_what_is_not_acknowledged_comes_again_to_the_next_connection(mosquitto: Mosquitto, version: int) -> None:
    first = Heard(mosquitto.port, version)
    assert first.next() == Up(has_session=False)
    publish(mosquitto.port, b"one", b"two")
    arrived = [first.next(), first.next()]
    tokens = [event.token for event in arrived if isinstance(event, Arrived)]
    assert tokens[0] is not None
    first.link.acknowledge(tokens[0])
    first.close()
    publish(mosquitto.port, b"three")
    second = Heard(mosquitto.port, version)
    assert second.next() == Up(has_session=True)
    again = [second.next(), second.next()]
    assert [event.payload for event in again if isinstance(event, Arrived)] == [b"two", b"three"]
    second.close()


@pytest.mark.broker
def test_no_more_is_in_flight_than_was_agreed(start_mosquitto: Callable[[str], Mosquitto]) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_inflight_messages 0")
    heard = Heard(broker.port)
    assert isinstance(heard.next(), Up)
    publish(broker.port, *(b"x" for _ in range(100)))
    arrived = [heard.next() for _ in range(64)]
    assert heard.events.empty()
    token = arrived[0].token if isinstance(arrived[0], Arrived) else None
    assert token is not None
    heard.link.acknowledge(token)
    assert isinstance(heard.next(), Arrived)
    heard.close()


@pytest.mark.broker
def test_a_message_of_no_quality_has_no_token(mosquitto: Mosquitto) -> None:
    heard = Heard(mosquitto.port)
    assert isinstance(heard.next(), Up)
    publish(mosquitto.port, b"x", qos=0)
    assert heard.next() == Arrived("edge/n/live", b"x", retained=False, token=None)
    heard.close()


@pytest.mark.broker
def test_what_is_published_is_retained_or_not(mosquitto: Mosquitto) -> None:
    heard = Heard(mosquitto.port, topics=("edge/+/ack/+",))
    assert isinstance(heard.next(), Up)
    heard.link.publish("edge/n/ack/hq", b"{}", retain=True)
    heard.link.publish("edge/m/ack/hq", b"{}", retain=False)
    tokens = [event.token for event in (heard.next(), heard.next()) if isinstance(event, Arrived)]
    for token in tokens:
        heard.link.acknowledge(token or 0)
    heard.close()
    late = Heard(mosquitto.port, topics=("edge/+/ack/+",))
    assert isinstance(late.next(), Up)
    event = late.next()
    assert isinstance(event, Arrived)
    assert (event.topic, event.retained) == ("edge/n/ack/hq", True)
    late.close()
    assert late.events.empty()


@pytest.mark.broker
def test_a_broker_that_lets_nobody_in_says_so(start_mosquitto: Callable[[str], Mosquitto]) -> None:
    broker = start_mosquitto("")  # nobody may connect
    heard = Heard(broker.port)
    down = heard.next()
    assert isinstance(down, Down)
    assert "refuses us: not authorized" in down.reason
    assert not down.wrong_version


def test_nothing_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    down = Heard(port).next()
    assert isinstance(down, Down)
    assert "refused" in down.reason.lower()
