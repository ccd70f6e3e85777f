"""Any chip that a kernel driver of the Industrial I/O subsystem reads: BME280, HTS221, SCD4x, DHT22 and dozens more.

Source: Linux Documentation/ABI/testing/sysfs-bus-iio (temperature in m°C, pressure in kPa, humidity in m%, gas in %).
No address: the device is found by the kernel's name, because the number in `iio:deviceN` changes between starts.

Limits:
    The mainline bmp280 driver gave humidity in % until 2017, and in m% since; the size of the number tells which.
    Reading may block while the kernel converts (SCD30: 2 s).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, checked_quantities
from edge_agent.drivers.kernel import KernelDevice, Wanted, find_devices, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.bus.base import Sysfs
    from edge_agent.drivers.kernel import Reader

PREFIX: Final = "iio:device"
STEMS: Final = {
    "temperature_c": ("in_temp", "in_temp0", "in_temp_ambient"),
    "humidity_pct": ("in_humidityrelative", "in_humidityrelative0"),
    "pressure_pa": ("in_pressure", "in_pressure0"),
    "co2_ppm": ("in_concentration_co2", "in_concentration0_co2"),
}
"""Quantity → names of its files without `_input` or `_raw`; the first one that exists is used."""

_FACTORS: Final = {
    "temperature_c": Decimal("0.001"),
    "humidity_pct": Decimal("0.001"),
    "pressure_pa": Decimal(1000),
    "co2_ppm": Decimal(10_000),
}
"""Factor from the unit of the ABI to the canonical unit."""

# Maths of the ABI


def canonical(quantity: str, value: Decimal) -> float:
    """A value in the unit of the ABI, in °C, %RH, Pa or ppm."""
    return float(value * _FACTORS[quantity])


def processed(quantity: str, text: str) -> float:
    """The value of an `_input` file in the canonical unit. Raises as `number`."""
    value = number(text)
    if quantity == "humidity_pct" and "." in text and value <= 100:
        return float(value)  # an old kernel: air is never below 0.1 %RH
    return canonical(quantity, value)


def scaled(quantity: str, raw: Decimal, offset: Decimal, scale: Decimal | None) -> float:
    """The value of `_raw`, `_offset` and `_scale` files in the canonical unit.

    Args:
        quantity: what it is.
        raw: counts.
        offset: added to them.
        scale: unit of the ABI per count; None where there is no such file: then counts are in that unit, except for
            gas, where they are ppm.
    """
    if scale is None and quantity == "co2_ppm":
        return float(raw + offset)
    return canonical(quantity, (raw + offset) * (Decimal(1) if scale is None else scale))


# The device


def readers(bus: Sysfs, entry: str, files: frozenset[str]) -> Mapping[str, Reader]:
    """A reader for each quantity of a device. Scale and offset are constant and are read here."""
    found: dict[str, Reader] = {}
    for quantity, stems in STEMS.items():
        for stem in stems:
            path = f"{entry}/{stem}"
            if f"{stem}_input" in files:
                found[quantity] = partial(_read_processed, bus, quantity, f"{path}_input")
            elif f"{stem}_raw" in files:
                offset = number(bus.read(f"{path}_offset")) if f"{stem}_offset" in files else Decimal(0)
                scale = number(bus.read(f"{path}_scale")) if f"{stem}_scale" in files else None
                found[quantity] = partial(_read_scaled, bus, quantity, f"{path}_raw", offset, scale)
            else:
                continue
            break
    return found


def _read_processed(bus: Sysfs, quantity: str, path: str) -> float:
    return processed(quantity, bus.read(path))


def _read_scaled(bus: Sysfs, quantity: str, path: str, offset: Decimal, scale: Decimal | None) -> float:
    return scaled(quantity, number(bus.read(path)), offset, scale)


_OFFERED: Final = (
    Measured("temperature_c", -90.0, 200.0),
    Measured("humidity_pct", 0.0, 100.0),
    Measured("pressure_pa", 1_000.0, 200_000.0),
    Measured("co2_ppm", 0.0, 40_000.0),
)
"""Without accuracy, which the kernel does not show."""


@dataclass(frozen=True, slots=True)
class IioOptions:
    """Which device, by the kernel's `name` (`bme280`) and if needed by `device` (`1-0077`); which quantities."""

    name: str | None = None
    device: str | None = None
    quantities: tuple[str, ...] = ("temperature_c", "humidity_pct", "pressure_pa")

    def __post_init__(self) -> None:
        """Check the quantities. Raises ValueError."""
        checked_quantities(self.quantities, _OFFERED)


def measures(options: IioOptions) -> tuple[Measured, ...]:
    """The quantities that are configured."""
    return checked_quantities(options.quantities, _OFFERED)


def open_iio(bus: Sysfs, address: int, options: IioOptions) -> KernelDevice:
    """Make the driver of a device below /sys/bus/iio/devices; it has no address."""
    del address
    return KernelDevice(bus, Wanted(PREFIX, options.name, options.device, measures(options)), readers)


DRIVERS: Final = (
    DriverInfo(
        name="iio",
        title="any chip with a kernel driver of Industrial I/O",
        source="Linux Documentation/ABI/testing/sysfs-bus-iio",
        bus=BusKind.SYSFS,
        addresses=(),
        quantities=_OFFERED,
        options=IioOptions,
        open=open_iio,
        shortest_period_s=0.1,
        find=find_devices(PREFIX, readers, IioOptions().quantities),
        device="/sys/bus/iio/devices",
        narrow=measures,
    ),
)
