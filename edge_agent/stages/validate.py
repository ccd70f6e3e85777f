"""Validation of measured values by range, rate of change and order of stamps. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

# Looked up once: access to the members of an enum takes longer than all comparisons of a reading.
_GOOD: Final = Flag(0)
_NO_VALUE: Final = Flag.NO_VALUE
_OUT_OF_RANGE: Final = Flag.OUT_OF_RANGE
_TOO_FAST: Final = Flag.TOO_FAST
_TIME_BACKWARDS: Final = Flag.TIME_BACKWARDS
_NEVER_NS: Final = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Limits:
    """Plausible readings of a channel.

    Attributes:
        minimum, maximum: range of the chip, canonical unit, inclusive.
        configured: range that the configuration allows, canonical unit, inclusive; None: any.
        max_rate_per_s: fastest plausible change, canonical unit per second; None: any.
        free_step: largest change that is plausible at any rate, canonical unit; allows for noise and coarse counts.
    """

    minimum: float
    maximum: float
    configured: tuple[float, float] | None = None
    max_rate_per_s: float | None = None
    free_step: float = 0.0


class Validator:
    """Sets the flags of one channel's readings.

    A reading is too fast if it can be reached neither from the last good reading nor from the one before it: the
    reading after a spike is good, and after a true jump only the first reading is flagged.
    """

    __slots__ = ("_free_step", "_good", "_high", "_last_ns", "_low", "_near", "_rate_per_ns")

    def __init__(self, limits: Limits) -> None:
        low, high = limits.configured or (limits.minimum, limits.maximum)
        self._low = max(limits.minimum, low)
        self._high = min(limits.maximum, high)
        rate = limits.max_rate_per_s
        self._rate_per_ns = None if rate is None else rate / NS_PER_S
        self._free_step = limits.free_step
        self._last_ns = _NEVER_NS  # stamp of the latest reading
        self._near = (_NEVER_NS, 0.0)  # stamp and value of the last reading in range
        self._good = (_NEVER_NS, 0.0)  # stamp and value of the last reading that was not too fast

    def run(self, times_ns: Sequence[int], values: Sequence[float | None]) -> list[Flag]:
        """Judge a block.

        Args:
            times_ns: nanoseconds since boot.
            values: as measured, canonical unit. None, NaN and infinities get NO_VALUE; later stages replace them by
                None.

        Returns:
            Flags of each reading; `Flag(0)` is good.
        """
        low, high, rate, room = self._low, self._high, self._rate_per_ns, self._free_step
        last_ns, (near_ns, near), (good_ns, good) = self._last_ns, self._near, self._good
        flags: list[Flag] = []
        for now_ns, value in zip(times_ns, values, strict=True):
            if value is not None and low <= value <= high:
                flag = _GOOD
                if rate is not None:
                    if (
                        -room <= value - good <= room  # the usual case, and the cheapest test
                        or abs(value - good) <= room + rate * abs(now_ns - good_ns)
                        or abs(value - near) <= room + rate * abs(now_ns - near_ns)
                        or good_ns == _NEVER_NS
                    ):
                        good_ns, good = now_ns, value
                    else:
                        flag = _TOO_FAST
                    near_ns, near = now_ns, value
            elif value is None or not isfinite(value):
                flag = _NO_VALUE
            else:
                flag = _OUT_OF_RANGE
            flags.append(flag | _TIME_BACKWARDS if now_ns <= last_ns else flag)
            last_ns = now_ns
        self._last_ns, self._near, self._good = last_ns, (near_ns, near), (good_ns, good)
        return flags
