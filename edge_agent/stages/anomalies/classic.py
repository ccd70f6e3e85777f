"""The two classic rules, for who knows limits and wants them kept: z-score, and jump. Pure.

Both as they are usually meant. The z-score is against the readings before, not among them: a reading that is part of
its own mean and deviation can never be further off than sqrt(n - 1) of them, so that short windows see nothing. And
the reading before is the reading before, whatever was said of it: a rule that keeps the last good one never lets go.
"""

from __future__ import annotations

from collections import deque
from math import sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

_WINDOW: Final = 60
# From fewer readings, a deviation is no more than a guess.
_FIRST: Final = 10
_OWN: Final = 4


class Classic:
    """The rules for one channel.

    Args:
        z_score: so many standard deviations from the mean of the 60 readings before are odd; None: not looked at.
        jump_per_s: so fast a change from the reading before is odd, canonical unit; None: not looked at.
        resolution: no standard deviation is believed to be less; 0: not known.

    What is found is told at its first reading, and again when there was an ordinary one in between. Its score is how
    many times the limit it is, at most 12.
    """

    def __init__(self, z_score: float | None, jump_per_s: float | None, resolution: float) -> None:
        self._z_score = z_score
        self._jump_per_s = jump_per_s
        self._resolution = resolution
        self._window: deque[float] = deque(maxlen=_WINDOW)
        self._last_ns = -1
        self._last = 0.0
        self._odd = {AnomalyKind.Z_SCORE: False, AnomalyKind.JUMP: False}

    def run(self, times_ns: Sequence[int], values: Sequence[float]) -> list[Anomaly]:
        """Look at a block."""
        found = []
        for now_ns, value in zip(times_ns, values, strict=True):
            if self._z_score is not None and len(self._window) >= _FIRST:
                mean = sum(self._window) / len(self._window)
                spread = sqrt(sum((each - mean) ** 2 for each in self._window) / (len(self._window) - 1))
                room = self._z_score * max(spread, self._resolution)
                found += self._judge(AnomalyKind.Z_SCORE, now_ns, value, mean, room)
            if self._jump_per_s is not None and 0 <= self._last_ns < now_ns:
                room = self._jump_per_s * (now_ns - self._last_ns) / NS_PER_S
                found += self._judge(AnomalyKind.JUMP, now_ns, value, self._last, room)
            self._window.append(value)
            self._last_ns, self._last = now_ns, value
        return found

    def _judge(self, kind: AnomalyKind, now_ns: int, value: float, expected: float, room: float) -> list[Anomaly]:
        far = abs(value - expected)
        was_odd, self._odd[kind] = self._odd[kind], far > room
        if was_odd or far <= room:
            return []
        score = min(MOST, far / room) if room > 0.0 else MOST
        return [Anomaly(kind, now_ns, now_ns, score, value, expected)]

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: at most 64 numbers."""
        return (self._last_ns, self._last, *map(float, self._odd.values()), *self._window)

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one remembered.

        Raises:
            ValueError: the state is none of these rules'.
        """
        if not _OWN <= len(state) <= _OWN + _WINDOW:
            raise ValueError(f"{len(state)} numbers are no state of the classic rules")
        last_ns, self._last, *odd = state[:_OWN]
        self._last_ns = int(last_ns)
        self._odd = dict(zip(self._odd, map(bool, odd), strict=True))
        self._window = deque(state[_OWN:], maxlen=_WINDOW)
