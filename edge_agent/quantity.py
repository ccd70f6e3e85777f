"""Quantities that can be measured, and the units that people and devices give them in. Pure.

Values have the canonical unit of their quantity everywhere in the program: °C, %RH, Pa, ppm. The name of a quantity
ends with that unit. An installed package can add quantities by an entry point in the group `edge_agent.quantities`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Final

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "edge_agent.quantities"
_NAME: Final = re.compile("[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity that a sensor can measure.

    Attributes:
        name: as in configuration, code and messages, e.g. `temperature_c`: at most 64 of a-z, 0-9 and _.
        unit: for people, e.g. `°C`.
        minimum, maximum: limits of the possible, canonical unit. The range of a chip is narrower.
        resolution: step to which values are rounded unless the sensor says otherwise, canonical unit, above 0.
        sigma: typical noise of a chip (one standard deviation), canonical unit, above 0.
        drift_per_s: how fast the slope of the true value changes: standard deviation of the slope gained in one
            second, canonical unit per second per sqrt(second), above 0.
        max_rate_per_s: a faster change is suspect, canonical unit per second; None: no limit.
        free_step: a change of at most this size is never too fast (noise, coarse counts), canonical unit.
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

    def __post_init__(self) -> None:
        """Check the declaration.

        Raises:
            ValueError: the name cannot be one, or a number is outside its range.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a name of at most 64 of a-z, 0-9 and _")
        if not self.minimum < self.maximum:
            raise ValueError(f"{self.name}: the minimum {self.minimum} is not below the maximum {self.maximum}")
        for number in ("resolution", "sigma", "drift_per_s"):
            if not getattr(self, number) > 0:
                raise ValueError(f"{self.name}: {number} is {getattr(self, number)}, and must be above 0")


_ALL: Final = (
    Quantity("temperature_c", "°C", -90.0, 200.0, 0.01, 0.02, 2e-4, 20 / 60, 2.0),
    Quantity("humidity_pct", "%RH", 0.0, 100.0, 0.01, 0.1, 2e-3, 60 / 60, 6.0),
    # 1 Pa: the noise of a BME280 at ×1 oversampling is 3.3 Pa (datasheet table 15).
    Quantity("pressure_pa", "Pa", 1_000.0, 3_200_000.0, 1.0, 3.5, 5e-3, 1000 / 60, 100.0),
    Quantity("co2_ppm", "ppm", 0.0, 40_000.0, 1.0, 5.0, 5e-2),
    # Derived from temperature, humidity and pressure (stages/derive.py).
    Quantity("dew_point_c", "°C", -90.0, 100.0, 0.01, 0.05, 5e-4),
    Quantity("absolute_humidity_g_m3", "g/m³", 0.0, 100.0, 0.01, 0.02, 3e-4),
    Quantity("vapour_pressure_deficit_pa", "Pa", 0.0, 15_000.0, 1.0, 5.0, 5e-2),
    Quantity("wet_bulb_c", "°C", -90.0, 100.0, 0.01, 0.03, 3e-4),
    Quantity("heat_index_c", "°C", 0.0, 120.0, 0.01, 0.05, 5e-4),
    Quantity("sea_level_pressure_pa", "Pa", 50_000.0, 120_000.0, 1.0, 4.0, 5e-3),
    # For recordings and serial devices.
    Quantity("illuminance_lx", "lx", 0.0, 200_000.0, 0.01, 2.0, 1.0),
)

_OWN: Final = {quantity.name: quantity for quantity in _ALL}


class _Quantities(Mapping[str, Quantity]):
    """Quantities by name: those of this module; if a name is not among them, those of other packages too."""

    def __getitem__(self, name: str) -> Quantity:
        own = _OWN.get(name)
        return _of_other_packages()[name] if own is None else own

    def __iter__(self) -> Iterator[str]:
        return iter({**_OWN, **_of_other_packages()})

    def __len__(self) -> int:
        return len({**_OWN, **_of_other_packages()})


QUANTITIES: Final[Mapping[str, Quantity]] = _Quantities()
"""Every known quantity by name. Entry points are looked at when a name is not ours, and then once."""


@cache
def _of_other_packages() -> dict[str, Quantity]:
    """What modules of other packages list in `QUANTITIES`. One that cannot be loaded is logged and left out."""
    from importlib.metadata import entry_points  # noqa: PLC0415 most runs need none of them

    found: dict[str, Quantity] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            for quantity in entry_point.load().QUANTITIES:
                if isinstance(quantity, Quantity):
                    found.setdefault(quantity.name, quantity)
                else:
                    log.warning("%s of another package lists %r, which is not a Quantity", entry_point.value, quantity)
        except Exception as error:  # noqa: BLE001 the code of another package can raise anything
            log.warning("the quantities %s of another package cannot be loaded: %r", entry_point.value, error)
    return found


# Units


@dataclass(frozen=True, slots=True)
class Unit:
    """How a value in a unit is converted: canonical = (value + shift) × factor ÷ divisor.

    Computed in decimal, so that 1021.76 hPa are 102176 Pa exactly.
    """

    factor: Decimal
    shift: Decimal = Decimal(0)
    divisor: Decimal = Decimal(1)

    def canonical(self, value: Decimal) -> float:
        """Convert a value in this unit to the canonical unit; returns the nearest float."""
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
"""Characters that devices write for the sign for degrees."""


def find_unit(quantity: str, text: str) -> Unit | None:
    """Find a unit of a quantity by a name that people or devices use, e.g. `hPa`, `°C`, `'F`, `%RH`.

    Args:
        quantity: name in `QUANTITIES`.
        text: name of the unit; empty text means the canonical unit.

    Returns:
        None if the quantity has no such unit, or is not known.
    """
    units = _units_of(quantity)
    name = _plain(text)
    return units.get(name) if name else next(iter(units.values()), None)


def known_units(quantity: str) -> tuple[str, ...]:
    """Names of the units of a quantity, the canonical one first; empty if the quantity is not known."""
    return tuple(_units_of(quantity))


def _units_of(quantity: str) -> Mapping[str, Unit]:
    """Units by name. A quantity without a table has its canonical unit only."""
    if quantity in _UNITS:
        return _UNITS[quantity]
    known = QUANTITIES.get(quantity)
    return {} if known is None else {_plain(known.unit): _SAME}


def _plain(name: str) -> str:
    """A unit's name as it stands in the tables: small letters, without the sign for degrees."""
    return name.translate(_DEGREES).lower().removeprefix("deg")


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """What one column of a recording holds: a quantity of a sensor, in a unit."""

    column: str
    sensor: str
    quantity: str
    unit: Unit


def parse_mapping(text: str) -> ColumnMapping:
    """Parse `column=sensor.quantity[:unit]`.

    Raises:
        ValueError: it is something else; one sentence says what is wrong.
    """
    match = _MAPPING.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not column=sensor.quantity[:unit], e.g. temp=air.temperature_c:c")
    quantity, unit_name = match["quantity"], match["unit"] or ""
    if quantity not in QUANTITIES:
        raise ValueError(f"{quantity!r} in {text!r} is not a quantity; known: {', '.join(QUANTITIES)}")
    unit = find_unit(quantity, unit_name)
    if unit is None:
        raise ValueError(
            f"{unit_name!r} in {text!r} is not a unit of {quantity}; known: {', '.join(known_units(quantity))}"
        )
    return ColumnMapping(match["column"].strip(), match["sensor"], quantity, unit)
