"""Run campaigns: `python tests/campaign/run.py --hours N [--seed S] [--jobs J]`.

Prints every violation with the line that repeats it, and what was covered: hours, faults by kind, records by fate, and
the bound that follows from no violation in so many hours (rule of three: 3 / hours at 95 %).
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import resource
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.campaign.setup import Result
from tests.campaign.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HOURS_EACH: Final = 10.0
"""Simulated hours with faults per seed."""
_SHOWN: Final = 10


@dataclass
class Total:
    """The sum of many campaigns."""

    hours: float = 0.0
    seeds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Add one campaign."""
        self.hours += result.hours
        self.seeds += 1
        self.faults += result.faults
        self.counts += result.counts
        if result.violations:
            self.failed.append(result)


class Hang(BaseException):
    """A campaign takes ten times the CPU time that it should."""


def _hang(*_: object) -> None:
    raise Hang


def campaign(task: tuple[int, float]) -> Result:
    """One campaign, in any process."""
    logging.disable(logging.CRITICAL)
    gc.disable()  # cycles are few; one pass per campaign costs a third less than Python's own
    signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, 20 + 2 * task[1])
    world = World(*task)
    try:
        return world.run()
    except Hang:
        world.history.violate("hang", "simulated time does not go on")
        return Result(task[0], world.elapsed_ns() / 3.6e12, world.faults, Counter(), world.history.violations)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.enable()
        gc.collect()


def run(tasks: Sequence[tuple[int, float]], jobs: int) -> Iterable[Result]:
    """Many campaigns, in the order of their seeds."""
    if jobs == 1:
        yield from map(campaign, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=50) as pool:
        yield from pool.imap(campaign, tasks)


def replay(result: Result, hours: float) -> str:
    """The line that repeats a campaign."""
    return f"python tests/campaign/run.py --seed {result.seed} --hours {hours:g}"


def tell(result: Result, hours: float) -> None:
    """Print what went wrong."""
    print(f"{len(result.violations)} violations: {replay(result, hours)}")
    for each in result.violations[:_SHOWN]:
        print(f"  at {each.at_s:.3f} s, {each.rule}: {each.what}")


def summary(total: Total, cpu_s: float) -> str:
    """What was covered."""
    lines = [
        f"{total.hours:.0f} simulated hours, {total.seeds} seeds, {sum(total.faults.values())} faults",
        f"{sum(len(each.violations) for each in total.failed)} violations in {len(total.failed)} campaigns",
        f"{total.hours / max(cpu_s, 1e-9):.1f} simulated hours per CPU second ({cpu_s:.0f} s)",
    ]
    if not total.failed:
        lines.append(f"95 % bound: fewer than {3 / total.hours:.2g} violations per simulated hour")
    lines += [f"  {count:9d}  {kind}" for kind, count in sorted(total.faults.items())]
    lines += [f"  {count:9d}  {what}" for what, count in sorted(total.counts.items())]
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=100.0, help="simulated hours in all")
    parser.add_argument("--seed", type=int, help="one campaign of this seed, of all the hours")
    parser.add_argument("--first-seed", type=int, default=1, help="the first seed of several")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--stop", action="store_true", help="end after the first campaign with a violation")
    given = parser.parse_args()
    each = given.hours if given.seed is not None else min(HOURS_EACH, given.hours)
    first = given.first_seed if given.seed is None else given.seed
    tasks = [(first + index, each) for index in range(max(1, round(given.hours / each)))]
    total = Total()
    for result in run(tasks, given.jobs):
        total.add(result)
        if result.violations:
            tell(result, each)
            if given.stop:
                break
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(summary(total, sum(use.ru_utime + use.ru_stime for use in usage)))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
