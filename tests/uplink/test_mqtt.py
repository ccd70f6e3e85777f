from __future__ import annotations

import contextlib
import gc
import queue
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.uplink import mqtt
from edge_agent.uplink.codes import NO_MATCHING_SUBSCRIBERS
from edge_agent.uplink.ends import Ending
from edge_agent.uplink.mqtt import Broker, Link, LinkDown, LinkUp, Puback, Received, TooLarge, Will
from edge_agent.uplink.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Mosquitto
    from tests.uplink.conftest import Connect, Subscriber

    Subscribe = Callable[[int, str], Subscriber]
    FakeBroker = Callable[[Callable[[socket.socket], object]], int]

CONNACK_5 = bytes.fromhex("2003000000")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.broker
@pytest.mark.parametrize("version", [5, 4])
def test_a_publish_that_somebody_takes_is_acknowledged(
    mosquitto: Mosquitto, connect: Connect, subscribe: Subscribe, version: int
) -> None:
    subscriber = subscribe(mosquitto.port, "edge/#")
    link = connect(mosquitto.port, version=version)
    assert link.expect(LinkUp).terms.receive_maximum in {20, 65_535}
    mid = link.publish("edge/n/live", b"hello")
    assert link.expect(Puback) == Puback(mid, 0)
    message = subscriber.next()
    assert (message.payload, message.retain) == (b"hello", False)
    if version == 5:
        assert subscriber.properties(message) == {"ContentType": "text/plain", "UserProperty": [("seq", "7")]}


@pytest.mark.broker
def test_a_publish_that_nobody_takes_says_so(mosquitto: Mosquitto, connect: Connect) -> None:
    link = connect(mosquitto.port)
    link.expect(LinkUp)
    mid = link.publish("edge/n/live", b"hello")
    assert link.expect(Puback) == Puback(mid, 0x10)


@pytest.mark.broker
def test_many_large_packets_arrive_whole_and_in_order(
    mosquitto: Mosquitto, connect: Connect, subscribe: Subscribe
) -> None:
    subscriber = subscribe(mosquitto.port, "edge/n/live")
    link = connect(mosquitto.port)
    link.expect(LinkUp)
    payloads = [bytes((number,)) * 300_000 for number in range(16)]
    for payload in payloads:
        link.publish("edge/n/live", payload)
    assert [link.expect(Puback).code for _ in payloads] == [0] * 16
    assert [subscriber.next().payload for _ in payloads] == payloads


@pytest.mark.broker
def test_the_will_is_published_when_the_link_is_abandoned_and_not_when_it_is_closed(
    mosquitto: Mosquitto, connect: Connect, subscribe: Subscribe
) -> None:
    subscriber = subscribe(mosquitto.port, "edge/n/status")
    closed = connect(mosquitto.port)
    closed.expect(LinkUp)
    closed.link.notify("edge/n/status", b"stopped", retain=True)
    closed.link.close()
    closed.expect(Puback)  # of the announcement
    closed.expect(LinkDown)
    abandoned = connect(mosquitto.port)
    abandoned.expect(LinkUp)
    abandoned.link.abandon()
    abandoned.expect(LinkDown)
    assert [subscriber.next().payload for _ in range(2)] == [b"stopped", b"offline"]
    late = subscribe(mosquitto.port, "edge/n/status").next()
    assert (late.payload, late.retain) == (b"offline", True)


@pytest.mark.broker
def test_a_broker_that_is_killed_is_told_once(mosquitto: Mosquitto, connect: Connect) -> None:
    link = connect(mosquitto.port)
    link.expect(LinkUp)
    mosquitto.kill()
    down = link.expect(LinkDown)
    assert down == LinkDown("the broker closed the connection", ending=Ending.CLOSED)
    link.join()
    assert link.events.empty()
    link.publish("edge/n/live", b"too late")  # says nothing: the end has been told
    link.link.close()
    assert link.events.empty()


def test_nothing_listens(connect: Connect) -> None:
    port = free_port()
    link = connect(port)
    assert link.expect(LinkDown) == LinkDown(f"nothing listens at 127.0.0.1:{port}")


def test_a_name_that_cannot_be_resolved(connect: Connect) -> None:
    assert connect(1883, host="no-such-host.invalid").expect(LinkDown).reason == (
        "the name no-such-host.invalid cannot be resolved"
    )


def test_a_name_that_no_name_can_be(connect: Connect) -> None:
    assert "label" in connect(1883, host="x" * 70 + ".example").expect(LinkDown).reason


@pytest.mark.broker
@pytest.mark.parametrize("version", [5, 4])
def test_a_wrong_password_is_told_and_no_reason_for_another_version(
    start_mosquitto: Callable[[str], Mosquitto], tmp_path: Path, connect: Connect, version: int
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("agent:right\n", encoding="ascii")
    passwords.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    broker = start_mosquitto(f"password_file {passwords}")
    connect(broker.port, version=version, username="agent", password="right").expect(LinkUp)  # noqa: S106 a test
    down = connect(broker.port, version=version, username="agent", password="wrong").expect(LinkDown)  # noqa: S106
    assert down == LinkDown("the broker refuses us: not authorized")


@pytest.mark.broker
def test_what_the_broker_takes_is_heard(
    start_mosquitto: Callable[[str], Mosquitto], connect: Connect, subscribe: Subscribe
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_inflight_messages 7\nmax_packet_size 300")
    subscriber = subscribe(broker.port, "edge/n/live")
    link = connect(broker.port)
    assert link.expect(LinkUp) == LinkUp(Terms(7, 300, f"127.0.0.1:{broker.port}"))
    overhead = 1 + 2 + 2 + len("edge/n/live") + 2 + 1 + 3 + len("text/plain") + 5 + len("seq7")
    link.publish("edge/n/live", b"x" * (300 - overhead))
    assert link.expect(Puback).code == 0
    assert len(subscriber.next().payload) == 300 - overhead
    with pytest.raises(TooLarge, match=r"^301 bytes, and the broker takes 300$"):
        link.publish("edge/n/live", b"x" * (301 - overhead))


@pytest.mark.parametrize(
    ("answer", "refused"), [(bytes.fromhex("20020001"), True), (bytes.fromhex("2003008400"), True), (b"", False)]
)
def test_a_broker_that_knows_no_mqtt_5_is_told_from_one_that_refuses(
    fake_broker: FakeBroker, connect: Connect, answer: bytes, *, refused: bool
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    down = connect(fake_broker(serve)).expect(LinkDown)
    assert (down.wrong_version, down.refused) == (True, refused), down


@pytest.mark.parametrize("garbage", ["00", "ffffffffff", "2001ff", "20ff", "d0", "4002", "30ffffff7f41"])
def test_garbage_ends_the_link_once(fake_broker: FakeBroker, connect: Connect, garbage: str) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(bytes.fromhex(garbage))

    link = connect(fake_broker(serve))
    link.expect(LinkDown)
    link.join()
    assert link.events.empty()


def test_a_broker_that_says_why_it_ends_is_quoted(fake_broker: FakeBroker, connect: Connect) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(CONNACK_5 + bytes.fromhex("e0028e00"))

    link = connect(fake_broker(serve))
    link.expect(LinkUp)
    assert link.expect(LinkDown) == LinkDown("the broker says: session taken over", ending=Ending.TAKEN_OVER)


def test_a_broker_that_ignores_the_connect_may_not_know_this_version(
    fake_broker: FakeBroker, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "CONNACK_LOOPS", 3)

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass

    link = connect(fake_broker(serve))
    assert link.expect(LinkDown) == LinkDown("the broker does not answer the CONNECT", wrong_version=True)
    link.join()


def test_a_broker_that_has_answered_and_is_silent_then_is_not_taken_for_one_that_ignores_us(
    fake_broker: FakeBroker, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "CONNACK_LOOPS", 3)
    go_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(CONNACK_5)
        assert go_on.wait(10)

    link = connect(fake_broker(serve))
    link.expect(LinkUp)
    with pytest.raises(queue.Empty):
        link.events.get(timeout=3.5)
    go_on.set()
    assert not link.expect(LinkDown).wrong_version


def test_a_link_is_closed_while_it_waits_for_the_broker(fake_broker: FakeBroker, connect: Connect) -> None:
    accepted, done = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        accepted.set()
        while connection.recv(4096):
            pass
        done.set()

    link = connect(fake_broker(serve))
    assert accepted.wait(10)
    link.link.close()
    link.join()
    assert done.wait(10)
    link.expect(LinkDown)


def test_a_link_that_is_closed_before_it_stands_leaves_nothing_behind(fake_broker: FakeBroker) -> None:
    port = fake_broker(lambda connection: connection.recv(4096))
    events: queue.Queue[object] = queue.Queue()
    broker = Broker("127.0.0.1", port, None, "never", None, None, 30)
    link = Link(broker, Will("w", b""), 5, events.put)
    link.close()  # never opened
    link.abandon()
    link.open()  # the order in which a slow resolver would let it happen
    assert isinstance(events.get(timeout=10), LinkDown)


def _one_connection(port: int) -> None:
    events: queue.Queue[object] = queue.Queue()
    link = Link(Broker("127.0.0.1", port, None, "n", None, None, 30), Will("w", b""), 5, events.put)
    link.open()
    while not isinstance(events.get(timeout=10), LinkDown):
        pass
    link._thread.join(10)


@pytest.mark.parametrize(("listens", "times"), [(False, 1000), (True, 100)])
def test_failed_connections_leave_no_thread_and_no_descriptor(
    fake_broker: FakeBroker, times: int, *, listens: bool
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(CONNACK_5)

    port = fake_broker(serve) if listens else free_port()
    _one_connection(port)
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    gc.disable()  # what only the collector would free is a leak on a machine with little to collect
    try:
        for _ in range(times):
            _one_connection(port)
    finally:
        gc.enable()
    assert threading.active_count() == threads
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 1  # the fake broker may be a moment behind


@pytest.mark.broker
def test_a_command_is_heard_as_soon_as_the_link_is_up(mosquitto: Mosquitto, connect: Connect) -> None:
    listening, speaking = connect(mosquitto.port, topics=("edge/m/cmd", "edge/+/cmd")), connect(mosquitto.port)
    listening.expect(LinkUp)
    speaking.expect(LinkUp)
    speaking.publish("edge/n/cmd", b"go")
    while speaking.expect(Puback).code == NO_MATCHING_SUBSCRIBERS:  # the subscription is still on its way
        speaking.publish("edge/n/cmd", b"go")
    assert listening.expect(Received) == Received("edge/n/cmd", b"go")


@pytest.mark.broker
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("at_goodbye", [True, False])
def test_a_goodbye_publishes_a_will_only_if_it_is_meant_for_that_and_the_protocol_knows_how(
    mosquitto: Mosquitto, connect: Connect, subscribe: Subscribe, version: int, at_goodbye: bool
) -> None:
    subscriber = subscribe(mosquitto.port, "edge/n/#")
    link = connect(mosquitto.port, version=version, will=Will("edge/n/gone", b"gone", False, at_goodbye))
    link.expect(LinkUp)
    link.link.close()
    last = connect(mosquitto.port)
    last.expect(LinkUp)
    last.publish("edge/n/last", b"last")
    first = subscriber.next()
    assert first.payload == (b"gone" if at_goodbye and version == 5 else b"last")
    assert not first.retain
