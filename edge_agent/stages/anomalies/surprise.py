"""Readings that nothing before them led to expect: spikes, and jumps of the level. Pure.

What a filter did not foresee of a reading (its innovation) is measured in the usual noise, and the largest of a
minute's worth of readings is ranked among those before, later that of every fourth minute and all that were odd. A
channel with spikes of its own needs larger ones to be odd.

An odd reading is watched for a few more before it is told of, once: if the level stayed where it went, it was a jump,
else a spike. After a jump, the filter takes a while to find its pace again, and nothing is told.
"""

from __future__ import annotations

from math import hypot, inf, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import STATE_SIZE as RARITY_SIZE
from edge_agent.stages.anomalies.rarity import Rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

# Readings that decide between spike and jump, and how many of them must have stayed.
_WATCHED: Final = 4
_STAYED: Final = 3
# What is so much odder takes the place of what is watched.
_ODDER: Final = 1.3
_AFTER_JUMP: Final = 8
# Readings after a gap that are not judged: the filter is lost.
_AFTER_GAP: Final = 2
# Minutes after which anything can be told.
_FIRST: Final = 8
_MEMORY: Final = 20_000
_THINNEST: Final = 0.1
# Minutes that the noise remembers, and what a minute may add at most, of the usual energy.
_NOISE_MEMORY: Final = 32
_MOST_NOISE: Final = 4.0
# In the beginning every minute is ranked, and what is odd looked up anew after each; later, one in so many.
_EARLY: Final = 64
_SAMPLE: Final = 4
_REFRESH: Final = 16
# Surprises of a minute that are less than this share of a count are those of a filter that comes to rest.
_AT_REST: Final = 0.01
# A change of so many counts of a chip is never odd.
_COUNTS: Final = 1.5
_NONE: Final = -1
STATE_SIZE: Final = 14 + _WATCHED + RARITY_SIZE


class Surprise:
    """The surprises of one channel.

    Args:
        threshold: score from which they are told.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._rarity = Rarity(_MEMORY, _THINNEST)
        self._minutes = 0
        self._noise = 0.0  # usual energy of a reading, 0: not known yet
        self._reach = inf  # odd, in standard deviations
        self._limit = inf  # the same in the channel's unit
        self._sampled = True  # whether the largest of this minute is ranked
        self._top = 0.0  # the largest so far, if it is
        self._odd = 0.0  # the largest that was odd; 0: none was
        self._squares = 0.0  # of this minute so far
        self._quiet = 0  # readings still not to be judged
        self._since_ns = _NONE  # of the odd reading that is watched
        self._value = self._expected = self._score = 0.0
        self._after: list[float] = []

    def run(self, times_ns: Sequence[int], values: Sequence[float], surprises: Sequence[float]) -> list[Anomaly]:
        """Look at readings, all of one minute."""
        half = len(surprises) // 2
        low, high = hypot(*surprises[:half]), hypot(*surprises[half:])
        self._squares += low * low + high * high
        # No number is larger than the root of the sum of all squares, which is faster to have than the largest.
        calm = low <= self._limit and high <= self._limit
        if self._sampled or not calm:
            top, bottom = max(surprises), min(surprises)
            top = max(top, -bottom)
            calm = top <= self._limit
            if self._sampled and top > self._top:
                self._top = top
        if calm and self._since_ns == _NONE and not self._quiet:
            return []
        return self._look(times_ns, values, surprises)

    def _look(self, times_ns: Sequence[int], values: Sequence[float], surprises: Sequence[float]) -> list[Anomaly]:
        """Look at each of them."""
        found = []
        for now_ns, value, surprise in zip(times_ns, values, surprises, strict=True):
            far = abs(surprise)
            if far > self._limit and far > self._odd:
                self._odd = far
            watching = self._since_ns != _NONE
            if watching:
                self._after.append(value)
                watching = far <= max(self._limit, _ODDER * abs(self._value - self._expected))
            elif self._quiet:
                self._quiet -= 1
                continue
            if watching:
                if len(self._after) == _WATCHED:
                    found.append(self._decide())
            elif far > self._limit:
                self._since_ns, self._value, self._expected, self._after = now_ns, value, value - surprise, []
                self._score = self._rarity.score(far / sqrt(self._noise))
        return found

    def note_gap(self) -> None:
        """What comes next comes after a gap."""
        self._quiet = max(self._quiet, _AFTER_GAP)

    def close(self, readings: int, grain: float) -> float:
        """Learn a minute.

        Args:
            readings: how many it has.
            grain: smallest change that the chip tells, 0 if not known.

        Returns:
            Energy of a reading of it, without the largest if that was odd; 0 if nothing can be told from it.
        """
        top, odd, sampled = self._top, self._odd, self._sampled
        squares = self._squares
        self._top = self._odd = self._squares = 0.0
        # A chip that repeats itself tells nothing of its noise; what a filter still sees then is how it comes to rest.
        if squares <= readings * (_AT_REST * grain) ** 2:
            return 0.0
        energy = squares / readings
        if odd:
            energy = max(squares - odd * odd, 0.0) / (readings - 1)  # rounding can leave less than nothing
        floor = grain * grain / 4.0
        self._minutes = minutes = self._minutes + 1
        noise = self._noise
        if noise > 0.0:
            if sampled or odd:
                self._rarity.learn(max(top, odd) / sqrt(noise))
            seen = max(floor, min(energy, _MOST_NOISE * noise))
            self._noise = noise = noise + (seen - noise) / min(minutes, _NOISE_MEMORY)
        else:
            self._noise = noise = max(energy, floor)
        early = minutes < _EARLY
        if minutes > _FIRST and noise > 0.0:
            if early or minutes % _REFRESH == 0 or odd:
                self._reach = self._rarity.reaching(self._threshold)
            self._limit = max(self._reach * sqrt(noise), _COUNTS * grain)
        self._sampled = early or minutes % _SAMPLE == 0
        return energy

    def _decide(self) -> Anomaly:
        """Say what the odd reading that was watched is."""
        moved = self._value - self._expected
        stayed = sum((after - self._expected) / moved > 0.5 for after in self._after)
        kind = AnomalyKind.JUMP if stayed >= _STAYED else AnomalyKind.SURPRISE
        since_ns, self._since_ns, self._after = self._since_ns, _NONE, []
        self._quiet = _AFTER_JUMP if kind is AnomalyKind.JUMP else 0
        return Anomaly(kind, since_ns, since_ns, self._score, self._value, self._expected)

    def forget(self) -> None:
        """Take note of another boot: what was watched is over."""
        self._since_ns, self._after = _NONE, []
        self.note_gap()

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        reach, limit = (0.0 if each == inf else each for each in (self._reach, self._limit))
        return (
            *(
                self._minutes,
                self._noise,
                reach,
                limit,
                self._top,
                self._odd,
                self._squares,
                self._quiet,
                self._since_ns,
            ),
            *(self._value, self._expected, self._score, len(self._after), float(self._sampled)),
            *(*self._after, *[0.0] * (_WATCHED - len(self._after)), *self._rarity.state()),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one remembered."""
        minutes, self._noise, reach, limit, self._top, self._odd, self._squares, quiet, since_ns = state[:9]
        self._value, self._expected, self._score, after, sampled = state[9:14]
        self._minutes, self._quiet, self._since_ns = int(minutes), int(quiet), int(since_ns)
        self._sampled = bool(sampled)
        self._reach, self._limit = reach or inf, limit or inf
        self._after = list(state[14 : 14 + int(after)])
        self._rarity.restore(state[14 + _WATCHED :])
