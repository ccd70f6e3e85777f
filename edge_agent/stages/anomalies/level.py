"""Whether the level of one channel is unusual: for the hour of the day, and against the long run. Pure.

Readings are looked at in slots of five minutes, or one by one if they come more rarely. Of each slot, two things
are ranked among all before: how far its mean is from the usual mean at that hour, and how far the mean of the last few
slots is from that of the last week. The score is the mean of both ranks, each as -log10 of a probability; taking one
alone, or the larger, finds fewer failures at as many false alarms (`tests/bench/bench_anomaly.py`).

An episode is told once: within half a day, only a slot that is odder than the one told of is told of again.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.rarity import STATE_SIZE as RARITY_SIZE
from edge_agent.stages.anomalies.rarity import Rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOT_NS: Final = 300 * NS_PER_S
_HOUR_NS: Final = 3600 * NS_PER_S
_HOURS: Final = 24
# Slots that the short and the long mean remember, and days that an hour does.
_SHORT: Final = 9
_LONG: Final = 2016
_DAYS: Final = 30
# A step may be longer than the usual one by this much, and the slot is full with it.
_EVEN: Final = 1.0625
_MEMORY: Final = 10_000
_THINNEST: Final = 0.2
# Slots before anything can be told.
_FIRST: Final = 50
# Slots for which what was told keeps less odd ones from being told.
_EPISODE: Final = 144
# What remains of differences of equal numbers.
_ROUNDING: Final = 1e-9
STATE_SIZE: Final = 9 + 2 * _HOURS + 2 * RARITY_SIZE


class Level:
    """The level of one channel.

    Args:
        threshold: score from which it is told.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0  # slots
        self._origin_ns = 0  # the first reading, where days begin
        self._start_ns = -1  # of the open slot; before 0: none is open
        self._sum = 0.0
        self._readings = 0
        self._short = 0.0
        self._long = 0.0
        self._told = 0.0
        self._left = 0  # slots until another episode begins
        self._hours = [0.0] * _HOURS
        self._days = [0.0] * _HOURS
        self._of_short = Rarity(_MEMORY, _THINNEST)
        self._of_hour = Rarity(_MEMORY, _THINNEST)

    def run(self, times_ns: Sequence[int], values: Sequence[float], step_ns: float) -> list[Anomaly]:
        """Look at a block of readings that usually come `step_ns` apart."""
        found, at, rows = [], 0, len(times_ns)
        while at < rows:
            if self._start_ns < 0:
                if not self._count:
                    self._origin_ns = times_ns[at]
                self._start_ns = times_ns[at]
            due_ns = self._start_ns + _SLOT_NS - step_ns * _EVEN
            if times_ns[-1] < due_ns:
                self._sum += sum(values[at:] if at else values)
                self._readings += rows - at
                break
            end = min(rows, bisect_left(times_ns, due_ns, at) + 1)
            self._sum += sum(values[at:end])
            self._readings += end - at
            anomaly = self._close(times_ns[end - 1])
            if anomaly is not None:
                found.append(anomaly)
            at = end
        return found

    def begin_anew(self, now_ns: int) -> None:
        """Take note of another boot: the hour of the day is not known any more."""
        self._origin_ns = now_ns
        self._start_ns = -1
        self._sum, self._readings = 0.0, 0
        self._hours, self._days = [0.0] * _HOURS, [0.0] * _HOURS

    def _close(self, now_ns: int) -> Anomaly | None:
        """Look at the open slot, and learn it."""
        mean, start_ns = self._sum / self._readings, self._start_ns
        self._sum, self._readings, self._start_ns = 0.0, 0, -1
        if not self._count:
            self._short = self._long = mean
        self._count += 1
        self._short += (mean - self._short) / _SHORT
        rounding = _ROUNDING * abs(mean)
        off_long = _nothing_below(rounding, self._short - self._long)
        self._long += (self._short - self._long) / min(self._count, _LONG)
        hour = (start_ns - self._origin_ns) // _HOUR_NS % _HOURS
        days, usual = self._days[hour], self._hours[hour]
        off_hour = _nothing_below(rounding, mean - usual) if days else 0.0
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
            self._told = 0.0
        if score < self._threshold or score <= self._told:
            return None
        self._told, self._left = score, _EPISODE
        return Anomaly(AnomalyKind.LEVEL, now_ns, start_ns, score, mean, usual if days else self._long)

    def _can_reach(self, off_long: float, off_hour: float) -> bool:
        """Whether it is worth the time to rank these."""
        return self._of_short.at_most(off_long) + self._of_hour.at_most(off_hour) >= 2.0 * self._threshold

    def state(self) -> tuple[float, ...]:
        """What `restore` needs: STATE_SIZE numbers."""
        return (
            *(self._count, self._origin_ns, self._start_ns, self._sum, self._readings),
            *(self._short, self._long, self._told, self._left),
            *(*self._hours, *self._days, *self._of_short.state(), *self._of_hour.state()),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another one remembered."""
        count, origin_ns, start_ns, self._sum, readings = state[:5]
        self._short, self._long, self._told, left = state[5:9]
        self._count, self._readings, self._left = int(count), int(readings), int(left)
        self._origin_ns, self._start_ns = int(origin_ns), int(start_ns)
        rest = list(state[9:])
        self._hours, self._days, rest = rest[:_HOURS], rest[_HOURS : 2 * _HOURS], rest[2 * _HOURS :]
        self._of_short.restore(rest[:RARITY_SIZE])
        self._of_hour.restore(rest[RARITY_SIZE:])


def _nothing_below(rounding: float, off: float) -> float:
    return abs(off) if abs(off) > rounding else 0.0
