"""Decides whether a reading far from the prediction is a spike, a step, or noise that has grown. Pure.

One reading beyond the gate is refused. Two that agree are a step and are believed at once, because waiting costs more
than a rare mistake; for a while after a spike, it takes three. If the readings then return to where they came from, the
step was a mistake: the state before it is restored, and it counts as a spike. Two readings in a row beyond three
standard deviations but within the gate, on the same side, are a small step. Outliers that disagree are noise that has
grown.
"""

from __future__ import annotations

from math import fsum, inf, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.stages.filters.bank import SIZE, BankState

if TYPE_CHECKING:
    from edge_agent.stages.filters.bank import Shares

# Further from the prediction than so many standard deviations: refused.
GATE_SQUARED: Final = 5.0**2
# Readings that are so far from each other agree, squared, of the variance of their difference.
_AGREE_SQUARED: Final = 3.5**2
# A change of so many counts of a chip is never an outlier.
_COUNTS: Final = 1.5
# For so many readings after a spike, a step takes three readings to be believed.
_WARY_READINGS: Final = 500
# A step can be reverted for so many readings.
_REVERT_WITHIN: Final = 8


class OutlierJudge:
    """The latest suspicious readings of one channel.

    Attributes:
        grain: smallest change seen, canonical unit; infinite: none yet.
        pending: suspicious readings in a row on one side of the prediction; `upwards` says which side, `refused`
            whether one of them was refused.
        former: state before the last step, and `former_count`, the number of the reading at which that came.
        wary_until: number of the reading up to which a step takes three readings.
    """

    __slots__ = ("former", "former_count", "grain", "pending", "refused", "upwards", "wary_until")

    def __init__(self, resolution: float | None) -> None:
        self.grain = resolution or inf
        self.pending: list[float] = []
        self.refused = False
        self.upwards = False
        self.former: BankState | None = None
        self.former_count = 0
        self.wary_until = 0

    def forget(self) -> None:
        """Begin anew; the grain stays, and what was learned of spikes."""
        self.pending = []
        self.former = None

    def settle(self, count: int) -> None:
        """Forget what was pending: the readings, of which this is number `count`, did not stay there."""
        if self.refused:
            self.wary_until = count + _WARY_READINGS
        self.pending = []

    def can_revert(self, count: int) -> bool:
        """Whether the last step may still turn out to be a mistake at reading number `count`."""
        return self.former is not None and count - self.former_count <= _REVERT_WITHIN

    def judge(self, predicted: BankState, value: float, noise: float, count: int, shares: Shares) -> BankState | None:
        """Judge a suspicious reading.

        Args:
            predicted: state of the filters for this reading.
            value: what was measured, canonical unit.
            noise: variance of a surprise at this reading, canonical unit squared.
            count: number of this reading.
            shares: learn of it if the noise has grown.

        Returns:
            The state to correct by the reading, or None to refuse it.
        """
        surprise = value - shares.mean(predicted.levels)
        far = surprise * surprise > GATE_SQUARED * noise and abs(surprise) > _COUNTS * self.grain
        upwards = surprise > 0.0
        if self.former is not None and self.can_revert(count):
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
                return None if far else predicted
            return self._step(predicted, count, shares)
        if far and pending and self.refused:
            shares.double()
        elif pending:
            self.settle(count)
        self.pending = [value]
        self.refused, self.upwards = far, upwards
        return None if far else predicted

    def _step(self, predicted: BankState, count: int, shares: Shares) -> BankState:
        """Believe the pending readings: return the state that leads through them."""
        if self.refused:
            self.former, self.former_count = predicted, count
        pending, self.pending = self.pending, []
        rows = len(pending)
        level = fsum(pending) / rows + shares.mean(predicted.slopes) * (rows + 1) / 2.0
        return BankState((level,) * SIZE, predicted.slopes, rows)

    def _agree(self, value: float, noise: float) -> bool:
        """Whether a reading could be the same as each of those that are pending."""
        near = sqrt(_AGREE_SQUARED * 2.0 * noise)
        if self.grain < inf:
            near = max(near, _COUNTS * self.grain)
        return all(abs(value - other) <= near for other in self.pending)
