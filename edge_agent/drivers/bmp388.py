"""Bosch BMP388 and BMP390: temperature and pressure.

Sources: BMP388 datasheet BST-BMP388-DS001 (rev. 1.7; sections 3, 4 and 9), BMP390 datasheet BST-BMP390-DS002 (rev.
1.7), which differs in identity and accuracy. I2C address 0x76 (SDO low) or 0x77. Forced mode: one conversion per poll.
The event register records a power-on reset until it is read, so that every supply dip is noticed.

Limits:
    The marker of a skipped channel, 0x800000, is also a true count, near 24 °C with a usual calibration: a
    conversion that hits it exactly is lost.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, IdentityRegister, Measured
from edge_agent.drivers.neighbours import wrong_chip
from edge_agent.drivers.registers import Registers
from edge_agent.errors import BadReply, ChipWasReset, NotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Registers: BMP388 section 4.3.
CHIP_ID: Final = 0x00
ERR: Final = 0x02
STATUS: Final = 0x03
DATA: Final = 0x04
"""Pressure (3 bytes), temperature (3), little-endian."""
EVENT: Final = 0x10
PWR_CTRL: Final = 0x1B
OSR: Final = 0x1C
CONFIG: Final = 0x1F
TRIM: Final = 0x31
TRIM_BYTES: Final = 21
CMD: Final = 0x7E

BMP388_ID: Final = 0x50
BMP390_ID: Final = 0x60
CHIP_IDS: Final = frozenset({BMP388_ID, BMP390_ID})
SOFT_RESET: Final = 0xB6
RESET_NS: Final = 2_000_000
READY_LOOKS: Final = 5
CMD_READY: Final = 0x10
DATA_READY: Final = 0x60
ERRORS: Final = 0x07
POR_DETECTED: Final = 0x01
FORCED: Final = 0x13
"""Both channels on, forced mode."""
SKIPPED: Final = 0x800000

Oversampling = Literal[1, 2, 4, 8, 16, 32]
FilterCoefficient = Literal[0, 1, 3, 7, 15, 31, 63, 127]

_HIGHEST_PA: Final = 1e6
"""Ten atmospheres: a higher value comes from a damaged calibration."""

# Datasheet maths


@dataclass(frozen=True, slots=True)
class Trim:
    """Calibration of one chip as real numbers (section 9.1). Index 0 holds T1 or P1."""

    t: tuple[float, ...]
    p: tuple[float, ...]

    @classmethod
    def from_registers(cls, block: bytes) -> Trim:
        """Parse the 21 trim registers from 0x31. Raises BadReply when there are fewer."""
        if len(block) < TRIM_BYTES:
            raise BadReply(f"calibration is too short: {block.hex()}")
        t1, t2, t3, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11 = struct.unpack("<HHbhhbbHHbbhbb", block[:TRIM_BYTES])
        return cls(
            (t1 * 2.0**8, t2 * 2.0**-30, t3 * 2.0**-48),
            (
                (p1 - 2**14) * 2.0**-20,
                (p2 - 2**14) * 2.0**-29,
                p3 * 2.0**-32,
                p4 * 2.0**-37,
                p5 * 2.0**3,
                p6 * 2.0**-6,
                p7 * 2.0**-8,
                p8 * 2.0**-15,
                p9 * 2.0**-48,
                p10 * 2.0**-48,
                p11 * 2.0**-65,
            ),
        )


def decode(data: bytes, trim: Trim) -> tuple[float | None, float | None]:
    """Turn the six data registers from 0x04 into °C and Pa; None for a channel that was skipped.

    There is no pressure without a temperature to correct it by.
    """
    pressure_raw = int.from_bytes(data[0:3], "little")
    temperature_raw = int.from_bytes(data[3:6], "little")
    if temperature_raw == SKIPPED:
        return None, None
    temperature = temperature_c(temperature_raw, trim)
    return temperature, None if pressure_raw == SKIPPED else pressure_pa(pressure_raw, temperature, trim)


def temperature_c(raw: int, trim: Trim) -> float:
    """Temperature in °C (section 9.2)."""
    t1, t2, t3 = trim.t
    above = raw - t1
    return above * t2 + above * above * t3


def pressure_pa(raw: int, temperature_c: float, trim: Trim) -> float | None:
    """Pressure in Pa (section 9.3): polynomials in temperature and count; None where the result is not a pressure."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11 = trim.p
    t = temperature_c
    offset = p5 + t * (p6 + t * (p7 + t * p8))
    slope = p1 + t * (p2 + t * (p3 + t * p4))
    pressure = offset + raw * (slope + raw * (p9 + t * p10 + raw * p11))
    return pressure if 0.0 < pressure < _HIGHEST_PA else None


def conversion_ns(temperature: int, pressure: int) -> int:
    """Longest time of one conversion at these oversamplings, ns.

    The formula of section 3.9.2 gives the typical time; 15 % are added for the tolerance of the oscillator.
    """
    return 1150 * (234 + 392 + 2020 * pressure + 313 + 2020 * temperature)


# The chip


@dataclass(frozen=True, slots=True)
class Bmp388Options:
    """Oversampling per quantity (section 3.4.4), and the chip's own low-pass filter (section 3.4.3; 0 is off)."""

    temperature_oversampling: Oversampling = 1
    pressure_oversampling: Oversampling = 4
    iir_filter: FilterCoefficient = 0


class Bmp388:
    """One BMP388 or BMP390.

    Args:
        bus: its adapter.
        address: 0x76 or 0x77.
        options: oversampling and filter.
    """

    def __init__(self, bus: I2CBus, address: int, options: Bmp388Options) -> None:
        self._registers = Registers(bus, address)
        self._options = options
        self._trim: Trim | None = None
        self.quantities: tuple[str, ...] = ("temperature_c", "pressure_pa")

    def probe(self) -> Iterator[int]:
        """Identify, reset, read the calibration, configure."""
        self._trim = None
        if self._registers.read(CHIP_ID)[0] not in CHIP_IDS:
            raise wrong_chip(self._registers, "BMP388 or BMP390")
        self._registers.write(CMD, SOFT_RESET)
        yield RESET_NS
        for look in range(1, READY_LOOKS + 1):
            if self._registers.read(STATUS)[0] & CMD_READY:
                break
            if look == READY_LOOKS:
                raise BadReply("the chip takes no commands after a reset: check its supply")
            yield RESET_NS
        trim = Trim.from_registers(self._registers.read_calibration(TRIM, TRIM_BYTES))
        options = self._options
        osr_t, osr_p = options.temperature_oversampling, options.pressure_oversampling
        self._registers.write(OSR, (osr_t.bit_length() - 1) << 3 | (osr_p.bit_length() - 1))
        self._registers.write(CONFIG, options.iir_filter.bit_length() << 1)
        self._registers.read(ERR, EVENT - ERR + 1)  # clears the record of the reset above, and earlier errors
        self._trim = trim

    def trigger(self) -> int:
        """Start one forced conversion. Returns the longest time it takes, ns."""
        self._registers.write(PWR_CTRL, FORCED)
        return conversion_ns(self._options.temperature_oversampling, self._options.pressure_oversampling)

    def collect(self) -> tuple[float | None, ...]:
        """Read errors, status, data and events in one burst.

        Raises:
            NotReady: the conversion is still running.
            ChipWasReset: there was a power-on reset since it was configured.
            BadReply: it reports an internal error.
        """
        if self._trim is None:
            raise ChipWasReset("the chip has not been probed")
        burst = self._registers.read(ERR, EVENT - ERR + 1)
        error, status, event = burst[0], burst[STATUS - ERR], burst[EVENT - ERR]
        if event & POR_DETECTED:
            raise ChipWasReset("the chip has started anew and lost its settings: look for dips of its supply")
        if not any(burst):
            raise BadReply("every register reads zero: the data line is held low")
        if error & ERRORS:
            raise BadReply(f"the chip reports an error (register 0x02 reads {error:#04x})")
        if status & DATA_READY != DATA_READY:
            raise NotReady("the conversion is still running")
        return decode(burst[DATA - ERR : DATA - ERR + 6], self._trim)


def identity(bus: I2CBus, address: int) -> int | None:
    """The id of a chip of this family; None for another chip.

    On another chip register 0x00 may hold the same number. So bits of 0x02 and 0x03 that are always zero on this
    family are checked too.
    """
    chip_id, _revision, error, status = Registers(bus, address).read(CHIP_ID, 4)
    return chip_id if chip_id in CHIP_IDS and not error & ~ERRORS and not status & ~(CMD_READY | DATA_READY) else None


def recognise(bus: I2CBus, address: int) -> str | None:
    """BMP388, by its identity; None for another chip."""
    return "BMP388" if identity(bus, address) == BMP388_ID else None


TEMPERATURE: Final = Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=0.5, lsb=0.005)
PRESSURE: Final = Measured("pressure_pa", 30_000.0, 125_000.0, resolution=1.0, accuracy=50.0, lsb=0.66)

DRIVERS: Final = (
    DriverInfo(
        name="bmp388",
        title="Bosch BMP388",
        source="BST-BMP388-DS001 rev. 1.7",
        bus=BusKind.I2C,
        addresses=(0x76, 0x77),
        quantities=(TEMPERATURE, PRESSURE),
        options=Bmp388Options,
        open=Bmp388,
        conversion_s=0.01269485,
        shortest_period_s=0.02,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(CHIP_ID, {BMP388_ID: "BMP388"}),
    ),
)
