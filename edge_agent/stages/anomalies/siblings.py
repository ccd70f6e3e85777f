"""Drift between two channels that measure the same. Pure.

Compares means over slots of five minutes, because stamps and noise of the readings differ between the two. A difference
that is constant, or returns every day at the same hour, is usual; one that is far larger than any before is a drift.
The usual difference is learned with a delay of one day, from the largest difference of each hour, so that a slow drift
does not become usual.

The means of each channel wait in a queue until the mean of the other for the same slot is there. The result therefore
depends only on the two sequences of readings, not on the order of their blocks, if no block is longer than twelve
hours.
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
# Memory of the short and the long mean of the difference, in slots.
_SHORT: Final = 6
_LONG: Final = 2016
# Slots per hour; delay of the learning in hours; hours to learn from before anything can be reported.
_HOUR: Final = 12
_LATE: Final = 24
_FIRST: Final = 24
_MEMORY: Final = 10_000
_THINNEST: Final = 0.1
# Means of one channel that wait for those of the other; the oldest are dropped.
_WAITING: Final = 144
# A drift ends when at most this share of it is left, or when it has lasted _LONG slots.
_OVER: Final = 0.5
_NONE: Final = -1
_FIXED: Final = 9 + RARITY_SIZE


class _Side:
    """One of the two channels: its open slot, and the means of closed slots that were not compared yet."""

    def __init__(self) -> None:
        self.means: deque[tuple[int, float]] = deque(maxlen=_WAITING)
        self._slot = _NONE
        self._sum = 0.0
        self._readings = 0

    def take(self, slot: int, value: float) -> bool:
        """Take a reading of the given slot. Returns whether it closed an earlier slot."""
        closes = slot != self._slot and self._readings > 0
        if closes:
            self.means.append((self._slot, self._sum / self._readings))
        if slot != self._slot:
            self._slot, self._sum, self._readings = slot, 0.0, 0
        self._sum += value
        self._readings += 1
        return closes


class Siblings:
    """Pair of channels.

    Args:
        threshold: score from which a drift is reported.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sides = (_Side(), _Side())
        self._count = 0  # slots compared
        self._short = 0.0
        self._long = 0.0
        self._since_ns = _NONE  # start of the drift that was reported and lasts
        self._drift = 0.0  # its size when it was reported
        self._score = 0.0
        self._lasted = 0  # its length in slots
        self._largest = 0.0  # largest difference of the current hour
        self._late: list[float] = []  # those of earlier hours that were not learned yet
        self._rarity = Rarity(_MEMORY, _THINNEST)

    def take(self, side: int, times_ns: Sequence[int], values: Sequence[float | None]) -> list[Anomaly]:
        """Test a block of one of the two channels.

        Args:
            side: which channel, 0 or 1.
            times_ns: nanoseconds since boot. After a step back, as at another boot, comparison continues with the next
                slot that both channels have.
            values: calibrated, canonical unit; None is skipped.
        """
        found: list[Anomaly] = []
        channel = self._sides[side]
        for now_ns, value in zip(times_ns, values, strict=True):
            if value is not None and channel.take(now_ns // _SLOT_NS, value):
                found += self._compare_closed()
        return found

    def _compare_closed(self) -> list[Anomaly]:
        """Compare the slots that both channels have closed; skip a slot that only one of them has."""
        found: list[Anomaly] = []
        first, second = self._sides[0].means, self._sides[1].means
        while first and second:
            ahead = first[0][0] - second[0][0]
            if ahead:
                (second if ahead > 0 else first).popleft()
                continue
            (slot, mean), (_, second_mean) = first.popleft(), second.popleft()
            found += self._compare((slot + 1) * _SLOT_NS, mean - second_mean)
        return found

    def _compare(self, now_ns: int, difference: float) -> list[Anomaly]:
        """Test the difference of one slot, then learn from it."""
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
            if self._lasted == _LONG:  # a difference that has lasted a week is usual
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
        """State for `restore`, without open slots. The second number is unused; earlier versions stored one there."""
        return (
            *(self._count, _NONE, self._short, self._long, self._since_ns, self._drift, self._score),
            *(self._lasted, self._largest, *self._rarity.state(), *self._late),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Restore a saved state.

        Raises:
            ValueError: it is no state of a pair.
        """
        if not _FIXED <= len(state) <= _FIXED + _LATE:
            raise ValueError(f"{len(state)} numbers are no state of a pair of siblings")
        count, _, self._short, self._long, since_ns, self._drift, self._score, lasted, self._largest = state[:9]
        self._count, self._since_ns, self._lasted = int(count), int(since_ns), int(lasted)
        self._rarity.restore(state[9:_FIXED])
        self._late = list(state[_FIXED:])
