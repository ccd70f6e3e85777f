"""Any thermometer or hygrometer that a kernel driver of hardware monitoring reads: SHT3x, SHT4x, LM75, TMP102, JC42.

Source: Linux Documentation/hwmon/sysfs-interface.rst (temperature in m°C, humidity in m%). No address: the device is
found by the kernel's name, because the number in `hwmonN` changes between starts.

Limits: reading may block while the kernel converts; many of its drivers repeat a value for up to a second.
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

PREFIX: Final = "hwmon"
FILES: Final = {"temperature_c": "temp", "humidity_pct": "humidity"}
"""Quantity → start of the names of its files, before the number."""
_MILLI: Final = Decimal("0.001")


def readers(bus: Sysfs, entry: str, files: frozenset[str], *, index: int) -> Mapping[str, Reader]:
    """A reader for each quantity of a device."""
    return {
        quantity: partial(_read, bus, f"{entry}/{stem}{index}", has_fault=f"{stem}{index}_fault" in files)
        for quantity, stem in FILES.items()
        if f"{stem}{index}_input" in files
    }


def _read(bus: Sysfs, path: str, *, has_fault: bool) -> float | None:
    """One value; None where the kernel reports a fault of the sensing element."""
    if has_fault and number(bus.read(f"{path}_fault")):
        return None
    return float(number(bus.read(f"{path}_input")) * _MILLI)


_OFFERED: Final = (
    Measured("temperature_c", -90.0, 200.0),
    Measured("humidity_pct", 0.0, 100.0),
)
"""Without accuracy, which the kernel does not show."""


@dataclass(frozen=True, slots=True)
class HwmonOptions:
    """Which device, by the kernel's `name` (`sht3x`) and if needed by `device` (`1-0044`); which quantities.

    `index` is the number in `temp1_input`, for devices with several elements.
    """

    name: str | None = None
    device: str | None = None
    index: int = 1
    quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def __post_init__(self) -> None:
        """Check quantities and index. Raises ValueError."""
        checked_quantities(self.quantities, _OFFERED)
        if not 1 <= self.index <= 99:
            raise ValueError(f"index must be 1 to 99, not {self.index}")


def measures(options: HwmonOptions) -> tuple[Measured, ...]:
    """The quantities that are configured."""
    return checked_quantities(options.quantities, _OFFERED)


def open_hwmon(bus: Sysfs, address: int, options: HwmonOptions) -> KernelDevice:
    """Make the driver of a device below /sys/class/hwmon; it has no address."""
    del address
    wanted = Wanted(PREFIX, options.name, options.device, measures(options))
    return KernelDevice(bus, wanted, partial(readers, index=options.index))


DRIVERS: Final = (
    DriverInfo(
        name="hwmon",
        title="any thermometer or hygrometer with a kernel driver of hardware monitoring",
        source="Linux Documentation/hwmon/sysfs-interface.rst",
        bus=BusKind.SYSFS,
        addresses=(),
        quantities=_OFFERED,
        options=HwmonOptions,
        open=open_hwmon,
        shortest_period_s=0.1,
        find=find_devices(PREFIX, partial(readers, index=1), HwmonOptions().quantities),
        device="/sys/class/hwmon",
        narrow=measures,
    ),
)
