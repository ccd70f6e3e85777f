"""Bosch BME680 and BME688: temperature, humidity and pressure. The gas heater stays off: it would warm the rest.

Sources: BME680 datasheet BST-BME680-DS001 (rev. 1.9; sections 3.2 to 3.4 and 5), BME688 datasheet BST-BME688-DS000
(rev. 1.2). I2C address 0x76 (SDO low) or 0x77. Forced mode: one conversion per poll. The two chips differ in the gas
sensor only, whose registers are not read.

Limits:
    The marker of a skipped channel, 0x80000, is also a true count, near 32 °C with a usual calibration: a
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

# Registers: BME680 section 5.3.
FIELD: Final = 0x1D
"""Status, index, then pressure (3 bytes), temperature (3), humidity (2), big-endian."""
CTRL_GAS_0: Final = 0x70
CTRL_HUM: Final = 0x72
CTRL_MEAS: Final = 0x74
CONFIG: Final = 0x75
TRIM_LOW: Final = 0x8A
"""T2, T3 and P1..P10, little-endian with gaps (section 3.11.1)."""
TRIM_LOW_BYTES: Final = 23
CHIP_ID: Final = 0xD0
RESET: Final = 0xE0
TRIM_HIGH: Final = 0xE1
"""H1..H7, then T1, which is apart from T2 and T3."""
TRIM_HIGH_BYTES: Final = 10

BME680_ID: Final = 0x61
RESET_WORD: Final = 0xB6
RESET_NS: Final = 10_000_000
HEATER_OFF: Final = 0x08
FORCED: Final = 0b01
NEW_DATA: Final = 0x80
MEASURING: Final = 0x20
SKIPPED_20_BIT: Final = 0x80000
SKIPPED_16_BIT: Final = 0x8000

Oversampling = Literal[1, 2, 4, 8, 16]
FilterCoefficient = Literal[0, 1, 3, 7, 15, 31, 63, 127]
_MEANT: Final = {CTRL_GAS_0: 0x08, CTRL_HUM: 0x07, CTRL_MEAS: 0xFC, CONFIG: 0x1C}
"""Bits that hold a setting; the mode in ctrl_meas changes with each conversion, others are reserved."""

_HIGHEST_PA: Final = 1e6
"""Ten atmospheres: a higher value comes from a damaged calibration."""

# Datasheet maths


@dataclass(frozen=True, slots=True)
class Trim:
    """Calibration of one chip (section 3.11.1), named as in the datasheet."""

    t: tuple[int, int, int]
    p: tuple[int, int, int, int, int, int, int, int, int, int]
    h: tuple[int, int, int, int, int, int, int]

    @classmethod
    def from_registers(cls, low: bytes, high: bytes) -> Trim:
        """Parse the trim registers.

        Args:
            low: 23 bytes from 0x8A.
            high: 10 bytes or more from 0xE1.

        Raises:
            BadReply: too few bytes.
        """
        if len(low) < TRIM_LOW_BYTES or len(high) < TRIM_HIGH_BYTES:
            raise BadReply(f"calibration is too short: {low.hex()} {high.hex()}")
        # P7 comes before P6.
        t2, t3, p1, p2, p3, p4, p5, p7, p6, p8, p9, p10 = struct.unpack("<hbxHhbxhhbbxxhhB", low[:TRIM_LOW_BYTES])
        # 0xE2 holds the low four bits of H2 above those of H1.
        h2_high, shared, h1_high, h3, h4, h5, h6, h7, t1 = struct.unpack("<BBBbbbBbH", high[:TRIM_HIGH_BYTES])
        h1, h2 = h1_high << 4 | shared & 0x0F, h2_high << 4 | shared >> 4
        return cls((t1, t2, t3), (p1, p2, p3, p4, p5, p6, p7, p8, p9, p10), (h1, h2, h3, h4, h5, h6, h7))


def decode(data: bytes, trim: Trim) -> tuple[float | None, float | None, float | None]:
    """Turn the data registers into temperature, relative humidity and pressure.

    Args:
        data: 8 registers from 0x1F.
        trim: calibration of the same chip.

    Returns:
        °C, %RH (0..100), Pa; None for a channel that was skipped, and for humidity and pressure without a
        temperature to correct them by.
    """
    pressure_raw = int.from_bytes(data[0:3]) >> 4
    temperature_raw = int.from_bytes(data[3:6]) >> 4
    humidity_raw = int.from_bytes(data[6:8])
    if temperature_raw == SKIPPED_20_BIT:
        return None, None, None
    t_fine = fine_temperature(temperature_raw, trim.t)
    humidity = None if humidity_raw == SKIPPED_16_BIT else humidity_pct(humidity_raw, t_fine / 5120.0, trim.h)
    pressure = None if pressure_raw == SKIPPED_20_BIT else pressure_pa(pressure_raw, t_fine, trim.p)
    return t_fine / 5120.0, humidity, pressure


def fine_temperature(raw: int, t: tuple[int, int, int]) -> float:
    """Temperature in 1/5120 °C (section 3.3.1, floating point); not truncated, unlike on the BME280."""
    t1, t2, t3 = t
    return (raw / 16384.0 - t1 / 1024.0) * t2 + (raw / 131072.0 - t1 / 8192.0) ** 2 * t3 * 16.0


def pressure_pa(raw: int, t_fine: float, p: tuple[int, int, int, int, int, int, int, int, int, int]) -> float | None:
    """Pressure in Pa (section 3.3.2, floating point); None where the result is not a pressure.

    The integer form in the datasheet overflows 32 bits above 1067 hPa with a usual P10.
    """
    p1, p2, p3, p4, p5, p6, p7, p8, p9, p10 = p
    var1 = t_fine / 2.0 - 64000.0
    var2 = var1 * var1 * p6 / 131072.0 + var1 * p5 * 2.0
    var2 = var2 / 4.0 + p4 * 65536.0
    var1 = (p3 * var1 * var1 / 16384.0 + p2 * var1) / 524288.0
    var1 = (1.0 + var1 / 32768.0) * p1
    if int(var1) == 0:
        return None
    pressure = (1048576.0 - raw - var2 / 4096.0) * 6250.0 / var1
    square = p9 * pressure * pressure / 2147483648.0
    cube = (pressure / 256.0) ** 3 * p10 / 131072.0
    pressure += (square + pressure * p8 / 32768.0 + cube + p7 * 128.0) / 16.0
    return pressure if 0.0 < pressure < _HIGHEST_PA else None


def humidity_pct(raw: int, temperature_c: float, h: tuple[int, int, int, int, int, int, int]) -> float:
    """Relative humidity in %, 0..100 (section 3.3.3, floating point)."""
    h1, h2, h3, h4, h5, h6, h7 = h
    counts = raw - (h1 * 16.0 + h3 / 2.0 * temperature_c)
    slope = h2 / 262144.0 * (1.0 + h4 / 16384.0 * temperature_c + h5 / 1048576.0 * temperature_c * temperature_c)
    linear = counts * slope
    humidity = linear + (h6 / 16384.0 + h7 / 2097152.0 * temperature_c) * linear * linear
    return min(100.0, max(0.0, humidity))


def conversion_ns(temperature: int, pressure: int, humidity: int) -> int:
    """Longest time of one conversion at these oversamplings without gas, ns.

    As in Bosch's published driver: 1.963 ms for each sample, 0.477 ms for each of nine switchings, 1 ms to wake up.
    """
    return 1000 * (1963 * (temperature + pressure + humidity) + 477 * 9 + 1000)


# The chip


@dataclass(frozen=True, slots=True)
class Bme680Options:
    """Oversampling per quantity, and the chip's own low-pass filter (section 3.3.4; 0 is off)."""

    temperature_oversampling: Oversampling = 1
    humidity_oversampling: Oversampling = 1
    pressure_oversampling: Oversampling = 1
    iir_filter: FilterCoefficient = 0


class Bme680:
    """One BME680 or BME688.

    Args:
        bus: its adapter.
        address: 0x76 or 0x77.
        options: oversampling and filter.
    """

    def __init__(self, bus: I2CBus, address: int, options: Bme680Options) -> None:
        self._registers = Registers(bus, address)
        self._options = options
        self._trim: Trim | None = None
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct", "pressure_pa")
        osrs_t, osrs_p = options.temperature_oversampling.bit_length(), options.pressure_oversampling.bit_length()
        # Register contents while the chip sleeps; power-on sets them to zero.
        self._settings = {
            CTRL_GAS_0: HEATER_OFF,
            CTRL_HUM: options.humidity_oversampling.bit_length(),
            CTRL_MEAS: osrs_t << 5 | osrs_p << 2,
            CONFIG: options.iir_filter.bit_length() << 2,
        }

    def probe(self) -> Iterator[int]:
        """Identify, reset, read the calibration, configure with the heater off."""
        self._trim = None
        chip_id = self._registers.read(CHIP_ID)[0]
        if chip_id != BME680_ID:
            raise wrong_chip(self._registers, "BME680 or BME688", found=chip_id)
        self._registers.write(RESET, RESET_WORD)
        yield RESET_NS
        low = self._registers.read_calibration(TRIM_LOW, TRIM_LOW_BYTES)
        trim = Trim.from_registers(low, self._registers.read_calibration(TRIM_HIGH, TRIM_HIGH_BYTES))
        for register, value in self._settings.items():
            self._registers.write(register, value)
        self._trim = trim

    def trigger(self) -> int:
        """Start one forced conversion. Returns the longest time it takes, ns."""
        self._registers.write(CTRL_MEAS, self._settings[CTRL_MEAS] | FORCED)
        options = self._options
        return conversion_ns(
            options.temperature_oversampling, options.pressure_oversampling, options.humidity_oversampling
        )

    def collect(self) -> tuple[float | None, ...]:
        """Read the configuration in one burst, status and data in another.

        Raises:
            NotReady: the conversion is still running.
            ChipWasReset: it has lost its configuration.
        """
        if self._trim is None:
            raise ChipWasReset("the chip has not been probed")
        held = self._registers.read(CTRL_GAS_0, CONFIG - CTRL_GAS_0 + 1)
        for register, wanted in self._settings.items():
            value = held[register - CTRL_GAS_0]
            if value & _MEANT[register] != wanted:
                raise ChipWasReset(
                    f"register {register:#04x} reads {value:#04x} where {wanted:#04x} was written: "
                    "the chip was reset (supply dip?) or does not drive the bus"
                )
        field = self._registers.read(FIELD, 10)
        if field[0] & MEASURING or not field[0] & NEW_DATA:
            raise NotReady("the conversion is still running")
        return decode(field[2:], self._trim)


def recognise(bus: I2CBus, address: int) -> str | None:
    """BME680 or BME688, by its identity; None for another chip."""
    registers = Registers(bus, address)
    return "BME680 or BME688" if registers.read(CHIP_ID)[0] == BME680_ID else None


DRIVERS: Final = (
    DriverInfo(
        name="bme680",
        title="Bosch BME680, BME688 (without gas)",
        source="BST-BME680-DS001 rev. 1.9, BST-BME688-DS000 rev. 1.2",
        bus=BusKind.I2C,
        addresses=(0x76, 0x77),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=1.0, lsb=0.005),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=3.0, lsb=0.008),
            Measured("pressure_pa", 30_000.0, 110_000.0, resolution=1.0, accuracy=60.0, lsb=2.9),
        ),
        options=Bme680Options,
        open=Bme680,
        conversion_s=0.011182,
        shortest_period_s=0.02,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(CHIP_ID, {BME680_ID: "BME680 or BME688"}),
    ),
)
