"""Memory, CPU and start of the daemon with four sensors at 1 Hz. Part of `bench_path`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Final

from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.drivers.checksum import crc8_dallas

SENSORS: Final = 4
STARTS: Final = 3
SETTLED_S: Final = 4.0
"""From here on CPU time is counted: the start is over."""
WATCHED_S: Final = 8.0


def _wait(seconds: float) -> None:
    clock = SystemClock()
    clock.wait(threading.Event(), clock.now_ns() + round(seconds * NS_PER_S))


def _write_rig(folder: Path) -> Path:
    """A 1-Wire tree as the kernel shows it, and a configuration for it. Nobody is at the broker's port."""
    config = ['[gateway]\nid = "bench"\n[bus.w1]\nkind = "sysfs"\n', f'device = "{folder}/w1"\n']
    config.append(f'[outbox]\ndirectory = "{folder}/state"\n[uplink]\nurl = "mqtt://127.0.0.1:1"\n')
    (folder / "state").mkdir()
    (folder / "w1" / "w1_bus_master1").mkdir(parents=True)
    for number in range(SENSORS):
        serial = f"28-00000000000{number}"
        raw = bytes((0x50 + number, 0x01, 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10))
        crc = crc8_dallas(raw)
        line = f"{(raw + bytes((crc,))).hex(' ')} :"
        (folder / "w1" / serial).mkdir()
        (folder / "w1" / serial / "w1_slave").write_text(f"{line} crc={crc:02x} YES\n{line[:-2]} t=21000\n")
        config.append(
            f'[[sensor]]\nid = "t{number}"\ndriver = "ds18b20"\nbus = "w1"\nserial = "{serial}"\nperiod_s = 1\n'
        )
    path = folder / "edge-agent.toml"
    path.write_text("".join(config))
    return path


class _Daemon:
    """The program as a process of its own."""

    def __init__(self, config: Path) -> None:
        root = str(Path(__file__).parents[2])
        self._started = time.perf_counter()
        self._first = threading.Event()
        self.first_reading_s: float | None = None
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent", "run", "--config", str(config)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
            cwd=config.parent,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            if self.first_reading_s is None and "is sampling" in line:
                self.first_reading_s = time.perf_counter() - self._started
                self._first.set()
            self.said.append(line)

    def wait_for_first_reading(self) -> None:
        """At most ten seconds."""
        self._first.wait(10)

    def memory_mib(self) -> tuple[float, float]:
        """Resident set now and at its highest."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        sizes = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith("Vm")}
        return int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024

    def cpu_s(self) -> float:
        """User and system time so far, in steps of a clock tick."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


def bench_daemon() -> None:
    """Start it three times on one outbox; watch the first, which makes the tables, and the last."""
    print(f"\n## The daemon, {SENSORS} sensors (files in place of 1-Wire) at 1 Hz, no broker")
    starts = []
    with tempfile.TemporaryDirectory() as folder:
        config = _write_rig(Path(folder))
        for turn in range(STARTS):
            daemon = _Daemon(config)
            daemon.wait_for_first_reading()
            starts.append(daemon.first_reading_s)
            if turn == 0:
                _wait(1.0)
                print(f"first start, which makes the tables: VmRSS {daemon.memory_mib()[0]:.1f} MiB after 1 s")
            if turn == STARTS - 1:
                _watch(daemon)
            code = daemon.stop()
            if code != 0 or daemon.first_reading_s is None:
                print(f"the daemon ended with {code}:\n{''.join(daemon.said)}")
                return
    print(f"exec → first reading: {', '.join(f'{start:.2f} s' for start in starts if start is not None)}")


def _watch(daemon: _Daemon) -> None:
    _wait(SETTLED_S)
    before, cpu_before = time.perf_counter(), daemon.cpu_s()
    _wait(WATCHED_S)
    share = (daemon.cpu_s() - cpu_before) / (time.perf_counter() - before)
    resident, highest = daemon.memory_mib()
    print(f"later start: VmRSS {resident:.1f} MiB, VmHWM {highest:.1f} MiB after {SETTLED_S + WATCHED_S:.0f} s")
    print(f"CPU {share:.2%} of a core over the last {WATCHED_S:.0f} s")
