"""Sensirion SCD40, SCD41 and SCD43: carbon dioxide, temperature and humidity.

Source: Datasheet SCD4x, version 1.7 (sections 3.2 to 3.12). I2C address 0x62. The chip measures by itself every 5 s, in
low power every 30 s, and gives each measurement once. Settings are written to its RAM only, never to its EEPROM, which
is specified for 2000 writes.

Limits:
    A chip that lost power has stopped measuring. It is recognised by its serial number, which a measuring chip does not
    give.
    Self-heating raises the temperature and lowers the humidity, unless the offset fits the housing (4 °C by default).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.clock import NS_PER_S
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.sensirion import NO_CONVERSION, checked_words, read_words, with_checksum
from edge_agent.errors import ChipWasReset, NoAcknowledge, NotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Commands: sections 3.5 to 3.12, table 9.
START: Final = b"\x21\xb1"
START_LOW_POWER: Final = b"\x21\xac"
READ: Final = b"\xec\x05"
STOP: Final = b"\x3f\x86"
DATA_READY: Final = b"\xe4\xb8"
SET_TEMPERATURE_OFFSET: Final = b"\x24\x1d"
SET_ALTITUDE: Final = b"\x24\x27"
SET_PRESSURE: Final = b"\xe0\x00"
REINIT: Final = b"\x36\x46"
SERIAL: Final = b"\x36\x82"
WAKE: Final = b"\x36\xf6"
"""Never acknowledged."""

COMMAND_NS: Final = 1_000_000
STOP_NS: Final = 500_000_000
REINIT_NS: Final = 30_000_000
WAKE_NS: Final = 30_000_000
INTERVAL_NS: Final = 5_000_000_000
INTERVAL_LOW_POWER_NS: Final = 30_000_000_000

# Datasheet maths


def temperature_c(raw: int) -> float | None:
    """Temperature in °C (section 3.6.2); None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else -45.0 + 175.0 * raw / 65535.0


def humidity_pct(raw: int) -> float | None:
    """Relative humidity in %, 0..100 (section 3.6.2); None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else 100.0 * raw / 65535.0


def co2_ppm(raw: int) -> float | None:
    """Carbon dioxide in ppm; None for a word at an end of the scale."""
    return None if raw in NO_CONVERSION else float(raw)


def decode(reply: bytes) -> tuple[float | None, float | None, float | None]:
    """Turn the nine bytes of a measurement into ppm, °C and %RH. Raises as `checked_words` does."""
    co2_raw, temperature_raw, humidity_raw = checked_words(reply, 3)
    return co2_ppm(co2_raw), temperature_c(temperature_raw), humidity_pct(humidity_raw)


# The chip


@dataclass(frozen=True, slots=True)
class Scd4xOptions:
    """Measuring interval, and corrections for the place.

    Values beyond the limits of the chip are set to its limit. Values that are not given stay as stored in the chip.

    Attributes:
        low_power: measure every 30 s instead of every 5 s; `period_s` is 30 or more then.
        temperature_offset_c: self-heating in the housing, 0..20 °C.
        altitude_m: of the place, 0..3000 m, for the pressure compensation of carbon dioxide.
        ambient_pressure_pa: overrides the altitude, 70 000..120 000 Pa.
    """

    low_power: bool = False
    temperature_offset_c: float | None = None
    altitude_m: float | None = None
    ambient_pressure_pa: float | None = None

    def settings(self) -> Iterator[bytes]:
        """The commands that write the settings."""
        for command, value, highest, per_unit in (
            (SET_TEMPERATURE_OFFSET, self.temperature_offset_c, 20.0, 65535.0 / 175.0),
            (SET_ALTITUDE, self.altitude_m, 3000.0, 1.0),
            (SET_PRESSURE, self.ambient_pressure_pa, 120_000.0, 0.01),
        ):
            if value is not None:
                lowest = 70_000.0 if command == SET_PRESSURE else 0.0
                yield command + with_checksum(round(min(highest, max(lowest, value)) * per_unit))


class _Step(Enum):
    """The next step of a poll."""

    ASK = auto()
    FETCH = auto()
    FETCH_SERIAL = auto()


class Scd4x:
    """One SCD40, SCD41 or SCD43.

    Args:
        bus: its adapter.
        address: 0x62.
        options: interval and place.
    """

    def __init__(self, bus: I2CBus, address: int, options: Scd4xOptions) -> None:
        self._bus = bus
        self._address = address
        self._options = options
        self._step = _Step.ASK
        self._serial_asked = False
        """Whether this poll has asked for the serial number already."""
        self.quantities: tuple[str, ...] = ("co2_ppm", "temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Stop measuring, reload the stored settings, identify, configure, start, wait for the first measurement."""
        try:
            self._send(STOP)
        except NoAcknowledge:
            with contextlib.suppress(NoAcknowledge):
                self._send(WAKE)
            yield WAKE_NS
            self._send(STOP)
        yield STOP_NS
        self._send(REINIT)
        yield REINIT_NS
        self._send(SERIAL)
        yield COMMAND_NS
        checked_words(self._receive(9), 3)
        for setting in self._options.settings():
            self._send(setting)
            yield COMMAND_NS
        low_power = self._options.low_power
        self._send(START_LOW_POWER if low_power else START)
        yield INTERVAL_LOW_POWER_NS if low_power else INTERVAL_NS

    def trigger(self) -> int:
        """Start nothing: the chip measures by itself. Returns 0."""
        self._step, self._serial_asked = _Step.ASK, False
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Request the latest measurement; at the next call, read it.

        Raises:
            NotReady: just requested; or no acknowledge, which means that there is no new measurement.
            ChipWasReset: the chip has stopped measuring.
            ChecksumMismatch, BadReply: the bytes are damaged.
        """
        step, self._step = self._step, _Step.ASK
        if step is _Step.ASK:
            self._send(READ)
            self._step = _Step.FETCH
            raise NotReady("the chip has just been asked for its measurement", wait_ns=COMMAND_NS)
        try:
            reply = self._receive(9)
        except NoAcknowledge as error:
            if step is _Step.FETCH and not self._serial_asked:
                self._ask_serial()
            raise NotReady("there is no new measurement yet") from error
        if step is _Step.FETCH_SERIAL:
            checked_words(reply, 3)
            raise ChipWasReset("the chip has stopped measuring: it was reset (supply dip?), or another program did it")
        return decode(reply)

    def _ask_serial(self) -> None:
        """Request the serial number, once per poll: a chip that measures refuses it."""
        self._serial_asked = True
        with contextlib.suppress(NoAcknowledge):
            self._send(SERIAL)
            self._step = _Step.FETCH_SERIAL
            raise NotReady("the chip has just been asked whether it still measures", wait_ns=COMMAND_NS)

    def _send(self, command: bytes) -> None:
        self._bus.transfer(self._address, command, 0)

    def _receive(self, count: int) -> bytes:
        return self._bus.transfer(self._address, b"", count)


def recognise(bus: I2CBus, address: int) -> str | None:
    """By the checksum of its data-ready word, which it also gives while it measures."""
    read_words(bus, address, DATA_READY, 1)
    return "SCD40, SCD41 or SCD43"


def _slowest(options: Scd4xOptions) -> float:
    return (INTERVAL_LOW_POWER_NS if options.low_power else INTERVAL_NS) / NS_PER_S


DRIVERS: Final = (
    DriverInfo(
        name="scd4x",
        title="Sensirion SCD40, SCD41, SCD43",
        source="Datasheet SCD4x, version 1.7",
        bus=BusKind.I2C,
        addresses=(0x62,),
        quantities=(
            Measured("co2_ppm", 400.0, 5_000.0, resolution=1.0, accuracy=50.0, lsb=1.0),
            Measured("temperature_c", -10.0, 60.0, resolution=0.01, accuracy=0.8, lsb=0.00267),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=6.0, lsb=0.00153),
        ),
        options=Scd4xOptions,
        open=Scd4x,
        checksum=True,
        period_s=5.0,
        shortest_period_s=5.0,
        slowest=_slowest,
        settling=1,
        recognise=recognise,
        recognise_rank=3,
    ),
)
