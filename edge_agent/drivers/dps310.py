"""Infineon DPS310 and DPS368: temperature and pressure.

Sources: DPS310 datasheet (rev. 1.2; sections 4.9, 7 and 8), DPS368 datasheet (rev. 1.1), which has the same registers.
I2C address 0x77, or 0x76 with SDO low. A command measures one quantity; both are measured in background mode only. Here
that runs at 4 Hz or more slowly, and a poll takes the newest pair, at most 0.3 s old at 4 Hz. A poll takes two reads,
and never returns a pair twice.

Limits:
    A reading has the time of the poll, which is up to 0.3 s after the conversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.clock import NS_PER_S
from edge_agent.drivers.base import DriverInfo, IdentityRegister, Measured
from edge_agent.drivers.neighbours import wrong_chip
from edge_agent.drivers.registers import Registers
from edge_agent.errors import BadReply, ChipWasReset, NotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Registers: section 7.
DATA: Final = 0x00
"""Pressure (3 bytes), temperature (3), big-endian, signed."""
PRS_CFG: Final = 0x06
TMP_CFG: Final = 0x07
MEAS_CFG: Final = 0x08
CFG_REG: Final = 0x09
RESET: Final = 0x0C
PRODUCT_ID: Final = 0x0D
COEFFICIENTS: Final = 0x10
COEFFICIENT_BYTES: Final = 18
COEFFICIENT_SOURCE: Final = 0x28

DPS310_ID: Final = 0x10
SOFT_RESET: Final = 0x89
RESET_NS: Final = 40_000_000
"""Section 4.9: time until the coefficients can be read."""
READY_LOOKS: Final = 5
STARTED: Final = 0xC0
"""Bits of MEAS_CFG: coefficients and sensor are ready."""
DATA_READY: Final = 0x30
BACKGROUND_BOTH: Final = 0b111
MODE_BITS: Final = 0b111
EXTERNAL_SENSOR: Final = 0x80
T_SHIFT: Final = 0x08
P_SHIFT: Final = 0x04
FUSE_REPAIR: Final = ((0x0E, 0xA5), (0x0F, 0x96), (0x62, 0x02), (0x0E, 0x00), (0x0F, 0x00))
"""Corrects a wrong fuse setting of some chips, which otherwise read about 60 °C at room temperature; from the maker's
published driver."""
NO_DATA: Final = -(1 << 23)
"""Contents of the data registers before the first conversion."""

Oversampling = Literal[1, 2, 4, 8, 16, 32, 64, 128]
SCALE: Final = {
    1: 524_288,
    2: 1_572_864,
    4: 3_670_016,
    8: 7_864_320,
    16: 253_952,
    32: 516_096,
    64: 1_040_384,
    128: 2_088_960,
}
"""Oversampling → counts of full scale (section 4.9.3, table 9). From 16 on the result must be shifted to fit."""
_SHIFTED_FROM: Final = 16
_MEASURING_US: Final = {1: 3_600, 2: 5_200, 4: 8_400, 8: 14_800, 16: 27_600, 32: 53_200, 64: 104_400, 128: 206_800}
"""Oversampling → typical time of one conversion (sections 7.3 and 7.4, tables 16 and 18)."""

# Datasheet maths


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Calibration of one chip (section 8.11), named as in the datasheet."""

    c0: int
    c1: int
    c00: int
    c10: int
    c01: int
    c11: int
    c20: int
    c21: int
    c30: int

    @classmethod
    def from_registers(cls, block: bytes) -> Coefficients:
        """Parse the 18 registers from 0x10. Raises BadReply when there are fewer."""
        if len(block) < COEFFICIENT_BYTES:
            raise BadReply(f"calibration is too short: {block.hex()}")
        # Two numbers of 12 bits, two of 20 bits, five of 16 bits, without gaps.
        bits = int.from_bytes(block[:COEFFICIENT_BYTES])
        values: list[int] = []
        left = 8 * COEFFICIENT_BYTES
        for width in (12, 12, 20, 20, 16, 16, 16, 16, 16):
            left -= width
            values.append(_signed(bits >> left & (1 << width) - 1, width))
        return cls(*values)


def decode(
    data: bytes, coefficients: Coefficients, *, temperature_oversampling: int, pressure_oversampling: int
) -> tuple[float | None, float | None]:
    """Turn the six data registers into °C and Pa (section 4.9.1 and 4.9.2); None where nothing was measured.

    There is no pressure without a temperature to correct it by.
    """
    pressure_raw = _signed(int.from_bytes(data[0:3]), 24)
    temperature_raw = _signed(int.from_bytes(data[3:6]), 24)
    if temperature_raw == NO_DATA:
        return None, None
    c = coefficients
    t = temperature_raw / SCALE[temperature_oversampling]
    temperature = c.c0 / 2.0 + c.c1 * t
    if pressure_raw == NO_DATA:
        return temperature, None
    p = pressure_raw / SCALE[pressure_oversampling]
    return temperature, c.c00 + p * (c.c10 + p * (c.c20 + p * c.c30)) + t * (c.c01 + p * (c.c11 + p * c.c21))


def measuring_ns(temperature: int, pressure: int) -> int:
    """Longest time of one conversion of each at these oversamplings, ns: the typical one and 15 %."""
    return 1150 * (_MEASURING_US[temperature] + _MEASURING_US[pressure])


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


# The chip


@dataclass(frozen=True, slots=True)
class Dps310Options:
    """Oversampling per quantity (sections 7.3 and 7.4)."""

    temperature_oversampling: Oversampling = 1
    pressure_oversampling: Oversampling = 16


class Dps310:
    """One DPS310 or DPS368.

    Args:
        bus: its adapter.
        address: 0x77 or 0x76.
        options: oversampling.
    """

    def __init__(self, bus: I2CBus, address: int, options: Dps310Options) -> None:
        self._registers = Registers(bus, address)
        self._times_t, self._times_p = options.temperature_oversampling, options.pressure_oversampling
        self._measuring_ns = measuring_ns(self._times_t, self._times_p)
        self._settings: bytes | None = None
        self._coefficients: Coefficients | None = None
        self.quantities: tuple[str, ...] = ("temperature_c", "pressure_pa")

    def probe(self) -> Iterator[int]:
        """Identify, reset, read the calibration, correct the fuse setting, and start background mode."""
        self._settings = None
        if self._registers.read(PRODUCT_ID)[0] != DPS310_ID:
            raise wrong_chip(self._registers, "DPS310 or DPS368")
        self._registers.write(RESET, SOFT_RESET)
        yield RESET_NS
        for look in range(1, READY_LOOKS + 1):
            if self._registers.read(MEAS_CFG)[0] & STARTED == STARTED:
                break
            if look == READY_LOOKS:
                raise BadReply("the chip does not get its calibration ready after a reset: check its supply")
            yield RESET_NS // 4
        for register, value in FUSE_REPAIR:
            self._registers.write(register, value)
        block = self._registers.read_calibration(COEFFICIENTS, COEFFICIENT_BYTES)
        self._coefficients = Coefficients.from_registers(block)
        # The thermometer for which the coefficients were determined: in the ASIC, or in the MEMS element.
        source = self._registers.read(COEFFICIENT_SOURCE)[0] & EXTERNAL_SENSOR
        settings = self._wanted_settings(source)
        for register, value in zip((PRS_CFG, TMP_CFG, CFG_REG), (settings[0], settings[1], settings[3]), strict=True):
            self._registers.write(register, value)
        self._registers.write(MEAS_CFG, BACKGROUND_BOTH)
        self._settings = settings
        yield self._measuring_ns

    def trigger(self) -> int:
        """Start nothing: the chip measures by itself. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read status and configuration in one burst, then the newest data.

        Raises:
            NotReady: there is no new measurement since the last read.
            ChipWasReset: it has lost its configuration.
        """
        if self._settings is None or self._coefficients is None:
            raise ChipWasReset("the chip has not been probed")
        # Reading the data clears the ready bits, so these are read first.
        held = self._registers.read(PRS_CFG, len(self._settings))
        status = held[MEAS_CFG - PRS_CFG]
        now = bytes((held[0], held[1], status & MODE_BITS, held[3]))
        if now != self._settings:
            raise ChipWasReset(
                f"the settings read {now.hex()} where {self._settings.hex()} was written: "
                "the chip was reset (supply dip?) or does not drive the bus"
            )
        if status & DATA_READY != DATA_READY:
            raise NotReady("nothing new has been measured", wait_ns=self._measuring_ns)
        return decode(
            self._registers.read(DATA, 6),
            self._coefficients,
            temperature_oversampling=self._times_t,
            pressure_oversampling=self._times_p,
        )

    def _wanted_settings(self, source: int) -> bytes:
        """PRS_CFG, TMP_CFG, mode, CFG_REG."""
        # 4 Hz, or the highest rate at which a conversion fits.
        rate = next(rate for rate in (2, 1, 0) if self._measuring_ns << rate <= NS_PER_S)
        shifts = (T_SHIFT if self._times_t >= _SHIFTED_FROM else 0) | (P_SHIFT if self._times_p >= _SHIFTED_FROM else 0)
        return bytes(
            (
                rate << 4 | (self._times_p.bit_length() - 1),
                source | rate << 4 | (self._times_t.bit_length() - 1),
                BACKGROUND_BOTH,
                shifts,
            )
        )


def recognise(bus: I2CBus, address: int) -> str | None:
    """DPS310 or DPS368, by its identity, the ready bits and the zeros before it; None for another chip."""
    meas_cfg, _cfg, interrupts, fifo, _reset, product_id = Registers(bus, address).read(MEAS_CFG, 6)
    ready = meas_cfg & STARTED == STARTED
    return "DPS310 or DPS368" if product_id == DPS310_ID and ready and not interrupts & 0xF8 | fifo & 0xFC else None


DRIVERS: Final = (
    DriverInfo(
        name="dps310",
        title="Infineon DPS310, DPS368",
        source="DPS310 datasheet rev. 1.2, DPS368 datasheet rev. 1.1",
        bus=BusKind.I2C,
        addresses=(0x77, 0x76),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=0.5, lsb=0.0005),
            Measured("pressure_pa", 30_000.0, 120_000.0, resolution=1.0, accuracy=100.0, lsb=0.2),
        ),
        options=Dps310Options,
        open=Dps310,
        shortest_period_s=0.3,
        stuck_after=30,
        recognise=recognise,
        # A counter of another chip may show this identity by chance, so other drivers are tried first.
        recognise_rank=1,
        identity=IdentityRegister(PRODUCT_ID, {DPS310_ID: "DPS310 or DPS368"}),
    ),
)
