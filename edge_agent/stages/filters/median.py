"""Median of the last readings of one channel: robust against outliers, follows changes with a delay. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.reading import Flag
from edge_agent.stages.filters.estimates import Estimates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.filters.estimates import FilterState

_NO_VALUE: Final = Flag.NO_VALUE
_UNUSED: Final = Flag.NO_VALUE | Flag.OUT_OF_RANGE
# Readings before a gap of more than this many usual steps are discarded.
_STALE_STEPS: Final = 8


@dataclass(frozen=True, slots=True)
class MedianSettings:
    """Settings of the filter of one channel.

    Attributes:
        sigma: noise of one reading (standard deviation), canonical unit, > 0.
        of: number of readings that the median is taken of, odd.
    """

    stage: ClassVar = "median"
    """Name under which the state is saved. Public: if it changes, saved states are lost."""

    sigma: float
    of: int = 3

    def build(self) -> Median:
        """Make a filter in its initial state."""
        return Median(self)


class Median:
    """Filter of one channel. It flags no outliers; the median leaves them out."""

    __slots__ = ("_at_ns", "_of", "_recent", "_sigma", "_step_ns")

    def __init__(self, settings: MedianSettings) -> None:
        self._of = settings.of
        # Standard deviation of a median of normal noise: exact for many readings, 10 % too low for three.
        self._sigma = settings.sigma * sqrt(pi / (2.0 * settings.of))
        self._recent: list[float] = []
        self._at_ns = 0
        self._step_ns = 0

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], flags: list[Flag]) -> Estimates:
        """See `Filter.run`."""
        estimates = Estimates([], [], [])
        recent, size, half = self._recent, self._of, self._of // 2
        for now_ns, value, flag in zip(times_ns, values, flags, strict=True):
            if value is None or (flag and flag & _UNUSED):
                estimates.add(None if flag & _NO_VALUE else value)
                continue
            step_ns = now_ns - self._at_ns
            if recent and step_ns > 0:
                if 0 < self._step_ns * _STALE_STEPS < step_ns:
                    recent.clear()
                self._step_ns = step_ns
            if step_ns > 0 or not recent:
                self._at_ns = now_ns
            before = sorted(recent)[len(recent) // 2] if recent else value
            recent.append(value)
            if len(recent) > size:
                del recent[0]
            # Until the window is full, the reading itself is the estimate.
            middle = sorted(recent)[half] if len(recent) == size else value
            estimates.add(middle, self._sigma, value - before)
        return estimates

    def model(self) -> None:
        """See `Filter.model`."""

    def state(self) -> FilterState:
        """See `Filter.state`."""
        return (self._at_ns, self._step_ns, *self._recent)

    def restore(self, state: FilterState, shift_ns: int = 0) -> None:
        """See `Filter.restore`."""
        if not 2 <= len(state) <= 2 + self._of:
            raise ValueError(f"{len(state)} numbers are no state of a median of {self._of}")
        self._at_ns, self._step_ns = int(state[0]) + shift_ns, int(state[1])
        self._recent = list(state[2:])
