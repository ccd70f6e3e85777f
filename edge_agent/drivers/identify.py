"""Which chip answers at an address: the drivers for that address are tried, the least harmful one first.

Limits:
    A TCA9548A multiplexer at 0x76 or 0x77 takes the register numbers read there for channel masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import BusError, DriverError, NoAcknowledge, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.bus.base import I2CBus
    from edge_agent.drivers.base import DriverInfo

_OTHERS: Final = (
    (range(0x20, 0x28), "I/O expander, BH1750 light sensor?"),
    (range(0x3C, 0x3E), "OLED display?"),
    (range(0x40, 0x48), "INA219 power meter?"),
    (range(0x48, 0x50), "ADS1115 or PCF8591 converter?"),
    (range(0x50, 0x58), "EEPROM?"),
    (range(0x68, 0x6A), "real-time clock?"),
    (range(0x70, 0x78), "TCA9548A multiplexer?"),
)
"""Address range → common chips there that no driver reads."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The chip at an address.

    Attributes:
        driver: name of the driver that reads it; None where the chip is not known.
        title: for people.
    """

    driver: str | None
    title: str


def identify(bus: I2CBus, address: int, drivers: Iterable[DriverInfo]) -> Identity:
    """Identify the chip at `address`, as far as that is safe.

    Raises:
        BusDenied: a kernel driver owns the address. BusTimeout, BusGone: the bus failed.
    """
    here = [info for info in drivers if info.bus is BusKind.I2C and address in info.addresses]
    for info in sorted(here, key=lambda info: (info.recognise_rank, info.name)):
        if info.recognise is None:
            continue
        try:
            name = info.recognise(bus, address)
        except (NoAcknowledge, DriverError):
            continue
        if name is not None:
            return Identity(info.name, name)
    maybe = [info.name for info in here] + [hint for addresses, hint in _OTHERS if address in addresses]
    return Identity(None, f"unknown; usual here: {', '.join(maybe) or 'nothing'}")


def locate_lost(bus: I2CBus, info: DriverInfo, address: int, taken: frozenset[int], error: Exception) -> str:
    """A hint for finding a lost chip. Called once per loss, because it disturbs the bus.

    Args:
        bus: where it should be.
        info: its driver.
        address: where it should answer.
        taken: addresses of other sensors on the bus, which are not used.
        error: that reported the loss.

    Returns:
        The end of a sentence, e.g. `; a BMP280 answers at 0x77`; empty if there is nothing to say.
    """
    try:
        if isinstance(error, WrongChip):
            if "driver = " in str(error):
                return ""  # the driver has named it already
            found = identify(bus, address, all_drivers().values())
            return f'; a {found.title} answers there: driver = "{found.driver}"' if found.driver else ""
        if not isinstance(error, NoAcknowledge):
            return ""
        for other in info.addresses:
            if other != address and other not in taken and bus.ping(other):
                found = identify(bus, other, all_drivers().values())
                name = f"a {found.title}" if found.driver else "something"
                return f"; {name} answers at {other:#04x}"
    except (BusError, DriverError):
        pass  # no hint then
    return ""
