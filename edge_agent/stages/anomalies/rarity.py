"""How rare a magnitude is among those of one channel that came before it. Pure.

Magnitudes are counted by eighths of an octave, each shared between its two neighbours, so that the answer changes
smoothly and the unit does not matter. Beyond the largest seen, the tail goes on as a power law whose exponent is
Hill's (1975), which is how far beyond the usual this channel's largest tend to be: where spikes are common, only a
much larger one is rare.
"""

from __future__ import annotations

from math import floor, fsum, log, log2, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST: Final = 12.0
"""Score of what is rarer than can be told."""
_BINS: Final = 64
_PER_OCTAVE: Final = 8.0
# Where the first magnitude is put.
_MIDDLE: Final = 32.0
# The exponent of the tail is that of this share of the magnitudes.
_LARGE: Final = 0.05
# No tail is believed to be thicker than this.
_THICKEST: Final = 1.0
_DECADES_PER_BIN: Final = log10(2.0) / _PER_OCTAVE
_LOG_PER_BIN: Final = log(2.0) / _PER_OCTAVE
# A bin that holds less has been forgotten.
_NOTHING: Final = 0.1
# Places that are looked at no more, lest numbers grow beyond all bounds.
_FAR: Final = 1000.0
STATE_SIZE: Final = _BINS + 3
_PER_DECADE: Final = 5.0


def length_score(length: float, longest: float) -> float:
    """Score of a length of time, given the longest one before: 5 for each power of ten, 0 to MOST."""
    return min(MOST, max(0.0, _PER_DECADE * log10(length / longest)))


class Rarity:
    """Magnitudes seen so far, counted.

    Args:
        memory: when so many have been counted, all of them count for half.
        thinnest: no tail is believed to be thinner; as a share of a magnitude, how much more each e-fold in rarity
            asks for.
    """

    __slots__ = ("_base", "_bins", "_memory", "_peak", "_thinnest", "total")

    def __init__(self, memory: int, thinnest: float) -> None:
        self.total = 0.0
        self._memory = memory
        self._thinnest = thinnest
        self._bins = [0.0] * _BINS
        self._base = 0.0  # position of the first bin
        self._peak = 0.0  # position of the largest, above the first bin; 0: there were only zeros

    def score(self, magnitude: float) -> float:
        """-log10 of the probability of one so large, 0 to MOST."""
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
        """What the score cannot exceed, at a glance."""
        if self._peak and magnitude > 0.0 and self._place(magnitude) > self._peak:
            return MOST
        return log10(2.0 * (self.total + 1.0))

    def reaching(self, score: float) -> float:
        """The least magnitude that is given this score."""
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
        """Count one."""
        self.total += 1.0
        if magnitude <= 0.0:
            self._bins[0] += 1.0
        else:
            if not self._peak:
                self._base = _PER_OCTAVE * log2(magnitude) - _MIDDLE
            self._count(self._place(magnitude))
        if self.total >= self._memory:
            self._bins = [each / 2.0 for each in self._bins]
            self.total /= 2.0
            top = max(index for index, each in enumerate(self._bins) if each >= _NOTHING)
            self._peak = min(self._peak, top + 1.0)

    def _place(self, magnitude: float) -> float:
        """Position above the first bin, ≥ 0."""
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
        """Make room for a position, at the cost of telling the smallest apart; where it is afterwards."""
        bins = floor(place) - _BINS + 2
        kept = self._bins[bins + 1 :]
        self._bins = [fsum(self._bins[: bins + 1]), *kept, *[0.0] * (_BINS - 1 - len(kept))]
        self._base += bins
        self._peak = max(1.0, self._peak - bins)
        return place - bins

    def _above(self, place: float) -> float:
        """How many are larger."""
        index = min(int(place), _BINS - 2)
        here, there = self._bins[index], self._bins[index + 1]
        share = place - index
        return fsum(self._bins[index + 2 :]) + there * (1.0 - share / 2.0) + here * (1.0 - share) / 2.0

    def _thickness(self) -> float:
        """Mean excess of the logarithms of the largest."""
        wanted, count, moment = _LARGE * self.total, 0.0, 0.0
        for index in range(_BINS - 1, -1, -1):
            each = self._bins[index]
            if each and count + each >= wanted:
                excess = (moment - index * count) / wanted * _LOG_PER_BIN
                return min(_THICKEST, max(self._thinnest, excess))
            count += each
            moment += index * each
        return _THICKEST

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        return (self.total, self._base, self._peak, *self._bins)

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one remembered."""
        self.total, self._base, self._peak, *self._bins = state
