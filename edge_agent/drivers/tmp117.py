"""Texas Instruments TMP117 and TMP119: temperature.

Source: TMP117 datasheet SNOSD82D (sections 7.3, 7.4, 7.6). I2C address 0x48 to 0x4B. One-shot: one conversion per poll
avoids self-heating. Nothing is written to its EEPROM, so an offset stored there stays in effect.

Limits:
    All ones are a value, -0.0078 °C; a line that is not driven is noticed by the configuration, which is read too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Registers: section 7.6.
RESULT: Final = 0x00
CONFIG: Final = 0x01
DEVICE_ID: Final = 0x0F

DEVICE_ID_MASK: Final = 0x0FFF
"""The upper four bits are the revision: 0 on a TMP117, 2 on a TMP119."""
TMP117_ID: Final = 0x0117

# Bits of the configuration: section 7.6.1.2.
DATA_READY: Final = 0x2000
EEPROM_BUSY: Final = 0x1000
ONE_SHOT: Final = 0b11 << 10
SHUTDOWN: Final = 0b01 << 10
RESET: Final = 0x0002
_SETTINGS: Final = 0x0FFE
"""Bits that read back as written: mode, cycle, averaging, alert pin."""

RESET_NS: Final = 2_000_000
STARTUP_LOOKS: Final = 5

NEVER_CONVERTED: Final = b"\x80\x00"

Averaging = Literal[1, 8, 32, 64]
_AVERAGING: Final = {1: 0b00, 8: 0b01, 32: 0b10, 64: 0b11}
_SINGLE_NS: Final = 17_500_000
"""Section 6.5, longest active conversion."""

# Datasheet maths


def temperature_c(raw: bytes) -> float | None:
    """Temperature in °C from the two bytes of the result (section 7.6.1.1); None for the power-on value."""
    return None if raw == NEVER_CONVERTED else int.from_bytes(raw, signed=True) * 0.0078125


# The chip


@dataclass(frozen=True, slots=True)
class Tmp117Options:
    """Number of conversions averaged into one value: 8 take 140 ms, with a noise of about one count, 0.0078 °C."""

    averaging: Averaging = 8


class Tmp117:
    """One TMP117 or TMP119.

    Args:
        bus: its adapter.
        address: 0x48 to 0x4B.
        options: averaging.
    """

    def __init__(self, bus: I2CBus, address: int, options: Tmp117Options) -> None:
        self._bus = bus
        self._address = address
        self._averaging = _AVERAGING[options.averaging] << 5
        self._conversion_ns = _SINGLE_NS * options.averaging
        self.quantities: tuple[str, ...] = ("temperature_c",)

    def probe(self) -> Iterator[int]:
        """Identify, reset, and set shutdown mode."""
        identity = self._read(DEVICE_ID)
        if identity & DEVICE_ID_MASK != TMP117_ID:
            raise WrongChip(
                f"{self._address:#04x} has the device id {identity:#06x} and is no TMP117: "
                "an LM75, TMP102 or TMP1075? `edge-agent scan` may name it"
            )
        self._write(CONFIG, RESET)
        yield RESET_NS
        for look in range(1, STARTUP_LOOKS + 1):
            if not self._read(CONFIG) & EEPROM_BUSY:
                break
            if look == STARTUP_LOOKS:
                raise BadReply("the chip does not finish reading its EEPROM after a reset: check its supply")
            yield RESET_NS
        self._write(CONFIG, SHUTDOWN | self._averaging)

    def trigger(self) -> int:
        """Start one conversion. Returns the longest time it takes, ns."""
        self._write(CONFIG, ONE_SHOT | self._averaging)
        return self._conversion_ns

    def collect(self) -> tuple[float | None, ...]:
        """Read the configuration, which shows whether the conversion is done, and the result.

        Raises:
            NotReady: the conversion is still running, or was read before.
            ChipWasReset: it has lost its configuration.
        """
        config = self._read(CONFIG)
        if config & _SETTINGS == ONE_SHOT | self._averaging:
            raise NotReady("the conversion is still running")
        if config & _SETTINGS != SHUTDOWN | self._averaging:
            raise ChipWasReset(
                f"the configuration reads {config:#06x} where {SHUTDOWN | self._averaging:#06x} is expected: "
                "the chip was reset (supply dip?) or does not drive the bus"
            )
        if not config & DATA_READY:
            raise NotReady("there was no conversion since the last one was read")
        return (temperature_c(self._bus.transfer(self._address, bytes((RESULT,)), 2)),)

    def _read(self, register: int) -> int:
        return int.from_bytes(self._bus.transfer(self._address, bytes((register,)), 2))

    def _write(self, register: int, value: int) -> None:
        self._bus.transfer(self._address, bytes((register,)) + value.to_bytes(2), 0)


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its device id."""
    identity = int.from_bytes(bus.transfer(address, bytes((DEVICE_ID,)), 2))
    if identity & DEVICE_ID_MASK != TMP117_ID:
        return None
    return "TMP119" if identity >> 12 == 2 else "TMP117"


DRIVERS: Final = (
    DriverInfo(
        name="tmp117",
        title="Texas Instruments TMP117, TMP119",
        source="SNOSD82D",
        bus=BusKind.I2C,
        addresses=(0x48, 0x49, 0x4A, 0x4B),
        quantities=(Measured("temperature_c", -55.0, 150.0, resolution=0.005, accuracy=0.1, lsb=0.0078125),),
        options=Tmp117Options,
        open=Tmp117,
        conversion_s=0.14,
        shortest_period_s=0.2,
        recognise=recognise,
    ),
)
