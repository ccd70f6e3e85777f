"""Spikes and jumps: readings far from the prediction of the filter. Pure.

A surprise is measured minus predicted value (the innovation). The largest one of each period (of readings, see
`detector.PERIOD`), divided by the usual noise, is ranked among the earlier ones; later that of every fourth period, and
of each period beyond the limit. So a channel with frequent spikes reports only larger ones.

A reading beyond the limit is reported once, after a few more: as a jump if the level stayed there, else as a spike.
After a jump, some readings are not tested, because the filter has to settle.
"""

from __future__ import annotations

from math import fsum, inf, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import STATE_SIZE as RARITY_SIZE
from edge_agent.stages.anomalies.rarity import Rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

# Readings that decide between spike and jump, and how many of them must stay for a jump.
_WATCHED: Final = 4
_STAYED: Final = 3
# A surprise larger by this factor replaces one that was not reported yet.
_LARGER: Final = 1.3
_AFTER_JUMP: Final = 8
# Readings after a gap that are not tested: the filter has to settle.
_AFTER_GAP: Final = 2
# Periods that are needed before anything can be reported.
_FIRST: Final = 8
_MEMORY: Final = 20_000
_THINNEST: Final = 0.1
# Memory of the noise in periods; largest energy that a period may add, as a multiple of the usual one.
_NOISE_MEMORY: Final = 32
_MOST_NOISE: Final = 4.0
# In the first _EARLY periods, each is ranked and updates the limit; later every _SAMPLE-th and every _REFRESH-th.
_EARLY: Final = 64
_SAMPLE: Final = 4
_REFRESH: Final = 16
# Surprises below this share of a count come from a filter that settles on a constant value.
_AT_REST: Final = 0.01
# A change of up to this many counts of a chip is never reported.
_COUNTS: Final = 1.5
_NONE: Final = -1
STATE_SIZE: Final = 14 + _WATCHED + RARITY_SIZE


class Surprise:
    """Usual size of the surprises of one channel.

    Args:
        threshold: score from which a surprise is reported.

    Attributes:
        limit: largest surprise that needs no test, canonical unit; infinite in the beginning.
        watching: whether the next reading must be tested, however small its surprise is.
    """

    def __init__(self, threshold: float) -> None:
        self.limit = inf
        self.watching = False
        self._threshold = threshold
        self._rarity = Rarity(_MEMORY, _THINNEST)
        self._periods = 0
        self._noise = 0.0  # usual mean square of a surprise; 0: not known yet
        self._reach = inf  # the limit in standard deviations
        self._sampled = True  # whether the largest surprise of the open period is ranked
        self._quiet = 0  # number of next readings that are not tested
        self._since_ns = _NONE  # stamp of the reading beyond the limit that was not reported yet
        self._value = self._expected = self._score = 0.0
        self._after: list[float] = []  # readings after that one

    def look(self, now_ns: int, value: float, surprise: float) -> list[Anomaly]:
        """Test one reading; `surprise` is measured minus predicted value, canonical unit."""
        far, found = abs(surprise), list[Anomaly]()
        follows = self._since_ns != _NONE
        if follows:
            self._after.append(value)
            follows = far <= max(self.limit, _LARGER * abs(self._value - self._expected))
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
        """Do not test the next readings, which come after a gap."""
        self._quiet = max(self._quiet, _AFTER_GAP)
        self.watching = True

    def close(self, surprises: Sequence[float], grain: float) -> float:
        """End a period.

        Args:
            surprises: one per reading of the period, canonical unit.
            grain: smallest difference that the chip can report, canonical unit; 0 if not known.

        Returns:
            Mean square of the surprises, without the largest if that was beyond the limit; 0 if the noise cannot be
            computed from them.
        """
        readings = len(surprises)
        squares = fsum([surprise * surprise for surprise in surprises])
        # The noise of a chip that repeats one value is unknown; small surprises remain until the filter has settled.
        if squares <= readings * (_AT_REST * grain) ** 2:
            return 0.0
        highest, lowest = max(surprises), min(surprises)
        top = max(highest, -lowest)
        beyond = top > self.limit
        energy = squares / readings
        if beyond:
            energy = max(squares - top * top, 0.0) / (readings - 1)  # rounding can make it negative
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
        """Update the limit; `beyond`: whether a surprise of the period exceeded it."""
        early = self._periods < _EARLY
        if self._periods > _FIRST and self._noise > 0.0:
            if early or self._periods % _REFRESH == 0 or beyond:
                self._reach = self._rarity.reaching(self._threshold)
            self.limit = max(self._reach * sqrt(self._noise), _COUNTS * grain)
        self._sampled = early or self._periods % _SAMPLE == 0

    def _decide(self) -> Anomaly:
        """Decide whether the reading beyond the limit was a spike or a jump, from the readings after it."""
        moved = self._value - self._expected
        stayed = len([after for after in self._after if (after - self._expected) / moved > 0.5])
        kind = AnomalyKind.JUMP if stayed >= _STAYED else AnomalyKind.SURPRISE
        since_ns, self._since_ns, self._after = self._since_ns, _NONE, []
        self._quiet = _AFTER_JUMP if kind is AnomalyKind.JUMP else 0
        return Anomaly(kind, since_ns, since_ns, self._score, self._value, self._expected)

    def forget(self) -> None:
        """Start another boot: discard a reading that was not reported yet."""
        self._since_ns, self._after = _NONE, []
        self.note_gap()

    def state(self) -> tuple[float, ...]:
        """State for `restore`: STATE_SIZE numbers. Three zeros are unused; earlier versions stored an open period."""
        reach, limit = (0.0 if number == inf else number for number in (self._reach, self.limit))
        return (
            *(self._periods, self._noise, reach, limit, 0.0, 0.0, 0.0, self._quiet, self._since_ns),
            *(self._value, self._expected, self._score, len(self._after), float(self._sampled)),
            *(*self._after, *[0.0] * (_WATCHED - len(self._after)), *self._rarity.state()),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state."""
        periods, self._noise, reach, limit, _, _, _, quiet, since_ns = state[:9]
        self._value, self._expected, self._score, after, sampled = state[9:14]
        self._periods, self._quiet, self._since_ns = int(periods), int(quiet), int(since_ns)
        self._sampled = bool(sampled)
        self._reach, self.limit = reach or inf, limit or inf
        self._after = list(state[14 : 14 + int(after)])
        self.watching = self._since_ns != _NONE or self._quiet > 0
        self._rarity.restore(state[14 + _WATCHED :])
