"""How the readings of one channel follow each other, and where they stopped for a while. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import length_score

if TYPE_CHECKING:
    from collections.abc import Sequence

# A step of so many usual ones is long.
_LONG: Final = 10.0
# So many usual ones make no gap.
_LEAST: Final = 3.0
_MEMORY: Final = 8
# What remains of the longest step after each period: half of it in a day at 1 Hz.
_FADING: Final = 0.9995
OTHER_BOOT_NS: Final = -60 * NS_PER_S
"""A step further back than this leads into another boot."""
_NEVER_NS: Final = 1 << 62
_NONE: Final = -1


class Pace:
    """The usual step between readings.

    Attributes:
        step_ns: the usual step; 0: not known yet.
        last_ns: stamp of the latest reading.
        longest_ns: longest step from there that is in order; negative before the first reading.
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
        self._since_ns = _NONE  # of this period
        self._missing_ns = 0  # spent in long steps of this period
        self._periods = 0

    def begin(self, now_ns: int) -> None:
        """Take the stamp of the first reading of a boot."""
        self._since_ns = self.last_ns = now_ns
        self._missing_ns = 0
        self._plan()

    def note_long_step(self, now_ns: int) -> list[Anomaly]:
        """Learn a long step, which ends with a reading at `now_ns`."""
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
        """End a period of so many readings, the last of which is the latest. Returns when it began."""
        since_ns = self._since_ns
        step_ns = max(0, self.last_ns - since_ns - self._missing_ns) / readings
        self._periods += 1
        self.step_ns += (step_ns - self.step_ns) / min(self._periods, _MEMORY)
        self._since_ns, self._missing_ns = self.last_ns, 0
        self._longest_gap_ns *= _FADING
        self._plan()
        return since_ns

    def _plan(self) -> None:
        self.longest_ns = int(_LONG * self.step_ns) if self.step_ns else _NEVER_NS

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        return (
            *(self.step_ns, self.last_ns, self._longest_gap_ns),
            *(self._since_ns, self._missing_ns, self._periods),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one had learned."""
        self.step_ns, last_ns, self._longest_gap_ns, since_ns, missing_ns, periods = state
        self.last_ns, self._since_ns = int(last_ns), int(since_ns)
        self._missing_ns, self._periods = int(missing_ns), int(periods)
        self._plan()
