"""Two classic rules with limits that the user sets: z-score and jump. Pure.

The z-score compares a reading with mean and standard deviation of the 60 readings before it. The reading itself is not
part of them: its distance from a mean that contains it can never exceed sqrt(n - 1) deviations. The jump rule compares
a reading with the one before it, even if that was reported: otherwise every reading after a step would be reported.
"""

from __future__ import annotations

from collections import deque
from math import fsum, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

_RECENT: Final = 60
# Readings that a standard deviation needs at least.
_FIRST: Final = 10
_OWN: Final = 4


class Classic:
    """Both rules for one channel.

    The first reading beyond a limit is reported; the next report needs a reading within the limit before it. The score
    is the distance as a multiple of the limit, at most 12.

    Args:
        z_score: largest distance from the mean, in standard deviations; None: the rule is off.
        jump_per_s: fastest change from the reading before, canonical unit per second; None: the rule is off.
        resolution: lower bound of the standard deviation, canonical unit; 0: none.
    """

    def __init__(self, z_score: float | None, jump_per_s: float | None, resolution: float) -> None:
        self._z_score = z_score
        self._jump_per_s = jump_per_s
        self._resolution = resolution
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._last_ns = -1
        self._last = 0.0
        self._beyond = {AnomalyKind.Z_SCORE: False, AnomalyKind.JUMP: False}

    def take(self, now_ns: int, value: float) -> list[Anomaly]:
        """Test one reading: stamp in nanoseconds since boot, value in canonical unit."""
        found = list[Anomaly]()
        recent = self._recent
        if self._z_score is not None and len(recent) >= _FIRST:
            mean = fsum(recent) / len(recent)
            spread = sqrt(fsum([(earlier - mean) ** 2 for earlier in recent]) / (len(recent) - 1))
            room = self._z_score * max(spread, self._resolution)
            found += self._judge(AnomalyKind.Z_SCORE, now_ns, value, mean, room)
        if self._jump_per_s is not None and 0 <= self._last_ns < now_ns:
            room = self._jump_per_s * (now_ns - self._last_ns) / NS_PER_S
            found += self._judge(AnomalyKind.JUMP, now_ns, value, self._last, room)
        recent.append(value)
        self._last_ns, self._last = now_ns, value
        return found

    def _judge(self, kind: AnomalyKind, now_ns: int, value: float, expected: float, room: float) -> list[Anomaly]:
        far = abs(value - expected)
        was_beyond, self._beyond[kind] = self._beyond[kind], far > room
        if was_beyond or far <= room:
            return []
        score = min(MOST, far / room) if room > 0.0 else MOST
        return [Anomaly(kind, now_ns, now_ns, score, value, expected)]

    def state(self) -> tuple[float, ...]:
        """State for `restore`: at most 64 numbers."""
        return (self._last_ns, self._last, *map(float, self._beyond.values()), *self._recent)

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state.

        Raises:
            ValueError: it is no state of these rules.
        """
        if not _OWN <= len(state) <= _OWN + _RECENT:
            raise ValueError(f"{len(state)} numbers are no state of the classic rules")
        last_ns, self._last, *beyond = state[:_OWN]
        self._last_ns = int(last_ns)
        self._beyond = dict(zip(self._beyond, map(bool, beyond), strict=True))
        self._recent = deque(state[_OWN:], maxlen=_RECENT)
