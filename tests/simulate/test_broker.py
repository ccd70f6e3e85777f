from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.simulate.broker import HOST, EmbeddedBroker
from edge_agent.uplink.mqtt import Broker, Link, LinkDown, LinkEvent, LinkUp, Puback, Will


def listening_at(port: int) -> set[str]:
    """Addresses, as the kernel writes them, of the IPv4 and IPv6 listeners at the port."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {cells[1].split(":")[0] for cells in lines if int(cells[1].split(":")[1], 16) == port and cells[3] == "0A"}


def test_it_serves_on_loopback_alone_and_takes_a_publish_until_it_is_stopped() -> None:
    with EmbeddedBroker() as broker:
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
        assert listening_at(broker.port) == {"0100007F"}
        events: queue.Queue[LinkEvent] = queue.Queue()
        link = Link(Broker(HOST, broker.port, None, "n", None, None, 30), Will("w", b""), 5, events.put)
        link.open()
        assert isinstance(events.get(timeout=10), LinkUp)
        mid = link.publish("edge/n/live", b"hello", "text/plain", (("seq", "1"),))
        acknowledged = events.get(timeout=10)
        assert isinstance(acknowledged, Puback)
        assert acknowledged.mid == mid
    assert isinstance(events.get(timeout=10), LinkDown)
    link.close()
    assert listening_at(broker.port) == set()


_CHILD = """
import os, signal, socket, sys
from edge_agent.simulate.broker import EmbeddedBroker
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
with EmbeddedBroker() as broker:
    before = signal.getsignal(signal.SIGINT)
    os.killpg(os.getpgrp(), signal.SIGINT)
    os.killpg(os.getpgrp(), signal.SIGTERM)
    for _ in range(3):
        socket.create_connection(("127.0.0.1", broker.port), timeout=5).close()
    print("alive", broker._broker.is_running, callable(before))
"""


def test_what_ends_us_does_not_take_it_away_before_we_stop_it() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        capture_output=True,
        text=True,
        timeout=30,
        start_new_session=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["alive", "True", "True"]), done.stderr


def test_one_that_is_never_started_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert listening_at(EmbeddedBroker().port) == set()
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_was_taken_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_agent.errors import Unavailable  # noqa: PLC0415

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = signal.getsignal(signal.SIGINT)
    broker = EmbeddedBroker()
    taken, refused = socket.create_server((HOST, broker.port)), pytest.raises(Unavailable, match="does not start: ")
    with taken, refused:
        broker.__enter__()
    assert signal.getsignal(signal.SIGINT) is before
    assert list(tmp_path.iterdir()) == []
