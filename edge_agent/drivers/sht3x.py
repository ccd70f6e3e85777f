"""Sensirion SHT30, SHT31 and SHT35: temperature and humidity.

Source: Datasheet SHT3x-DIS, version 6 (sections 2.2, 4.3, 4.9 to 4.13). I2C address 0x44 (ADDR low) or 0x45. Single
shot without clock stretching, which is not reliable on a Pi: a busy chip does not acknowledge. The heater is off after
`probe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.sensirion import (
    NO_CONVERSION,
    SHT3X_STATUS,
    SHT4X_SERIAL,
    checked_words,
    read_words,
    understands,
)
from edge_agent.errors import ChipWasReset, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Commands: sections 4.3, 4.8, 4.9, 4.11.
BREAK: Final = b"\x30\x93"
SOFT_RESET: Final = b"\x30\xa2"
CLEAR_STATUS: Final = b"\x30\x41"

BREAK_NS: Final = 1_000_000
SOFT_RESET_NS: Final = 1_500_000
"""Section 2.2, t_SR at low supply."""

Repeatability = Literal["high", "medium", "low"]
SINGLE_SHOT: Final[dict[str, tuple[bytes, int]]] = {
    "high": (b"\x24\x00", 15_500_000),
    "medium": (b"\x24\x0b", 6_500_000),
    "low": (b"\x24\x16", 4_500_000),
}
"""Command, and longest conversion in ns at low supply (section 2.2, table 4; section 4.3, table 9)."""

# Status: section 4.11, table 18.
HEATER_BIT: Final = 0x2000
RESET_BIT: Final = 0x0010

# Datasheet maths


def temperature_c(raw: int) -> float | None:
    """Temperature in °C (section 4.13); None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else -45.0 + 175.0 * raw / 65535.0


def humidity_pct(raw: int) -> float | None:
    """Relative humidity in %, 0..100 (section 4.13); None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else 100.0 * raw / 65535.0


def decode(reply: bytes) -> tuple[float | None, float | None]:
    """Turn the six bytes of a measurement into °C and %RH. Raises as `checked_words` does."""
    temperature_raw, humidity_raw = checked_words(reply, 2)
    return temperature_c(temperature_raw), humidity_pct(humidity_raw)


# The chip


@dataclass(frozen=True, slots=True)
class Sht3xOptions:
    """Averaging of a conversion: high takes 15.5 ms; low takes 4.5 ms and has more noise."""

    repeatability: Repeatability = "high"


class Sht3x:
    """One SHT30, SHT31 or SHT35.

    Args:
        bus: its adapter.
        address: 0x44 or 0x45.
        options: repeatability.
    """

    def __init__(self, bus: I2CBus, address: int, options: Sht3xOptions) -> None:
        self._bus = bus
        self._address = address
        self._command, self._conversion_ns = SINGLE_SHOT[options.repeatability]
        self._refusals = 0
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Leave periodic mode if another program set it, reset (heater off), read the status and clear it."""
        try:
            self._send(BREAK)
        except NoAcknowledge:
            if understands(self._bus, self._address, SHT4X_SERIAL, 2):
                raise WrongChip(f'{self._address:#04x} is an SHT4x, not an SHT3x: set driver = "sht4x"') from None
            raise
        yield BREAK_NS
        self._send(SOFT_RESET)
        yield SOFT_RESET_NS
        read_words(self._bus, self._address, SHT3X_STATUS, 1)
        self._send(CLEAR_STATUS)

    def trigger(self) -> int:
        """Start one conversion. Returns the longest time it takes, ns."""
        self._refusals = 0
        self._send(self._command)
        return self._conversion_ns

    def collect(self) -> tuple[float | None, ...]:
        """Read the conversion.

        Raises:
            NotReady: no acknowledge, which means that the chip is busy.
            ChipWasReset: it still has no reply when asked again, and its status shows a reset or the heater on.
            ChecksumMismatch, BadReply: the bytes are damaged.
        """
        try:
            reply = self._receive(6)
        except NoAcknowledge as error:
            self._refusals += 1
            # Asking for the status would drop a conversion that has just ended, so not at the first refusal.
            if self._refusals > 1:
                self._look_for_reset()
            raise NotReady("the chip does not acknowledge: still converting, or it lost power") from error
        return decode(reply)

    def _look_for_reset(self) -> None:
        try:
            (status,) = read_words(self._bus, self._address, SHT3X_STATUS, 1)
        except NoAcknowledge:
            return
        if status & (RESET_BIT | HEATER_BIT):
            raise ChipWasReset(f"the status reads {status:#06x}: the chip was reset (supply dip?) or its heater is on")

    def _send(self, command: bytes) -> None:
        self._bus.transfer(self._address, command, 0)

    def _receive(self, count: int) -> bytes:
        return self._bus.transfer(self._address, b"", count)


def recognise(bus: I2CBus, address: int) -> str | None:
    """By the checksum over its status word; the request is a command of two bytes."""
    read_words(bus, address, SHT3X_STATUS, 1)
    return "SHT30, SHT31 or SHT35"


DRIVERS: Final = (
    DriverInfo(
        name="sht3x",
        title="Sensirion SHT30, SHT31, SHT35",
        source="Datasheet SHT3x-DIS, version 6",
        bus=BusKind.I2C,
        addresses=(0x44, 0x45),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.01, accuracy=0.2, lsb=0.00267),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=2.0, lsb=0.00153),
        ),
        options=Sht3xOptions,
        open=Sht3x,
        conversion_s=0.0155,
        checksum=True,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=2,
    ),
)
