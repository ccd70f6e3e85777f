"""Rounding of values to multiples of a resolution. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOLE: Final = 1.5 * 2.0**52
"""To add and subtract it rounds to whole numbers, half to even like `round`, in a fifth of the time: a double of this
size has no fraction. Valid for magnitudes up to 2**51; beyond, doubles are that coarse themselves."""


def rounded(values: Sequence[float | None], resolution: float | None) -> list[float | None]:
    """Round to multiples of the resolution; 0.01 gives exactly the doubles to which decimals with two digits parse.

    Args:
        values: canonical unit; None stays None.
        resolution: canonical unit, > 0; None returns the values unchanged.
    """
    if resolution is None:
        return list(values)
    if resolution < 1:
        steps = _steps_per_unit(resolution)
        try:  # None is rare, and a test of each value takes more time than the arithmetic
            return [(value * steps + _WHOLE - _WHOLE) / steps for value in values]  # type: ignore[operator]
        except TypeError:
            pass
        return [None if value is None else (value * steps + _WHOLE - _WHOLE) / steps for value in values]
    return [None if value is None else (value / resolution + _WHOLE - _WHOLE) * resolution for value in values]


@lru_cache(maxsize=256)
def _steps_per_unit(resolution: float) -> float:
    return float(round(1 / resolution))
