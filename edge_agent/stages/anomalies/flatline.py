"""Flatline: a channel that otherwise changes repeats one value for far longer than ever before. Pure.

Lengths are counted in periods of readings, see `detector.PERIOD`. The tail of their distribution is modelled as a power
law: ten times the longest length before gives a score of 5.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.rarity import length_score

if TYPE_CHECKING:
    from collections.abc import Sequence

# Periods with changes that are needed before anything can be reported.
_FIRST: Final = 30
# Longest flat run, in periods, that is assumed before one was seen: a period with changes may be flat for half of it.
_LEAST: Final = 0.5


class Flatline:
    """Lengths of the flat runs of one channel.

    Attributes:
        same: whether all readings of the open period so far are equal.
        value: repeated value, canonical unit; NaN before the first reading of a run.
    """

    STATE_SIZE: Final = 9

    def __init__(self, threshold: float) -> None:
        self.same = True
        self.value = nan
        self._threshold = threshold
        self._moved = 0  # periods with changes
        self._flat = 0  # flat periods
        self._longest = _LEAST  # longest run, in periods
        self._run = 0  # length of the current run, in periods
        self._since_ns = -1  # start of the current run
        self._reported = False

    def moves(self, now_ns: int, value: float) -> Sequence[Anomaly]:
        """Take a reading that differs from `value`: it starts or ends a run."""
        if self.value != self.value:
            self._since_ns, self.value = now_ns, value
            return ()
        self.same = False
        if not self._reported:
            return ()
        self._reported = False
        score = length_score(self._run, self._longest)
        self._longest = max(self._longest, float(self._run))
        return (self._anomaly(now_ns, score, Phase.ENDED),)

    def close(self, now_ns: int) -> Sequence[Anomaly]:
        """End a period."""
        same, self.same = self.same, True
        if not same:
            self._longest = max(self._longest, float(self._run))
            self._flat += self._run
            self._moved += 1
            self._run, self.value = 0, nan
            return ()
        self._run += 1
        score = length_score(self._run, self._longest)
        known = self._moved >= _FIRST and self._moved > self._flat
        if self._reported or not known or score < self._threshold:
            return ()
        self._reported = True
        return (self._anomaly(now_ns, score, Phase.BEGAN),)

    def _anomaly(self, now_ns: int, score: float, phase: Phase) -> Anomaly:
        return Anomaly(AnomalyKind.FLATLINE, now_ns, self._since_ns, score, self.value, self.value, phase)

    def state(self) -> tuple[float, ...]:
        """State for `restore`: STATE_SIZE numbers."""
        started = self.value == self.value
        return (
            *(self._moved, self._flat, self._longest, self._run, self._since_ns, self.value if started else 0.0),
            *(float(self.same), float(started), float(self._reported)),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state."""
        moved, flat, self._longest, run, since_ns, value, same, started, reported = state
        self._moved, self._flat, self._run, self._since_ns = int(moved), int(flat), int(run), int(since_ns)
        self.same, self.value, self._reported = bool(same), value if started else nan, bool(reported)
