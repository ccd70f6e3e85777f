"""Level: the mean of one channel is unusual for the hour of the day and compared with the last week. Pure.

Readings are averaged in slots of five minutes; a reading that comes more rarely is a slot of its own. Two distances of
each slot are ranked among all earlier ones: its mean from the usual mean at that hour, and the mean of the last few
slots from the mean of the last week. The score is the mean of both ranks, each as -log10 of a probability. One of them
alone, or their maximum, finds fewer failures at the same rate of false alarms (`tests/bench/bench_anomaly.py`).

After a report, only a slot with a higher score is reported during the next half day.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import STATE_SIZE as RARITY_SIZE
from edge_agent.stages.anomalies.rarity import Rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOT_NS: Final = 300 * NS_PER_S
_ALWAYS_NS: Final = -(1 << 63)
_HOUR_NS: Final = 3600 * NS_PER_S
_HOURS: Final = 24
# Memory of the short and the long mean in slots, and of the mean of an hour in days.
_SHORT: Final = 9
_LONG: Final = 2016
_DAYS: Final = 30
# A slot ends at a reading if its length plus this many usual steps reaches the slot length.
_EVEN: Final = 1.0625
_MEMORY: Final = 10_000
_THINNEST: Final = 0.2
# Slots that are needed before anything can be reported.
_FIRST: Final = 50
# Slots after a report during which lower scores are not reported.
_EPISODE: Final = 144
# Relative rounding error: smaller differences count as 0.
_ROUNDING: Final = 1e-9
STATE_SIZE: Final = 9 + 2 * _HOURS + 2 * RARITY_SIZE


class Level:
    """Level of one channel.

    Args:
        threshold: score from which an unusual level is reported.

    Attributes:
        due_ns: a reading with this stamp or a later one goes to `reach`, which opens or closes a slot.
        sum, readings: sum and number of the readings of the open slot; the caller adds readings before `due_ns` here.
    """

    def __init__(self, threshold: float) -> None:
        self.due_ns = _ALWAYS_NS
        self._threshold = threshold
        self._count = 0  # closed slots
        self._origin_ns = 0  # start of the first day: stamp of the first reading
        self._start_ns = -1  # start of the open slot; negative: none is open
        self.sum = 0.0
        self.readings = 0
        self._short = 0.0
        self._long = 0.0
        self._reported = 0.0  # score of the last report; 0: none in the last _EPISODE slots
        self._left = 0  # slots until lower scores are reported again
        self._hours = [0.0] * _HOURS  # usual mean at each hour of the day
        self._days = [0.0] * _HOURS  # slots from which it was learned
        self._of_short = Rarity(_MEMORY, _THINNEST)
        self._of_hour = Rarity(_MEMORY, _THINNEST)

    def reach(self, now_ns: int, value: float, step_ns: float) -> list[Anomaly]:
        """Take a reading at `due_ns` or later; `step_ns` is the usual step between readings."""
        if self._start_ns < 0:
            if not self._count:
                self._origin_ns = now_ns
            self._start_ns = now_ns
            self.plan(step_ns)
        self.sum += value
        self.readings += 1
        return self._close(now_ns) if now_ns >= self.due_ns else []

    def plan(self, step_ns: float) -> None:
        """Set the end of the open slot for a new usual step between readings."""
        # An integer, because to compare a stamp with a float takes three times as long.
        self.due_ns = _ALWAYS_NS if self._start_ns < 0 else ceil(self._start_ns + _SLOT_NS - step_ns * _EVEN)

    def start_boot(self, now_ns: int) -> None:
        """Start another boot at `now_ns`: discard the open slot and what was learned per hour of the day."""
        self._origin_ns = now_ns
        self._start_ns, self.due_ns = -1, _ALWAYS_NS
        self.sum, self.readings = 0.0, 0
        self._hours, self._days = [0.0] * _HOURS, [0.0] * _HOURS

    def _close(self, now_ns: int) -> list[Anomaly]:
        """Close the open slot: test its mean, then learn from it."""
        mean, start_ns = self.sum / self.readings, self._start_ns
        self.sum, self.readings, self._start_ns, self.due_ns = 0.0, 0, -1, _ALWAYS_NS
        if not self._count:
            self._short = self._long = mean
        self._count += 1
        self._short += (mean - self._short) / _SHORT
        rounding = _ROUNDING * abs(mean)
        off_long = _zero_below(rounding, self._short - self._long)
        self._long += (self._short - self._long) / min(self._count, _LONG)
        hour = (start_ns - self._origin_ns) // _HOUR_NS % _HOURS
        days, usual = self._days[hour], self._hours[hour]
        off_hour = _zero_below(rounding, mean - usual) if days else 0.0
        self._days[hour] = days + 1.0
        self._hours[hour] = usual + (mean - usual) / min(days + 1.0, _DAYS)
        score = 0.0
        if self._count > _FIRST and self._can_reach(off_long, off_hour):
            score = (self._of_short.score(off_long) + self._of_hour.score(off_hour)) / 2.0
        self._of_short.learn(off_long)
        if days:
            self._of_hour.learn(off_hour)
        self._left -= 1
        if self._left <= 0:
            self._reported = 0.0
        if score < self._threshold or score <= self._reported:
            return []
        self._reported, self._left = score, _EPISODE
        return [Anomaly(AnomalyKind.LEVEL, now_ns, start_ns, score, mean, usual if days else self._long)]

    def _can_reach(self, off_long: float, off_hour: float) -> bool:
        """Whether the score of these distances can reach the threshold; cheaper than the score."""
        return self._of_short.at_most(off_long) + self._of_hour.at_most(off_hour) >= 2.0 * self._threshold

    def state(self) -> tuple[float, ...]:
        """State for `restore`: STATE_SIZE numbers."""
        return (
            *(self._count, self._origin_ns, self._start_ns, self.sum, self.readings),
            *(self._short, self._long, self._reported, self._left),
            *(*self._hours, *self._days, *self._of_short.state(), *self._of_hour.state()),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state. The caller must then call `plan`."""
        count, origin_ns, start_ns, self.sum, readings = state[:5]
        self._short, self._long, self._reported, left = state[5:9]
        self._count, self.readings, self._left = int(count), int(readings), int(left)
        self._origin_ns, self._start_ns = int(origin_ns), int(start_ns)
        rest = list(state[9:])
        self._hours, self._days, rest = rest[:_HOURS], rest[_HOURS : 2 * _HOURS], rest[2 * _HOURS :]
        self._of_short.restore(rest[:RARITY_SIZE])
        self._of_hour.restore(rest[RARITY_SIZE:])


def _zero_below(rounding: float, off: float) -> float:
    return abs(off) if abs(off) > rounding else 0.0
