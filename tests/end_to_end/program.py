"""The program as a user runs it, against a real broker, with a recorder at the other end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.wire.codec import Known, decode_message, learn_stream
from edge_agent.wire.rows import objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.wire.batch import Message
    from tests.conftest import Mosquitto


@dataclass(frozen=True)
class Captured:
    """One message as it arrived."""

    topic: str
    payload: bytes
    known: Known
    """What has been announced on the way to the same recorder."""

    def message(self) -> Message:
        """What it holds."""
        return decode_message(self.payload, self.known)

    def objects(self) -> list[dict[str, Any]]:
        """What `edge-agent decode` would print of it."""
        return list(objects(self.message()))


class Recorder:
    """Subscribes to everything below `edge/`, or to other topics, and comes back when the broker does."""

    def __init__(self, port: int, topics: str = "edge/#") -> None:
        self.messages: list[Captured] = []
        self.known = Known()
        self._news = threading.Event()
        self._subscribed = threading.Event()
        self._lost = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._forget()
        self._client.on_message = lambda _client, _data, message: self._keep(message.topic, bytes(message.payload))
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_until_lost(self) -> None:
        """Return when it has noticed that the broker is gone."""
        assert self._lost.wait(10)

    def wait_until_back(self) -> None:
        """Return when it is subscribed, again if it was lost."""
        assert self._subscribed.wait(20)

    def _forget(self) -> None:
        self._subscribed.clear()
        self._lost.set()

    def records(self) -> list[Captured]:
        """Everything but status messages."""
        return [each for each in self.messages if not each.topic.endswith("/status")]

    def identities(self, epoch: int | None = None) -> Counter[tuple[int, int]]:
        """(epoch, seq) of every record that arrived, and how often it did."""
        decoded = [each.message().envelope for each in self.records()]
        return Counter((each.epoch, each.seq) for each in decoded if epoch is None or each.epoch == epoch)

    def wait_for(self, enough: Callable[[Recorder], bool], seconds: float = 20) -> None:
        """Return when `enough` is satisfied; fail after `seconds`."""
        clock = SystemClock()
        deadline_ns = clock.now_ns() + round(seconds * NS_PER_S)
        while not enough(self):
            assert clock.now_ns() < deadline_ns, f"only {len(self.records())} records arrived in {seconds} s"
            self._news.clear()
            clock.wait(self._news, min(deadline_ns, clock.now_ns() + NS_PER_S // 5))

    def _keep(self, topic: str, payload: bytes) -> None:
        self.messages.append(Captured(topic, payload, self.known))
        if topic.startswith("edge/"):
            learn_stream(payload, self.known)
        self._news.set()


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended."""

    code: int
    out: str
    err: str


def edge_agent(*arguments: object, timeout_s: float = 60) -> Ended:
    """Run `edge-agent` to its end."""
    command = [sys.executable, "-m", "edge_agent", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def report_of(path: Path) -> dict[str, Any]:
    """A run report, checked for what always holds."""
    report: dict[str, Any] = json.loads(path.read_text())
    records, readings = report["records"], report["readings"]
    assert records["committed"] == records["confirmed"] + records["tombstoned"] + records["pending"]
    assert readings["sampled"] == sum(readings[name] for name in ("good", "estimated", "suspect", "bad"))
    return report


def start_receiver(broker: Mosquitto, database: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start `edge-agent receive` under the name hq, and return when it is connected."""
    command = [sys.executable, "-m", "edge_agent", "receive", "--broker", broker.url, "--name", "hq", *options]
    log = database.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--to", f"sqlite:{database}"], stderr=out)
    clock, never = SystemClock(), threading.Event()
    end_ns = clock.now_ns() + 30 * NS_PER_S
    while b"connected" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert clock.now_ns() < end_ns, log.read_text()
        clock.wait(never, clock.now_ns() + NS_PER_S // 100)
    return process


def received(database: Path) -> list[dict[str, Any]]:
    """What `edge-agent receive --report` says of the epochs of the one node."""
    ended = edge_agent("receive", "--report", "--json", "--to", f"sqlite:{database}")
    nodes = json.loads(ended.out)["nodes"]
    epochs: list[dict[str, Any]] = nodes[0]["epochs"] if nodes else []
    return epochs


def wait_s(seconds: float) -> None:
    """Let real time pass for programs that are running."""
    clock = SystemClock()
    clock.wait(threading.Event(), clock.now_ns() + round(seconds * NS_PER_S))
