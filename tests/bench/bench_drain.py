"""Live records beside a backlog of 72 hours: how long they take, and how long the backlog takes.

    python tests/bench/bench_drain.py [--seconds 60] [--whole] [--backlog 4320] [--bytes 600] [--delay 0.05]

A real broker behind `tests/uplink/proxy.py` at full speed, 64 kbit/s and 8 kbit/s. At 8 kbit/s the whole backlog takes
an hour: without `--whole`, each run ends after `--seconds`, and the time is extrapolated from what arrived.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import tempfile
from pathlib import Path

from edge_agent.uplink.pace import Limits
from tests.conftest import Mosquitto
from tests.uplink.drain import OVERHEAD_BYTES, Drained, Gateway, drain
from tests.uplink.proxy import Faults, Proxy


def _run(options: argparse.Namespace, kbit_per_s: int | None) -> Drained:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        broker = Mosquitto(program, Path(folder), port, "allow_anonymous true")
        broker.start()
        try:
            bytes_per_s = None if kbit_per_s is None else kbit_per_s * 125.0
            every_s = 1.0 if bytes_per_s is None else max(1.0, 5 * options.bytes / bytes_per_s)
            most_s = 1e6 if options.whole or kbit_per_s is None else options.seconds
            lives = 5 if kbit_per_s is None else max(1, int((options.seconds - 5) / every_s))
            with Proxy(port, Faults(bytes_per_s, options.delay)) as proxy:
                gateway = Gateway(Path(folder) / "state", proxy.port, port, options.backlog, options.bytes, Limits())
                result = drain(gateway, options.backlog, lives=lives, every_s=every_s, most_s=most_s)
                gateway.stop()
            return result
        finally:
            broker.kill()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--backlog", type=int, default=4320)
    parser.add_argument("--bytes", type=int, default=600)
    parser.add_argument("--delay", type=float, default=0.05)
    options = parser.parse_args()
    print("| link | live lag, median and worst, s | limit, s | backlog drained, s | at the full rate of the link, s |")
    print("|---|---|---|---|---|")
    for kbit_per_s in (None, 64, 8):
        result = _run(options, kbit_per_s)
        wire_s = 0.0 if kbit_per_s is None else (options.bytes + OVERHEAD_BYTES) / (kbit_per_s * 125)
        limit_s = 2 + 2 * options.delay + wire_s
        if result.drained_s is not None:
            drained = f"{result.drained_s:.1f}"
        else:
            drained = f"about {options.seconds / result.distinct * options.backlog:.0f} ({result.distinct} arrived)"
        name = "full speed" if kbit_per_s is None else f"{kbit_per_s} kbit/s"
        lags = f"{statistics.median(result.lags_s):.2f}, {max(result.lags_s):.2f} of {len(result.lags_s)}"
        print(f"| {name} | {lags} | {limit_s:.2f} | {drained} | {options.backlog * wire_s:.0f} |", flush=True)


if __name__ == "__main__":
    main()
