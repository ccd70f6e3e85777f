"""A channel that otherwise moves repeats one value for far longer than it ever did. Pure.

Lengths are counted in periods (of readings, see `detector.PERIOD`), and the tail of the lengths seen is taken to be a
power law: ten times the longest before is a score of 5.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.rarity import length_score

if TYPE_CHECKING:
    from collections.abc import Sequence

# Periods in which the channel moved, before anything can be reported.
_FIRST: Final = 30
# A period that is not flat may hold half a flat one.
_LEAST: Final = 0.5


class Flatline:
    """How long one channel has repeated itself.

    Attributes:
        same: whether this period has been flat so far.
        value: what the channel repeats, canonical unit; NaN while no reading of the run was seen.
    """

    STATE_SIZE: Final = 9

    def __init__(self, threshold: float) -> None:
        self.same = True
        self.value = nan
        self._threshold = threshold
        self._moved = 0  # periods that were not flat
        self._flat = 0
        self._longest = _LEAST
        self._run = 0  # flat periods with the same value
        self._since_ns = -1  # of the run
        self._reported = False

    def moves(self, now_ns: int, value: float) -> Sequence[Anomaly]:
        """Take a reading that is not `value`: the first of a run, or the end of one."""
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
        """What `restore` needs: STATE_SIZE numbers."""
        started = self.value == self.value
        return (
            *(self._moved, self._flat, self._longest, self._run, self._since_ns, self.value if started else 0.0),
            *(float(self.same), float(started), float(self._reported)),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one had learned."""
        moved, flat, self._longest, run, since_ns, value, same, started, reported = state
        self._moved, self._flat, self._run, self._since_ns = int(moved), int(flat), int(run), int(since_ns)
        self.same, self.value, self._reported = bool(same), value if started else nan, bool(reported)
