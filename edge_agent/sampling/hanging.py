"""Notices a device access that does not return: the worker of its bus cannot say so itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Event, EventKind
from edge_agent.runtime import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.reading import Measurement
    from edge_agent.sampling.worker import Access, BusWorker

log = logging.getLogger(__name__)

HANGING_NS: Final = 30 * NS_PER_S
"""An access that takes longer does not return: every time-out of ours is shorter."""
_LOOK_NS: Final = 5 * NS_PER_S


def hanging_access(worker: BusWorker, now_ns: int) -> Access | None:
    """The access of a bus worker that does not return; None if there is none. May be asked from any thread."""
    access = worker.access
    return access if access is not None and now_ns - access.since_ns >= HANGING_NS else None


def describe_hanging(access: Access, now_ns: int) -> str:
    """One sentence about an access that does not return."""
    seconds = (now_ns - access.since_ns) // NS_PER_S
    return (
        f"the device of sensor {access.sensor} has not answered for {seconds} s and blocks the bus; unplug it, or "
        "restart the adapter"
    )


class HangingWatch:
    """Worker that tells of buses whose worker hangs in a device, and when it goes on.

    Args:
        workers: the workers of the buses.
        clock: source of time.
        deliver: takes events.
    """

    name = "hanging devices"

    def __init__(
        self, workers: Sequence[BusWorker], clock: Clock, deliver: Callable[[Measurement | Event], object]
    ) -> None:
        self.inbox: Inbox[Any] = Inbox(1)
        self._workers = workers
        self._clock = clock
        self._deliver = deliver
        self._told: set[str] = set()

    def step(self) -> int | None:
        """Look at each bus."""
        now_ns = self._clock.now_ns()
        for worker in self._workers:
            access = hanging_access(worker, now_ns)
            if (access is not None) == (worker.name in self._told):
                continue
            bus = worker.name.removeprefix("bus ")
            if access is not None:
                self._told.add(worker.name)
                state, cause = "stuck", describe_hanging(access, now_ns)
                log.error("bus %s is stuck: %s", bus, cause)
            else:
                self._told.discard(worker.name)
                state, cause = "working", "the device that blocked the bus answered at last"
                log.warning("bus %s is working: %s", bus, cause)
            self._deliver(Event(EventKind.BUS_STATE, now_ns, bus, state, cause))
        return now_ns + _LOOK_NS if self._workers else None
