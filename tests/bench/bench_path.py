"""What the path costs: readings per second and core, bytes on the wire and on disk, memory and start of the daemon.

Run alone: `python tests/bench/bench_path.py [path|wire|daemon]…`. Ratios are taken pair by pair within one run, because
absolute rates say more about the machine than about the program.
"""

from __future__ import annotations

import gc
import os
import platform
import random
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the daemon does
sys.path.insert(0, str(Path(__file__).parents[2]))

import msgpack
import numpy as np

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.health import storage_bytes_written
from edge_agent.open_batch import rounded
from edge_agent.outbox.outbox import Content, Outbox
from edge_agent.outbox.worker import StoreWorker
from edge_agent.pipeline import ChannelSettings, Pipeline
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Measurement, RecordKind
from edge_agent.stages.anomaly import AnomalySettings
from edge_agent.stages.auto import AutoSettings
from edge_agent.stages.calibrate import Calibration, calibrate
from edge_agent.stages.validate import Limits, Validator
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import encode_batch
from tests.bench.bench_daemon import bench_daemon
from tests.bench.bench_wire import bench_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROWS: Final = 60
REPEATS: Final = 5
NAIVE_READINGS: Final = 3_000
BATCHES: Final = {4: 100, 20: 40, 200: 6, 1000: 3}
"""Batches per run, by channels."""
QUANTITY_PAIR: Final = ("temperature_c", "humidity_pct")
"""What the sensors of the bench measure: two channels each, like an SHT3x."""
START_NS: Final = 10 * NS_PER_S


class Cost(NamedTuple):
    """What a run took: CPU and wall seconds, bytes sent to the block device, readings."""

    cpu_s: float
    wall_s: float
    disk_bytes: int
    readings: int

    @property
    def rate(self) -> float:
        """Readings per second of CPU."""
        return self.readings / self.cpu_s


def settings(quantity: str) -> ChannelSettings:
    """A channel as the daemon sets it up by default."""
    known = QUANTITIES[quantity]
    return ChannelSettings(
        quantity,
        Limits(known.minimum, known.maximum),
        filter=AutoSettings(known.sigma, known.resolution),
        resolution=known.resolution,
        raw_resolution=known.resolution,
        anomaly=AnomalySettings(resolution=known.resolution),
    )


def measurements(channels: int, rows: int, jitter_ns: int) -> list[Measurement]:
    """Slowly wandering noisy air, at 1 Hz, row after row; stamps are late by up to `jitter_ns`."""
    rng = random.Random(7)
    truth = {sensor: [20.0, 50.0] for sensor in range(channels // 2)}
    made = []
    for row in range(rows):
        for sensor, (temperature, humidity) in truth.items():
            truth[sensor] = [temperature + rng.gauss(0, 0.002), humidity + rng.gauss(0, 0.005)]
            values = (temperature + rng.gauss(0, 0.02), humidity + rng.gauss(0, 0.05))
            boot_ns = START_NS + row * NS_PER_S + rng.randrange(jitter_ns + 1)
            made.append(Measurement(f"air-{sensor}", boot_ns, QUANTITY_PAIR, values))
    return made


def make_outbox(directory: Path) -> Outbox:
    """A real outbox."""
    return Outbox(
        directory,
        max_bytes=1 << 28,
        boot_id="bench",
        anchor=SimulatedClock(0).anchor(),
        rng=random.Random(1),
        encode_tombstone=lambda _dropped: b"",
    )


def ours(channels: int, rows_per_step: int, jitter_ns: int = 0) -> Cost:
    """Measurement objects in, committed records out; one batch and one commit per 60 rows."""
    rows = ROWS * BATCHES[channels]
    delivered = measurements(channels, rows, jitter_ns)
    clock = SimulatedClock(0, start_ns=START_NS)
    with tempfile.TemporaryDirectory() as directory:
        store = StoreWorker(
            make_outbox(Path(directory)),
            clock,
            durability_ns=3600 * NS_PER_S,
            offer=lambda _records: None,
            committed=lambda: None,
        )
        due_ns = (ROWS - 1) * NS_PER_S
        pipeline = Pipeline(
            {f"air-{sensor}": [settings(quantity) for quantity in QUANTITY_PAIR] for sensor in range(channels // 2)},
            clock=clock,
            batch_ns=due_ns,
            durability_ns=due_ns,
            time_step_ns=1_000_000,
            features=True,
            store=store.inbox.put,
        )
        step = rows_per_step * channels // 2
        gc.collect()
        gc.freeze()  # a gateway has no store of measurements for the garbage collector to look through
        disk_before, wall_before, cpu_before = storage_bytes_written(), time.perf_counter(), time.process_time()
        for first in range(0, len(delivered), step):
            for measurement in delivered[first : first + step]:
                pipeline.deliver(measurement)
            clock.advance_to(START_NS + (first // step + 1) * rows_per_step * NS_PER_S - NS_PER_S + jitter_ns)
            pipeline.step()
            if len(store.inbox):
                store.step()
        pipeline.finish()
        store.step()
        cpu_s, wall_s = time.process_time() - cpu_before, time.perf_counter() - wall_before
        disk_bytes = storage_bytes_written() - disk_before
        gc.unfreeze()
        committed = store.outbox.tally().committed
        store.outbox.close()
    if committed != BATCHES[channels] or pipeline.counts.sampled != rows * channels:
        raise AssertionError(f"{committed} records with {pipeline.counts} are not what went in")
    return Cost(cpu_s, wall_s, disk_bytes, rows * channels)


def naive() -> Cost:
    """Everything per reading, as such programs are often written; no timestamps, no store."""
    values = [measurement.values[0] or 0.0 for measurement in measurements(2, NAIVE_READINGS, 0)]
    cpu_before, wall_before = time.process_time(), time.perf_counter()
    estimate, variance = values[0], 1.0
    window: deque[float] = deque(maxlen=10)
    last = dict.fromkeys(("value", "mean", "std", "trend"), 0.0)
    deltas: list[dict[str, float]] = []
    size = 0
    for value in values:
        variance += 0.01
        gain = variance / (variance + 0.1)
        estimate += gain * (value - estimate)
        variance *= 1 - gain
        window.append(estimate)
        now = {"value": estimate, "mean": float(np.mean(window)), "std": float(np.std(window)), "trend": 0.0}
        if len(window) > 1:
            now["trend"] = float(np.polyfit(range(len(window)), window, 1)[0])
        deltas.append({key: now[key] - last[key] for key in now})
        last = now
        if len(deltas) == ROWS:
            size += len(msgpack.packb(deltas))
            deltas = []
    return Cost(time.process_time() - cpu_before, time.perf_counter() - wall_before, size, len(values))


def spread(numbers: Sequence[float], form: str = ",.0f") -> str:
    """Median and range."""
    return f"{median(numbers):{form}} ({min(numbers):{form}}–{max(numbers):{form}})"


def bench_path() -> None:
    """Rates beside the naive version, in turns."""
    print(f"\n## The path, {ROWS}-row batches, {REPEATS} turns: median (range) of readings per CPU second")
    naive()  # the first call pays for imports
    ways = {"blocks of 60": (ROWS, 0), "one row per step": (1, 0), "blocks, stamps late 0–2 ms": (ROWS, 2_000_000)}
    for channels in BATCHES:
        runs: dict[str, list[tuple[Cost, Cost]]] = {way: [] for way in ways}
        for _ in range(REPEATS):
            for way, (rows_per_step, jitter_ns) in ways.items():
                runs[way].append((naive(), ours(channels, rows_per_step, jitter_ns)))
        for way, pairs in runs.items():
            print(
                f"{channels:4d} channels, {way:26s} {spread([own.rate for _, own in pairs]):32s} "
                f"× naive {spread([own.rate / slow.rate for slow, own in pairs], '.1f'):20s} "
                f"wall {median(own.readings / own.wall_s for _, own in pairs):9,.0f}/s  "
                f"disk {median(own.disk_bytes / own.readings for _, own in pairs):6.2f} B/reading"
            )
    print(f"naive: {spread([slow.rate for slow, _ in runs['blocks of 60']])} readings per CPU second")


def bench_stages(channels: int = 20, blocks: int = 40) -> None:
    """Each stage by itself, on the blocks that the path would hand it."""
    table = measurements(channels, ROWS * blocks, 0)
    width = channels // 2
    spent: dict[str, float] = dict.fromkeys(
        ("validate", "calibrate", "filter", "round", "encode with features", "outbox"), 0.0
    )
    known = [settings(quantity) for quantity in QUANTITY_PAIR] * width
    validators = [Validator(each.limits) for each in known]
    filters = [each.filter.build() for each in known if each.filter is not None]

    def timed(stage: str, work: Callable[[], list[object]]) -> list[object]:
        before = time.process_time_ns()
        done = work()
        spent[stage] += (time.process_time_ns() - before) / NS_PER_S
        return done

    with tempfile.TemporaryDirectory() as directory:
        outbox = make_outbox(Path(directory))
        for block in _blocks(table, ROWS * width):
            _stages(block, width, known, validators, filters, outbox, timed)
        outbox.close()
    readings = ROWS * blocks * channels
    total = sum(spent.values())
    print(
        f"\n## Stages by themselves, {channels} channels, blocks of {ROWS} rows: CPU ns per reading, share of their sum"
    )
    for stage, seconds in spent.items():
        print(f"{stage:21s} {seconds / readings * NS_PER_S:7.1f} ns  {seconds / total:5.1%}")


def _blocks(table: list[Measurement], size: int) -> Iterator[list[Measurement]]:
    for first in range(0, len(table), size):
        yield table[first : first + size]


def _stages(block, width, known, validators, filters, outbox, timed) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 a list of steps
    times = [measurement.boot_ns for measurement in block[::width]]
    measured = [
        [measurement.values[index] for measurement in block[sensor::width]]
        for sensor in range(width)
        for index in range(2)
    ]
    every = range(2 * width)
    flags = timed("validate", lambda: [validators[i].run(times, measured[i]) for i in every])
    raws = timed("calibrate", lambda: [calibrate(Calibration(), values) for values in measured])
    values = timed("filter", lambda: [filters[i].run(times, raws[i], flags[i]).values for i in every])

    pairs = timed(
        "round",
        lambda: [(rounded(values[i], known[i].resolution), rounded(raws[i], known[i].resolution)) for i in every],
    )
    columns = [
        Column(known[i].quantity, pairs[i][0], pairs[i][1], [0] * len(times), None, describe=True) for i in every
    ]
    groups = tuple(Group(f"air-{i}", times, tuple(columns[2 * i : 2 * i + 2])) for i in range(width))
    (body,) = timed("encode with features", lambda: [encode_batch(Batch(groups))])
    outbox.add(Content(RecordKind.BATCH, len(times) * 2 * width, times[0], times[-1], body))
    timed("outbox", lambda: [outbox.commit()])


def filesystem_of(path: str) -> str:
    """Type of the file system that holds `path`, by the longest mount point that leads to it."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    inside = [(len(point), kind) for point, kind in mounts if path.startswith(point)]
    return max(inside)[1] if inside else "unknown"


def main() -> None:
    """Print everything, or the parts that are named."""
    wanted = sys.argv[1:] or ["path", "wire", "daemon"]
    models = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    print(
        f"machine: {platform.machine()}{models[0] if models else ''}, {os.cpu_count()} cores, load {os.getloadavg()[0]}"
    )
    print(f"Python {platform.python_version()}, numpy {np.__version__}, msgpack {msgpack.version}")
    print(f"outbox in {tempfile.gettempdir()} ({filesystem_of(tempfile.gettempdir())})")
    if "path" in wanted:
        bench_path()
        bench_stages()
    if "wire" in wanted:
        bench_wire()
    if "daemon" in wanted:
        bench_daemon()


if __name__ == "__main__":
    main()
