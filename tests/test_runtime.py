from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edge_agent.clock import NS_PER_S, SimulatedClock, SystemClock
from edge_agent.runtime import Inbox, Pace, Threads, run_simulated

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ENOUGH_S = 10.0


@dataclass
class Ticker:
    """Does something every period, and takes in its mail."""

    name: str
    clock: SimulatedClock
    period_ns: int | None
    log: list[tuple[str, int, list[Any]]]
    also: Callable[[], object] = lambda: None
    inbox: Inbox[Any] = field(default_factory=lambda: Inbox(100))
    due_ns: int = 0

    def step(self) -> int | None:
        """As Worker."""
        now_ns, mail = self.clock.now_ns(), self.inbox.take_all()
        if self.period_ns is None:
            self.log.append((self.name, now_ns, mail))
            return None
        if now_ns >= self.due_ns:
            self.due_ns = (now_ns // self.period_ns + 1) * self.period_ns
            self.also()
        self.log.append((self.name, now_ns, mail))
        return self.due_ns


def fast(**changes: Any) -> Pace:
    return replace(Pace(speed=None, wake=threading.Event()), **changes)


def run(pace: Pace, *, seconds: float, also: Callable[[], object] = lambda: None) -> list[tuple[str, int, list[Any]]]:
    clock, log = SimulatedClock(0, start_ns=0), []  # type: ignore[var-annotated]
    reader = Ticker("reader", clock, None, log)
    workers = [
        Ticker("fast", clock, NS_PER_S, log, also=lambda: reader.inbox.put(clock.now_ns())),
        Ticker("slow", clock, 2 * NS_PER_S, log, also=also),
        reader,
    ]
    run_simulated(workers, clock, pace, end_ns=round(seconds * NS_PER_S), stop=threading.Event())
    assert clock.now_ns() == seconds * NS_PER_S
    return log


def test_workers_are_stepped_in_their_order_and_mail_takes_no_time() -> None:
    steps = [(name, now_ns // NS_PER_S, len(mail)) for name, now_ns, mail in run(fast(), seconds=3.5)]
    assert steps == [
        ("fast", 0, 0),
        ("slow", 0, 0),
        ("reader", 0, 1),
        ("fast", 1, 0),
        ("reader", 1, 1),
        ("fast", 2, 0),
        ("slow", 2, 0),
        ("reader", 2, 1),
        ("fast", 3, 0),
        ("reader", 3, 1),
    ]


def test_the_same_run_is_the_same_at_any_speed() -> None:
    assert run(fast(), seconds=20) == run(fast(speed=2000.0), seconds=20) == run(fast(), seconds=20)


def test_speed_relates_simulated_to_real_time() -> None:
    real = SystemClock()
    started_ns = real.now_ns()
    run(fast(speed=100.0), seconds=10)
    assert NS_PER_S // 10 <= real.now_ns() - started_ns < 5 * NS_PER_S


def test_a_wake_up_in_the_middle_of_a_wait_lets_no_time_pass() -> None:
    pace = fast(speed=50.0)
    pace.wake.set()
    real = SystemClock()
    started_ns = real.now_ns()
    run(pace, seconds=5)
    assert real.now_ns() - started_ns >= NS_PER_S // 10


def test_it_stops_when_told_and_when_nothing_is_left_to_do() -> None:
    clock, stop = SimulatedClock(0, start_ns=0), threading.Event()
    worker = Ticker("w", clock, NS_PER_S, [], also=lambda: stop.set() if clock.now_ns() >= 3 * NS_PER_S else None)
    run_simulated([worker], clock, fast(), end_ns=None, stop=stop)
    assert clock.now_ns() in {3 * NS_PER_S, 4 * NS_PER_S}
    run_simulated([Ticker("idle", clock, None, [])], clock, fast(), end_ns=None, stop=threading.Event())


def test_time_waits_for_mail_that_comes_while_it_settles() -> None:
    clock, log = SimulatedClock(0, start_ns=0), []  # type: ignore[var-annotated]
    worker = Ticker("w", clock, NS_PER_S, log)
    answers = [["late"], []]

    def settle() -> None:
        for item in answers.pop(0) if answers else []:
            worker.inbox.put(item)

    run_simulated([worker], clock, fast(settle=settle), end_ns=NS_PER_S, stop=threading.Event())
    assert [(now_ns, mail) for _name, now_ns, mail in log] == [(0, []), (0, ["late"])]


def test_a_worker_that_waits_in_a_step_holds_up_nobody_and_takes_its_mail_when_it_is_free() -> None:
    clock, log = SimulatedClock(0, start_ns=0), []  # type: ignore[var-annotated]
    never = threading.Event()
    slow = Ticker("slow", clock, 4 * NS_PER_S, log, also=lambda: clock.wait(never, clock.now_ns() + 3 * NS_PER_S))
    fast_one = Ticker("fast", clock, NS_PER_S, log, also=lambda: slow.inbox.put(clock.now_ns() // NS_PER_S))
    run_simulated([slow, fast_one], clock, fast(), end_ns=4 * NS_PER_S - 1, stop=threading.Event())
    steps = [(name, now_ns // NS_PER_S, mail) for name, now_ns, mail in log]
    assert steps == [
        ("slow", 0, []),  # and waits for three seconds
        ("fast", 0, []),
        ("fast", 1, []),
        ("fast", 2, []),
        ("slow", 3, [0, 1, 2]),
        ("fast", 3, []),
        ("slow", 3, [3]),
    ]


def test_taking_the_mail_ends_the_arrival_that_wakes_the_worker() -> None:
    inbox: Inbox[int] = Inbox(2)
    inbox.put(1)
    assert inbox.arrival.is_set()
    assert inbox.take_all() == [1]
    assert not inbox.arrival.is_set()
    inbox.arrival.set()
    assert inbox.take_all() == []
    assert not inbox.arrival.is_set()


class Scripted:
    """A worker that does one scripted thing per step, and then waits for its inbox."""

    def __init__(self, *script: Callable[[], int | None]) -> None:
        self.name = "scripted"
        self.inbox: Inbox[Any] = Inbox(10)
        self.steps = 0
        self.finished = threading.Event()
        self._script = list(script)

    def step(self) -> int | None:
        """As Worker."""
        self.steps += 1
        if not self._script:
            self.finished.set()
            return None
        return self._script.pop(0)()


def fail() -> int | None:
    raise RuntimeError("unexpected")


def test_a_worker_that_fails_is_left_alone_for_a_second_even_with_mail_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waited: list[int] = []

    class Hasty(SystemClock):
        """Does not really wait where a failed worker is to be left alone."""

        def wait(self, event: threading.Event, deadline_ns: int | None) -> None:
            if event is worker.inbox.arrival:
                super().wait(event, deadline_ns)
            else:
                assert deadline_ns is not None
                waited.append(deadline_ns - self.now_ns())

    worker = Scripted(fail, fail, fail)
    worker.inbox.put("mail that is never taken")
    threads = Threads([worker], Hasty())
    with caplog.at_level(logging.ERROR):
        threads.start()
        assert worker.finished.wait(ENOUGH_S)
        threads.stop(ENOUGH_S)
    assert threads.failures == 3
    assert len(waited) == 3
    assert all(0.9 * NS_PER_S < wait_ns <= NS_PER_S for wait_ns in waited)
    assert len(caplog.records) == 1, "the same failure is told once"


def test_stop_ends_every_thread_also_one_that_waits_for_ever_or_just_failed() -> None:
    workers = [Scripted(), Scripted(lambda: 1 << 62), Scripted(fail)]
    for number, worker in enumerate(workers):
        worker.name = f"w{number}"
    threads = Threads(workers, SystemClock())
    threads.start()
    assert workers[0].finished.wait(ENOUGH_S)
    threads.stop(ENOUGH_S)
    assert not any(thread.is_alive() for _worker, thread in threads._threads.values())


def test_mail_wakes_a_worker() -> None:
    worker = Scripted(lambda: None)
    threads = Threads([worker], SystemClock())
    threads.start()
    worker.inbox.put("wake up")
    assert worker.finished.wait(ENOUGH_S)
    worker.inbox.take_all()
    threads.stop(ENOUGH_S)


def test_a_worker_that_hangs_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    release, hangs = threading.Event(), threading.Event()

    def hang() -> int | None:
        hangs.set()
        release.wait(ENOUGH_S)
        return None

    threads = Threads([Scripted(hang)], SystemClock())
    threads.start()
    assert hangs.wait(ENOUGH_S)
    real = SystemClock()
    started_ns = real.now_ns()
    threads.stop(0.05)
    assert real.now_ns() - started_ns < 2 * NS_PER_S
    assert "hangs in its device" in caplog.text
    release.set()
    threads.stop(ENOUGH_S)


def test_threads_that_were_never_started_can_be_stopped() -> None:
    worker = Scripted()
    Threads([worker], SystemClock()).stop(1)
    assert worker.inbox.arrival.is_set()
