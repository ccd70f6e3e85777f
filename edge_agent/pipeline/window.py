"""Windows that begin and end at whole multiples of their length, so that those of all gateways coincide.

They go by wall time, as far as it is known, else by time since boot. When that steps, the window that is open ends as
planned, and the next is up to half a length shorter or longer.
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
    """The window that is open, and what came too early for it.

    Args:
        clock: where wall time stands.
        settings: the window is as long as `period_ns`. It stays open for half of `durability_ns` after its end, at most
            a second, because sensors on slow buses deliver late. A stamp belongs to a window after it was rounded down.
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
        """When it is to be sealed."""
        return self._end_ns + self._grace_ns

    @property
    def is_awaited(self) -> bool:
        """Whether something belongs to a later window."""
        return bool(self._early)

    def admit(self, arrived: Iterable[Measurement | Event]) -> list[Measurement | Event]:
        """Return what is not too early, of what arrived now and before; the rest is kept."""
        admitted: list[Measurement | Event] = []
        early: list[Measurement | Event] = []
        for item in (*self._early, *arrived):
            (early if isinstance(item, Measurement) and self._is_early(item.boot_ns) else admitted).append(item)
        self._early = early
        return admitted

    def go_on(self) -> None:
        """Open the next window, if this one is due."""
        now_ns = self._clock.now_ns()
        if now_ns < self.due_ns:
            return
        planned_ns = self._end_ns + self._length_ns
        # The nearest multiple to the planned end: the offset moves a little all the time.
        self._end_ns = self._multiple_ns(planned_ns + self._length_ns // 2)
        if now_ns >= self.due_ns:
            self._end_ns = self._first_end_ns()

    def end(self) -> None:
        """Open a window without end: nothing more will come."""
        self._end_ns = 1 << 63

    def _is_early(self, boot_ns: int) -> bool:
        return boot_ns - boot_ns % self._time_step_ns >= self._end_ns

    def _first_end_ns(self) -> int:
        return self._multiple_ns(self._clock.now_ns() - self._grace_ns + self._length_ns)

    def _multiple_ns(self, boot_ns: int) -> int:
        """Find the last multiple up to a moment, which both are of time since boot."""
        anchor = self._clock.anchor()
        offset_ns = anchor.offset_ns if anchor.quality != ClockQuality.NONE else 0
        return boot_ns - (boot_ns + offset_ns) % self._length_ns
