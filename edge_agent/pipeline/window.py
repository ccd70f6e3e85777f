"""Windows that begin and end at whole multiples of their length, so that the windows of all gateways coincide.

Multiples are of wall time, if it is known, else of time since boot. If wall time steps, the open window ends as
planned, and the next one is up to half a length shorter or longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S, ClockQuality
from edge_agent.reading import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.clock import Clock
    from edge_agent.pipeline.settings import BatchSettings
    from edge_agent.reading import Event

MOST_GRACE_NS: Final = NS_PER_S


class AlignedWindow:
    """The open window, and measurements that belong to a later one.

    Args:
        clock: source of wall time.
        settings: `period_ns` is the length of a window. After its end, the window stays open for half of
            `durability_ns`, at most a second, because slow buses deliver late. Stamps are rounded down before
            their window is determined.
    """

    def __init__(self, clock: Clock, settings: BatchSettings) -> None:
        self._clock = clock
        self._length_ns = settings.period_ns
        self._grace_ns = min(settings.durability_ns // 2, MOST_GRACE_NS, settings.period_ns // 2)
        self._time_step_ns = settings.time_step_ns
        self._early: list[Measurement | Event] = []
        self._end_ns = self._first_end_ns()

    @property
    def due_ns(self) -> int:
        """Time at which the open window is sealed, nanoseconds since boot."""
        return self._end_ns + self._grace_ns

    @property
    def is_awaited(self) -> bool:
        """Whether a measurement waits for a later window."""
        return bool(self._early)

    def admit(self, arrived: Iterable[Measurement | Event]) -> list[Measurement | Event]:
        """Return those of the new and the kept items that belong to the open window; keep the others."""
        admitted: list[Measurement | Event] = []
        early: list[Measurement | Event] = []
        for item in (*self._early, *arrived):
            (early if isinstance(item, Measurement) and self._is_early(item.boot_ns) else admitted).append(item)
        self._early = early
        return admitted

    def advance(self) -> None:
        """Open the next window, if the open one is due."""
        now_ns = self._clock.now_ns()
        if now_ns < self.due_ns:
            return
        planned_ns = self._end_ns + self._length_ns
        # The multiple nearest to the planned end, because the offset of wall time always changes a little.
        self._end_ns = self._multiple_ns(planned_ns + self._length_ns // 2)
        if now_ns >= self.due_ns:
            self._end_ns = self._first_end_ns()

    def end(self) -> None:
        """Open a window without end, at the end of a run."""
        self._end_ns = 1 << 63

    def _is_early(self, boot_ns: int) -> bool:
        return boot_ns - boot_ns % self._time_step_ns >= self._end_ns

    def _first_end_ns(self) -> int:
        return self._multiple_ns(self._clock.now_ns() - self._grace_ns + self._length_ns)

    def _multiple_ns(self, boot_ns: int) -> int:
        """Last multiple at or before `boot_ns`; both are nanoseconds since boot."""
        anchor = self._clock.anchor()
        offset_ns = anchor.offset_ns if anchor.quality != ClockQuality.NONE else 0
        return boot_ns - (boot_ns + offset_ns) % self._length_ns
