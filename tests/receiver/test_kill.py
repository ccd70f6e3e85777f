"""The real program against a real broker, killed in the middle of its work."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.clock import NS_PER_S, SystemClock
from tests.receiver.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Mosquitto

SEQS = 2000
KILLS = 4
READINGS = 9


class Sender:
    """A gateway that publishes with QoS 1 and hears what is acknowledged to it."""

    def __init__(self, port: int) -> None:
        self.acks: list[dict[str, Any]] = []
        self.retained: list[dict[str, Any]] = []
        self.heard = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_connect = lambda client, *_: client.subscribe("edge/n/ack/+", qos=1)
        self.client.on_message = lambda _client, _data, message: self._hear(message)
        self.client.max_inflight_messages_set(1000)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _hear(self, message: paho.MQTTMessage) -> None:
        assert len(message.payload) <= 16_384
        self.acks.append(json.loads(message.payload))
        if message.retain:
            self.retained.append(self.acks[-1])
        self.heard.set()

    def publish(self, payload: bytes, lane: str = "live") -> None:
        """Publish, and wait for the PUBACK."""
        self.client.publish(f"edge/n/{lane}", payload, qos=1).wait_for_publish(20)

    def wait_for_upto(self, upto: int, seconds: float = 30) -> None:
        """Return when so much is acknowledged."""
        clock = SystemClock()
        end_ns = clock.now_ns() + round(seconds * NS_PER_S)
        while not any(entry["upto"] >= upto for said in self.acks for entry in said["acks"]):
            assert clock.now_ns() < end_ns, self.acks[-1:]
            self.heard.clear()
            clock.wait(self.heard, min(end_ns, clock.now_ns() + NS_PER_S // 5))

    def close(self) -> None:
        """End it."""
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def sender(start_mosquitto: Callable[[str], Mosquitto]) -> Iterator[tuple[Sender, Mosquitto]]:
    broker = start_mosquitto("allow_anonymous true\nmax_queued_messages 0")
    sending = Sender(broker.port)
    yield sending, broker
    sending.close()


def start(broker: Mosquitto, database: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start `edge-agent receive`, and wait until it is subscribed."""
    command = [sys.executable, "-m", "edge_agent", "receive", "--broker", broker.url, "--name", "hq"]
    log = database.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--to", f"sqlite:{database}", *more], stderr=out, stdout=out)
    clock, never = SystemClock(), threading.Event()
    end_ns = clock.now_ns() + 30 * NS_PER_S
    while b"connected" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert clock.now_ns() < end_ns, log.read_text()
        clock.wait(never, clock.now_ns() + NS_PER_S // 100)
    return process


def identities(database: Path) -> Counter[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as db:
        return Counter(db.execute("SELECT node, epoch, seq, row, sensor, quantity FROM readings").fetchall())


@pytest.mark.broker
def test_a_receiver_that_is_killed_again_and_again_has_every_reading_once(
    sender: tuple[Sender, Mosquitto], tmp_path: Path
) -> None:
    sending, broker = sender
    gateway, database, lines = Gateway(), tmp_path / "received.db", tmp_path / "lines.ndjson"
    feed = ("--to", f"ndjson:{lines}")
    clock, never, rng = SystemClock(), threading.Event(), random.Random(7)
    payloads = [gateway.batch(seq) for seq in range(1, SEQS + 1)]
    process = start(broker, database, *feed)
    cut_short = 0
    for kill in range(1, KILLS + 1):
        for payload in payloads[(kill - 1) * SEQS // KILLS : kill * SEQS // KILLS]:
            sending.client.publish("edge/n/live", payload, qos=1)
        clock.wait(never, clock.now_ns() + round(rng.uniform(0.02, 0.1) * NS_PER_S))
        process.kill()
        process.wait(10)
        cut_short += len(identities(database)) < kill * SEQS // KILLS * READINGS
        process = start(broker, database, *feed)
    assert cut_short, "it was always killed too late to prove anything"
    sending.wait_for_upto(SEQS)
    process.terminate()
    assert process.wait(10) == 0
    found = identities(database)
    assert set(found.values()) == {1}
    assert len(found) == SEQS * READINGS
    written = Counter(
        (row["node"], row["epoch"], row["seq"], row["row"], row["sensor"], row["quantity"])
        for row in map(json.loads, lines.read_text().splitlines())
    )
    assert written.keys() == found.keys(), "lines are written at least once"
    late = Sender(broker.port)
    late.wait_for_upto(SEQS)
    assert late.retained, "a gateway that comes later learns it at once"
    late.close()


@pytest.mark.broker
def test_what_comes_while_it_is_away_waits_at_the_broker(sender: tuple[Sender, Mosquitto], tmp_path: Path) -> None:
    sending, broker = sender
    gateway, database = Gateway(), tmp_path / "received.db"
    first = start(broker, database)
    sending.publish(gateway.batch(1))
    sending.wait_for_upto(1)
    first.terminate()
    assert first.wait(10) == 0
    for seq in range(2, 50):
        sending.publish(gateway.batch(seq))
    second = start(broker, database)
    sending.wait_for_upto(49)
    second.terminate()
    assert second.wait(10) == 0
    assert len(identities(database)) == 49 * READINGS


@pytest.mark.broker
def test_a_broker_that_forgot_everything_is_told_again(sender: tuple[Sender, Mosquitto], tmp_path: Path) -> None:
    sending, broker = sender
    gateway = Gateway()
    process = start(broker, tmp_path / "received.db")
    sending.publish(gateway.batch(1))
    sending.wait_for_upto(1)
    sending.close()
    broker.restart()
    late = Sender(broker.port)
    late.wait_for_upto(1)
    late.close()
    process.terminate()
    assert process.wait(10) == 0
