"""Sensirion SHTC3: temperature and humidity.

Source: Datasheet SHTC3, version 4 (sections 3.1, 5.1 to 5.10). I2C address 0x70, which is also the default of the
multiplexer TCA9548A. The chip sleeps between polls, to avoid self-heating; a poll is wake, measure, read, sleep.
Commands without clock stretching: a busy or sleeping chip does not acknowledge.

Limits:
    The chip has no settings, so a supply dip between two polls is not noticed and does no harm.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.sensirion import NO_CONVERSION, checked_words, read_words
from edge_agent.errors import ChecksumMismatch, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Commands: sections 5.3, 5.5, 5.8, 5.9.
WAKE: Final = b"\x35\x17"
SLEEP: Final = b"\xb0\x98"
SOFT_RESET: Final = b"\x80\x5d"
READ_ID: Final = b"\xef\xc8"
MEASURE: Final = b"\x78\x66"
MEASURE_LOW_POWER: Final = b"\x60\x9c"

WAKE_NS: Final = 240_000
"""Section 3.1, t_PU and t_SR."""
MEASURE_NS: Final = 12_100_000
MEASURE_LOW_POWER_NS: Final = 800_000
"""Section 3.1, t_MEAS at most."""

ID_MASK: Final = 0x083F
ID: Final = 0x0807
"""Section 5.9; the other bits differ from chip to chip."""

# Datasheet maths


def temperature_c(raw: int) -> float | None:
    """Temperature in °C (section 5.10); None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else -45.0 + 175.0 * raw / 65536.0


def humidity_pct(raw: int) -> float | None:
    """Relative humidity in %, 0..100 (section 5.10); None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else 100.0 * raw / 65536.0


def decode(reply: bytes) -> tuple[float | None, float | None]:
    """Turn the six bytes of a measurement into °C and %RH. Raises as `checked_words` does."""
    temperature_raw, humidity_raw = checked_words(reply, 2)
    return temperature_c(temperature_raw), humidity_pct(humidity_raw)


# The chip


@dataclass(frozen=True, slots=True)
class Shtc3Options:
    """Low power measures in 0.8 ms instead of 12.1 ms, with more noise."""

    low_power: bool = False


class Shtc3:
    """One SHTC3.

    Args:
        bus: its adapter.
        address: 0x70.
        options: low power.
    """

    def __init__(self, bus: I2CBus, address: int, options: Shtc3Options) -> None:
        self._bus = bus
        self._address = address
        self._command = MEASURE_LOW_POWER if options.low_power else MEASURE
        self._conversion_ns = MEASURE_LOW_POWER_NS if options.low_power else MEASURE_NS
        self._measuring = False
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Check that it is not a multiplexer, wake, reset, identify, and send it to sleep."""
        if _answers_unasked(self._bus, self._address):
            raise WrongChip(
                f"{self._address:#04x} answers without a question, as a TCA9548A multiplexer does and an SHTC3 never: "
                "move one of them, the multiplexer has address pins"
            )
        self._send(WAKE)
        yield WAKE_NS
        self._send(SOFT_RESET)
        yield WAKE_NS
        (identity,) = read_words(self._bus, self._address, READ_ID, 1)
        if identity & ID_MASK != ID:
            raise WrongChip(f"{self._address:#04x} has the id {identity:#06x} and is no SHTC3: an SHTC1 or SHTW1?")
        self._send(SLEEP)

    def trigger(self) -> int:
        """Wake the chip. Returns the time that takes, ns; the conversion begins with the first `collect`."""
        self._measuring = False
        self._send(WAKE)
        return WAKE_NS

    def collect(self) -> tuple[float | None, ...]:
        """Start the conversion; when it is done read it, and send the chip to sleep.

        Raises:
            NotReady: just started; or no acknowledge, which means that the chip is busy.
            ChecksumMismatch, BadReply: the bytes are damaged.
        """
        try:
            if not self._measuring:
                self._send(self._command)
                self._measuring = True
                raise NotReady("the conversion has just begun", wait_ns=self._conversion_ns)
            reply = self._bus.transfer(self._address, b"", 6)
        except NoAcknowledge as error:
            raise NotReady("the chip does not acknowledge: asleep, still converting, or it lost power") from error
        with contextlib.suppress(NoAcknowledge):  # the measurement has been read already
            self._send(SLEEP)
        return decode(reply)

    def _send(self, command: bytes) -> None:
        self._bus.transfer(self._address, command, 0)


def _answers_unasked(bus: I2CBus, address: int) -> bool:
    """Whether a read without a command is answered, and not with a measurement that was not read before."""
    try:
        checked_words(bus.transfer(address, b"", 6), 2)
    except NoAcknowledge:
        return False
    except ChecksumMismatch:
        return True
    return False


_WAKING_LOOKS: Final = 4


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its id, after waking it up. Sends nothing to a chip that may be a multiplexer."""
    if _answers_unasked(bus, address):
        return None
    bus.transfer(address, WAKE, 0)
    for look in range(1, _WAKING_LOOKS + 1):
        try:
            (identity,) = read_words(bus, address, READ_ID, 1)
        except NoAcknowledge:
            # Each refused address takes 0.1 ms, so a few tries are longer than the wake-up time.
            if look == _WAKING_LOOKS:
                raise
        else:
            return "SHTC3" if identity & ID_MASK == ID else None
    return None


DRIVERS: Final = (
    DriverInfo(
        name="shtc3",
        title="Sensirion SHTC3",
        source="Datasheet SHTC3, version 4",
        bus=BusKind.I2C,
        addresses=(0x70,),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.01, accuracy=0.2, lsb=0.00267),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=2.0, lsb=0.00153),
        ),
        options=Shtc3Options,
        open=Shtc3,
        conversion_s=0.00024,
        checksum=True,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=3,
    ),
)
