"""TE Connectivity MS5611: pressure and temperature. The drivers of MS5607, MS5637 and MS5837 use the same code.

Sources: MS5611-01BA03 datasheet (2017-10), MS5607-02BA03 (2017-09), MS5637-02BA03 (2015-09), MS5837-30BA (2019-09). I2C
address 0x77 (CSB low) or 0x76. The chip has commands instead of registers. Pressure and temperature are two
conversions, and both are needed for either value, so a poll makes both, one after the other.

Limits:
    A conversion that is read too early reads 0, and so does one that a supply dip ended: both are reported as a reset.
    A dip between two polls is not noticed and does no harm, because the chip has no settings; but a chip that is
    replaced between two polls is read with the calibration of the first.
    MS5611 and MS5607 have no identity, but one read as the other gives half or twice the pressure: a first pressure
    that is possible only for the other chip is refused. Above 5000 m this check is not reliable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.ms56_maths import ALL_KINDS, MS5611, MS5637, MS5837, Kind, compensate, crc4, prom_is_valid
from edge_agent.drivers.neighbours import named_by, wrong_chip
from edge_agent.drivers.registers import Registers
from edge_agent.errors import BadReply, ChecksumMismatch, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Commands: section "I2C interface", commands.
READ_ADC: Final = 0x00
RESET: Final = 0x1E
CONVERT_PRESSURE: Final = 0x40
CONVERT_TEMPERATURE: Final = 0x50
READ_PROM: Final = 0xA0
PROM_WORDS: Final = 8

RESET_NS: Final = 2_800_000
ADC_BYTES: Final = 3
ADC_ALL_ONES: Final = 0xFFFFFF

Oversampling = Literal[256, 512, 1024, 2048, 4096]
FinerOversampling = Literal[256, 512, 1024, 2048, 4096, 8192]
CONVERSION_NS: Final = {
    256: 600_000,
    512: 1_170_000,
    1024: 2_280_000,
    2048: 4_540_000,
    4096: 9_040_000,
    8192: 18_080_000,
}
"""Oversampling → longest conversion, of the slowest of these chips."""

AIR_PA: Final = (54_000.0, 115_000.0)
"""Possible air pressure, up to 5000 m."""
LOW_LAND_PA: Final = (80_000.0, 110_000.0)
VERSION_30BA: Final = 0x1A
VERSION_02BA: Final = 0x15


@dataclass(frozen=True, slots=True)
class Ms5611Options:
    """Samples per conversion."""

    kind: ClassVar[Kind] = MS5611

    oversampling: Oversampling = 4096


@dataclass(frozen=True, slots=True)
class Ms5637Options:
    """Samples per conversion, one step finer than on the MS5611."""

    kind: ClassVar[Kind] = MS5637

    oversampling: FinerOversampling = 4096


class Ms56:
    """One chip of the family.

    Args:
        bus: its adapter.
        address: 0x76 or 0x77.
        options: samples per conversion, and which chip it is.
    """

    def __init__(self, bus: I2CBus, address: int, options: Ms5611Options | Ms5637Options) -> None:
        self._registers = Registers(bus, address)
        self._kind = options.kind
        self._conversion_ns = CONVERSION_NS[options.oversampling]
        self._finer = 2 * (options.oversampling.bit_length() - 9)
        self._prom: tuple[int, ...] | None = None
        self._pressure_raw: int | None = None
        self._pressure_checked = False
        self.quantities: tuple[str, ...] = ("temperature_c", "pressure_pa")

    def probe(self) -> Iterator[int]:
        """Reset, which loads the calibration, and read it."""
        self._prom = None
        self._command(RESET)
        yield RESET_NS
        prom = read_prom(self._registers)
        if not prom_is_valid(prom, crc_in_last_word=self._kind.crc_in_last_word):
            raise self._explain_calibration(prom)
        version = version_of(prom)
        if not self._kind.crc_in_last_word:
            where = f"{self._registers.address:#04x}"
            if version == VERSION_02BA:
                raise WrongChip(f"{where} is a MS5837-02BA, not a {self._kind.title}: there is no driver for it")
            if version == VERSION_30BA and self._kind is not MS5837:
                raise WrongChip(f'{where} is a MS5837-30BA, not a {self._kind.title}: set driver = "ms5837"')
        self._pressure_checked = self._kind is MS5837 and version == VERSION_30BA
        self._prom = prom

    def trigger(self) -> int:
        """Start the conversion of the pressure. Returns the longest time it takes, ns."""
        self._pressure_raw = None
        self._command(CONVERT_PRESSURE + self._finer)
        return self._conversion_ns

    def collect(self) -> tuple[float | None, ...]:
        """Read the pressure and start the conversion of the temperature; the next call reads that, and computes both.

        Raises:
            NotReady: the temperature is converted now.
            ChipWasReset: the conversion was lost, or was read too early.
            BadReply: the lines are not driven.
            WrongChip: it is another chip of the family.
        """
        if self._prom is None:
            raise ChipWasReset("the chip has not been probed")
        raw = int.from_bytes(self._registers.read(READ_ADC, ADC_BYTES))
        if raw == 0:
            raise ChipWasReset("the conversion is lost: the chip was reset (supply dip?), or asked too early")
        if raw == ADC_ALL_ONES:
            raise BadReply("the conversion reads all ones: the chip does not drive the bus")
        if self._pressure_raw is None:
            self._command(CONVERT_TEMPERATURE + self._finer)
            self._pressure_raw = raw
            raise NotReady("the temperature is being converted", wait_ns=self._conversion_ns)
        pressure_raw, self._pressure_raw = self._pressure_raw, None
        values = compensate(self._kind, self._prom, pressure_raw, raw)
        if not self._pressure_checked:
            self._check_first_pressure(self._prom, pressure_raw, raw, values[1])
            self._pressure_checked = True
        return values

    def _check_first_pressure(
        self, prom: tuple[int, ...], pressure_raw: int, temperature_raw: int, pressure_pa: float
    ) -> None:
        """Raise WrongChip if the first pressure is impossible for air but possible with the maths of another chip."""
        if AIR_PA[0] <= pressure_pa <= AIR_PA[1]:
            return
        for other in ALL_KINDS:
            other_pa = compensate(other, prom, pressure_raw, temperature_raw)[1]
            if LOW_LAND_PA[0] <= other_pa <= LOW_LAND_PA[1]:
                raise WrongChip(
                    f"{self._registers.address:#04x} would measure {pressure_pa:.0f} Pa as a {self._kind.title} and "
                    f"{other_pa:.0f} Pa as a {other.title}, which it seems to be: set the driver for that"
                )

    def _explain_calibration(self, prom: tuple[int, ...]) -> WrongChip | ChecksumMismatch:
        """The error for a calibration that does not fit this chip."""
        kind, where = self._kind, f"{self._registers.address:#04x}"
        if prom_is_valid(prom, crc_in_last_word=not kind.crc_in_last_word):
            names = " or ".join(other.title for other in ALL_KINDS if other.crc_in_last_word != kind.crc_in_last_word)
            return WrongChip(f"{where} is a {names}, not a {kind.title}: set the driver for that")
        identity = self._registers.read(0xD0)[0]
        known = named_by(0xD0, identity, self._registers.address, kind.title)
        if known is not None or not all(0 < word < 0xFFFF for word in prom[1:7]):
            return wrong_chip(self._registers, kind.title, found=identity)
        received, computed = crc4(prom, crc_in_last_word=kind.crc_in_last_word)
        raw = b"".join(word.to_bytes(2) for word in prom)
        return ChecksumMismatch(expected=computed, received=received, raw=raw)

    def _command(self, command: int) -> None:
        self._registers.bus.transfer(self._registers.address, bytes((command,)), 0)


def read_prom(registers: Registers) -> tuple[int, ...]:
    """The eight words. Chips with seven answer the read of the last one as an unknown command."""
    return tuple(int.from_bytes(registers.read(READ_PROM + 2 * word, 2)) for word in range(PROM_WORDS))


def version_of(prom: tuple[int, ...]) -> int:
    """Version of an MS5837; without meaning on other chips."""
    return prom[0] >> 5 & 0x7F


def recognise(bus: I2CBus, address: int) -> str | None:
    """MS5611 or MS5607, which cannot be told apart, by the CRC over the calibration."""
    prom = read_prom(Registers(bus, address))
    return "MS5611 or MS5607" if prom[7] and prom_is_valid(prom, crc_in_last_word=True) else None


DRIVERS: Final = (
    DriverInfo(
        name="ms5611",
        title="TE MS5611",
        source="MS5611-01BA03, 2017-10",
        bus=BusKind.I2C,
        addresses=(0x77, 0x76),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=0.8, lsb=0.01),
            Measured("pressure_pa", 1_000.0, 120_000.0, resolution=1.0, accuracy=150.0, lsb=1.0),
        ),
        options=Ms5611Options,
        open=Ms56,
        conversion_s=0.00904,
        shortest_period_s=0.03,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=3,
    ),
)
