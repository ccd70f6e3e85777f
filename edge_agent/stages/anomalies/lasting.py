"""What lasts and is told at its two ends: a value that repeats itself, noise that has grown. And gaps. Pure.

All three are measured against this channel's own history, so that none needs a setting. For lengths of time, the
tail is taken to be a power law: ten times the longest before is a score of 5.
"""

from __future__ import annotations

from math import erfc, exp, log, log10, sqrt
from operator import sub
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.rarity import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

_PER_DECADE: Final = 5.0


def _length_score(length: float, longest: float) -> float:
    return min(MOST, max(0.0, _PER_DECADE * log10(length / longest)))


class Flatline:
    """Whether a channel that otherwise moves repeats itself, minute by minute (of readings)."""

    # Minutes in which it moved, before it can be missed.
    _FIRST: Final = 30
    # A minute that is not flat may hold half a flat one.
    _LEAST: Final = 0.5
    STATE_SIZE: Final = 9

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._moved = 0  # minutes
        self._flat = 0
        self._longest = self._LEAST
        self._streak = 0  # flat minutes with the same value
        self._since_ns = -1  # of the streak
        self._value = 0.0
        self._same = True  # whether this minute has been flat so far
        self._started = False
        self._told = False

    def run(self, times_ns: Sequence[int], values: Sequence[float]) -> Anomaly | None:
        """Look at readings, all of one minute; the end of a flat line that was told of."""
        if self._same:
            if not self._started:
                self._restart(times_ns[0], values[0])
            value = self._value
            if values[-1] == value and values.count(value) == len(values):
                return None
            self._same = False
            if self._told:
                at = next(index for index, each in enumerate(values) if each != value)
                return self._end(times_ns[at])
        return None

    def _restart(self, now_ns: int, value: float) -> None:
        self._since_ns, self._value, self._started = now_ns, value, True

    def _end(self, now_ns: int) -> Anomaly:
        self._told = False
        score = _length_score(self._streak, self._longest)
        self._longest = max(self._longest, float(self._streak))
        return Anomaly(AnomalyKind.FLATLINE, now_ns, self._since_ns, score, self._value, self._value, Phase.ENDED)

    def close(self, now_ns: int) -> Anomaly | None:
        """Learn a minute; the beginning of a flat line."""
        same, self._same = self._same, True
        if not same:
            self._longest = max(self._longest, float(self._streak))
            self._flat += self._streak
            self._moved += 1
            self._streak, self._started = 0, False
            return None
        self._streak += 1
        score = _length_score(self._streak, self._longest)
        known = self._moved >= self._FIRST and self._moved > self._flat
        if self._told or not known or score < self._threshold:
            return None
        self._told = True
        return Anomaly(AnomalyKind.FLATLINE, now_ns, self._since_ns, score, self._value, self._value, Phase.BEGAN)

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        return (
            *(self._moved, self._flat, self._longest, self._streak, self._since_ns, self._value),
            *(float(self._same), float(self._started), float(self._told)),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one remembered."""
        moved, flat, self._longest, streak, since_ns, self._value, same, started, told = state
        self._moved, self._flat, self._streak, self._since_ns = int(moved), int(flat), int(streak), int(since_ns)
        self._same, self._started, self._told = bool(same), bool(started), bool(told)


class Noise:
    """Whether a minute (of readings) is far noisier than usual, by the spread of the logarithms of their energies.

    Attributes:
        since_ns: when the noise began that was told of; before 0: it is as usual.
    """

    _FIRST: Final = 32
    _MEMORY: Final = 256
    # Logarithms of how much more energy is loud: four times; and how much is as usual again: twice.
    _LOUD: Final = 1.386
    _USUAL: Final = 0.693
    # Energies of minutes of normal noise differ by this much, and a channel's own by hardly less than twice that.
    _LEAST_SPREAD: Final = 0.36
    # Share of the largest readings that a minute must be noisy without, or they are spikes; what that leaves of noise.
    _SPIKES: Final = 6
    _LEFT: Final = 0.6
    STATE_SIZE: Final = 5

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._mean = 0.0
        self._variance = 0.0
        self.since_ns = -1
        self._loud = 0.0

    def close(self, start_ns: int, now_ns: int, energy: float, surprises: list[float]) -> Anomaly | None:
        """Learn a minute, whose energy per reading is `energy`."""
        if energy <= 0.0:
            return None
        off = log(energy) - self._mean
        anomaly, weight = None, 1.0 / min(self._count + 1, self._MEMORY)
        if self.since_ns >= 0:
            weight = 1.0 / self._MEMORY
            if off < self._USUAL:
                anomaly = self._tell(now_ns, self._loud, sqrt(energy), Phase.ENDED)
                self.since_ns = -1
        elif off > self._LOUD and self._count >= self._FIRST:
            score = self._score(off, surprises)
            if score >= self._threshold:
                self.since_ns, self._loud = start_ns, score
                anomaly = self._tell(now_ns, score, sqrt(energy), Phase.BEGAN)
        if abs(off) > 3.0 * self._LEAST_SPREAD and self._count >= self._FIRST:  # one minute does not teach much
            most = 3.0 * max(self._LEAST_SPREAD, sqrt(self._variance))
            off = min(most, max(-most, off))
        self._count += 1
        self._mean += weight * off
        self._variance += weight * (off * off * (1.0 - weight) - self._variance)
        return anomaly

    def _score(self, off: float, surprises: list[float]) -> float:
        """How rare it is to be so far off; 0 if a few spikes do it all."""
        kept = sorted(map(abs, surprises))[: -self._SPIKES]
        rest = sum(each * each for each in kept) / len(kept)
        if rest < self._LEFT * exp(self._mean + self._LOUD):
            return 0.0
        chance = erfc(off / max(self._LEAST_SPREAD, sqrt(self._variance)) / sqrt(2.0)) / 2.0
        return min(MOST, -log10(chance)) if chance > 0.0 else MOST

    def _tell(self, now_ns: int, score: float, noise: float, phase: Phase) -> Anomaly:
        return Anomaly(AnomalyKind.NOISE_BURST, now_ns, self.since_ns, score, noise, exp(self._mean / 2.0), phase)

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        return (self._count, self._mean, self._variance, self.since_ns, self._loud)

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one remembered."""
        count, self._mean, self._variance, since_ns, self._loud = state
        self._count, self.since_ns = int(count), int(since_ns)


class Pace:
    """How readings follow each other, and where they stopped for a while.

    Attributes:
        step_ns: the usual step; 0: not known yet.
        last_ns: stamp of the latest reading; before 0: there is none.
    """

    # A step of so many usual ones is long.
    _LONG: Final = 10.0
    # So many usual ones make no gap.
    _LEAST: Final = 3.0
    # Readings from mark to mark: fewer than there are in a long step.
    _STRIDE: Final = 8
    _MEMORY: Final = 8
    # What remains of the longest step each minute: half of it in a day.
    _FADING: Final = 0.9995
    # Time that runs back by more than this is that of another boot.
    _OTHER_BOOT_NS: Final = 60 * NS_PER_S
    STATE_SIZE: Final = 6

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.step_ns = 0.0
        self.last_ns = -1
        self._longest_ns = 0.0
        self._since_ns = -1  # of this minute
        self._missing_ns = 0  # spent in long steps of this minute
        self._minutes = 0

    def begin(self, now_ns: int) -> None:
        """Take note of the first reading of a boot."""
        self.last_ns = self._since_ns = now_ns
        self._missing_ns = 0

    def is_other_boot(self, now_ns: int) -> bool:
        """Whether a stamp cannot belong to the boot of the latest reading."""
        return now_ns < self.last_ns - self._OTHER_BOOT_NS

    def long_step(self, times_ns: Sequence[int]) -> int | None:
        """Index of the first reading that comes after a long step."""
        limit_ns = self._LONG * self.step_ns
        if not limit_ns or self.last_ns < 0:
            return None
        before_ns = self.last_ns
        for mark_ns in times_ns[:: self._STRIDE]:
            if mark_ns - before_ns > limit_ns:
                break
            before_ns = mark_ns
        else:
            if times_ns[-1] - before_ns <= limit_ns:
                return None
        steps = map(sub, times_ns, (self.last_ns, *times_ns[:-1]))
        return next((index for index, step_ns in enumerate(steps) if step_ns > limit_ns), None)

    def note_long_step(self, now_ns: int) -> Anomaly | None:
        """Learn a long step, which ends with a reading."""
        step_ns = now_ns - self.last_ns
        longest_ns = max(self._longest_ns, self._LEAST * self.step_ns)
        score = _length_score(step_ns, longest_ns)
        self._longest_ns = max(self._longest_ns, float(step_ns))
        self._missing_ns += step_ns
        since_ns, self.last_ns = self.last_ns, now_ns
        if score < self._threshold:
            return None
        return Anomaly(AnomalyKind.GAP, now_ns, since_ns, score, step_ns / NS_PER_S, self.step_ns / NS_PER_S)

    def close(self, readings: int) -> int:
        """Learn a minute of so many readings, which ends with the latest; where it began."""
        since_ns = self._since_ns
        step_ns = max(0, self.last_ns - since_ns - self._missing_ns) / readings
        self._minutes += 1
        self.step_ns += (step_ns - self.step_ns) / min(self._minutes, self._MEMORY)
        self._since_ns, self._missing_ns = self.last_ns, 0
        self._longest_ns *= self._FADING
        return since_ns

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        return (self.step_ns, self.last_ns, self._longest_ns, self._since_ns, self._missing_ns, self._minutes)

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one remembered."""
        self.step_ns, last_ns, self._longest_ns, since_ns, missing_ns, minutes = state
        self.last_ns, self._since_ns = int(last_ns), int(since_ns)
        self._missing_ns, self._minutes = int(missing_ns), int(minutes)
