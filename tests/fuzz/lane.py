"""Executes the targets many times, and stops at the first execution that crashes, takes too long or too much memory.

`python tests/fuzz/lane.py` runs a million executions; what it finds is printed with the command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge_agent.clock import NS_PER_S, SystemClock
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

MOST_S: Final = 10.0
"""For one execution, on a machine that others use too."""
MOST_MIB: Final = 400
"""Beyond what the process had before. A batch of 2**20 cells, the most that a message may hold, takes a third of it."""
_MIB: Final = 1 << 20


class Slow(Exception):
    """An execution took longer than it may."""


class Finding(NamedTuple):
    """An execution that failed."""

    target: str
    seed: int
    number: int
    reason: str

    def __str__(self) -> str:
        """What to type to see it again."""
        where = f"--target {self.target} --seed {self.seed} --only {self.number}"
        return f"{self.target} {self.number}: {self.reason}\n  python tests/fuzz/lane.py {where}"


def run(
    name: str, numbers: Iterable[int], seed: int, target: Callable[[random.Random], None] | None = None
) -> Finding | None:
    """Execute a target with these numbers, each of which stands for an execution that can be repeated.

    Args:
        name: of the target.
        numbers: which executions.
        seed: of them all.
        target: another one than that of the name.

    Returns:
        The first one that failed; None if none did.
    """
    execute = target or TARGETS[name]
    alarmed = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, _too_slow) if alarmed else None
    base_bytes = _peak_bytes()
    try:
        for number in numbers:
            if alarmed:
                signal.setitimer(signal.ITIMER_REAL, MOST_S)
            try:
                execute(random.Random(f"{seed}-{name}-{number}"))
            except Exception as error:  # noqa: BLE001 all but WireError, which the targets expect
                return Finding(name, seed, number, f"{type(error).__name__}: {error}")
            taken = (_peak_bytes() - base_bytes) // _MIB
            if taken > MOST_MIB:
                return Finding(name, seed, number, f"takes {taken} MiB")
    finally:
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    return None


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise Slow(f"longer than {MOST_S:.0f} s")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _share(name: str, first: int, step: int, executions: int, seed: int) -> Finding | None:
    """What one process does. Whoever allocates without end gets a MemoryError before the machine gets into trouble."""
    virtual = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + 4 * MOST_MIB * _MIB, resource.RLIM_INFINITY))
    return run(name, range(first, executions, step), seed)


def main() -> int:
    """Run what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000, help="in all, shared evenly by the targets")
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", type=int, help="just this execution, with its traceback")
    asked = parser.parse_args()
    names = asked.target or list(TARGETS)
    if asked.only is not None:
        TARGETS[names[0]](random.Random(f"{asked.seed}-{names[0]}-{asked.only}"))
        return 0
    clock = SystemClock()
    each = -(-asked.executions // len(names))
    failed = False
    for name in names:
        started_ns = clock.now_ns()
        with ProcessPoolExecutor(asked.jobs) as pool:
            shares = [pool.submit(_share, name, first, asked.jobs, each, asked.seed) for first in range(asked.jobs)]
            findings = [finding for share in shares if (finding := share.result()) is not None]
        seconds = (clock.now_ns() - started_ns) / NS_PER_S
        print(f"{name}: {each:,} executions in {seconds:.0f} s, {len(findings)} findings", flush=True)
        for finding in findings:
            print(finding, flush=True)
        failed |= bool(findings)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
