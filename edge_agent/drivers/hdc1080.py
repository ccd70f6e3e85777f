"""Texas Instruments HDC1080, HDC1000 and HDC1008: temperature and humidity.

Source: HDC1080 datasheet SNAS672A (sections 6.5, 8.3 to 8.6). I2C address 0x40 (the older ones up to 0x43). Writing the
pointer of the temperature and a STOP start both conversions; a busy chip does not acknowledge.

Limits:
    Its settings are those of power-up, so a supply dip between two polls is not noticed and does no harm. A heater that
    is on is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions
from edge_agent.drivers.sht2x import driver_for
from edge_agent.errors import ChipWasReset, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Registers: section 8.6.
TEMPERATURE: Final = 0x00
CONFIG: Final = 0x02
MANUFACTURER: Final = 0xFE
DEVICE: Final = 0xFF

TEXAS_INSTRUMENTS: Final = 0x5449
DEVICES: Final = {0x1050: "HDC1080", 0x1000: "HDC1000 or HDC1008"}

# Bits of the configuration: section 8.6.3.
RESET: Final = 0x8000
BOTH: Final = 0x1000
"""Temperature, then humidity, each at 14 bits, heater off."""
_SETTINGS: Final = 0xB700
"""Reset, heater, mode and resolutions; the other bits are reserved, or report the supply."""

STARTUP_NS: Final = 15_000_000
CONVERSION_NS: Final = 20_000_000
"""Section 6.5 gives typical times of 6.35 and 6.50 ms, and no maximum."""

_NO_CONVERSION: Final = frozenset({0x0000, 0xFFFC, 0xFFFF})
"""Results at an end of the scale, with or without the two bits that are always 0."""

# Datasheet maths


def temperature_c(raw: int) -> float | None:
    """Temperature in °C (section 8.6.1); None for a word at an end of the scale."""
    return None if raw in _NO_CONVERSION else raw * 165.0 / 65536.0 - 40.0


def humidity_pct(raw: int) -> float | None:
    """Relative humidity in %, 0..100 (section 8.6.2); None for a word at an end of the scale."""
    return None if raw in _NO_CONVERSION else raw * 100.0 / 65536.0


def decode(reply: bytes) -> tuple[float | None, float | None]:
    """Turn the four bytes of both results into °C and %RH."""
    return temperature_c(int.from_bytes(reply[0:2])), humidity_pct(int.from_bytes(reply[2:4]))


# The chip


class Hdc1080:
    """One HDC1080, HDC1000 or HDC1008.

    Args:
        bus: its adapter.
        address: 0x40 to 0x43.
        options: none.
    """

    def __init__(self, bus: I2CBus, address: int, options: NoOptions) -> None:
        del options
        self._bus = bus
        self._address = address
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Identify, reset (heater off), and set both conversions at the finest resolution."""
        try:
            device, maker = _identity(self._bus, self._address)
        except NoAcknowledge:
            name = driver_for(self._bus, self._address)
            raise WrongChip(f'{self._address:#04x} is no HDC1080: set driver = "{name or "sht2x"}"') from None
        if maker != TEXAS_INSTRUMENTS:
            raise WrongChip(f"{self._address:#04x} has the device id {device:#06x} and is no HDC1080: an INA219?")
        self._configure(RESET)
        yield STARTUP_NS
        self._configure(BOTH)

    def trigger(self) -> int:
        """Start both conversions. Returns the longest time they take, ns."""
        self._bus.transfer(self._address, bytes((TEMPERATURE,)), 0)
        return CONVERSION_NS

    def collect(self) -> tuple[float | None, ...]:
        """Read both results, then the configuration.

        Raises:
            NotReady: no acknowledge, which means that the chip is busy.
            ChipWasReset: the configuration has changed; the heater may be on.
        """
        try:
            reply = self._bus.transfer(self._address, b"", 4)
        except NoAcknowledge as error:
            raise NotReady("the chip does not acknowledge: still converting, or it lost power") from error
        config = int.from_bytes(self._bus.transfer(self._address, bytes((CONFIG,)), 2))
        if config & _SETTINGS != BOTH:
            raise ChipWasReset(
                f"the configuration reads {config:#06x} where {BOTH:#06x} was written: "
                "heater on, a disturbance, or the chip does not drive the bus"
            )
        return decode(reply)

    def _configure(self, value: int) -> None:
        self._bus.transfer(self._address, bytes((CONFIG,)) + value.to_bytes(2), 0)


def _identity(bus: I2CBus, address: int) -> tuple[int, int]:
    """Device id and maker id. The maker id is read only for the right device, otherwise 0: it would reset an SHT2x."""
    device = int.from_bytes(bus.transfer(address, bytes((DEVICE,)), 2))
    if device not in DEVICES:
        return device, 0
    return device, int.from_bytes(bus.transfer(address, bytes((MANUFACTURER,)), 2))


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its identity."""
    device, maker = _identity(bus, address)
    return DEVICES[device] if maker == TEXAS_INSTRUMENTS else None


DRIVERS: Final = (
    DriverInfo(
        name="hdc1080",
        title="Texas Instruments HDC1080, HDC1000, HDC1008",
        source="SNAS672A",
        bus=BusKind.I2C,
        addresses=(0x40, 0x41, 0x42, 0x43),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.01, accuracy=0.2, lsb=0.01007),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=2.0, lsb=0.0061),
        ),
        options=NoOptions,
        open=Hdc1080,
        conversion_s=0.02,
        shortest_period_s=0.5,
        stuck_after=30,
        recognise=recognise,
    ),
)
