"""Who runs when. Workers are stepped by threads on a gateway, and one after the other on a simulated clock.

A worker does everything that is due and says when it wants to be called again; it never sleeps. That is all the
same code needs to run both ways. Housekeeping (heartbeats, clock checks) is APScheduler's on a gateway, by wall
time made safe against clock steps, and a worker of its own on a simulated clock.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from edge_agent.clock import NS_PER_S, ClockQuality, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edge_agent.clock import Anchor, Clock, SimulatedClock

log = logging.getLogger(__name__)

RETRY_NS = NS_PER_S
"""How long a worker that failed unexpectedly is left alone."""
_NEVER_NS = 1 << 62


def may_fork() -> bool:
    """Tell whether this process has one thread only.

    A fork of one with more holds copies of the locks that the others had taken, and nobody who gives them back. Where
    the kernel does not say, there may be more.
    """
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


ItemT = TypeVar("ItemT")


class Inbox(Generic[ItemT]):
    """A bounded queue in front of one worker: many may put, one takes.

    Threads that put at the same moment may exceed the limit by one each. No lock is held: a deque appends and takes in
    one step, and the event is set after an item is in, and cleared before they are taken.

    Args:
        limit: number of items from which the inbox refuses more.
        refused: called with each item that was refused, from the thread that put it, so that the loss can be accounted
            for.

    Attributes:
        waiting: what has arrived, oldest first; only to be looked at.
        arrival: set while something waits, and by whoever wants to wake the worker.
    """

    def __init__(self, limit: int, refused: Callable[[ItemT], object] = lambda _item: None) -> None:
        self.waiting: deque[ItemT] = deque()
        self._limit = limit
        self._refused = refused
        self.arrival = threading.Event()

    def put(self, item: ItemT) -> bool:
        """Append unless full. Returns whether it was taken in."""
        waiting = self.waiting
        if len(waiting) >= self._limit:
            self._refused(item)
            return False
        waiting.append(item)
        if not self.arrival.is_set():
            self.arrival.set()
        return True

    def put_always(self, item: ItemT) -> None:
        """Append even if full: for requests whose number is limited by something else, and that nobody repeats."""
        self.waiting.append(item)
        if not self.arrival.is_set():
            self.arrival.set()

    def take_all(self) -> list[ItemT]:
        """Remove and return everything that has arrived, oldest first."""
        if self.arrival.is_set():  # clearing an event costs more than all the rest
            self.arrival.clear()
        take = self.waiting.popleft
        return [take() for _ in range(len(self.waiting))]

    def __len__(self) -> int:
        return len(self.waiting)


class Worker(Protocol):
    """One owner of one thing (a bus, the store, the uplink), with an inbox in front of it."""

    name: str
    inbox: Inbox[Any]

    def step(self) -> int | None:
        """Do everything that is due. Returns the clock time of the next call, or None to wait for the inbox."""


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of housekeeping. `run` only puts something into an inbox: owners do the work."""

    name: str
    period_s: float
    run: Callable[[], object]


class Threads:
    """Steps each worker in a thread of its own."""

    def __init__(self, workers: Sequence[Worker], clock: Clock) -> None:
        self._clock = clock
        self._stopping = {worker.name: threading.Event() for worker in workers}
        self._threads = {
            worker.name: (worker, threading.Thread(target=self._run, args=(worker,), name=worker.name, daemon=True))
            for worker in workers
        }
        self.failures = 0

    def start(self) -> None:
        """Start every worker."""
        for _worker, thread in self._threads.values():
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Let every worker finish its step, and wait for that. Their state may be touched from here on.

        A worker that hangs in its device is left behind after `timeout_s`.
        """
        for name, (worker, _thread) in self._threads.items():
            self._stopping[name].set()
            worker.inbox.arrival.set()
        deadline_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        for name, (_worker, thread) in self._threads.items():
            if thread.ident is None:
                continue  # never started
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / NS_PER_S))
            if thread.is_alive():
                log.error("worker hangs in its device and is left behind name=%s", name)

    def _run(self, worker: Worker) -> None:
        stopping = self._stopping[worker.name]
        said = ""
        while not stopping.is_set():
            try:
                deadline_ns = worker.step()
            except Exception as error:
                # The edge of the loop: whatever went wrong in one step must not end the worker.
                self.failures += 1
                if said != repr(error):
                    log.exception("worker failed and goes on in a second name=%s", worker.name)
                    said = repr(error)
                self._clock.wait(stopping, self._clock.now_ns() + RETRY_NS)  # mail must not shorten this
                continue
            if not stopping.is_set():
                self._clock.wait(worker.inbox.arrival, deadline_ns)


@dataclass(frozen=True, slots=True)
class Pace:
    """How simulated time relates to real time.

    Attributes:
        speed: simulated seconds per real second; None is as fast as the machine can.
        wake: set by whoever interrupts the real wait between two moments.
        settle: called before time goes on; waits, in real time, for what real time decides (the network).
        shown: called about twice per real second, for a display.
    """

    speed: float | None
    wake: threading.Event
    settle: Callable[[], None] = lambda: None
    shown: Callable[[], None] = lambda: None


def run_simulated(
    workers: Sequence[Worker], clock: SimulatedClock, pace: Pace, *, end_ns: int | None, stop: threading.Event
) -> None:
    """Step workers in their order, moment after moment, until `end_ns`, `stop`, or nothing is left to do.

    Nothing here depends on real time but how long it takes: the same seed gives the same run at any speed.
    """
    real = SystemClock()
    started_real_ns, started_ns = real.now_ns(), clock.now_ns()
    shown_ns = 0
    turns = [_Turn(worker, worker.inbox.waiting, started_ns, started_ns) for worker in workers]
    while not stop.is_set():
        _step_until_quiet(turns, clock)
        pace.settle()
        if real.now_ns() - shown_ns >= NS_PER_S // 2:
            pace.shown()
            shown_ns = real.now_ns()
        next_ns = min([turn.free_ns if turn.mail else turn.due_ns for turn in turns], default=_NEVER_NS)
        if next_ns <= clock.now_ns():
            continue  # mail came while the network settled
        if end_ns is not None:
            next_ns = min(next_ns, end_ns)
        if next_ns == _NEVER_NS:
            return
        if pace.speed is not None:
            until_ns = started_real_ns + round((next_ns - started_ns) / pace.speed)
            if real.now_ns() < until_ns:
                real.wait(pace.wake, min(until_ns, real.now_ns() + NS_PER_S // 2))
                if real.now_ns() < until_ns:
                    pace.wake.clear()
                    continue
        clock.advance_to(next_ns)
        if next_ns == end_ns:
            return


@dataclass(slots=True)
class _Turn:
    """When a worker is to be stepped next.

    Attributes:
        mail: what waits in its inbox; with mail it is stepped as soon as it is free.
        due_ns: when it asked to be called; never before `free_ns`.
        free_ns: end of its last step, which may have waited for a device.
    """

    worker: Worker
    mail: Collection[object]
    due_ns: int
    free_ns: int


def _step_until_quiet(turns: Sequence[_Turn], clock: SimulatedClock) -> None:
    """Step every worker that is due or has mail, in order, until none is. Time stands still for all meanwhile."""
    now_ns = clock.now_ns()
    stepped = True
    while stepped:
        stepped = False
        for turn in turns:
            if turn.due_ns <= now_ns or (turn.mail and turn.free_ns <= now_ns):
                due_ns = turn.worker.step()
                turn.free_ns = clock.end_turn()
                turn.due_ns = _NEVER_NS if due_ns is None else max(due_ns, turn.free_ns)
                stepped = True


class SimulatedHousekeeping:
    """Runs jobs as a worker."""

    name = "housekeeping"

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self.inbox: Inbox[Any] = Inbox(1)
        self._clock = clock
        self._due = [(clock.now_ns() + round(job.period_s * NS_PER_S), job) for job in jobs]

    def step(self) -> int | None:
        """Run the jobs that are due."""
        now_ns = self._clock.now_ns()
        for index, (due_ns, job) in enumerate(self._due):
            if due_ns <= now_ns:
                job.run()
                self._due[index] = (now_ns + round(job.period_s * NS_PER_S), job)
        return min((due_ns for due_ns, _job in self._due), default=None)


class Housekeeping:
    """Runs jobs by APScheduler, which plans by wall time.

    APScheduler 3 stops when that time steps back and lists every missed run when it steps forward. So the trigger
    knows no backlog, and whoever notices a step calls `reschedule`.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415 costs 4 MiB, daemon only

        self._jobs = jobs
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def start(self) -> None:
        """Run each job one period from now, and so on."""
        for job in self._jobs:
            self._scheduler.add_job(job.run, _trigger(job.period_s), id=job.name)
        self._scheduler.start()

    def reschedule(self) -> None:
        """Plan every job anew from the wall time as it is now. Without effect before `start` and after `stop`."""
        if not self._scheduler.running:
            return
        for job in self._jobs:
            self._scheduler.reschedule_job(job.name, trigger=_trigger(job.period_s))

    def stop(self) -> None:
        """Run nothing any more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _trigger(period_s: float) -> Any:
    """A trigger whose next time is one period after the last, or after now if that is not ahead: no backlog."""
    from apscheduler.triggers.base import BaseTrigger  # noqa: PLC0415 costs 4 MiB, daemon only

    class EveryPeriod(BaseTrigger):  # type: ignore[misc] # APScheduler has no type hints
        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
            period = timedelta(seconds=period_s)
            planned = (previous or now) + period
            return planned if now < planned <= now + period else now + period

    return EveryPeriod()


@dataclass(frozen=True, slots=True)
class ClockChange:
    """Wall time stepped, or its quality changed.

    Attributes:
        old, new: anchor before and after.
        good_ns: last moment before at which wall time was synchronised, or, if it never was, at which it was looked at
            first; nanoseconds since boot.
        now_ns: when it was noticed.
    """

    old: Anchor
    new: Anchor
    good_ns: int
    now_ns: int

    @property
    def moved_ns(self) -> int:
        """Nanoseconds by which wall time moved against boot time."""
        return self.new.offset_ns - self.old.offset_ns


class ClockMonitor:
    """Notices that wall time stepped, or became known, within a second of it.

    Args:
        changed: called when that was a step or the quality changed.
    """

    name = "clock"
    period_ns = NS_PER_S
    step_ns = 50_000_000
    """Slower changes than 50 ms between two looks are NTP's own slewing and no step."""

    def __init__(self, clock: Clock, changed: Callable[[ClockChange], None]) -> None:
        self.inbox: Inbox[Any] = Inbox(1)
        self.steps = 0
        self._clock = clock
        self._changed = changed
        self._last = clock.anchor()
        self._good_ns = clock.now_ns()

    def step(self) -> int | None:
        """Compare the anchor with the last one."""
        anchor, now_ns = self._clock.anchor(), self._clock.now_ns()
        change = ClockChange(self._last, anchor, self._good_ns, now_ns)
        stepped = abs(change.moved_ns) > self.step_ns
        quality_changed = anchor.quality != self._last.quality
        # First: a listener that fails must not be told again every second.
        self._last = anchor
        if anchor.quality is ClockQuality.SYNCED:
            self._good_ns = now_ns
        if stepped or quality_changed:
            self.steps += stepped
            self._changed(change)
        return now_ns + self.period_ns
