"""Noise burst: a period of readings (see `detector.PERIOD`) that is far noisier than usual. Pure.

Compares the logarithm of a period's energy (mean square of its surprises) with mean and variance of earlier ones.
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
# A burst begins above 4 times the usual energy, and ends below twice the usual energy; logarithms.
_LOUD: Final = 1.386
_USUAL: Final = 0.693
# Lower bound of the standard deviation of log energy. Normal noise has half of it; real channels have hardly less.
_LEAST_SPREAD: Final = 0.36
# A burst must be noisy without its largest surprises too: how many of them; share of energy that remains then.
_SPIKES: Final = 6
_LEFT: Final = 0.6


class Noise:
    """Usual noise of the periods of one channel."""

    STATE_SIZE: Final = 5

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._mean = 0.0
        self._variance = 0.0
        self._since_ns = -1  # start of the burst that was reported and lasts; negative: none
        self._score_then = 0.0

    @property
    def lasts(self) -> bool:
        """Whether a burst that was reported still lasts."""
        return self._since_ns >= 0

    def close(self, start_ns: int, now_ns: int, energy: float, surprises: Sequence[float]) -> Sequence[Anomaly]:
        """End a period.

        Args:
            start_ns: begin of the period, nanoseconds since boot.
            now_ns: end of the period, nanoseconds since boot.
            energy: mean square of its surprises, canonical unit squared; 0 if the noise cannot be computed from them.
            surprises: measured minus predicted value of each reading, canonical unit.
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
        if abs(off) > 3.0 * _LEAST_SPREAD and self._count >= _FIRST:  # limits the effect of one period
            most = 3.0 * max(_LEAST_SPREAD, sqrt(self._variance))
            off = min(most, max(-most, off))
        self._count += 1
        self._mean += weight * off
        self._variance += weight * (off * off * (1.0 - weight) - self._variance)
        return found

    def _score(self, off: float, surprises: Sequence[float]) -> float:
        """Score of a log energy that is `off` above the mean; 0 if it comes from a few spikes."""
        kept = sorted(map(abs, surprises))[:-_SPIKES]
        rest = fsum([surprise * surprise for surprise in kept]) / len(kept)
        if rest < _LEFT * exp(self._mean + _LOUD):
            return 0.0
        chance = erfc(off / max(_LEAST_SPREAD, sqrt(self._variance)) / sqrt(2.0)) / 2.0
        return min(MOST, -log10(chance)) if chance > 0.0 else MOST

    def _anomaly(self, now_ns: int, score: float, noise: float, phase: Phase) -> Anomaly:
        return Anomaly(AnomalyKind.NOISE_BURST, now_ns, self._since_ns, score, noise, exp(self._mean / 2.0), phase)

    def state(self) -> tuple[float, ...]:
        """State for `restore`: STATE_SIZE numbers."""
        return (self._count, self._mean, self._variance, self._since_ns, self._score_then)

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state."""
        count, self._mean, self._variance, since_ns, self._score_then = state
        self._count, self._since_ns = int(count), int(since_ns)
