"""Units that people and devices use, and what the columns of a recording are. Pure."""

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

    def canonical(self, value: Decimal) -> float:
        """A value in this unit, in the canonical unit of its quantity: the float nearest to it."""
        return float((value + self.shift) * self.factor / self.divisor)


_SAME: Final = Unit(Decimal(1))
_UNITS: Final[dict[str, dict[str, Unit]]] = {
    "temperature_c": {
        "c": _SAME,
        "k": Unit(Decimal(1), Decimal("-273.15")),
        "f": Unit(Decimal(5), Decimal(-32), Decimal(9)),
    },
    "humidity_pct": {"pct": _SAME, "%": _SAME, "%rh": _SAME, "fraction": Unit(Decimal(100))},
    "pressure_pa": {
        "pa": _SAME,
        "hpa": Unit(Decimal(100)),
        "mbar": Unit(Decimal(100)),
        "kpa": Unit(Decimal(1000)),
        "bar": Unit(Decimal(100_000)),
        "mmhg": Unit(Decimal("133.322387415")),
        "torr": Unit(Decimal(101_325), divisor=Decimal(760)),
        "inhg": Unit(Decimal("3386.388640341")),
        "psi": Unit(Decimal("6894.757293168")),
    },
    "co2_ppm": {"ppm": _SAME},
    "illuminance_lx": {"lx": _SAME},
}
_MAPPING: Final = re.compile(
    r"(?P<column>[^=]+)=(?P<sensor>[a-z0-9-]{1,64})\.(?P<quantity>[a-z0-9_]+)(:(?P<unit>\w+))?"
)


_DEGREES: Final = str.maketrans("", "", "°º'´` \ufffd")
"""How devices write the sign for degrees, where they do."""


def find_unit(quantity: str, text: str) -> Unit | None:
    """The unit of a quantity by the name that people or devices give it, as `hPa`, `°C`, `'F`, `%RH`; None if unknown.

    No name at all is the canonical unit.
    """
    units = _UNITS.get(quantity, {})
    name = text.translate(_DEGREES).lower().removeprefix("deg")
    return units.get(name) if name else next(iter(units.values()), None)


def known_units(quantity: str) -> tuple[str, ...]:
    """Names of the units that a quantity can be given in, the canonical one first."""
    return tuple(_UNITS.get(quantity, {}))


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
