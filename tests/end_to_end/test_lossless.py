"""`ack = "receiver"` with a real broker and `edge-agent receive`: what the broker loses arrives all the same, once."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.clock import NS_PER_S, SystemClock
from tests.end_to_end.program import edge_agent, received, report_of, start_receiver, wait_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder

RIG: Final = (Path(__file__).parents[2] / "config" / "simulate.toml").read_text(encoding="utf-8")
CONFIRMED: Final = '\n[uplink]\nack = "receiver"\nreceivers = ["hq"]\n'


class Bench:
    """A gateway, a broker and a receiver, each of which can be ended and started again."""

    def __init__(self, broker: Mosquitto, directory: Path, more: str = "") -> None:
        self.broker, self.directory = broker, directory
        self.database, self.report = directory / "received.db", directory / "report.json"
        self.config = directory / "config.toml"
        self.config.write_text(f"{RIG}\n[batch]\nperiod_s = 10\n{CONFIRMED}{more}")
        self.options: tuple[str, ...] = ()
        self._count = 0
        self.receiver: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None

    def receive(self) -> None:
        """Start the receiver."""
        self.receiver = start_receiver(self.broker, self.database, *self.options)

    def kill_receiver(self) -> None:
        """End it by SIGKILL."""
        if self.receiver is not None:
            self.receiver.kill()
            self.receiver.wait(10)
            self.receiver = None

    def start(self, speed: int, duration_s: int) -> None:
        """Start the gateway, with the outbox of before."""
        command = [
            sys.executable,
            "-m",
            "edge_agent",
            "--simulate",
            "--speed",
            str(speed),
            "--duration",
            str(duration_s),
        ]
        command += ["--config", str(self.config), "--broker", self.broker.url, "--report", str(self.report)]
        command += ["--state-dir", str(self.directory / "state")]
        with (self.directory / "agent.log").open("ab") as out:
            self.agent = subprocess.Popen(command, stdout=out, stderr=out)

    def kill_agent(self) -> None:
        """End it by SIGKILL."""
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait(10)
            self.agent = None

    def finish(self, timeout_s: float = 60) -> dict[str, Any]:
        """Wait for the end of the gateway, and return its report."""
        assert self.agent is not None
        assert self.agent.wait(timeout_s) == 0, (self.directory / "agent.log").read_text()
        self.agent = None
        return report_of(self.report)

    def stored(self) -> int:
        """Number of records that the receiver has."""
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(self.database)) as db:
            count: int = db.execute("SELECT count(*) FROM record").fetchone()[0]
            return count
        return 0

    def has_more(self) -> bool:
        """Whether there are more records than at the last call."""
        before, self._count = self._count, self.stored()
        return self._count > before

    def wait_for(self, done: Callable[[], bool], seconds: float = 30) -> None:
        """Return when something has happened."""
        clock = SystemClock()
        end_ns = clock.now_ns() + round(seconds * NS_PER_S)
        while not done():
            assert clock.now_ns() < end_ns, (self.directory / "agent.log").read_text()
            wait_s(0.05)

    def check_each_reading_once(self) -> None:
        """No reading is there twice, and none is missing between others of its epoch."""
        with closing(sqlite3.connect(self.database)) as db:
            (stored,) = db.execute("SELECT count(*) FROM readings").fetchone()
            rows = db.execute("SELECT DISTINCT epoch, sensor, quantity, boot_ns FROM readings ORDER BY 1, 2, 3, 4")
            different = rows.fetchall()
            assert len(different) == stored
            for (*channel, before_ns), (*same, after_ns) in pairwise(different):
                if channel == same and "air" in channel:
                    assert 0 < after_ns - before_ns < 1.5 * NS_PER_S, (channel, before_ns, after_ns)


@pytest.fixture
def bench(start_mosquitto: Callable[[str], Mosquitto], tmp_path: Path) -> Iterator[Bench]:
    broker = start_mosquitto("allow_anonymous true\nmax_queued_messages 20")
    made = Bench(broker, tmp_path)
    yield made
    made.kill_agent()
    made.kill_receiver()


def check_complete(bench: Bench, told: dict[str, Any]) -> dict[str, Any]:
    """Everything that one run sampled is stored once. Returns what the receiver says of it."""
    bench.check_each_reading_once()
    (epoch,) = received(bench.database)
    assert (epoch["epoch"], epoch["state"], epoch["missing"], epoch["dropped"]) == (told["epoch"], "complete", [], [])
    assert epoch["records"] == told["records"]["committed"]
    assert epoch["digest"]["readings"] == told["readings"]["sampled"]
    assert told["records"]["pending"] == told["records"]["tombstoned"] == 0
    return epoch


@pytest.mark.broker
def test_a_broker_that_drops_and_forgets_what_it_acknowledged_loses_nothing(bench: Bench) -> None:
    bench.receive()
    bench.kill_receiver()  # the broker keeps 20 messages for it, and drops all others after their PUBACK
    bench.start(speed=100, duration_s=1600)
    bench.wait_for(lambda: status_of(bench).get("unconfirmed", 0) >= 80)
    bench.receive()
    bench.wait_for(lambda: bench.stored() >= 60)
    bench.kill_receiver()
    bench.broker.restart()  # and forgets sessions, queues and retained messages
    wait_s(1)
    bench.receive()
    told = bench.finish()
    epoch = check_complete(bench, told)
    assert told["records"]["confirmed"] >= 150
    assert told["records"]["published"] > told["records"]["committed"], "much was sent twice"
    assert epoch["duplicates"] > 0
    assert told["receivers"]["unheard"] == ""


def status_of(bench: Bench) -> dict[str, Any]:
    """The retained status of the gateway."""
    found: list[dict[str, Any]] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_connect = lambda client, *_: client.subscribe("edge/greenhouse/status")
    client.on_message = lambda _client, _data, message: found.append(json.loads(message.payload))
    client.connect("127.0.0.1", bench.broker.port)
    client.loop_start()
    wait_s(0.3)
    client.disconnect()
    client.loop_stop()
    return found[-1] if found else {}


@pytest.mark.broker
def test_receiver_and_gateway_may_be_killed_at_any_moment(bench: Bench) -> None:
    starts = 0
    for round_ in range(30):
        if bench.agent is None:
            bench.start(speed=60, duration_s=36_000)
            starts += 1
        bench.receive()
        if round_ % 3 == 0:
            bench.wait_for(bench.has_more)
        bench.kill_receiver()
        if round_ % 6 == 5:
            bench.kill_agent()
    bench.kill_agent()
    bench.receive()
    bench.start(speed=60, duration_s=180)
    told = bench.finish()
    epochs = received(bench.database)
    assert [each["state"] for each in epochs] == ["complete"] * len(epochs)
    assert len(epochs) >= starts
    assert all(each["dropped"] == [] for each in epochs)
    assert told["records"]["pending"] == 0
    assert told["records"]["carried_over"] > 0
    bench.check_each_reading_once()


@pytest.mark.broker
def test_what_a_restored_receiver_asks_for_is_declared_gone(bench: Bench) -> None:
    bench.receive()
    bench.start(speed=60, duration_s=36_000)
    bench.wait_for(lambda: bench.stored() >= 5)
    bench.kill_receiver()
    backup = bench.directory / "backup.db"
    with closing(sqlite3.connect(bench.database)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    bench.receive()
    bench.wait_for(lambda: bench.stored() >= 30)
    wait_s(2)  # it confirms them
    bench.kill_receiver()
    for path in bench.directory.glob("received.db*"):
        path.unlink()
    shutil.copy(backup, bench.database)
    bench.receive()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", bench.broker.port)
    client.loop_start()
    asked, epoch = 0, received(bench.database)[0]
    while asked < 10 and (epoch["missing"] or not epoch["dropped"]):
        if epoch["missing"]:  # it would look itself in a minute, and ask in two
            said = {"v": 1, "missing": [{"epoch": epoch["epoch"], "ranges": epoch["missing"]}]}
            client.publish("edge/greenhouse/ask/hq", json.dumps(said), qos=1)
            asked += 1
        wait_s(1)
        (epoch,) = received(bench.database)
    client.disconnect()
    client.loop_stop()
    assert bench.agent is not None
    bench.agent.terminate()
    told = bench.finish()
    (epoch,) = received(bench.database)
    assert (epoch["state"], epoch["missing"]) == ("complete", [])
    assert told["records"]["pending"] == told["records"]["tombstoned"] == 0
    (dropped,) = epoch["dropped"]
    assert dropped["reason"] == "confirmed before, or dropped and told"
    assert epoch["never_came"] == dropped["records"] >= 15
    # Every seq is a record of the gateway, or a tombstone.
    assert epoch["records"] + epoch["never_came"] == told["records"]["committed"] + dropped["tombstones"]


@pytest.mark.broker
def test_a_receiver_that_lacks_the_announcement_is_taught(
    start_mosquitto: Callable[[str], Mosquitto], tmp_path: Path
) -> None:
    bench = Bench(start_mosquitto("allow_anonymous true"), tmp_path, "heartbeat_s = 86_400\n")
    bench.receive()
    bench.start(speed=20, duration_s=36_000)  # one batch in 64 teaches: in half a minute
    try:
        bench.wait_for(lambda: bench.stored() >= 4)
        bench.kill_receiver()
        for path in tmp_path.glob("received.db*"):
            path.unlink()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect("127.0.0.1", bench.broker.port)
        client.loop_start()
        client.publish("edge/greenhouse/status", b"", qos=1, retain=True).wait_for_publish(5)
        client.disconnect()
        client.loop_stop()
        bench.receive()
        bench.wait_for(lambda: bench.stored() >= 4, seconds=10)
        bench.check_each_reading_once()
        assert "announcement" in status_of(bench), "it was said again"
    finally:
        bench.kill_agent()
        bench.kill_receiver()


@pytest.mark.broker
def test_batches_that_are_larger_than_the_broker_takes_arrive_in_parts(
    start_mosquitto: Callable[[str], Mosquitto], record: Callable[..., Recorder], tmp_path: Path
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_packet_size 500")
    recorder = record(broker.port)
    bench = Bench(broker, tmp_path)
    bench.config.write_text(f"{RIG}\n[batch]\nperiod_s = 300\n{CONFIRMED}")
    bench.receive()
    ended = edge_agent(
        *("--simulate", "--speed", "max", "--duration", 650, "--config", bench.config, "--broker", broker.url),
        *("--report", bench.report),
    )
    bench.wait_for(lambda: bench.stored() > 0)
    bench.kill_receiver()
    assert ended.code == 0, ended.err
    told = report_of(bench.report)
    (epoch,) = received(bench.database)
    assert (epoch["state"], epoch["missing"]) == ("complete", [])
    assert epoch["digest"]["readings"] == told["readings"]["sampled"]
    assert told["records"]["set_aside"] == told["records"]["pending"] == 0
    bench.check_each_reading_once()
    sent = [each for each in recorder.records() if "/ack/" not in each.topic]
    assert len([each for each in sent if each.message().rows is not None]) >= 2
    assert all(len(each.payload) < 500 for each in sent)


@pytest.mark.broker
def test_with_a_key_only_the_receiver_that_has_it_confirms(
    start_mosquitto: Callable[[str], Mosquitto], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("between us\n")
    key.chmod(0o600)
    bench = Bench(start_mosquitto("allow_anonymous true"), tmp_path, f'ack_key_file = "{key}"\n')
    arguments = (
        *("--simulate", "--speed", "max", "--config", bench.config, "--broker", bench.broker.url),
        *("--state-dir", tmp_path / "state", "--report", bench.report),
    )
    bench.receive()
    ended = edge_agent(*arguments, "--duration", 120)
    assert ended.code == 0, ended.err
    assert ended.err.count("is ignored") == 1
    told = report_of(bench.report)
    assert told["records"]["confirmed"] == 0
    assert told["receivers"]["ignored_messages"] > 0
    assert "no receiver has confirmed anything" in told["receivers"]["unheard"]
    bench.kill_receiver()
    bench.options = ("--ack-key-file", str(key))
    bench.receive()
    ended = edge_agent(*arguments, "--duration", 30)
    bench.kill_receiver()
    assert ended.code == 0, ended.err
    assert report_of(bench.report)["records"]["pending"] == 0
    assert {each["state"] for each in received(bench.database)} == {"complete"}
