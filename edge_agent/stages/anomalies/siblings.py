"""Whether two channels that measure the same have drifted apart. Pure.

Compared are means of five minutes, for neither the moment of a reading nor its noise is the same for both. A
difference that is there always, or at its hour every day, is usual; one that is far larger than any before is not.
What is usual is learned a day late, from the largest of each hour: a drift is slow, and would become usual as it goes.
"""

from __future__ import annotations

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
# Slots of an hour, hours that learning waits, and hours to learn from before anything can be told.
_HOUR: Final = 12
_LATE: Final = 24
_FIRST: Final = 24
_MEMORY: Final = 10_000
_THINNEST: Final = 0.1
# Slots for which one channel's mean waits for the other's, which comes with its own batch.
_WAITING: Final = 24
# A drift has ended when this share of it is left, or when it has lasted as long as the long mean.
_OVER: Final = 0.5
_NONE: Final = -1
_FIXED: Final = 9 + RARITY_SIZE


class _Side:
    """One of the two channels: its open slot, and the means of those that are closed."""

    def __init__(self) -> None:
        self.slot = _NONE
        self.sum = 0.0
        self.readings = 0
        self.means: dict[int, float] = {}

    def take(self, slot: int, values: Sequence[float]) -> None:
        """Take readings in, all of one slot; an earlier one is closed by them."""
        if slot != self.slot:
            if self.readings:
                self.means[self.slot] = self.sum / self.readings
                if len(self.means) > _WAITING:
                    del self.means[min(self.means)]
            self.slot, self.sum, self.readings = slot, 0.0, 0
        self.sum += sum(values)
        self.readings += len(values)


class Siblings:
    """A pair of channels.

    Args:
        threshold: score from which a drift is told.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sides = (_Side(), _Side())
        self._count = 0  # slots compared
        self._last = _NONE  # the latest of them
        self._short = 0.0
        self._long = 0.0
        self._since_ns = _NONE  # of the drift that was told of
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
            times_ns: nanoseconds since boot.
            values: calibrated, canonical unit; None is passed over.
        """
        this, other = self._sides[side], self._sides[1 - side]
        rows = [
            (now_ns // _SLOT_NS, value) for now_ns, value in zip(times_ns, values, strict=True) if value is not None
        ]
        at = 0
        while at < len(rows):
            slot = rows[at][0]
            end = next((row for row in range(at, len(rows)) if rows[row][0] != slot), len(rows))
            if slot < this.slot:  # another boot
                self._begin_anew()
            this.take(slot, [value for _, value in rows[at:end]])
            at = end
        found = []
        for slot in sorted(this.means.keys() & other.means.keys()):
            first, second = self._sides[0].means.pop(slot), self._sides[1].means.pop(slot)
            if slot > self._last:
                self._last = slot
                anomaly = self._compare((slot + 1) * _SLOT_NS, first - second)
                if anomaly is not None:
                    found.append(anomaly)
        return found

    def _begin_anew(self) -> None:
        self._last = _NONE
        self._sides = (_Side(), _Side())

    def _compare(self, now_ns: int, difference: float) -> Anomaly | None:
        """Look at the difference of one slot, and learn it."""
        if not self._count:
            self._short = self._long = difference
        self._count += 1
        self._short += (difference - self._short) / min(self._count, _SHORT)
        off = abs(self._short - self._long)
        if self._since_ns >= 0:
            self._lasted += 1
            if off > _OVER * self._drift and self._lasted < _LONG:
                return None
            anomaly = self._tell(now_ns, Phase.ENDED)
            self._since_ns = _NONE
            if self._lasted == _LONG:  # what has been so for a week is usual
                self._long = self._short
            return anomaly
        score = self._rarity.score(off) if self._rarity.total >= _FIRST else 0.0
        if score >= self._threshold:
            self._since_ns, self._drift, self._score, self._lasted = now_ns, off, score, 0
            return self._tell(now_ns, Phase.BEGAN)
        self._long += (self._short - self._long) / min(self._count, _LONG)
        self._largest = max(self._largest, off)
        if self._count % _HOUR == 0:
            self._late.append(self._largest)
            self._largest = 0.0
            if len(self._late) > _LATE:
                self._rarity.learn(self._late.pop(0))
        return None

    def _tell(self, now_ns: int, phase: Phase) -> Anomaly:
        return Anomaly(AnomalyKind.DRIFT, now_ns, self._since_ns, self._score, self._short, self._long, phase)

    def state(self) -> tuple[float, ...]:
        """Everything that `restore` needs; of the open slots, nothing."""
        return (
            *(self._count, self._last, self._short, self._long, self._since_ns, self._drift, self._score),
            *(self._lasted, self._largest, *self._rarity.state(), *self._late),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what another pair remembered.

        Raises:
            ValueError: the state is none of a pair's.
        """
        if not _FIXED <= len(state) <= _FIXED + _LATE:
            raise ValueError(f"{len(state)} numbers are no state of a pair of siblings")
        count, last, self._short, self._long, since_ns, self._drift, self._score, lasted, self._largest = state[:9]
        self._count, self._last, self._since_ns = int(count), int(last), int(since_ns)
        self._lasted = int(lasted)
        self._rarity.restore(state[9:_FIXED])
        self._late = list(state[_FIXED:])
