"""Whether an odd reading of a channel is a spike, a step, or the noise that has grown. Pure.

One reading too far off is refused. Two that agree are a step and are believed at once, for waiting costs more than a
rare mistake; where spikes have been seen lately, it takes three. If the readings then return to where they came from,
it was a mistake, the former course is taken up again, and it counts as a spike seen. Two readings in a row that are
merely odd, on the same side, are a small step. Outliers that disagree are noise that has grown.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.stages.filters.bank import SIZE, Course

if TYPE_CHECKING:
    from edge_agent.stages.filters.bank import Shares

# Further from the prediction than so many standard deviations: refused.
GATE_SQUARED: Final = 5.0**2
# Readings that are so far from each other agree, squared, of the variance of their difference.
_AGREE_SQUARED: Final = 3.5**2
# A change of so many counts of a chip is never an outlier.
_COUNTS: Final = 1.5
# After a spike, steps are believed late for so many readings.
_WARY: Final = 500
# A step may turn out to be a mistake for so many readings.
_REMORSE: Final = 8


class Doubt:
    """What is held against one channel's latest readings.

    Attributes:
        grain: smallest change seen; infinite: none yet.
        pending: odd readings in a row, on one side; `refused` if one of them was, `upwards` which side.
        former: course before the last step and `former_count`, the reading at which it ended.
        wary_until: the reading up to which a step takes longer to believe.
    """

    __slots__ = ("former", "former_count", "grain", "pending", "refused", "upwards", "wary_until")

    def __init__(self, resolution: float | None) -> None:
        self.grain = resolution or inf
        self.pending: list[float] = []
        self.refused = False
        self.upwards = False
        self.former: Course | None = None
        self.former_count = 0
        self.wary_until = 0

    def forget(self) -> None:
        """Begin anew; the grain stays, and so does what was learned of spikes."""
        self.pending = []
        self.former = None

    def settle(self, count: int) -> None:
        """Forget what was pending: the readings, of which this is number `count`, did not stay there."""
        if self.refused:
            self.wary_until = count + _WARY
        self.pending = []

    def regrets(self, count: int) -> bool:
        """Whether a step may still turn out to be a mistake at reading number `count`."""
        return self.former is not None and count - self.former_count <= _REMORSE

    def pass_over(self, *, upwards: bool) -> None:
        """What `judge` and `settle` come to for a reading that is not refused, after none that was pending."""
        self.refused, self.upwards = False, upwards

    def judge(self, course: Course, value: float, noise: float, count: int, shares: Shares) -> Course | None:
        """Weigh an odd reading.

        Args:
            course: the prediction.
            value: what was measured, canonical unit.
            noise: variance of a surprise at this reading.
            count: number of this reading.
            shares: learn of it if the noise has grown.

        Returns:
            The course to correct by the reading, or None to refuse it.
        """
        surprise = value - shares.mean(course.levels)
        far = surprise * surprise > GATE_SQUARED * noise and abs(surprise) > _COUNTS * self.grain
        upwards = surprise > 0.0
        if self.former is not None and self.regrets(count):
            back = self.former.ahead(count - self.former_count)
            if (value - shares.mean(back.levels)) ** 2 <= GATE_SQUARED * noise:
                self.former = None
                self.refused = True
                self.settle(count)
                return back
        pending = self.pending
        if pending and upwards == self.upwards and self._agree(value, noise):
            self.refused |= far
            if self.refused and len(pending) == 1 and count < self.wary_until:
                pending.append(value)
                return None if far else course
            return self._step(course, count, shares)
        if far and pending and self.refused:
            shares.double()
        elif pending:
            self.settle(count)
        self.pending = [value]
        self.refused, self.upwards = far, upwards
        return None if far else course

    def _step(self, course: Course, count: int, shares: Shares) -> Course:
        """Believe what is pending: the course that leads through it."""
        if self.refused:
            self.former, self.former_count = course, count
        pending, self.pending = self.pending, []
        rows = len(pending)
        level = sum(pending) / rows + shares.mean(course.slopes) * (rows + 1) / 2.0
        return Course((level,) * SIZE, course.slopes, rows)

    def _agree(self, value: float, noise: float) -> bool:
        """Whether a reading could be the same as each of those that are pending."""
        near = sqrt(_AGREE_SQUARED * 2.0 * noise)
        if self.grain < inf:
            near = max(near, _COUNTS * self.grain)
        return all(abs(value - other) <= near for other in self.pending)
