"""Usual step between the readings of one channel, and gaps. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import length_score

if TYPE_CHECKING:
    from collections.abc import Sequence

# A step of more than this many usual steps is long.
_LONG: Final = 10.0
# Lower bound of the longest gap before, in usual steps.
_LEAST: Final = 3.0
_MEMORY: Final = 8
# Factor of the longest gap after each period: half of it remains after a day at 1 Hz.
_DECAY: Final = 0.9995
OTHER_BOOT_NS: Final = -60 * NS_PER_S
"""A step below this comes from another boot."""
_NEVER_NS: Final = 1 << 62
_NONE: Final = -1


class Pace:
    """Usual step between readings.

    Attributes:
        step_ns: usual step, nanoseconds; 0: not known yet.
        last_ns: stamp of the latest reading, nanoseconds since boot.
        longest_ns: longest step that needs no test, nanoseconds; negative before the first reading.
    """

    __slots__ = (
        "_longest_gap_ns",
        "_missing_ns",
        "_periods",
        "_since_ns",
        "_threshold",
        "last_ns",
        "longest_ns",
        "step_ns",
    )
    STATE_SIZE: Final = 6

    def __init__(self, threshold: float) -> None:
        self.step_ns = 0.0
        self.last_ns = _NONE
        self.longest_ns = _NONE
        self._threshold = threshold
        self._longest_gap_ns = 0.0
        self._since_ns = _NONE  # start of the open period
        self._missing_ns = 0  # sum of its long steps
        self._periods = 0

    def begin(self, now_ns: int) -> None:
        """Start with the stamp of the first reading of a boot."""
        self._since_ns = self.last_ns = now_ns
        self._missing_ns = 0
        self._plan()

    def note_long_step(self, now_ns: int) -> list[Anomaly]:
        """Test a long step that ends with a reading at `now_ns`, then learn from it."""
        step_ns = now_ns - self.last_ns
        longest_ns = max(self._longest_gap_ns, _LEAST * self.step_ns)
        score = length_score(step_ns, longest_ns)
        self._longest_gap_ns = max(self._longest_gap_ns, float(step_ns))
        self._missing_ns += step_ns
        if score < self._threshold:
            return []
        gap_s, usual_s = step_ns / NS_PER_S, self.step_ns / NS_PER_S
        return [Anomaly(AnomalyKind.GAP, now_ns, self.last_ns, score, gap_s, usual_s)]

    def close(self, readings: int) -> int:
        """End a period of `readings` readings at the latest one. Returns when it began, nanoseconds since boot."""
        since_ns = self._since_ns
        step_ns = max(0, self.last_ns - since_ns - self._missing_ns) / readings
        self._periods += 1
        self.step_ns += (step_ns - self.step_ns) / min(self._periods, _MEMORY)
        self._since_ns, self._missing_ns = self.last_ns, 0
        self._longest_gap_ns *= _DECAY
        self._plan()
        return since_ns

    def _plan(self) -> None:
        self.longest_ns = int(_LONG * self.step_ns) if self.step_ns else _NEVER_NS

    def state(self) -> tuple[float, ...]:
        """State for `restore`: STATE_SIZE numbers."""
        return (
            *(self.step_ns, self.last_ns, self._longest_gap_ns),
            *(self._since_ns, self._missing_ns, self._periods),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state."""
        self.step_ns, last_ns, self._longest_gap_ns, since_ns, missing_ns, periods = state
        self.last_ns, self._since_ns = int(last_ns), int(since_ns)
        self._missing_ns, self._periods = int(missing_ns), int(periods)
        self._plan()
