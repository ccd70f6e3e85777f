"""Bytes that reach the device: four sensors at 1 Hz on ext4, by the sector counter of a loop device.

    python -m tests.bench.bench_wear [SECONDS [MOUNT_OPTIONS]]

Needs root, mkfs.ext4 and loop devices. Runs in real time (default 240 s for each interval, all at the same time, each
on an image of its own), because the commits of the file system every 5 s and its write-back count. The journal of the
file system is in the figure. Exit code 1 if a figure is above what it must be.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.agent.agent import Agent
from edge_agent.agent.device import Device
from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.config.load import parse_config
from edge_agent.pipeline.settings import ChannelSettings
from edge_agent.reading import Measurement
from edge_agent.stages.validate import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

SENSORS: Final = 4
MOST_MB_PER_DAY: Final = {10.0: 50.0, 60.0: 17.0}
"""By durability_s, what DESIGN asks for."""
SETTLED_S: Final = 65
"""Files are created, and the first batch is sealed, before this."""
IMAGE_MIB: Final = 128
DAY_S: Final = 86_400


class Figure(NamedTuple):
    """Of one run: MB a day on the device, and by the outbox's own count."""

    device_mb: float
    own_mb: float


@contextmanager
def image(options: str) -> Iterator[Path]:
    """An empty ext4 file system on a loop device of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file, mounted = Path(folder) / "card.img", Path(folder) / "card"
        mounted.mkdir()
        with file.open("wb") as made:
            made.truncate(IMAGE_MIB * 1_048_576)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", file], check=True)
        subprocess.run(["mount", "-o", f"loop,{options}", file, mounted], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)


def run(folder: Path, durability_s: float, seconds: int) -> Figure:
    """Work for a while without a broker, and count."""
    config = parse_config(
        f'[gateway]\nid = "bench"\n[outbox]\ndurability_s = {durability_s}\n[uplink]\nurl = "mqtt://127.0.0.1:1"\n'
    )
    names = [f"t{number}" for number in range(SENSORS)]
    channels = {name: [ChannelSettings("temperature_c", Limits(-40, 85))] for name in names}
    clock, rng, stop = SystemClock(), random.Random(1), threading.Event()
    agent = Agent(config, channels, clock=clock, rng=rng, directory=folder / "state")
    device = Device(folder)
    found: list[Figure] = []

    def measure() -> None:
        begin = own = 0
        start_ns = clock.now_ns()
        for second in range(SETTLED_S + seconds):
            if second == SETTLED_S:
                begin, own = device.part().written_bytes or 0, agent.outbox.written().total_bytes
            now_ns = clock.now_ns()
            for place, name in enumerate(names):
                value = 20 + place + rng.gauss(0, 0.02)
                agent.pipeline.deliver(Measurement(name, now_ns, ("temperature_c",), (value,)))
            clock.wait(threading.Event(), start_ns + (second + 1) * NS_PER_S)
        subprocess.run(["sync", "-f", folder], check=True)
        scale = DAY_S / seconds / 1e6
        written = (device.part().written_bytes or 0) - begin
        found.append(Figure(written * scale, (agent.outbox.written().total_bytes - own) * scale))
        stop.set()

    measuring = threading.Thread(target=measure)
    measuring.start()
    agent.run_threads(stop, None)
    measuring.join()
    return found[0]


def main() -> int:
    """Run, print, and judge."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 240
    options = sys.argv[2] if len(sys.argv) > 2 else "noatime"
    figures: dict[float, Figure] = {}
    with ExitStack() as stack:
        folders = {durability_s: stack.enter_context(image(options)) for durability_s in MOST_MB_PER_DAY}

        def work(durability_s: float) -> None:
            figures[durability_s] = run(folders[durability_s], durability_s, seconds)

        runs = [threading.Thread(target=work, args=(durability_s,)) for durability_s in folders]
        for each in runs:
            each.start()
        for each in runs:
            each.join()
    for durability_s, most in MOST_MB_PER_DAY.items():
        figure = figures[durability_s]
        print(
            f"durability_s = {durability_s:g}: {figure.device_mb:.1f} MB a day on the device (at most {most:g}),"
            f" {figure.own_mb:.1f} by the outbox's own count"
        )
    return int(any(figures[durability_s].device_mb > most for durability_s, most in MOST_MB_PER_DAY.items()))


if __name__ == "__main__":
    sys.exit(main())
