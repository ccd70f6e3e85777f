"""The parts of the scheduler that know wall time, and so its steps."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.clock import NS_PER_S, ClockQuality, SimulatedClock
from edge_agent.runtime import (
    ClockChange,
    ClockMonitor,
    Housekeeping,
    Job,
    Pace,
    SimulatedHousekeeping,
    _trigger,
    run_simulated,
)

ENOUGH_S = 10.0


@pytest.mark.parametrize("years", [-54, -1, 1, 54])
def test_a_clock_step_leaves_no_backlog_of_jobs(years: int) -> None:
    trigger = _trigger(60.0)
    before = datetime(2025, 6, 1, tzinfo=UTC)
    after = before.replace(year=before.year + years)
    assert trigger.get_next_fire_time(None, before) == before + timedelta(seconds=60)
    assert trigger.get_next_fire_time(before, before + timedelta(seconds=0.2)) == before + timedelta(seconds=60)
    assert trigger.get_next_fire_time(before, after) == after + timedelta(seconds=60)


def test_jobs_run_and_are_planned_anew_and_end() -> None:
    runs: list[int] = []
    ran = threading.Event()

    def job() -> None:
        runs.append(1)
        ran.set()

    housekeeping = Housekeeping([Job("often", 0.01, job), Job("seldom", 3600.0, lambda: None)])
    housekeeping.reschedule()  # the clock may step before all is started
    housekeeping.start()
    assert ran.wait(ENOUGH_S)
    seldom = housekeeping._scheduler.get_job("seldom")
    before = seldom.next_run_time
    seldom.modify(next_run_time=before - timedelta(days=365))  # as after a step of the clock
    housekeeping.reschedule()
    after = housekeeping._scheduler.get_job("seldom").next_run_time
    assert before <= after < before + timedelta(minutes=1)
    ran.clear()
    assert ran.wait(ENOUGH_S)
    housekeeping.stop()
    housekeeping.reschedule()
    housekeeping.stop()


def test_simulated_housekeeping_runs_each_job_in_its_period() -> None:
    clock, ran = SimulatedClock(0, start_ns=0), list[str]()
    jobs = [Job("a", 10.0, lambda: ran.append("a")), Job("b", 25.0, lambda: ran.append("b"))]
    worker = SimulatedHousekeeping(jobs, clock)
    run_simulated(
        [worker], clock, Pace(speed=None, wake=threading.Event()), end_ns=51 * NS_PER_S, stop=threading.Event()
    )
    assert "".join(ran) == "aabaaab"
    assert SimulatedHousekeeping([], clock).step() is None


def test_steps_and_changes_of_quality_are_noticed_and_slewing_is_not() -> None:
    clock, moves = SimulatedClock(0), list[int]()
    watch = ClockMonitor(clock, lambda change: moves.append(change.moved_ns))
    anchor = clock.anchor()

    def look(offset_ns: int, quality: ClockQuality = ClockQuality.SYNCED) -> list[int]:
        moves.clear()
        clock.set_anchor(replace(anchor, offset_ns=offset_ns, quality=quality))
        assert watch.step() == clock.now_ns() + NS_PER_S
        return list(moves)

    hour_ns = 3600 * NS_PER_S
    at_ns = anchor.offset_ns
    assert look(at_ns) == []
    assert look(at_ns + hour_ns) == [hour_ns]
    assert look(at_ns + hour_ns) == []
    assert look(at_ns) == [-hour_ns]
    for slewed_ns in range(0, NS_PER_S, 500_000):
        assert look(at_ns + slewed_ns) == []
    assert watch.steps == 2
    assert len(look(at_ns + slewed_ns, ClockQuality.HOLDOVER)) == 1
    assert look(at_ns + slewed_ns, ClockQuality.HOLDOVER) == []
    assert watch.steps == 2


def test_a_listener_that_fails_is_not_told_again() -> None:
    clock, calls = SimulatedClock(0), list[int]()

    def changed(change: ClockChange) -> None:
        calls.append(change.moved_ns)
        raise RuntimeError("full")

    watch = ClockMonitor(clock, changed)
    clock.set_anchor(replace(clock.anchor(), offset_ns=NS_PER_S))
    with pytest.raises(RuntimeError):
        watch.step()
    watch.step()
    assert len(calls) == 1
