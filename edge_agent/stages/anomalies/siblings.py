"""Two channels that measure the same and drift apart. Pure.

Compared are means of slots of five minutes, because the moments of readings and their noise differ between the two. A
difference that is always there, or every day at the same hour, is usual; one that is far larger than any before is not.
What is usual is learned a day late, from the largest difference of each hour, so that a slow drift does not become
usual.

Each channel's means wait in a queue until the other's mean of the same slot is there. The result therefore depends on
the two sequences of readings alone, not on how their blocks alternate, as long as no block is longer than twelve hours.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.rarity import STATE_SIZE as RARITY_SIZE
from edge_agent.stages.anomalies.rarity import Rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOT_NS: Final = 300 * NS_PER_S
# Slots that the short and the long mean of the difference remember.
_SHORT: Final = 6
_LONG: Final = 2016
# Slots of an hour, hours that learning waits, and hours to learn from before anything can be reported.
_HOUR: Final = 12
_LATE: Final = 24
_FIRST: Final = 24
_MEMORY: Final = 10_000
_THINNEST: Final = 0.1
# Means of one channel that wait for the other's, which comes with its own block; the oldest are dropped.
_WAITING: Final = 144
# A drift has ended when this share of it is left, or when it has lasted as long as the long mean.
_OVER: Final = 0.5
_NONE: Final = -1
_FIXED: Final = 9 + RARITY_SIZE


class _Side:
    """One of the two channels: its open slot, and the means of closed ones that wait to be compared."""

    def __init__(self) -> None:
        self.means: deque[tuple[int, float]] = deque(maxlen=_WAITING)
        self._slot = _NONE
        self._sum = 0.0
        self._readings = 0

    def take(self, slot: int, value: float) -> bool:
        """Take a reading; returns whether it closed a slot, because it belongs to another one."""
        closes = slot != self._slot and self._readings > 0
        if closes:
            self.means.append((self._slot, self._sum / self._readings))
        if slot != self._slot:
            self._slot, self._sum, self._readings = slot, 0.0, 0
        self._sum += value
        self._readings += 1
        return closes


class Siblings:
    """A pair of channels.

    Args:
        threshold: score from which a drift is reported.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sides = (_Side(), _Side())
        self._count = 0  # slots compared
        self._short = 0.0
        self._long = 0.0
        self._since_ns = _NONE  # of the drift that was reported
        self._drift = 0.0  # how far it was then
        self._score = 0.0
        self._lasted = 0  # slots
        self._largest = 0.0  # of this hour
        self._late: list[float] = []  # of the hours before, not learned yet
        self._rarity = Rarity(_MEMORY, _THINNEST)

    def take(self, side: int, times_ns: Sequence[int], values: Sequence[float | None]) -> list[Anomaly]:
        """Look at a block of one of them.

        Args:
            side: 0 or 1.
            times_ns: nanoseconds since boot. Where they run back, as in another boot, slots are compared again as soon
                as both channels have them.
            values: calibrated, canonical unit; None is passed over.
        """
        found: list[Anomaly] = []
        this = self._sides[side]
        for now_ns, value in zip(times_ns, values, strict=True):
            if value is not None and this.take(now_ns // _SLOT_NS, value):
                found += self._compare_closed()
        return found

    def _compare_closed(self) -> list[Anomaly]:
        """Compare the slots that both channels have closed; one that only one of them has is skipped."""
        found: list[Anomaly] = []
        first, second = self._sides[0].means, self._sides[1].means
        while first and second:
            ahead = first[0][0] - second[0][0]
            if ahead:
                (second if ahead > 0 else first).popleft()
                continue
            (slot, mean), (_, other) = first.popleft(), second.popleft()
            found += self._compare((slot + 1) * _SLOT_NS, mean - other)
        return found

    def _compare(self, now_ns: int, difference: float) -> list[Anomaly]:
        """Judge the difference of one slot, and learn it."""
        if not self._count:
            self._short = self._long = difference
        self._count += 1
        self._short += (difference - self._short) / min(self._count, _SHORT)
        off = abs(self._short - self._long)
        if self._since_ns >= 0:
            self._lasted += 1
            if off > _OVER * self._drift and self._lasted < _LONG:
                return []
            ended = self._anomaly(now_ns, Phase.ENDED)
            self._since_ns = _NONE
            if self._lasted == _LONG:  # what has been so for a week is usual
                self._long = self._short
            return [ended]
        score = self._rarity.score(off) if self._rarity.total >= _FIRST else 0.0
        if score >= self._threshold:
            self._since_ns, self._drift, self._score, self._lasted = now_ns, off, score, 0
            return [self._anomaly(now_ns, Phase.BEGAN)]
        self._long += (self._short - self._long) / min(self._count, _LONG)
        self._largest = max(self._largest, off)
        if self._count % _HOUR == 0:
            self._late.append(self._largest)
            self._largest = 0.0
            if len(self._late) > _LATE:
                self._rarity.learn(self._late.pop(0))
        return []

    def _anomaly(self, now_ns: int, phase: Phase) -> Anomaly:
        return Anomaly(AnomalyKind.DRIFT, now_ns, self._since_ns, self._score, self._short, self._long, phase)

    def state(self) -> tuple[float, ...]:
        """What `restore` needs; of the open slots, nothing. The second number is what earlier versions kept."""
        return (
            *(self._count, _NONE, self._short, self._long, self._since_ns, self._drift, self._score),
            *(self._lasted, self._largest, *self._rarity.state(), *self._late),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another pair had learned.

        Raises:
            ValueError: the state is none of a pair's.
        """
        if not _FIXED <= len(state) <= _FIXED + _LATE:
            raise ValueError(f"{len(state)} numbers are no state of a pair of siblings")
        count, _, self._short, self._long, since_ns, self._drift, self._score, lasted, self._largest = state[:9]
        self._count, self._since_ns, self._lasted = int(count), int(since_ns), int(lasted)
        self._rarity.restore(state[9:_FIXED])
        self._late = list(state[_FIXED:])
