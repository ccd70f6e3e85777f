"""The simulated air as devices that measure anything show it: any quantity, any unit. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.quantity import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.simulate.world import Air

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


def present(air: Air, quantity: str) -> float:
    """Value of a quantity, canonical unit; the middle of its range if the simulated weather does not have it."""
    middle = (QUANTITIES[quantity].minimum + QUANTITIES[quantity].maximum) / 2.0
    return float(getattr(air, quantity, middle))
