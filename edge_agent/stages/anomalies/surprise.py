"""Spikes and jumps: readings far from what the filter predicted. Pure.

A surprise is the part of a reading that the filter did not predict (its innovation). It is measured in the usual noise,
and the largest one of each period (of readings, see `detector.PERIOD`) is ranked among those before; later that of
every fourth period, and all beyond the limit. A channel with spikes of its own needs larger ones to be reported.

A reading beyond the limit is reported once, after a few more: if the level stayed where it went, it was a jump, else a
spike. After a jump nothing is judged for a while, because the filter has to find its pace again.
"""

from __future__ import annotations

from math import fsum, inf, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import STATE_SIZE as RARITY_SIZE
from edge_agent.stages.anomalies.rarity import Rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

# Readings that decide between spike and jump, and how many of them must have stayed.
_WATCHED: Final = 4
_STAYED: Final = 3
# A surprise so much larger takes the place of the one that is not reported yet.
_ODDER: Final = 1.3
_AFTER_JUMP: Final = 8
# Readings after a gap that are not judged: the filter is lost.
_AFTER_GAP: Final = 2
# Periods after which anything can be reported.
_FIRST: Final = 8
_MEMORY: Final = 20_000
_THINNEST: Final = 0.1
# Periods that the noise remembers, and what a period may add at most, of the usual energy.
_NOISE_MEMORY: Final = 32
_MOST_NOISE: Final = 4.0
# In the beginning every period is ranked, and the limit computed anew after each; later, one in so many.
_EARLY: Final = 64
_SAMPLE: Final = 4
_REFRESH: Final = 16
# Surprises of a period that are less than this share of a count are those of a filter that comes to rest.
_AT_REST: Final = 0.01
# A change of so many counts of a chip is never reported.
_COUNTS: Final = 1.5
_NONE: Final = -1
STATE_SIZE: Final = 14 + _WATCHED + RARITY_SIZE


class Surprise:
    """How large the surprises of one channel usually are.

    Args:
        threshold: score from which they are reported.

    Attributes:
        limit: a larger surprise is far, canonical unit; infinite in the beginning.
        watching: whether the next reading has to be looked at, however small its surprise is.
    """

    def __init__(self, threshold: float) -> None:
        self.limit = inf
        self.watching = False
        self._threshold = threshold
        self._rarity = Rarity(_MEMORY, _THINNEST)
        self._periods = 0
        self._noise = 0.0  # usual energy of a reading, 0: not known yet
        self._reach = inf  # the limit in standard deviations
        self._sampled = True  # whether the largest of this period is ranked
        self._quiet = 0  # readings still not to be judged
        self._since_ns = _NONE  # of the reading beyond the limit that is not reported yet
        self._value = self._expected = self._score = 0.0
        self._after: list[float] = []

    def look(self, now_ns: int, value: float, surprise: float) -> list[Anomaly]:
        """Look at one reading."""
        far, found = abs(surprise), list[Anomaly]()
        follows = self._since_ns != _NONE
        if follows:
            self._after.append(value)
            follows = far <= max(self.limit, _ODDER * abs(self._value - self._expected))
        elif self._quiet:
            self._quiet -= 1
            self.watching = self._quiet > 0
            return found
        if follows:
            if len(self._after) == _WATCHED:
                found.append(self._decide())
        elif far > self.limit:
            self._since_ns, self._value, self._expected, self._after = now_ns, value, value - surprise, []
            self._score = self._rarity.score(far / sqrt(self._noise))
        self.watching = self._since_ns != _NONE or self._quiet > 0
        return found

    def note_gap(self) -> None:
        """The next reading comes after a gap."""
        self._quiet = max(self._quiet, _AFTER_GAP)
        self.watching = True

    def close(self, surprises: Sequence[float], grain: float) -> float:
        """End a period.

        Args:
            surprises: of all its readings.
            grain: smallest change that the chip can show, 0 if not known.

        Returns:
            Mean square of them, without the largest if that was beyond the limit; 0 if they say nothing of the noise.
        """
        readings = len(surprises)
        squares = fsum([surprise * surprise for surprise in surprises])
        # A chip that repeats itself tells nothing of its noise; what a filter still sees then is how it comes to rest.
        if squares <= readings * (_AT_REST * grain) ** 2:
            return 0.0
        top = max(*surprises, -min(surprises))
        beyond = top > self.limit
        energy = squares / readings
        if beyond:
            energy = max(squares - top * top, 0.0) / (readings - 1)  # rounding can leave less than nothing
        floor = grain * grain / 4.0
        self._periods += 1
        noise = self._noise
        if noise > 0.0:
            if self._sampled or beyond:
                self._rarity.learn(top / sqrt(noise))
            seen = max(floor, min(energy, _MOST_NOISE * noise))
            self._noise = noise + (seen - noise) / min(self._periods, _NOISE_MEMORY)
        else:
            self._noise = max(energy, floor)
        self._set_limit(grain, beyond=beyond)
        return energy

    def _set_limit(self, grain: float, *, beyond: bool) -> None:
        """Bring the limit up to date; `beyond`: whether a surprise of the period exceeded it."""
        early = self._periods < _EARLY
        if self._periods > _FIRST and self._noise > 0.0:
            if early or self._periods % _REFRESH == 0 or beyond:
                self._reach = self._rarity.reaching(self._threshold)
            self.limit = max(self._reach * sqrt(self._noise), _COUNTS * grain)
        self._sampled = early or self._periods % _SAMPLE == 0

    def _decide(self) -> Anomaly:
        """Say what the reading beyond the limit was, given those after it."""
        moved = self._value - self._expected
        stayed = len([after for after in self._after if (after - self._expected) / moved > 0.5])
        kind = AnomalyKind.JUMP if stayed >= _STAYED else AnomalyKind.SURPRISE
        since_ns, self._since_ns, self._after = self._since_ns, _NONE, []
        self._quiet = _AFTER_JUMP if kind is AnomalyKind.JUMP else 0
        return Anomaly(kind, since_ns, since_ns, self._score, self._value, self._expected)

    def forget(self) -> None:
        """Another boot began: what is not reported yet never will be."""
        self._since_ns, self._after = _NONE, []
        self.note_gap()

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers. Three stand for what earlier versions kept of an open period."""
        reach, limit = (0.0 if number == inf else number for number in (self._reach, self.limit))
        return (
            *(self._periods, self._noise, reach, limit, 0.0, 0.0, 0.0, self._quiet, self._since_ns),
            *(self._value, self._expected, self._score, len(self._after), float(self._sampled)),
            *(*self._after, *[0.0] * (_WATCHED - len(self._after)), *self._rarity.state()),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one had learned."""
        periods, self._noise, reach, limit, _, _, _, quiet, since_ns = state[:9]
        self._value, self._expected, self._score, after, sampled = state[9:14]
        self._periods, self._quiet, self._since_ns = int(periods), int(quiet), int(since_ns)
        self._sampled = bool(sampled)
        self._reach, self.limit = reach or inf, limit or inf
        self._after = list(state[14 : 14 + int(after)])
        self.watching = self._since_ns != _NONE or self._quiet > 0
        self._rarity.restore(state[14 + _WATCHED :])
