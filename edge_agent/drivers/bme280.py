"""Bosch BME280 and BMP280: temperature and pressure, and on the BME280 humidity.

Sources: BME280 datasheet BST-BME280-DS002 (rev. 1.6; sections 4 and 5, appendices A and B), BMP280 datasheet
BST-BMP280-DS001 (rev. 1.26). I2C address 0x76 (SDO low) or 0x77. Forced mode: one conversion per poll keeps the die
cool. Boards sold as BME280 often carry a BMP280; the driver then goes on without humidity. The settings are read back
with every measurement: a supply dip sets them to zero and leaves old data.

Limits:
    The marker of a skipped channel, 0x80000, is also a count near 25 °C: a conversion with exactly that count is lost.
"""

from __future__ import annotations

import math
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

# Registers: BME280 section 5.3, BMP280 section 4.2.
TRIM_LOW: Final = 0x88
"""T1..T3 and P1..P9, little-endian; on the BME280 a reserved byte and H1 follow."""
CHIP_ID: Final = 0xD0
RESET: Final = 0xE0
TRIM_HIGH: Final = 0xE1
"""H2..H6."""
CTRL_HUM: Final = 0xF2
STATUS: Final = 0xF3
CTRL_MEAS: Final = 0xF4
CONFIG: Final = 0xF5
DATA: Final = 0xF7
"""Pressure (3 bytes), temperature (3), humidity (2), big-endian; one burst reads one moment (section 4)."""

RESET_WORD: Final = 0xB6
IM_UPDATE: Final = 0x01
MEASURING: Final = 0x08
FORCED: Final = 0b01
STANDBY: Final = 0b101 << 5
"""No effect in forced mode. It makes config differ from its power-on value, so that a reset is noticed."""
MEANT: Final = {CTRL_HUM: 0x07, CTRL_MEAS: 0xFC, CONFIG: 0xFC}
"""Bits that hold a setting; the mode changes with each conversion."""

SKIPPED_20_BIT: Final = 0x80000
SKIPPED_16_BIT: Final = 0x8000

STARTUP_NS: Final = 2_000_000
"""Section 1.1, t_startup; also the pause between reads of im_update."""
STARTUP_LOOKS: Final = 5

BME280_ID: Final = 0x60
BMP280_IDS: Final = frozenset({0x56, 0x57, 0x58})
"""0x56 and 0x57 are early samples."""

Oversampling = Literal[1, 2, 4, 8, 16]
FilterCoefficient = Literal[0, 2, 4, 8, 16]

_HIGHEST_PA: Final = 1e6
"""Ten atmospheres: a higher value comes from a damaged calibration."""

# Datasheet maths


@dataclass(frozen=True, slots=True)
class Trim:
    """Calibration of one chip (section 4.2.2, table 16). `h` is None on a BMP280."""

    t: tuple[int, int, int]
    p: tuple[int, int, int, int, int, int, int, int, int]
    h: tuple[int, int, int, int, int, int] | None

    @classmethod
    def from_registers(cls, low: bytes, high: bytes = b"") -> Trim:
        """Parse the trim registers. Raises BadReply when there are too few bytes.

        Args:
            low: from 0x88: 24 bytes, or 26 with humidity.
            high: from 0xE1: 7 bytes, or none without humidity.
        """
        if len(low) < (26 if high else 24) or 0 < len(high) < 7:
            raise BadReply(f"calibration is too short: {low.hex()} {high.hex()}")
        t1, t2, t3, p1, *p_rest = struct.unpack("<HhhHhhhhhhhh", low[:24])
        p2, p3, p4, p5, p6, p7, p8, p9 = p_rest
        humidity = None
        if high:
            h2, h3, e4, e5, e6, h6 = struct.unpack("<hBbBbb", high[:7])
            # The signs of H4 and H5 stand in E4 and E6; E5 holds the low four bits of both.
            humidity = (low[25], h2, h3, e4 << 4 | e5 & 0x0F, e6 << 4 | e5 >> 4, h6)
        return cls((t1, t2, t3), (p1, p2, p3, p4, p5, p6, p7, p8, p9), humidity)


def decode(data: bytes, trim: Trim) -> tuple[float | None, float | None, float | None]:
    """Turn the data registers into temperature, relative humidity and pressure.

    Args:
        data: registers from 0xF7: 6 bytes, or 8 with humidity.
        trim: calibration of the same chip.

    Returns:
        °C, %RH (0..100), Pa; None for a channel that was skipped, for humidity where there is none, and for
        humidity and pressure without a temperature to correct them by.
    """
    pressure_raw = int.from_bytes(data[0:3]) >> 4
    temperature_raw = int.from_bytes(data[3:6]) >> 4
    if temperature_raw == SKIPPED_20_BIT:
        return None, None, None
    sum_of_terms = temperature_terms(temperature_raw, trim)
    t_fine = int(sum_of_terms)
    humidity = pressure = None
    if pressure_raw != SKIPPED_20_BIT:
        pressure = pressure_pa(pressure_raw, t_fine, trim)
    if trim.h is not None and len(data) >= 8:
        humidity_raw = int.from_bytes(data[6:8])
        if humidity_raw != SKIPPED_16_BIT:
            humidity = humidity_pct(humidity_raw, t_fine, trim.h)
    return sum_of_terms / 5120.0, humidity, pressure


def temperature_terms(raw: int, trim: Trim) -> float:
    """Temperature in 1/5120 °C; `t_fine` is its whole part (appendix A, double precision)."""
    t1, t2, t3 = trim.t
    linear = (raw / 16384.0 - t1 / 1024.0) * t2
    square = (raw / 131072.0 - t1 / 8192.0) ** 2 * t3
    return linear + square


def pressure_pa(raw: int, t_fine: int, trim: Trim) -> float | None:
    """Pressure in Pa (appendix A, double precision); None where the result is not a pressure."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = trim.p
    var1 = t_fine / 2.0 - 64000.0
    var2 = var1 * var1 * p6 / 32768.0
    var2 += var1 * p5 * 2.0
    var2 = var2 / 4.0 + p4 * 65536.0
    var1 = (p3 * var1 * var1 / 524288.0 + p2 * var1) / 524288.0
    var1 = (1.0 + var1 / 32768.0) * p1
    if var1 == 0.0:
        return None
    pressure = (1048576.0 - raw - var2 / 4096.0) * 6250.0 / var1
    var1 = p9 * pressure * pressure / 2147483648.0
    var2 = pressure * p8 / 32768.0
    pressure += (var1 + var2 + p7) / 16.0
    return pressure if 0.0 < pressure < _HIGHEST_PA else None


def humidity_pct(raw: int, t_fine: int, h: tuple[int, int, int, int, int, int]) -> float | None:
    """Relative humidity in %, 0..100 (appendix A, double precision).

    Bosch's published double-precision code has one more factor (1 + H3·v/2²⁶), which neither the datasheet
    nor Bosch's integer code has.
    """
    h1, h2, h3, h4, h5, h6 = h
    v = t_fine - 76800.0
    slope = h2 / 65536.0 * (1.0 + h6 / 67108864.0 * v * (1.0 + h3 / 67108864.0 * v))
    humidity = (raw - (h4 * 64.0 + h5 / 16384.0 * v)) * slope
    humidity *= 1.0 - h1 * humidity / 524288.0
    return min(100.0, max(0.0, humidity)) if math.isfinite(humidity) else None


def conversion_ns(temperature: int, pressure: int, humidity: int) -> int:
    """Longest time of one conversion at these oversamplings (humidity may be 0), ns (section 9.1)."""
    micros = 1250 + 2300 * temperature + 2300 * pressure + 575
    return 1000 * (micros + (2300 * humidity + 575 if humidity else 0))


# The chip


@dataclass(frozen=True, slots=True)
class Bmp280Options:
    """Oversampling per quantity, and the chip's own low-pass filter (section 3.4.4; 0 is off)."""

    temperature_oversampling: Oversampling = 1
    pressure_oversampling: Oversampling = 1
    iir_filter: FilterCoefficient = 0


@dataclass(frozen=True, slots=True)
class Bme280Options(Bmp280Options):
    """As for the BMP280, plus humidity."""

    humidity_oversampling: Oversampling = 1


class Bme280:
    """One BME280 or BMP280.

    Args:
        bus: its adapter.
        address: 0x76 or 0x77.
        options: with those of the BMP280, humidity is not measured on either chip.
    """

    def __init__(self, bus: I2CBus, address: int, options: Bmp280Options) -> None:
        self._registers = Registers(bus, address)
        self._options = options
        self._trim: Trim | None = None
        self._settings: dict[int, int] = {}
        self.quantities: tuple[str, ...] = ()
        self._wanted_humidity = options.humidity_oversampling if isinstance(options, Bme280Options) else 0
        self._set_humidity(self._wanted_humidity)

    def probe(self) -> Iterator[int]:
        """Identify, reset, read the calibration, configure."""
        self._trim = None
        chip_id = self._registers.read(CHIP_ID)[0]
        if chip_id != BME280_ID and chip_id not in BMP280_IDS:
            raise wrong_chip(self._registers, "BME280 or BMP280", found=chip_id)
        self._set_humidity(self._wanted_humidity if chip_id == BME280_ID else 0)

        self._registers.write(RESET, RESET_WORD)
        yield STARTUP_NS
        for look in range(1, STARTUP_LOOKS + 1):
            if not self._registers.read(STATUS)[0] & IM_UPDATE:
                break
            if look == STARTUP_LOOKS:
                raise BadReply("the chip does not finish copying its calibration after a reset: check its supply")
            yield STARTUP_NS

        low = self._registers.read_calibration(TRIM_LOW, 26 if self._humidity else 24)
        trim = Trim.from_registers(low, self._registers.read_calibration(TRIM_HIGH, 7) if self._humidity else b"")
        for register, value in self._settings.items():
            self._registers.write(register, value)
        self._trim = trim

    def trigger(self) -> int:
        """Start one forced conversion. Returns the longest time it takes, ns."""
        self._registers.write(CTRL_MEAS, self._settings[CTRL_MEAS] | FORCED)
        options = self._options
        return conversion_ns(options.temperature_oversampling, options.pressure_oversampling, self._humidity)

    def collect(self) -> tuple[float | None, ...]:
        """Read configuration, status and data in one burst.

        Raises:
            NotReady: the conversion is still running.
            ChipWasReset: it has lost its configuration; it may be another chip by now.
        """
        if self._trim is None:
            raise ChipWasReset("the chip has not been probed")
        burst = self._registers.read(CTRL_HUM, DATA - CTRL_HUM + (8 if self._humidity else 6))
        for register, wanted in self._settings.items():
            value = burst[register - CTRL_HUM]
            if value & MEANT[register] != wanted:
                raise ChipWasReset(
                    f"register {register:#04x} reads {value:#04x} where {wanted:#04x} was written: "
                    "the chip was reset (supply dip?) or does not drive the bus"
                )
        if burst[STATUS - CTRL_HUM] & MEASURING:
            raise NotReady("the conversion is still running")
        temperature, humidity, pressure = decode(burst[DATA - CTRL_HUM :], self._trim)
        return (temperature, humidity, pressure) if self._humidity else (temperature, pressure)

    def _set_humidity(self, oversampling: int) -> None:
        """Set what is measured, and what the registers hold while the chip sleeps."""
        self._humidity = oversampling
        options = self._options
        osrs_t, osrs_p = options.temperature_oversampling.bit_length(), options.pressure_oversampling.bit_length()
        # ctrl_hum takes effect with the next write to ctrl_meas (section 5.4.3), which must not be the first
        # trigger: some chips then convert with the old setting.
        self._settings = {CONFIG: STANDBY | (options.iir_filter >> 1).bit_length() << 2}
        self._settings |= {CTRL_HUM: oversampling.bit_length()} if oversampling else {}
        self._settings |= {CTRL_MEAS: osrs_t << 5 | osrs_p << 2}
        humidity = ("humidity_pct",) if oversampling else ()
        self.quantities = ("temperature_c", *humidity, "pressure_pa")


def recognise(bus: I2CBus, address: int) -> str | None:
    """BME280, by its identity; None for another chip."""
    return "BME280" if bus.transfer(address, bytes((CHIP_ID,)), 1)[0] == BME280_ID else None


TEMPERATURE: Final = Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=1.0, lsb=0.005)
PRESSURE: Final = Measured("pressure_pa", 30_000.0, 110_000.0, resolution=1.0, accuracy=100.0, lsb=2.62)
_HUMIDITY: Final = Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=3.0, lsb=0.008)

DRIVERS: Final = (
    DriverInfo(
        name="bme280",
        title="Bosch BME280",
        source="BST-BME280-DS002 rev. 1.6",
        bus=BusKind.I2C,
        addresses=(0x76, 0x77),
        quantities=(TEMPERATURE, _HUMIDITY, PRESSURE),
        options=Bme280Options,
        open=Bme280,
        conversion_s=0.0093,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(CHIP_ID, {BME280_ID: "BME280"}),
    ),
)
