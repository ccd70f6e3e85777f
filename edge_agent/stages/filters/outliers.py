"""Decides whether a reading far from the prediction is a spike, a step, or noise that has grown. Pure.

One reading beyond the gate is refused. Two that agree are accepted as a step at once, because waiting costs more than a
rare error; for some readings after a spike, it takes three. If the readings then return to the former level, the step
was an error: the state before it is restored, and it counts as a spike. Two readings in a row on the same side, beyond
three standard deviations but within the gate, are a small step. Outliers that disagree mean that the noise has grown.
"""

from __future__ import annotations

from math import fsum, inf, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.stages.filters.bank import SIZE, BankState

if TYPE_CHECKING:
    from edge_agent.stages.filters.bank import Shares

# A reading is refused beyond this many standard deviations from the prediction, squared.
GATE_SQUARED: Final = 5.0**2
# Readings agree up to this many standard deviations of their difference, squared.
_AGREE_SQUARED: Final = 3.5**2
# A change of up to this many counts of the chip is never an outlier.
_COUNTS: Final = 1.5
# Number of readings after a spike during which a step needs three readings.
_WARY_READINGS: Final = 500
# Number of readings during which a step can be reverted.
_REVERT_WITHIN: Final = 8


class OutlierJudge:
    """Latest suspicious readings of one channel.

    Attributes:
        grain: smallest change seen, canonical unit; infinite: none yet.
        pending: consecutive suspicious readings on one side of the prediction.
        upwards: whether that side is above the prediction.
        refused: whether one of them was refused.
        former: state before the last step; None if that step cannot be reverted.
        former_count: number of the reading at which the step came.
        wary_until: number of the reading up to which a step needs three readings.
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
        """Discard pending readings and the former state; grain and `wary_until` are kept."""
        self.pending = []
        self.former = None

    def settle(self, count: int) -> None:
        """Discard the pending readings: reading number `count` is not on their level."""
        if self.refused:
            self.wary_until = count + _WARY_READINGS
        self.pending = []

    def can_revert(self, count: int) -> bool:
        """Whether the last step may still be reverted at reading number `count`."""
        return self.former is not None and count - self.former_count <= _REVERT_WITHIN

    def judge(self, predicted: BankState, value: float, noise: float, count: int, shares: Shares) -> BankState | None:
        """Judge a suspicious reading.

        Args:
            predicted: state of the filters, predicted for this reading.
            value: measured, canonical unit.
            noise: variance of a surprise at this reading, canonical unit squared.
            count: number of this reading.
            shares: their mean squares are doubled if the noise has grown.

        Returns:
            State that is then corrected by the reading, or None to refuse it.
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
        """Accept the pending readings as a step: return a state with their mean as level."""
        if self.refused:
            self.former, self.former_count = predicted, count
        pending, self.pending = self.pending, []
        rows = len(pending)
        level = fsum(pending) / rows + shares.mean(predicted.slopes) * (rows + 1) / 2.0
        return BankState((level,) * SIZE, predicted.slopes, rows)

    def _agree(self, value: float, noise: float) -> bool:
        """Whether a reading agrees with each pending reading, within the noise."""
        near = sqrt(_AGREE_SQUARED * 2.0 * noise)
        if self.grain < inf:
            near = max(near, _COUNTS * self.grain)
        return all(abs(value - pending) <= near for pending in self.pending)
