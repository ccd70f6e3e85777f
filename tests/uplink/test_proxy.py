"""The proxy does what it is asked for; else the tests that use it prove nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S, SystemClock
from tests.uplink.proxy import Faults, Proxy, Way

if TYPE_CHECKING:
    from collections.abc import Callable


def echo(connection: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            connection.sendall(piece)


def connected(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port))
    client.settimeout(10)
    return client


def receive(client: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = client.recv(count - len(got))
        assert piece
        got += piece
    return got


def test_bytes_arrive_unchanged_at_the_rate_and_after_the_delay(
    fake_broker: Callable[[Callable[[socket.socket], object]], int],
) -> None:
    clock, sent = SystemClock(), bytes(range(256)) * 16
    with Proxy(fake_broker(echo), Faults(bytes_per_s=8000, delay_s=0.1)) as proxy, connected(proxy) as client:
        begin_ns = clock.now_ns()
        client.sendall(sent)
        assert receive(client, len(sent)) == sent
        took_s = (clock.now_ns() - begin_ns) / NS_PER_S
    assert 0.70 < took_s < 1.3, "0.512 s of one direction, 0.2 s of delay, and the last piece of the other direction"
    assert proxy.carried[Way.UP] == len(sent)


def test_what_is_stalled_comes_later_and_what_is_swallowed_never(
    fake_broker: Callable[[Callable[[socket.socket], object]], int],
) -> None:
    with Proxy(fake_broker(echo), Faults(stalled=frozenset({Way.UP}))) as proxy, connected(proxy) as client:
        client.sendall(b"one")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        proxy.faults = Faults()
        assert receive(client, 3) == b"one"
        proxy.half_open()
        client.sendall(b"two")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_connection_is_cut_after_so_many_bytes_and_reset(
    fake_broker: Callable[[Callable[[socket.socket], object]], int],
) -> None:
    arrived: list[bytes] = []
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        try:
            while piece := connection.recv(65_536):
                arrived.append(piece)
        except ConnectionResetError:
            arrived.append(b"!")
        done.set()

    with Proxy(fake_broker(serve), Faults(cut_after=5)) as proxy, connected(proxy) as client:
        client.sendall(b"1234567")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert done.wait(10)
    assert b"".join(arrived) in {b"12345!", b"!"}, "a reset may overtake what was sent"


def test_connections_are_refused_and_reset_on_demand(
    fake_broker: Callable[[Callable[[socket.socket], object]], int],
) -> None:
    with Proxy(fake_broker(echo)) as proxy:
        with connected(proxy) as client:
            client.sendall(b"one")
            assert receive(client, 3) == b"one"
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        proxy.faults = Faults(refuse=True)
        with connected(proxy) as client:
            assert client.recv(1) == b""
    assert proxy.connections == 2
