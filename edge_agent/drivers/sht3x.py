"""Sensirion SHT30, SHT31 and SHT35: temperature and humidity.

Source: Datasheet SHT3x-DIS, version 6 (sections 2.2, 4.3, 4.9 to 4.13). I2C address 0x44 (ADDR low) or 0x45.
Single shot without clock stretching, which the Pi's adapter cannot do reliably: a busy chip does not
acknowledge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.checksum import crc8_sensirion
from edge_agent.errors import BadReply, ChecksumMismatch, NoAcknowledge, NotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Commands: sections 4.3, 4.8, 4.9, 4.11.
BREAK: Final = b"\x30\x93"
SOFT_RESET: Final = b"\x30\xa2"
READ_STATUS: Final = b"\xf3\x2d"

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

_FLOATING: Final = frozenset({0x0000, 0xFFFF})
"""Words that are no conversion: exactly -45 or 130 °C, 0 or 100 %RH; a dead sensor element or power-up."""

# Datasheet maths


def checked_words(reply: bytes, count: int) -> tuple[int, ...]:
    """Split a reply into 16-bit words, each followed by its checksum.

    Raises:
        BadReply: not `count` words long.
        ChecksumMismatch: a word was damaged.
    """
    if len(reply) != 3 * count:
        raise BadReply(f"{len(reply)} bytes where {3 * count} were expected: {reply.hex()}")
    words: list[int] = []
    for start in range(0, len(reply), 3):
        word, received = reply[start : start + 2], reply[start + 2]
        expected = crc8_sensirion(word)
        if received != expected:
            raise ChecksumMismatch(expected=expected, received=received, raw=reply)
        words.append(int.from_bytes(word))
    return tuple(words)


def temperature_c(raw: int) -> float | None:
    """Temperature in °C (section 4.13); None for a word that no conversion gives."""
    return None if raw in _FLOATING else -45.0 + 175.0 * raw / 65535.0


def humidity_pct(raw: int) -> float | None:
    """Relative humidity in %, 0..100 (section 4.13); None for a word that no conversion gives."""
    return None if raw in _FLOATING else 100.0 * raw / 65535.0


def decode(reply: bytes) -> tuple[float | None, float | None]:
    """Turn the six bytes of a measurement into °C and %RH. Raises as `checked_words` does."""
    temperature_raw, humidity_raw = checked_words(reply, 2)
    return temperature_c(temperature_raw), humidity_pct(humidity_raw)


# The chip


@dataclass(frozen=True, slots=True)
class Sht3xOptions:
    """How long a conversion may average: high takes 15.5 ms, low 4.5 ms and is noisier."""

    repeatability: Repeatability = "high"


class Sht3x:
    """One SHT30, SHT31 or SHT35.

    Args:
        bus: adapter that it hangs on.
        address: 0x44 or 0x45.
        options: repeatability.
    """

    def __init__(self, bus: I2CBus, address: int, options: Sht3xOptions) -> None:
        self._bus = bus
        self._address = address
        self._command, self._conversion_ns = SINGLE_SHOT[options.repeatability]
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Leave periodic mode if another program set it, reset (heater off), and read the status."""
        self._send(BREAK)
        yield BREAK_NS
        self._send(SOFT_RESET)
        yield SOFT_RESET_NS
        self._send(READ_STATUS)
        checked_words(self._receive(3), 1)

    def trigger(self) -> int:
        """Start one conversion. Returns the longest time it takes, ns."""
        self._send(self._command)
        return self._conversion_ns

    def collect(self) -> tuple[float | None, ...]:
        """Read the conversion.

        Raises:
            NotReady: no acknowledge, which is how the chip says that it is busy.
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
    """By the checksum over its status word; the request is a command of two bytes."""
    bus.transfer(address, READ_STATUS, 0)
    checked_words(bus.transfer(address, b"", 3), 1)
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
