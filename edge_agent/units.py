"""What the columns of a recording are, and from which unit to convert them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from edge_agent.quantity import QUANTITIES


@dataclass(frozen=True, slots=True)
class Unit:
    """canonical = (value + shift) × factor ÷ divisor; in decimal, so that 1021.76 hPa are 102176 Pa exactly."""

    factor: Decimal
    shift: Decimal = Decimal(0)
    divisor: Decimal = Decimal(1)


_SAME: Final = Unit(Decimal(1))
_UNITS: Final[dict[str, dict[str, Unit]]] = {
    "temperature_c": {
        "c": _SAME,
        "k": Unit(Decimal(1), Decimal("-273.15")),
        "f": Unit(Decimal(5), Decimal(-32), Decimal(9)),
    },
    "humidity_pct": {"pct": _SAME, "fraction": Unit(Decimal(100))},
    "pressure_pa": {
        "pa": _SAME,
        "hpa": Unit(Decimal(100)),
        "mbar": Unit(Decimal(100)),
        "kpa": Unit(Decimal(1000)),
        "mmhg": Unit(Decimal("133.322387415")),
        "inhg": Unit(Decimal("3386.388640341")),
    },
    "co2_ppm": {"ppm": _SAME},
    "illuminance_lx": {"lx": _SAME},
}
_MAPPING: Final = re.compile(
    r"(?P<column>[^=]+)=(?P<sensor>[a-z0-9-]{1,64})\.(?P<quantity>[a-z0-9_]+)(:(?P<unit>\w+))?"
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """What one column of the file is."""

    column: str
    sensor: str
    quantity: str
    unit: Unit


def parse_mapping(text: str) -> Mapping:
    """Parse `column=sensor.quantity[:unit]`.

    Raises:
        ValueError: with one sentence that says what is wrong.
    """
    match = _MAPPING.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not column=sensor.quantity[:unit], e.g. temp=air.temperature_c:c")
    quantity, unit = match["quantity"], (match["unit"] or "").lower()
    if quantity not in QUANTITIES:
        raise ValueError(f"{quantity!r} in {text!r} is not a quantity; known: {', '.join(QUANTITIES)}")
    units = _UNITS[quantity]
    if unit and unit not in units:
        raise ValueError(f"{match['unit']!r} in {text!r} is not a unit of {quantity}; known: {', '.join(units)}")
    return Mapping(match["column"].strip(), match["sensor"], quantity, units[unit or next(iter(units))])
