"""Rarity of a magnitude among the earlier ones of the same channel. Pure.

Magnitudes are counted in a histogram with eight bins per octave. Each is shared between two neighbouring bins, so the
result changes smoothly and does not depend on the unit. Beyond the largest magnitude seen, the tail is a power law with
the exponent of Hill (1975), estimated from the largest magnitudes of the channel: where spikes are common, only a much
larger one is rare.
"""

from __future__ import annotations

from math import floor, fsum, log, log2, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST: Final = 12.0
"""Upper limit of scores."""
_BINS: Final = 64
_PER_OCTAVE: Final = 8.0
# Position of the first magnitude in the histogram.
_MIDDLE: Final = 32.0
# Share of the largest magnitudes from which the exponent of the tail is estimated.
_LARGE: Final = 0.05
# Upper limit of the thickness of the tail.
_THICKEST: Final = 1.0
_DECADES_PER_BIN: Final = log10(2.0) / _PER_OCTAVE
_LOG_PER_BIN: Final = log(2.0) / _PER_OCTAVE
# A bin with less than this counts as empty.
_NOTHING: Final = 0.1
# Upper limit of a position, so that powers stay finite.
_FAR: Final = 1000.0
STATE_SIZE: Final = _BINS + 3
_PER_DECADE: Final = 5.0


def length_score(length: float, longest: float) -> float:
    """Score of a length of time compared with the longest one before: 5 per power of ten, 0 to MOST."""
    return min(MOST, max(0.0, _PER_DECADE * log10(length / longest)))


class Rarity:
    """Histogram of the magnitudes seen so far.

    Args:
        memory: when this many have been counted, all counts are halved.
        thinnest: lower limit of the thickness of the tail: relative growth of a magnitude for which it becomes rarer
            by a factor of e.

    Attributes:
        total: sum of all counts.
    """

    __slots__ = ("_base", "_bins", "_memory", "_peak", "_thinnest", "total")

    def __init__(self, memory: int, thinnest: float) -> None:
        self.total = 0.0
        self._memory = memory
        self._thinnest = thinnest
        self._bins = [0.0] * _BINS
        self._base = 0.0  # absolute position of the first bin, eighths of an octave above 1
        self._peak = 0.0  # position of the largest magnitude above the first bin; 0: only zeros so far

    def score(self, magnitude: float) -> float:
        """-log10 of the probability of a magnitude at least this large, 0 to MOST."""
        if magnitude <= 0.0:
            return 0.0
        if not self._peak:
            return min(MOST, log10(2.0 * (self.total + 1.0)))
        place = self._place(magnitude)
        score = -log10((self._above(min(place, _BINS - 1.0)) + 0.5) / (self.total + 1.0))
        if place > self._peak:
            score += (place - self._peak) * _DECADES_PER_BIN / self._thickness()
        return min(MOST, max(0.0, score))

    def at_most(self, magnitude: float) -> float:
        """Upper bound of the score; faster to compute than the score."""
        if self._peak and magnitude > 0.0 and self._place(magnitude) > self._peak:
            return MOST
        return log10(2.0 * (self.total + 1.0))

    def reaching(self, score: float) -> float:
        """Smallest magnitude that has this score; 0 if nothing is known yet."""
        if not self._peak:
            return 0.0
        missing = score - log10(2.0 * (self.total + 1.0))
        if missing >= 0.0:
            place = self._peak + missing * self._thickness() / _DECADES_PER_BIN
        else:
            wanted = 10.0**-score * (self.total + 1.0) - 0.5
            above, count, index = 0.0, 0.0, _BINS - 1
            while index > 0 and above < wanted:
                index -= 1
                before, above = above, count + self._bins[index + 1] + self._bins[index] / 2.0
                count += self._bins[index + 1]
            place = index + ((above - wanted) / (above - before) if above > wanted else 0.0)
        return float(2.0 ** ((min(place, _FAR) + self._base) / _PER_OCTAVE))

    def learn(self, magnitude: float) -> None:
        """Count a magnitude, ≥ 0."""
        self.total += 1.0
        if magnitude <= 0.0:
            self._bins[0] += 1.0
        else:
            if not self._peak:
                self._base = _PER_OCTAVE * log2(magnitude) - _MIDDLE
            self._count(self._place(magnitude))
        if self.total >= self._memory:
            self._bins = [held / 2.0 for held in self._bins]
            self.total /= 2.0
            top = max(index for index, held in enumerate(self._bins) if held >= _NOTHING)
            self._peak = min(self._peak, top + 1.0)

    def _place(self, magnitude: float) -> float:
        """Position of a magnitude above the first bin, in bins, ≥ 0."""
        return max(0.0, _PER_OCTAVE * log2(magnitude) - self._base)

    def _count(self, place: float) -> None:
        index = int(place)
        if index > _BINS - 2:
            place = self._move_up(place)
            index = int(place)
        share = place - index
        bins = self._bins
        bins[index] += 1.0 - share
        bins[index + 1] += share
        self._peak = max(self._peak, place)

    def _move_up(self, place: float) -> float:
        """Shift the bins so that a position fits; the lowest bins are merged. Returns its new position."""
        bins = floor(place) - _BINS + 2
        kept = self._bins[bins + 1 :]
        self._bins = [fsum(self._bins[: bins + 1]), *kept, *[0.0] * (_BINS - 1 - len(kept))]
        self._base += bins
        self._peak = max(1.0, self._peak - bins)
        return place - bins

    def _above(self, place: float) -> float:
        """Count of magnitudes above a position."""
        index = min(int(place), _BINS - 2)
        here, there = self._bins[index], self._bins[index + 1]
        share = place - index
        return fsum(self._bins[index + 2 :]) + there * (1.0 - share / 2.0) + here * (1.0 - share) / 2.0

    def _thickness(self) -> float:
        """Thickness of the tail: mean excess of the logarithms of the largest magnitudes (Hill's estimator)."""
        wanted, count, moment = _LARGE * self.total, 0.0, 0.0
        for index in range(_BINS - 1, -1, -1):
            held = self._bins[index]
            if held and count + held >= wanted:
                excess = (moment - index * count) / wanted * _LOG_PER_BIN
                return min(_THICKEST, max(self._thinnest, excess))
            count += held
            moment += index * held
        return _THICKEST

    def state(self) -> tuple[float, ...]:
        """State for `restore`: STATE_SIZE numbers."""
        return (self.total, self._base, self._peak, *self._bins)

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state."""
        self.total, self._base, self._peak, *self._bins = state
