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
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the daemon does
sys.path.insert(0, str(Path(__file__).parents[2]))

import msgpack
import numpy as np

from edge_agent.agent.report import storage_bytes_written
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.outbox.outbox import Outbox
from edge_agent.outbox.worker import StoreWorker
from edge_agent.pipeline import block, channel, pipeline
from edge_agent.pipeline.findings import Watch
from edge_agent.pipeline.pipeline import ChannelSettings, Pipeline
from edge_agent.pipeline.sensor_batch import OpenBatch
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Measurement
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.filters.auto import Auto, AutoSettings
from edge_agent.stages.validate import Limits, Validator
from tests.bench.bench_daemon import bench_daemon
from tests.bench.c_loop import REFERENCE_RATE, c_rate
from tests.bench.published import bench_published
from tests.bench.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROWS: Final = 60
REPEATS: Final = 5
NAIVE_READINGS: Final = 3_000
BATCHES: Final = {4: 100, 20: 40, 200: 10, 1000: 4}
"""Batches per run, by channels."""
WARM: Final = {4: 70, 20: 70, 200: 2, 1000: 2}
"""Batches before that. Two let filters find their feet; detectors look more closely for their first 64 minutes, which
would take too long, and too much memory, to wait for with many channels."""
STAGES: Final[tuple[tuple[object, str, str], ...]] = (
    (Pipeline, "step", "step: from the inbox to sensors"),
    (block, "_block_of", "gather tables"),
    (block, "_prepare", "gather tables"),
    (block, "_filtered", "filter, many at once"),
    (block, "_are_plain", "validate"),
    (Validator, "run", "validate"),
    (block, "sail", "filter, many at once"),
    (Auto, "run", "filter, one by one"),
    (block, "_ready", "round, and make lists"),
    (channel, "rounded", "round, and make lists"),
    (OpenBatch, "_process", "take into the open batch"),
    (OpenBatch, "process_ready", "take into the open batch"),
    (Watch, "take", "anomaly"),
    (Pipeline, "seal", "seal"),
    (pipeline, "encode_batch", "encode with features"),
    (StoreWorker, "step", "outbox"),
)
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


@lru_cache(maxsize=3)
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


def at_once(channels: int) -> int:
    """Rows that are delivered before the worker steps: a batch, or what its inbox holds."""
    return min(ROWS, pipeline.INBOX_LIMIT // (channels // 2))


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


def ours(
    channels: int, rows_per_step: int, jitter_ns: int = 0, *, started: Callable[[], object] = lambda: None
) -> Cost:
    """Measurement objects in, committed records out; one batch and one commit per 60 rows.

    What stages have learned is saved once an hour, and is not in it; `started` is called when it begins to count.
    """
    rows = ROWS * (WARM[channels] + BATCHES[channels])
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
        worker = Pipeline(
            {f"air-{sensor}": [settings(quantity) for quantity in QUANTITY_PAIR] for sensor in range(channels // 2)},
            clock=clock,
            batch_ns=due_ns,
            durability_ns=due_ns,
            time_step_ns=1_000_000,
            features=True,
            store=store.inbox.put,
            max_cells=ROWS * max(BATCHES),
        )
        step = rows_per_step * channels // 2
        gc.collect()
        gc.freeze()  # a gateway has no store of measurements for the garbage collector to look through
        for first in range(0, len(delivered), step):
            if first == WARM[channels] * ROWS * channels // 2:
                started()
                disk_before = storage_bytes_written()
                wall_before, cpu_before = time.perf_counter(), time.process_time()
            for measurement in delivered[first : first + step]:
                worker.deliver(measurement)
            clock.advance_to(START_NS + (first // step + 1) * rows_per_step * NS_PER_S - NS_PER_S + jitter_ns)
            worker.step()
            if len(store.inbox):
                store.step()
        cpu_s, wall_s = time.process_time() - cpu_before, time.perf_counter() - wall_before
        disk_bytes = storage_bytes_written() - disk_before
        worker.finish()
        store.step()
        gc.unfreeze()
        committed = store.outbox.tally().committed
        store.outbox.close()
    if committed != WARM[channels] + BATCHES[channels] or worker.counts.sampled != rows * channels:
        raise AssertionError(f"{committed} records with {worker.counts} are not what went in")
    return Cost(cpu_s, wall_s, disk_bytes, ROWS * BATCHES[channels] * channels)


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
    for channels in BATCHES:
        rows = at_once(channels)
        ways = {
            f"{rows} rows per step": (rows, 0),
            "one row per step": (1, 0),
            f"{rows} rows, late by 0–2 ms": (rows, 2_000_000),
        }
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
    print(f"naive: {spread([slow.rate for slow, _ in runs['one row per step']])} readings per CPU second")


def bench_stages() -> None:
    """The share of each stage as the path really runs, and how far it is from a compiled loop."""
    print(f"\n## Stages of the path, blocks of {ROWS}: ns per reading, share; timed as they are called")
    spent: dict[int, dict[str, float]] = {}
    for channels in BATCHES:
        watch = Stopwatch()
        with watch.running():
            for owner, name, stage in STAGES:
                watch.watch(owner, name, stage)
            cost = ours(channels, at_once(channels), started=watch.spent_ns.clear)
        each = {stage: nanoseconds / cost.readings for stage, nanoseconds in watch.spent_ns.items()}
        each["deliver, inbox, and what the watch sees"] = cost.wall_s * NS_PER_S / cost.readings - sum(each.values())
        spent[channels] = each
    print(f"{'channels':42s}" + "".join(f"{channels:15d}" for channels in spent))
    for stage in dict.fromkeys(stage for each in spent.values() for stage in each):
        row = [(each.get(stage, 0.0), sum(each.values())) for each in spent.values()]
        print(f"{stage:42s}" + "".join(f"{own:8.0f} {own / total:6.1%}" for own, total in row))
    print(f"{'all':42s}" + "".join(f"{sum(each.values()):8.0f} {1:6.1%}" for each in spent.values()))
    bound = c_rate(max(BATCHES))
    if bound is None:
        print(f"no C compiler here; the reference's loop did {REFERENCE_RATE:,} readings/s on its machine")
        return
    filtering = sum(spent[max(BATCHES)].get(stage, 0.0) for stage in ("filter, many at once", "filter, one by one"))
    print(
        f"C loop, filter and features alone, {max(BATCHES)} channels: {bound:,.0f} readings/s, "
        f"{NS_PER_S / bound:.1f} ns each; our filter takes {filtering:.0f} ns, the whole path "
        f"{sum(spent[max(BATCHES)].values()):.0f} ns"
    )


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
        bench_published()
    if "daemon" in wanted:
        bench_daemon()


if __name__ == "__main__":
    main()
