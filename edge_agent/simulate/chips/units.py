"""Conversion of the air into the units that devices can be set to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNITS: Final[Mapping[str, Callable[[float], float]]] = {
    "k": lambda celsius: celsius + 273.15,
    "f": lambda celsius: celsius * 1.8 + 32.0,
    "fraction": lambda percent: percent / 100.0,
    "hpa": lambda pascal: pascal / 100.0,
    "mbar": lambda pascal: pascal / 100.0,
    "kpa": lambda pascal: pascal / 1000.0,
    "bar": lambda pascal: pascal / 100_000.0,
    "mmhg": lambda pascal: pascal * 760.0 / 101_325.0,
    "torr": lambda pascal: pascal * 760.0 / 101_325.0,
    "inhg": lambda pascal: pascal / 3386.389,
    "psi": lambda pascal: pascal / 6894.757,
}
"""Conversions from °C, %RH, Pa and ppm; a unit that is not listed is one of these."""


def in_unit(value: float, unit: str) -> float:
    """Convert a value in °C, %RH, Pa or ppm into the named unit; the case of the name does not matter."""
    convert = _UNITS.get(unit.lower())
    return value if convert is None else convert(value)
