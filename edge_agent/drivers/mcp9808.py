"""Microchip MCP9808: temperature.

Source: MCP9808 datasheet DS25095A (sections 5.1 to 5.2.4). I2C address 0x18 to 0x1F. The chip converts all the time.
The hysteresis of its alarm is set to 1.5 °C: after a supply dip it reads 0, and so the dip is noticed. The resolution
is 0.0625 °C, the finest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions
from edge_agent.errors import BadReply, ChipWasReset, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Registers: section 5.1, table 5-1.
CONFIG: Final = 0x01
TEMPERATURE: Final = 0x05
MANUFACTURER: Final = 0x06
DEVICE: Final = 0x07
RESOLUTION: Final = 0x08

MICROCHIP: Final = 0x0054
MCP9808_ID: Final = 0x04
"""The upper byte; the lower one is the revision."""

HYSTERESIS: Final = 0x0200
_SETTINGS: Final = 0x0700
"""Hysteresis and shutdown; the rest is about the alarm pin."""
LOCKS: Final = 0x00C0
FINEST: Final = 0x03

CONVERSION_NS: Final = 300_000_000
"""Section 1 gives a typical t_CONV of 250 ms, and no maximum."""

# Datasheet maths


def temperature_c(raw: bytes) -> float | None:
    """Temperature in °C from the two bytes of the register (section 5.1.3.1).

    The upper three bits are flags of the alarm. All ones, which would be above and below the limits at the same time,
    come from a line that is not driven: None.
    """
    word = int.from_bytes(raw)
    if word == 0xFFFF:
        return None
    return (word & 0x0FFF) / 16.0 - (256.0 if word & 0x1000 else 0.0)


# The chip


class Mcp9808:
    """One MCP9808.

    Args:
        bus: its adapter.
        address: 0x18 to 0x1F.
        options: none.
    """

    def __init__(self, bus: I2CBus, address: int, options: NoOptions) -> None:
        del options
        self._bus = bus
        self._address = address
        self.quantities: tuple[str, ...] = ("temperature_c",)

    def probe(self) -> Iterator[int]:
        """Identify, configure, and wait for a conversion."""
        maker, device = _identity(self._bus, self._address)
        if (maker, device) != (MICROCHIP, MCP9808_ID):
            raise WrongChip(
                f"{self._address:#04x} has the maker {maker:#06x} and the device id {device:#04x}, and is no MCP9808: "
                "an accelerometer, or another thermometer of memory modules?"
            )
        self._bus.transfer(self._address, bytes((RESOLUTION, FINEST)), 0)
        self._bus.transfer(self._address, bytes((CONFIG,)) + HYSTERESIS.to_bytes(2), 0)
        config = self._config()
        if config & _SETTINGS != HYSTERESIS:
            why = (
                "somebody has locked its alarm: switch its supply off and on" if config & LOCKS else "check its supply"
            )
            raise BadReply(f"the configuration reads {config:#06x} where {HYSTERESIS:#06x} was written; {why}")
        yield CONVERSION_NS

    def trigger(self) -> int:
        """Start nothing: the chip converts all the time. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read the configuration and the latest conversion.

        Raises:
            ChipWasReset: it has lost its configuration.
        """
        config = self._config()
        if config & _SETTINGS != HYSTERESIS:
            raise ChipWasReset(
                f"the configuration reads {config:#06x} where {HYSTERESIS:#06x} was written: "
                "the chip was reset (supply dip?) or does not drive the bus"
            )
        return (temperature_c(self._bus.transfer(self._address, bytes((TEMPERATURE,)), 2)),)

    def _config(self) -> int:
        return int.from_bytes(self._bus.transfer(self._address, bytes((CONFIG,)), 2))


def _identity(bus: I2CBus, address: int) -> tuple[int, int]:
    """Maker, and the upper byte of the device id."""
    maker = int.from_bytes(bus.transfer(address, bytes((MANUFACTURER,)), 2))
    return maker, bus.transfer(address, bytes((DEVICE,)), 2)[0]


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its identity."""
    return "MCP9808" if _identity(bus, address) == (MICROCHIP, MCP9808_ID) else None


DRIVERS: Final = (
    DriverInfo(
        name="mcp9808",
        title="Microchip MCP9808",
        source="DS25095A",
        bus=BusKind.I2C,
        addresses=tuple(range(0x18, 0x20)),
        quantities=(Measured("temperature_c", -40.0, 125.0, resolution=0.0625, accuracy=0.25, lsb=0.0625),),
        options=NoOptions,
        open=Mcp9808,
        shortest_period_s=0.25,
        recognise=recognise,
    ),
)
