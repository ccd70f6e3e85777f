"""One run of the path at default settings, in a process of its own: prints its costs as JSON. Part of `bench_path`.

    python tests/bench/path_run.py ROOT CHANNELS MINUTES [--durability S] [--rules] [--parts]
    python tests/bench/path_run.py naive CHANNELS MINUTES

ROOT is the checkout to measure: this one, or an earlier one whose modules had other names, so that both can be compared
in one run. Measurements go in at 1 Hz; batches are sealed every 60 s, rows secured every 10 s, both committed to SQLite
on disk with `synchronous=FULL`, handed out, put into their envelopes, and confirmed, as behind a broker that answers.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NS_PER_S: Final = 1_000_000_000
START_NS: Final = 10 * NS_PER_S
WARM_MINUTES: Final = 70
"""Detectors look more closely in the beginning; that is over by then."""
MOST_WARM_CELLS: Final = 1_000_000
QUANTITIES: Final = ("temperature_c", "humidity_pct")
"""What each sensor of the bench measures: two channels, like an SHT3x."""
PARTS: Final = (
    ("stages.validate", "Validator.run", "judge"),
    ("stages.filters.auto", "Auto.run", "filter"),
    ("pipeline.findings", "Watch.take", "watch"),
    ("pipeline.channel", "rounded", "round"),
    ("pipeline.sensor_batch", "SensorBatch.process", "open batch"),
    ("pipeline.recorder", "Recorder.secure", "secure: dump"),
    ("pipeline.recorder", "Recorder.seal", "seal: encode"),
    ("pipeline.pipeline", "Pipeline.step", "order, inbox"),
    ("outbox.outbox", "Outbox.commit", "SQLite: commit"),
    ("outbox.worker", "StoreWorker.step", "SQLite: hand out, confirm"),
)
"""Functions that are timed with `--parts`, without those that they call: module, name, what it is called."""


class Costs(NamedTuple):
    """What a run took per reading: CPU and wall time, bytes that the kernel was made to write."""

    cpu_ns: float
    wall_ns: float
    disk_bytes: float


def module(*names: str) -> Any:
    """The first of these modules that the checkout has."""
    for name in names:
        try:
            return importlib.import_module(f"edge_agent.{name}")
        except ModuleNotFoundError:
            continue
    raise SystemExit(f"this checkout has none of {names}")


def values(channels: int, rows: int) -> Iterator[list[tuple[float, float]]]:
    """Slowly wandering noisy air in hundredths, as chips count it: per row the values of each sensor."""
    rng = random.Random(7)
    truth = [[20.0, 50.0] for _ in range(channels // 2)]
    for _ in range(rows):
        made = []
        for place in truth:
            place[0] += rng.gauss(0, 0.002)
            place[1] += rng.gauss(0, 0.005)
            made.append((round(place[0] + rng.gauss(0, 0.02), 2), round(place[1] + rng.gauss(0, 0.05), 2)))
        yield made


class Path60:
    """Pipeline and store of one checkout, at default settings but for what is named."""

    def __init__(self, directory: Path, channels: int, durability_s: float, *, rules: bool) -> None:
        self.clock = module("clock").SimulatedClock(0, start_ns=START_NS)
        self.measurement = module("reading").Measurement
        self._worker, self._batch = module("outbox.worker"), module("wire.envelope", "wire.batch")
        self._encode = module("wire.encode").encode_message
        self._confirm = getattr(self._worker, "Confirm", None) or self._worker.Arrived
        durability_ns = round(durability_s * NS_PER_S)
        self.store: Any = self._worker.StoreWorker(
            self._outbox(directory),
            self.clock,
            durability_ns=durability_ns,
            offer=self._offer,
            committed=lambda: self.store.inbox.put(self._worker.HandOut(16)),
        )
        sensors = {f"air-{place}": [self._channel(name) for name in QUANTITIES] for place in range(channels // 2)}
        alerts = [self._rule(name) for name in sensors] if rules else []
        pipeline = module("pipeline.pipeline", "pipeline").Pipeline
        put, clock = self.store.inbox.put, self.clock
        try:
            settings = importlib.import_module("edge_agent.pipeline.settings").BatchSettings(
                60 * NS_PER_S, durability_ns
            )
            self.pipeline = pipeline(sensors, settings, clock=clock, store=put, alerts=alerts)
        except ModuleNotFoundError:
            self.pipeline = pipeline(
                sensors,
                clock=clock,
                batch_ns=60 * NS_PER_S,
                durability_ns=durability_ns,
                time_step_ns=1_000_000,
                features=True,
                store=put,
                alerts=alerts,
            )

    def measure(self, row: int, made: Sequence[tuple[float, float]]) -> tuple[int, list[Any]]:
        """What the sensors deliver in a second, and when it is over; not part of what is measured."""
        second_ns = START_NS + row * NS_PER_S
        measured = [
            (f"air-{place}", second_ns + place % 900 * 1_000_000, QUANTITIES, pair) for place, pair in enumerate(made)
        ]
        return second_ns + 950_000_000, measured

    def take(self, end_ns: int, measured: Sequence[Any]) -> None:
        """A second passes: deliver, and step whoever has something to do."""
        for sensor, at_ns, quantities, pair in measured:
            self.pipeline.deliver(self.measurement(sensor, at_ns, quantities, pair))
        self.clock.advance_to(end_ns)
        self.pipeline.step()
        while len(self.store.inbox):
            self.store.step()

    def _outbox(self, directory: Path) -> Any:
        outbox, anchor = module("outbox.outbox"), self.clock.anchor()
        if hasattr(outbox, "Encode"):
            encode = outbox.Encode(lambda _dropped: b"", module("pipeline.open_rows").promote_rows)
            settings = module("outbox.schema").StoreSettings(1 << 28)
            return outbox.Outbox(
                directory, settings, boot_id="bench", anchor=anchor, rng=random.Random(1), encode=encode
            )
        return outbox.Outbox(
            directory,
            max_bytes=1 << 28,
            boot_id="bench",
            anchor=anchor,
            rng=random.Random(1),
            encode_tombstone=lambda _dropped: b"",
        )

    def _channel(self, name: str) -> Any:
        known = module("quantity").QUANTITIES[name]
        limits = module("stages.validate").Limits
        return module("pipeline.settings", "channel").ChannelSettings(
            name,
            limits(known.minimum, known.maximum, None, known.max_rate_per_s, known.free_step),
            filter=module("stages.filters.auto", "stages.auto").AutoSettings(known.sigma, known.resolution),
            resolution=known.resolution,
            raw_resolution=known.resolution,
            anomaly=module("stages.anomalies.detector", "stages.anomaly").AnomalySettings(resolution=known.resolution),
        )

    def _rule(self, sensor: str) -> Any:
        alerts, when = module("stages.alerts"), f"{sensor}.temperature_c > 40"
        return alerts.AlertSettings(when, when, alerts.parse_condition(when))

    def _offer(self, records: Sequence[tuple[object, Any]]) -> None:
        """What the uplink does with records, up to the socket, and the answer."""
        for _lane, record in records:
            envelope = self._batch.Envelope(
                "bench", record.epoch, record.seq, record.boot, record.offset_ns, record.time_quality
            )
            self._encode(record.kind, envelope, record.body)
            self.store.inbox.put(self._confirm(record))


class Naive:
    """Everything per reading, as such programs are often written: one row per reading, committed every ten seconds."""

    def __init__(self, directory: Path, channels: int) -> None:
        import msgpack  # noqa: PLC0415 the others do not need it here
        import numpy as np  # noqa: PLC0415

        self._np, self._pack = np, msgpack.packb
        self._db = sqlite3.connect(directory / "naive.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, channel INT, at REAL, body BLOB)")
        self._db.execute("BEGIN")
        self._state = [(20.0, 1.0, deque([20.0], maxlen=10), dict[str, float]()) for _ in range(channels)]

    def measure(self, row: int, made: Sequence[tuple[float, float]]) -> tuple[int, list[Any]]:
        """What the sensors deliver in a second; not part of what is measured."""
        return row, [value for pair in made for value in pair]

    def take(self, row: int, measured: Sequence[Any]) -> None:
        """A second passes."""
        for channel, value in enumerate(measured):
            estimate, variance, recent, last = self._state[channel]
            variance += 0.01
            gain = variance / (variance + 0.1)
            estimate += gain * (value - estimate)
            recent.append(estimate)
            now = {"value": estimate, "mean": float(self._np.mean(recent)), "std": float(self._np.std(recent))}
            now["trend"] = float(self._np.polyfit(range(len(recent)), recent, 1)[0]) if len(recent) > 1 else 0.0
            body = self._pack({key: number - last.get(key, 0.0) for key, number in now.items()})
            self._db.execute("INSERT INTO reading VALUES (NULL, ?, ?, ?)", (channel, float(row), body))
            self._state[channel] = (estimate, variance * (1 - gain), recent, now)
        if row % 10 == 9:
            self._db.execute("COMMIT")
            self._db.execute("BEGIN")


def written_bytes() -> int:
    """Bytes that this process has made the kernel write to storage."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def timed_parts() -> Any:
    """A stopwatch on every part that the checkout has."""
    sys.path.insert(1, str(Path(__file__).parents[2]))
    from tests.bench.stopwatch import Stopwatch  # noqa: PLC0415 only with --parts

    watch = Stopwatch()
    for name, attribute, part in PARTS:
        owner: Any = module(name)
        *path, function = attribute.split(".")
        for step in path:
            owner = getattr(owner, step)
        watch.watch(owner, function, part)
    return watch


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("channels", type=int)
    parser.add_argument("minutes", type=int)
    parser.add_argument("--durability", type=float, default=10.0)
    parser.add_argument("--rules", action="store_true")
    parser.add_argument("--parts", action="store_true")
    asked = parser.parse_args()
    is_naive = asked.root == "naive"
    sys.path[0] = str(Path(__file__).parents[2]) if is_naive else asked.root
    warm = 2 if is_naive else max(2, min(WARM_MINUTES, MOST_WARM_CELLS // (60 * asked.channels)))
    watch = timed_parts() if asked.parts else None
    with tempfile.TemporaryDirectory() as folder:
        path: Naive | Path60 = (
            Naive(Path(folder), asked.channels)
            if is_naive
            else Path60(Path(folder), asked.channels, asked.durability, rules=asked.rules)
        )
        cpu_ns = wall_ns = disk = 0
        seconds = enumerate(values(asked.channels, 60 * (warm + asked.minutes)))
        for minute in range(warm + asked.minutes):
            made = [path.measure(*second) for second in islice(seconds, 60)]
            if minute == warm:
                gc.collect()
                gc.freeze()
                cpu_ns = wall_ns = 0
                disk = written_bytes()
                if watch is not None:
                    watch.spent_ns.clear()
            cpu, wall = time.process_time_ns(), time.perf_counter_ns()
            for second in made:
                path.take(*second)
            cpu_ns += time.process_time_ns() - cpu
            wall_ns += time.perf_counter_ns() - wall
        disk = written_bytes() - disk
    readings = 60 * asked.minutes * asked.channels
    spent = {} if watch is None else {part: spent / readings for part, spent in watch.spent_ns.items()}
    print(json.dumps({"costs": Costs(cpu_ns / readings, wall_ns / readings, disk / readings), "parts": spent}))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the daemon does
    main()
