"""Multiples of a resolution: values as they are sent, such that 0.01 gives exactly the doubles of decimals. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOLE: Final = 1.5 * 2.0**52
"""Adding and subtracting it rounds to whole numbers, half to even as `round`, in a fifth of the time: at this size a
double has no fraction. Holds for magnitudes up to 2**51; beyond, a double is that coarse by itself."""


def rounded(values: Sequence[float | None], resolution: float | None) -> list[float | None]:
    """Round to multiples of the resolution, such that 0.01 gives exactly the doubles that decimals are read as."""
    if resolution is None:
        return list(values)
    if resolution < 1:
        steps = float(round(1 / resolution))
        try:  # None is rare, and asking each value costs more than the arithmetic
            return [(value * steps + _WHOLE - _WHOLE) / steps for value in values]  # type: ignore[operator]
        except TypeError:
            pass
        return [None if value is None else (value * steps + _WHOLE - _WHOLE) / steps for value in values]
    return [None if value is None else (value / resolution + _WHOLE - _WHOLE) * resolution for value in values]
