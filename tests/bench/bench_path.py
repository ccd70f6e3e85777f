"""What the path costs at default settings: CPU and wall time per reading, and the share of each part.

    python tests/bench/bench_path.py [path|parts|day|wire|daemon]… [--before REV]

Every figure of the path is of one run of `path_run.py` in a process of its own, in turns with what it is compared to:
the naive version with one SQLite row per reading committed as often, and with `--before` the code of an earlier commit.
Ratios are taken pair by pair, because absolute times say more about the machine than about the program.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the daemon does
sys.path.insert(0, str(Path(__file__).parents[2]))

import msgpack
import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Measurement
from tests.bench.bench_daemon import bench_daemon
from tests.bench.path_run import QUANTITIES, START_NS, Costs
from tests.bench.published import bench_published

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]
TURNS: Final = {4: 5, 20: 15, 200: 5, 1000: 3}
"""Runs of each way, by channels. On a shared machine single runs differ by a tenth and more."""
MINUTES: Final = {4: 60, 20: 20, 200: 4, 1000: 2}
"""Simulated minutes per run, by channels."""
NAIVE_MINUTES: Final = {4: 4, 20: 1, 200: 1, 1000: 1}
DAY_S: Final = 86_400


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
            made.append(Measurement(f"air-{sensor}", boot_ns, QUANTITIES, values))
    return made


def run(root: str, channels: int, minutes: int, *options: str) -> tuple[Costs, dict[str, float]]:
    """One run in a process of its own."""
    command = [sys.executable, str(ROOT / "tests/bench/path_run.py"), root, str(channels), str(minutes), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return Costs(*told["costs"]), told["parts"]


def spread(numbers: Sequence[float], form: str = ",.0f") -> str:
    """Median and range."""
    return f"{median(numbers):{form}} ({min(numbers):{form}}-{max(numbers):{form}})"


def bench_path(before: str | None) -> None:
    """CPU time per reading beside what it is compared to, in turns."""
    print("\n## The path at defaults: median (range) per reading")
    ways: dict[str, tuple[str, ...]] = {
        "defaults": (),
        "no segments (durability 60 s)": ("--durability", "60"),
        "a rule per sensor": ("--rules",),
    }
    for channels, minutes in MINUTES.items():
        for way, options in ways.items():
            if channels == max(MINUTES) and options:
                continue
            own, naive, earlier = list[Costs](), list[Costs](), list[Costs]()
            runs = [(own, str(ROOT), minutes)]
            if before is not None:
                runs.append((earlier, before, minutes))
            if not options:
                runs.append((naive, "naive", NAIVE_MINUTES[channels]))
            for turn in range(TURNS[channels]):
                first = turn % len(runs)  # each begins in turn: what ran just before matters on a shared machine
                for costs, root, length in runs[first:] + runs[:first]:
                    costs.append(run(root, channels, length, *options)[0])
            line = (
                f"{channels:4d} channels, {way:29s} {TURNS[channels]:2d} turns, "
                f"CPU {spread([each.cpu_ns for each in own]):26s} ns, "
                f"wall {median(each.wall_ns for each in own):8,.0f} ns, "
                f"disk {median(each.disk_bytes for each in own):6.1f} B"
            )
            for name, others in (("before", earlier), ("naive", naive)):
                if others:
                    cpu = [other.cpu_ns / each.cpu_ns for each, other in zip(own, others, strict=True)]
                    wall = median(other.wall_ns / each.wall_ns for each, other in zip(own, others, strict=True))
                    line += f"; × {name}: CPU {spread(cpu, '.2f')}, wall {wall:.2f}"
            print(line, flush=True)


def bench_parts() -> None:
    """The share of each part as the path really runs; timed as it is called, by wall time."""
    print("\n## Parts of the path at defaults: ns per reading, share")
    spent = {channels: run(str(ROOT), channels, minutes, "--parts")[1] for channels, minutes in MINUTES.items()}
    print(f"{'channels':28s}" + "".join(f"{channels:16d}" for channels in spent))
    for part in dict.fromkeys(part for parts in spent.values() for part in parts):
        row = [(parts.get(part, 0.0), sum(parts.values())) for parts in spent.values()]
        print(f"{part:28s}" + "".join(f"{own:8.0f} {own / total:6.1%} " for own, total in row))


def bench_day() -> None:
    """A simulated day of the default rig."""
    command = [sys.executable, "-m", "edge_agent", "--simulate", "--speed", "max", "--duration", str(DAY_S)]
    print("\n## A simulated day of the default rig")
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        print(f"{time.perf_counter() - started:5.1f} s  {done.stdout.splitlines()[-4:]}")


def filesystem_of(path: str) -> str:
    """Type of the file system that holds `path`, by the longest mount point that leads to it."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    inside = [(len(point), kind) for point, kind in mounts if path.startswith(point)]
    return max(inside)[1] if inside else "unknown"


def checkout(revision: str, stack: ExitStack) -> str:
    """The files of an earlier commit, in a temporary directory."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    archive = subprocess.run(["git", "archive", revision, "edge_agent"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def main() -> None:
    """Print everything, or the parts that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=["path", "parts", "day", "wire", "daemon", []])
    parser.add_argument("--before", metavar="REV", help="compare with the code of this commit")
    asked = parser.parse_args()
    wanted = asked.parts or ["path", "parts", "day", "wire", "daemon"]
    models = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    print(
        f"machine: {platform.machine()}{models[0] if models else ''}, {os.cpu_count()} cores, load {os.getloadavg()[0]}"
    )
    print(f"Python {platform.python_version()}, numpy {np.__version__}, msgpack {msgpack.version}")
    print(f"outbox in {tempfile.gettempdir()} ({filesystem_of(tempfile.gettempdir())})")
    with ExitStack() as stack:
        if "path" in wanted:
            bench_path(None if asked.before is None else checkout(asked.before, stack))
        if "parts" in wanted:
            bench_parts()
        if "day" in wanted:
            bench_day()
        if "wire" in wanted:
            bench_published()
        if "daemon" in wanted:
            bench_daemon()


if __name__ == "__main__":
    main()
