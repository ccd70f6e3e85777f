"""A period (of readings, see `detector.PERIOD`) that is far noisier than usual. Pure.

Compared are the logarithms of the energies of periods, by their own mean and spread.
"""

from __future__ import annotations

from math import erfc, exp, fsum, log, log10, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.rarity import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST: Final = 32
_MEMORY: Final = 256
# Logarithms of how much more energy is loud: four times; and how much is as usual again: twice.
_LOUD: Final = 1.386
_USUAL: Final = 0.693
# Energies of periods of normal noise differ by this much, and a channel's own by hardly less than twice that.
_LEAST_SPREAD: Final = 0.36
# Share of the largest readings that a period must be noisy without, or they are spikes; what that leaves of noise.
_SPIKES: Final = 6
_LEFT: Final = 0.6


class Noise:
    """How noisy periods of one channel usually are."""

    STATE_SIZE: Final = 5

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._mean = 0.0
        self._variance = 0.0
        self._since_ns = -1  # of the burst that was reported and lasts
        self._score_then = 0.0

    @property
    def lasts(self) -> bool:
        """Whether a burst that was reported still lasts."""
        return self._since_ns >= 0

    def close(self, start_ns: int, now_ns: int, energy: float, surprises: Sequence[float]) -> Sequence[Anomaly]:
        """End a period.

        Args:
            start_ns: when it began.
            now_ns: when it ended.
            energy: mean square of its surprises; 0 where it says nothing of the noise.
            surprises: what was not predicted of each reading, canonical unit.
        """
        if energy <= 0.0:
            return ()
        off = log(energy) - self._mean
        found: tuple[Anomaly, ...] = ()
        weight = 1.0 / min(self._count + 1, _MEMORY)
        if self.lasts:
            weight = 1.0 / _MEMORY
            if off < _USUAL:
                found = (self._anomaly(now_ns, self._score_then, sqrt(energy), Phase.ENDED),)
                self._since_ns = -1
        elif off > _LOUD and self._count >= _FIRST:
            score = self._score(off, surprises)
            if score >= self._threshold:
                self._since_ns, self._score_then = start_ns, score
                found = (self._anomaly(now_ns, score, sqrt(energy), Phase.BEGAN),)
        if abs(off) > 3.0 * _LEAST_SPREAD and self._count >= _FIRST:  # one period does not teach much
            most = 3.0 * max(_LEAST_SPREAD, sqrt(self._variance))
            off = min(most, max(-most, off))
        self._count += 1
        self._mean += weight * off
        self._variance += weight * (off * off * (1.0 - weight) - self._variance)
        return found

    def _score(self, off: float, surprises: Sequence[float]) -> float:
        """How rare it is to be so far off; 0 if a few spikes are the reason."""
        kept = sorted(map(abs, surprises))[:-_SPIKES]
        rest = fsum([surprise * surprise for surprise in kept]) / len(kept)
        if rest < _LEFT * exp(self._mean + _LOUD):
            return 0.0
        chance = erfc(off / max(_LEAST_SPREAD, sqrt(self._variance)) / sqrt(2.0)) / 2.0
        return min(MOST, -log10(chance)) if chance > 0.0 else MOST

    def _anomaly(self, now_ns: int, score: float, noise: float, phase: Phase) -> Anomaly:
        return Anomaly(AnomalyKind.NOISE_BURST, now_ns, self._since_ns, score, noise, exp(self._mean / 2.0), phase)

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        return (self._count, self._mean, self._variance, self._since_ns, self._score_then)

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one had learned."""
        count, self._mean, self._variance, since_ns, self._score_then = state
        self._count, self._since_ns = int(count), int(since_ns)
