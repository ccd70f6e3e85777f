"""Sensirion SHT40, SHT41, SHT43 and SHT45: temperature and humidity.

Source: Datasheet SHT4x, version 6.6 (sections 3.1, 4.1, 4.4 to 4.6, 4.8). I2C address by order code: 0x44, 0x45 or
0x46. Commands of one byte; no clock stretching: a busy chip does not acknowledge. The heater runs only within its own
commands, which are never sent.

Limits:
    The chip has no settings, so a supply dip between two polls is not noticed and does no harm.
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
from edge_agent.errors import NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

SOFT_RESET: Final = b"\x94"
SOFT_RESET_NS: Final = 1_000_000
"""Section 3.1, t_SR; also the wait for the serial number."""

Repeatability = Literal["high", "medium", "low"]
MEASURE: Final[dict[str, tuple[bytes, int]]] = {
    "high": (b"\xfd", 8_300_000),
    "medium": (b"\xf6", 4_500_000),
    "low": (b"\xe0", 1_600_000),
}
"""Command, and longest conversion in ns (section 3.1, table 5; section 4.5, table 8)."""

# Datasheet maths


def temperature_c(raw: int) -> float | None:
    """Temperature in °C (section 4.6); None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else -45.0 + 175.0 * raw / 65535.0


def humidity_pct(raw: int) -> float | None:
    """Relative humidity in %, 0..100; None for a word at an end of the scale.

    The formula gives -6 to 119 %; the result is limited to 0..100 (section 4.6).
    """
    return None if raw in NO_CONVERSION else min(100.0, max(0.0, -6.0 + 125.0 * raw / 65535.0))


def decode(reply: bytes) -> tuple[float | None, float | None]:
    """Turn the six bytes of a measurement into °C and %RH. Raises as `checked_words` does."""
    temperature_raw, humidity_raw = checked_words(reply, 2)
    return temperature_c(temperature_raw), humidity_pct(humidity_raw)


# The chip


@dataclass(frozen=True, slots=True)
class Sht4xOptions:
    """Averaging of a conversion: high takes 8.3 ms; low takes 1.6 ms and has more noise."""

    repeatability: Repeatability = "high"


class Sht4x:
    """One SHT40, SHT41, SHT43 or SHT45.

    Args:
        bus: its adapter.
        address: 0x44, 0x45 or 0x46.
        options: repeatability.
    """

    def __init__(self, bus: I2CBus, address: int, options: Sht4xOptions) -> None:
        self._bus = bus
        self._address = address
        self._command, self._conversion_ns = MEASURE[options.repeatability]
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Identify by the serial number, and reset."""
        self._send(SHT4X_SERIAL)
        yield SOFT_RESET_NS
        try:
            serial = self._receive(6)
        except NoAcknowledge:
            if understands(self._bus, self._address, SHT3X_STATUS, 1):
                raise WrongChip(f'{self._address:#04x} is an SHT3x, not an SHT4x: set driver = "sht3x"') from None
            raise
        checked_words(serial, 2)
        self._send(SOFT_RESET)
        yield SOFT_RESET_NS

    def trigger(self) -> int:
        """Start one conversion. Returns the longest time it takes, ns."""
        self._send(self._command)
        return self._conversion_ns

    def collect(self) -> tuple[float | None, ...]:
        """Read the conversion.

        Raises:
            NotReady: no acknowledge, which means that the chip is busy.
            ChecksumMismatch, BadReply: the bytes are damaged.
        """
        try:
            reply = self._receive(6)
        except NoAcknowledge as error:
            raise NotReady("the chip does not acknowledge: still converting, or it lost power") from error
        return decode(reply)

    def _send(self, command: bytes) -> None:
        self._bus.transfer(self._address, command, 0)

    def _receive(self, count: int) -> bytes:
        return self._bus.transfer(self._address, b"", count)


def recognise(bus: I2CBus, address: int) -> str | None:
    """By the checksums over its serial number; the request is a command of one byte."""
    read_words(bus, address, SHT4X_SERIAL, 2)
    return "SHT40, SHT41, SHT43 or SHT45"


DRIVERS: Final = (
    DriverInfo(
        name="sht4x",
        title="Sensirion SHT40, SHT41, SHT43, SHT45",
        source="Datasheet SHT4x, version 6.6",
        bus=BusKind.I2C,
        addresses=(0x44, 0x45, 0x46),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.01, accuracy=0.2, lsb=0.00267),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=1.8, lsb=0.00191),
        ),
        options=Sht4xOptions,
        open=Sht4x,
        conversion_s=0.0083,
        checksum=True,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=1,
    ),
)
