"""What can be measured: name, unit, how finely it is worth sending, and the units that people and devices use. Pure.

Units are canonical everywhere in the program: °C, %RH, Pa, ppm. A name ends with its unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that a sensor can measure.

    Attributes:
        name: as it stands in config, code and messages, e.g. `temperature_c`.
        unit: for people, e.g. `°C`.
        minimum, maximum: no place where this program runs can be outside; a chip's own range is narrower.
        resolution: step of the values sent unless the sensor says otherwise, in the canonical unit.
        sigma: typical noise (one standard deviation) of a decent chip, in the canonical unit.
        max_rate_per_s: air does not change faster: what does is suspect; None where it may.
        free_step: a change so small may come at once: noise, coarse counts, a draught.
        drift_per_s: how fast the slope of the true value may wander: standard deviation of the slope
            gained in one second, in the canonical unit per second per sqrt(second).
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    resolution: float
    sigma: float
    drift_per_s: float
    max_rate_per_s: float | None = None
    free_step: float = 0.0


_ALL: Final = (
    Quantity("temperature_c", "°C", -90.0, 200.0, 0.01, 0.02, 2e-4, 20 / 60, 2.0),
    Quantity("humidity_pct", "%RH", 0.0, 100.0, 0.01, 0.1, 2e-3, 60 / 60, 6.0),
    # 1 Pa: the noise of a BME280 at ×1 oversampling is 3.3 Pa (datasheet table 15).
    Quantity("pressure_pa", "Pa", 1_000.0, 3_200_000.0, 1.0, 3.5, 5e-3, 1000 / 60, 100.0),
    Quantity("co2_ppm", "ppm", 0.0, 40_000.0, 1.0, 5.0, 5e-2),
    # What is derived from temperature, humidity and pressure (stages/derive.py).
    Quantity("dew_point_c", "°C", -90.0, 100.0, 0.01, 0.05, 5e-4),
    Quantity("absolute_humidity_g_m3", "g/m³", 0.0, 100.0, 0.01, 0.02, 3e-4),
    Quantity("vapour_pressure_deficit_pa", "Pa", 0.0, 15_000.0, 1.0, 5.0, 5e-2),
    Quantity("wet_bulb_c", "°C", -90.0, 100.0, 0.01, 0.03, 3e-4),
    Quantity("heat_index_c", "°C", 0.0, 120.0, 0.01, 0.05, 5e-4),
    Quantity("sea_level_pressure_pa", "Pa", 50_000.0, 120_000.0, 1.0, 4.0, 5e-3),
    # What people log beside the weather; for replayed recordings and serial boxes.
    Quantity("illuminance_lx", "lx", 0.0, 200_000.0, 0.01, 2.0, 1.0),
)

QUANTITIES: Final[Mapping[str, Quantity]] = {quantity.name: quantity for quantity in _ALL}
"""Every known quantity by name."""


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
class ColumnMapping:
    """What one column of the file is."""

    column: str
    sensor: str
    quantity: str
    unit: Unit


def parse_mapping(text: str) -> ColumnMapping:
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
    return ColumnMapping(match["column"].strip(), match["sensor"], quantity, units[unit or next(iter(units))])
