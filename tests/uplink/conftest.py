"""A link whose events can be waited for, a subscriber that is not ours, and brokers that do one thing only."""

from __future__ import annotations

import queue
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.uplink.mqtt import Broker, Link, LinkEvent, Will

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

ENOUGH_S = 10.0
WILL = Will("edge/n/status", b"offline")
T = TypeVar("T")


@dataclass
class ObservedLink:
    """A link, and what it told."""

    link: Link
    events: queue.Queue[LinkEvent]

    def expect(self, kind: type[T]) -> T:
        """The next event, which must be of this kind."""
        event = self.events.get(timeout=ENOUGH_S)
        assert isinstance(event, kind), event
        return event

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish as a record would be."""
        return self.link.publish(topic, payload, "text/plain", (("seq", "7"),))

    def join(self) -> None:
        """Wait until the link's thread has ended, and with it all that it has to tell."""
        self.link._thread.join(ENOUGH_S)
        assert not self.link._thread.is_alive()


class Connect(Protocol):
    """Opens a link."""

    def __call__(  # noqa: D102
        self,
        port: int,
        *,
        host: str = ...,
        version: int = ...,
        tls: ssl.SSLContext | None = ...,
        username: str | None = ...,
        password: str | None = ...,
        will: Will = ...,
        topics: Sequence[str] = ...,
    ) -> ObservedLink: ...


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens links, and closes them after the test."""
    opened: list[Link] = []

    def start(
        port: int,
        *,
        host: str = "127.0.0.1",
        version: int = 5,
        tls: ssl.SSLContext | None = None,
        username: str | None = None,
        password: str | None = None,
        will: Will = WILL,
        topics: Sequence[str] = (),
    ) -> ObservedLink:
        broker = Broker(host, port, tls, f"edge-agent-test-{len(opened)}", username, password, keepalive_s=30)
        events: queue.Queue[LinkEvent] = queue.Queue()
        link = Link(broker, will, version, events.put, topics)
        link.open()
        opened.append(link)
        return ObservedLink(link, events)

    yield start
    for link in opened:
        link.close()


@dataclass
class Subscriber:
    """A client of paho alone, which collects what arrives."""

    client: paho.Client
    messages: queue.Queue[paho.MQTTMessage] = field(default_factory=queue.Queue)
    subscribed: threading.Event = field(default_factory=threading.Event)

    def next(self) -> paho.MQTTMessage:
        """The next message."""
        return self.messages.get(timeout=ENOUGH_S)

    @staticmethod
    def properties(message: paho.MQTTMessage) -> dict[str, Any]:
        """What travelled beside the payload."""
        assert message.properties is not None
        told: dict[str, Any] = message.properties.json()  # type: ignore[no-untyped-call]
        return told


def _subscribe(client: paho.Client, topics: str) -> None:
    client.subscribe(topics, qos=1)


@pytest.fixture
def subscribe() -> Iterator[Callable[[int, str], Subscriber]]:
    """Subscribes at a port to a filter, again after each break, until the test ends."""
    subscribers: list[Subscriber] = []

    def start(port: int, topics: str) -> Subscriber:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.reconnect_delay_set(1, 1)
        subscriber = Subscriber(client)
        client.on_connect = lambda _client, _data, _flags, _code, _properties: _subscribe(client, topics)
        client.on_subscribe = lambda *_: subscriber.subscribed.set()
        client.on_disconnect = lambda *_: subscriber.subscribed.clear()
        client.on_message = lambda _client, _data, message: subscriber.messages.put(message)
        client.connect("127.0.0.1", port)
        client.loop_start()
        subscribers.append(subscriber)
        assert subscriber.subscribed.wait(ENOUGH_S)
        return subscriber

    yield start
    for subscriber in subscribers:
        subscriber.client.disconnect()
        subscriber.client.loop_stop()


@pytest.fixture
def fake_broker() -> Iterator[Callable[[Callable[[socket.socket], object]], int]]:
    """Serves each connection, one after the other, by a function; returns the port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(serve: Callable[[socket.socket], object]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(ENOUGH_S)
                    serve(connection)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(ENOUGH_S)
