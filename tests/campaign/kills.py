"""Real processes killed with -9: `python tests/campaign/kills.py --agents N --brokers N [--jobs J]`.

`edge-agent run` reads a Modbus transmitter on a pty, and publishes to a real mosquitto. What it had committed when it
was killed is read from its files: rows of the database, and blocks of the segments. At the end a run without a kill
empties the outbox, and the history is judged.

With `ack = "puback"` a killed broker may lose what it acknowledged: that is counted, and nothing else may be missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from edge_agent.bus.base import BusKind  # noqa: E402 run as a script, too
from edge_agent.clock import NS_PER_S, SystemClock  # noqa: E402
from edge_agent.outbox.segments import BLOCK_BYTES, FILE, _block_at  # noqa: E402
from edge_agent.pipeline.open_rows import promote_rows  # noqa: E402
from edge_agent.reading import RecordKind  # noqa: E402
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor  # noqa: E402
from edge_agent.simulate.uart import PtyDevice  # noqa: E402
from edge_agent.wire.batch import Tombstone  # noqa: E402
from tests.campaign.facts import Identity, ReadingKey, Row, keys_of  # noqa: E402
from tests.conftest import Mosquitto  # noqa: E402
from tests.end_to_end.program import Recorder  # noqa: E402

CONFIG: Final = """
[gateway]
id = "g"
[bus.rs485]
device = "{port}"
kind = "serial"
[[sensor]]
id = "out"
driver = "modbus_rtu"
bus = "rs485"
period_s = 0.2
[batch]
period_s = 0.5
[outbox]
durability_s = 0.2
[uplink]
url = "{url}"
"""
BROKER: Final = "allow_anonymous true\nmax_queued_messages 0\n"
STOP_S: Final = 30.0
_ROWS: Final = "SELECT rowid, epoch, seq, kind, boot, readings, body FROM record"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a loop of kills gave. `lost` are records that the broker had acknowledged, or its subscriber never got."""

    kills: int
    committed: int
    delivered: int
    repeated: int
    lost: int
    wrong: list[str]


@dataclass
class Files:
    """What the files of an agent showed whenever it was dead."""

    directory: Path
    records: dict[Identity, Row] = field(default_factory=dict)
    owed: set[ReadingKey] = field(default_factory=set)
    pending: set[Identity] = field(default_factory=set)

    def look(self) -> None:
        """Read the database, in a copy, and the segments."""
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "state"
            shutil.copytree(self.directory, copy)
            with closing(sqlite3.connect(copy / "outbox.db")) as database:
                rows = [Row(*row) for row in database.execute(_ROWS)]
            segments = copy / FILE
            content = segments.read_bytes() if segments.exists() else b""
        self.pending = {row.identity for row in rows}
        for row in rows:
            self.records[row.identity] = row
            self.owed |= set(keys_of(row.message()))
        for at in range(0, len(content), BLOCK_BYTES):
            block = _block_at(content, at)
            if block is not None and block[2].intact:
                row = Row(0, 0, 0, RecordKind.BATCH, block[2].boot, 0, promote_rows([block[2].body]))
                self.owed |= set(keys_of(row.message()))


class Plant:
    """An agent, a broker, a recorder, and their files in one directory."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self._clock = SystemClock()
        self._never = threading.Event()
        self._agent: subprocess.Popen[bytes] | None = None
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.broker = Mosquitto(program, directory, port, BROKER)
        self.broker.start()
        self.recorder = Recorder(port)
        self.recorder.__enter__()
        sensor = SimulatedSensor("modbus_rtu", "rs485", 1, {"profile": "xy-md02"})
        self._rig = Rig(1, self._clock, [SimulatedBusSpec("rs485", BusKind.SERIAL)], [sensor])
        line = self._rig.buses["rs485"]
        assert isinstance(line, PtyDevice)
        self._config = directory / "edge-agent.toml"
        self._config.write_text(CONFIG.format(port=line.path, url=self.broker.url))
        self.state = directory / "state"
        self.files = Files(self.state)

    def wait(self, seconds: float) -> None:
        """Let real time pass."""
        self._clock.wait(self._never, self._clock.now_ns() + round(seconds * NS_PER_S))

    def start(self) -> None:
        """Start the agent, and wait until it has sent something new."""
        before = len(self.recorder.records())
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "edge_agent",
            "run",
            "--config",
            self._config,
            "--state-dir",
            self.state,
        ]
        self._agent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        self.recorder.wait_for(lambda each: len(each.records()) > before, STOP_S)

    def kill(self) -> None:
        """Kill the agent, and look at what it leaves."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait(STOP_S)
        self.files.look()

    def finish(self) -> None:
        """Let the agent send everything, stop it, and wait for the last messages."""
        self.wait(2.0)
        assert self._agent is not None
        self._agent.send_signal(signal.SIGTERM)
        assert self._agent.wait(STOP_S) == 0
        self.files.look()
        self.wait(0.5)

    def close(self) -> None:
        """End everything."""
        if self._agent is not None and self._agent.poll() is None:
            self._agent.kill()
            self._agent.wait(STOP_S)
        self.recorder.__exit__()
        self.broker.kill()
        self._rig.close()


def judge(plant: Plant, kills: int, *, broker_killed: bool) -> Verdict:
    """Compare what arrived with what had been committed."""
    arrived: Counter[Identity] = Counter()
    readings: dict[ReadingKey, Identity] = {}
    buried: set[Identity] = set()
    wrong = [f"{identity} is still pending" for identity in sorted(plant.files.pending)]
    for captured in plant.recorder.records():
        message = captured.message()
        identity = (message.envelope.epoch, message.envelope.seq)
        arrived[identity] += 1
        if isinstance(message.content, Tombstone):
            epoch = identity[0] if message.content.epoch is None else message.content.epoch
            last_seq = message.content.last_seq or message.content.first_seq
            buried |= {(epoch, seq) for seq in range(message.content.first_seq, last_seq + 1)}
        for key in keys_of(message):
            other = readings.setdefault(key, identity)
            if other != identity:
                wrong.append(f"reading {key} arrived with {other} and with {identity}")
    known = set(plant.files.records) | set(arrived)
    missing = {identity for identity in known if identity not in arrived and identity not in buried}
    for epoch in {epoch for epoch, _seq in known}:
        seqs = {seq for own, seq in {*known, *buried} if own == epoch}
        missing |= {(epoch, seq) for seq in range(1, max(seqs) + 1) if seq not in seqs}
    absent = {key for key in plant.files.owed if key not in readings}
    if missing and not broker_killed:
        wrong.append(f"{len(missing)} records never arrived: {sorted(missing)[:5]}")
    if absent and not broker_killed:
        wrong.append(f"{len(absent)} readings never arrived: {sorted(absent)[:5]}")
    repeated = sum(count - 1 for count in arrived.values())
    return Verdict(kills, len(known | missing), len(arrived), repeated, len(missing), wrong)


def kill_agents(task: tuple[int, int]) -> Verdict:
    """Kill an agent `count` times, each time at a random moment after it began to send. `task`: seed and count."""
    seed, count = task
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        plant = Plant(Path(place), seed)
        try:
            for _ in range(count):
                plant.start()
                plant.wait(plant.rng.uniform(0.0, 1.5))
                plant.kill()
            plant.start()
            plant.finish()
            return judge(plant, count, broker_killed=False)
        finally:
            plant.close()


def kill_brokers(task: tuple[int, int]) -> Verdict:
    """Kill a broker `count` times; it keeps nothing, so its store is wiped each time. `task`: seed and count."""
    seed, count = task
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        plant = Plant(Path(place), seed)
        try:
            plant.start()
            for _ in range(count):
                before = len(plant.recorder.records())
                plant.broker.kill()
                # So long that the agent finds nothing listening: else it takes many kills in a minute for a rival with
                # its client id, and waits for minutes.
                plant.wait(plant.rng.uniform(1.1, 1.4))
                plant.broker.start()
                plant.recorder.wait_for(lambda each, before=before: len(each.records()) > before, STOP_S)  # type: ignore[misc]
                plant.wait(plant.rng.uniform(0.0, 0.5))
            plant.finish()
            return judge(plant, count, broker_killed=True)
        finally:
            plant.close()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=10_000, help="kills of agents")
    parser.add_argument("--brokers", type=int, default=1_000, help="kills of brokers")
    parser.add_argument("--each", type=int, default=50, help="kills per outbox")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args()
    failed = False
    for name, act, count in (("agent", kill_agents, given.agents), ("broker", kill_brokers, given.brokers)):
        tasks = [(seed, min(given.each, count - start)) for seed, start in enumerate(range(0, count, given.each))]
        verdicts: list[Verdict] = []
        with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
            for (seed, _), verdict in zip(tasks, pool.imap(act, tasks), strict=True):
                verdicts.append(verdict)
                for each in verdict.wrong[:10]:
                    print(f"{name} seed {seed}: {each}", flush=True)
        totals = [sum(column) for column in zip(*[astuple_numbers(each) for each in verdicts], strict=True)]
        failed |= any(each.wrong for each in verdicts)
        if totals:
            kills, committed, delivered, repeated, lost = totals
            print(
                f"{kills} {name} kills: {committed} records committed, {delivered} delivered, {repeated} repeated, "
                f"{lost} lost" + (" after the broker had acknowledged them" if name == "broker" else "")
            )
    return int(failed)


def astuple_numbers(verdict: Verdict) -> tuple[int, int, int, int, int]:
    """The numbers that can be added."""
    return verdict.kills, verdict.committed, verdict.delivered, verdict.repeated, verdict.lost


if __name__ == "__main__":
    sys.exit(main())
