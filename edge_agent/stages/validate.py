"""Judge what a chip delivered, before anything is computed from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from operator import lt, sub
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

# Made once: combining flags of an enum costs more than all the comparisons of a reading.
_GOOD: Final = Flag(0)
_NO_VALUE: Final = Flag.NO_VALUE
_OUT_OF_RANGE: Final = Flag.OUT_OF_RANGE
_TOO_FAST: Final = Flag.TOO_FAST
_TIME_BACKWARDS: Final = Flag.TIME_BACKWARDS
# From so many readings on it pays to ask first whether all of them are as they should be, which is the rule.
_WORTH_A_GLANCE: Final = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """What a channel's readings may be.

    Attributes:
        minimum, maximum: what the chip can measure, canonical unit, inclusive.
        configured: the range that the configuration allows, canonical unit, inclusive; None: any.
        max_rate_per_s: fastest believable change, canonical unit per second; None: any.
        free_step: a change so small is believable in no time at all, canonical unit: noise, and coarse counts.
    """

    minimum: float
    maximum: float
    configured: tuple[float, float] | None = None
    max_rate_per_s: float | None = None
    free_step: float = 0.0


class Validator:
    """Flags for the readings of one channel.

    A reading is too fast if it can be reached neither from the last good reading nor from the one before it:
    a spike leaves what follows it alone, and after a true jump only the first reading is flagged.
    """

    __slots__ = (
        "_free_step",
        "_good_ns",
        "_good_value",
        "_high",
        "_last_ns",
        "_low",
        "_previous_ns",
        "_previous_value",
        "_rate_per_ns",
    )

    def __init__(self, limits: Limits) -> None:
        low, high = limits.configured or (limits.minimum, limits.maximum)
        self._low = max(limits.minimum, low)
        self._high = min(limits.maximum, high)
        rate = limits.max_rate_per_s
        self._rate_per_ns = None if rate is None else rate / NS_PER_S
        self._free_step = limits.free_step
        self._last_ns: int | None = None
        self._previous_ns = 0
        self._previous_value: float | None = None
        self._good_ns = 0
        self._good_value = 0.0

    def run(self, times_ns: Sequence[int], values: Sequence[float | None]) -> list[Flag]:
        """Judge a block.

        Args:
            times_ns: nanoseconds since boot.
            values: as measured, canonical unit; None, NaN and infinities get NO_VALUE, whoever shows the
                reading further on shows no value then.

        Returns:
            One flag set per reading; `Flag(0)` is good.
        """
        if len(values) >= _WORTH_A_GLANCE and self._is_plain(times_ns, values):
            self.passed(times_ns[-1], values[-1] or 0.0)  # which is no None, for it is plain
            return [_GOOD] * len(values)
        low, high = self._low, self._high
        last_ns = self._last_ns
        flags: list[Flag] = []
        for now_ns, value in zip(times_ns, values, strict=True):
            backwards = last_ns is not None and now_ns <= last_ns
            last_ns = now_ns
            if value is not None and low <= value <= high:
                flag = _GOOD if self._rate_per_ns is None else self._judge_rate(now_ns, value)
            elif value is None or not isfinite(value):
                flag = _NO_VALUE
            else:
                flag = _OUT_OF_RANGE
            flags.append(flag | _TIME_BACKWARDS if backwards else flag)
        self._last_ns = last_ns
        return flags

    def passed(self, now_ns: int, value: float) -> None:
        """Take note of the last reading of a block with nothing odd about it."""
        self._last_ns = self._previous_ns = self._good_ns = now_ns
        self._previous_value = self._good_value = value

    @property
    def last_ns(self) -> int | None:
        """Stamp of the latest reading."""
        return self._last_ns

    def bounds(self) -> tuple[float, float, float, float]:
        """What a block has nothing odd about it within: least, greatest, the reading before, largest change from it.

        The change is infinite if any is as good, and negative if none is.
        """
        if self._rate_per_ns is None:
            return self._low, self._high, 0.0, inf
        if self._previous_value is None or self._previous_value != self._good_value:
            return self._low, self._high, 0.0, -1.0
        return self._low, self._high, self._previous_value, self._free_step

    def _is_plain(self, times_ns: Sequence[int], values: Sequence[float | None]) -> bool:
        """Whether every value is in range and every stamp later than the one before it, asked without a loop."""
        try:
            total = sum(values)  # type: ignore[arg-type] # None raises
        except TypeError:
            return False
        in_range = self._low <= min(values) and max(values) <= self._high  # type: ignore[type-var, operator] # no None
        starts_later = self._last_ns is None or times_ns[0] > self._last_ns
        # min and max pass over NaN, a sum does not.
        plain = in_range and isfinite(total) and starts_later and all(map(lt, times_ns, times_ns[1:]))
        return plain and (self._rate_per_ns is None or self._is_calm(values))

    def _is_calm(self, values: Sequence[float | None]) -> bool:
        """Whether no change from reading to reading is more than may be at once, so that no rate need be computed."""
        if self._previous_value is None or self._previous_value != self._good_value:
            return False
        changes = map(sub, values, (self._previous_value, *values[:-1]))
        return bool(max(map(abs, changes)) <= self._free_step)

    def _judge_rate(self, now_ns: int, value: float) -> Flag:
        before, self._previous_value = self._previous_value, value
        before_ns, self._previous_ns = self._previous_ns, now_ns
        rate = self._rate_per_ns
        if before is None or rate is None:
            flag = _GOOD
        else:
            from_good = abs(value - self._good_value) <= self._free_step + rate * abs(now_ns - self._good_ns)
            from_last = abs(value - before) <= self._free_step + rate * abs(now_ns - before_ns)
            flag = _GOOD if from_good or from_last else _TOO_FAST
        if flag is _GOOD:
            self._good_ns, self._good_value = now_ns, value
        return flag
