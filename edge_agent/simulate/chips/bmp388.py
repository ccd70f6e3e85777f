"""Bosch BMP388 and BMP390, register by register.

Source: Bosch BST-BMP388-DS001 sections 3 (modes, times, noise), 4.3 (registers), 8.4 to 8.6 (integer compensation);
BST-BMP390-DS002 for the identity. The counts are found by inverting the integer formulas, so that a driver which
computes in floats is tested against different arithmetic.

Limits: forced mode only; no FIFO, no interrupts; the filter settles at once.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.bosch280 import counts_for
from edge_agent.simulate.chips.register_file import RegisterFile

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from edge_agent.simulate.chips.base import Makers, Part

_CHIP_ID, _REVISION, _ERR, _STATUS, _DATA, _EVENT = 0x00, 0x01, 0x02, 0x03, 0x04, 0x10
_PWR_CTRL, _OSR, _ODR, _CONFIG, _TRIM, _CMD = 0x1B, 0x1C, 0x1D, 0x1F, 0x31, 0x7E

_CMD_READY: Final = 0x10
_PRESSURE_READY, _TEMPERATURE_READY = 0x20, 0x40
_NO_DATA: Final = bytes.fromhex("000080000080")
_START_NS: Final = 2_000_000
_FULL_SCALE: Final = (1 << 24) - 1
_BLOCK: Final = struct.Struct("<HHbhhbbHHbbhbb")

_SIGMA_X1_C: Final = 0.005
_SIGMA_X1_PA: Final = 3.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The trimming values of one part, named as in the datasheet."""

    t1: int
    t2: int
    t3: int
    p1: int
    p2: int
    p3: int
    p4: int
    p5: int
    p6: int
    p7: int
    p8: int
    p9: int
    p10: int
    p11: int

    @staticmethod
    def of_some_part(draw: random.Random) -> Calibration:
        """Values within the spread of real parts."""
        return Calibration(
            t1=draw.randint(27_300, 27_850),
            t2=draw.randint(18_000, 19_200),
            t3=draw.randint(-10, -5),
            p1=draw.randint(-1_650, 620),
            p2=draw.randint(-2_100, -930),
            p3=draw.randint(32, 36),
            p4=draw.choice((0, 1)),
            p5=draw.randint(24_450, 25_800),
            p6=draw.randint(29_700, 30_900),
            p7=draw.randint(-5, -2),
            p8=draw.randint(-11, -5),
            p9=draw.randint(15_800, 18_500),
            p10=draw.randint(11, 25),
            p11=draw.randint(-69, -47),
        )

    @staticmethod
    def from_registers(block: bytes) -> Calibration:
        """Decode the 21 bytes from 0x31."""
        return Calibration(*_BLOCK.unpack(block))

    def to_registers(self) -> bytes:
        """Encode the 21 bytes from 0x31."""
        return _BLOCK.pack(*astuple(self))

    def linear_temperature(self, adc: int) -> int:
        """The datasheet's `t_lin`: temperature in 1/65536 °C."""
        above = adc - (self.t1 << 8)
        return ((self.t2 * above << 18) + above * above * self.t3) >> 32

    def pressure_of(self, t_lin: int) -> Callable[[int], int]:
        """Fix the temperature: the function that is left maps counts to pressure in 1/100 Pa, falling."""
        square = t_lin * t_lin
        cube = (square >> 6) * t_lin >> 8
        offset = (self.p5 << 47) + (self.p8 * cube >> 5) + (self.p7 * square << 4) + (self.p6 * t_lin << 22)
        slope = ((self.p1 - (1 << 14)) << 46) + (self.p4 * cube >> 5) + (self.p3 * square << 2)
        slope += (self.p2 - (1 << 14)) * t_lin << 21
        bend = self.p10 * t_lin + (self.p9 << 16)
        p11 = self.p11

        def pressure_centi_pa(adc: int) -> int:
            total = (offset >> 2) + (slope >> 24) * adc
            total += adc * (bend * adc >> 13) >> 9
            total += (p11 * adc * adc >> 16) * adc >> 7
            return total * 25 >> 40

        return pressure_centi_pa


class BoschBmp3(RegisterFile):
    """One chip.

    Args:
        chip_id: 0x50 is a BMP388, 0x60 a BMP390.
        part: what it is made from.
    """

    def __init__(self, chip_id: int, part: Part) -> None:
        super().__init__(pairs=True)
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._chip_id = chip_id
        self.calibration = Calibration.of_some_part(part.random)
        self._fixed: bytes | None = None
        self._ready_ns = 0
        self._started_ns = 0
        self._ends_ns: int | None = None
        self._reset(ready_ns=0)

    def load(self, blocks: Mapping[int, bytes]) -> None:
        """Set the calibration from 0x31, or data from 0x04, which become the result of every conversion."""
        for start, content in blocks.items():
            if start == _DATA:
                self._fixed = content
            elif start == _TRIM:
                self.calibration = Calibration.from_registers(content)
            self.registers[start : start + len(content)] = content

    def power_cycle(self) -> None:
        """Start: commands are accepted after 2 ms; the event register records the reset."""
        self._reset(ready_ns=self._clock.now_ns() + _START_NS)

    def store(self, register: int, value: int) -> None:
        """Write a setting, the mode, or a command."""
        if register == _CMD:
            if not self.registers[_STATUS] & _CMD_READY:
                self.registers[_ERR] |= 0x02
            elif value == 0xB6:
                self.power_cycle()
        elif register in {_OSR, _CONFIG, _ODR}:
            self.registers[register] = value & 0x3F
        elif register == _PWR_CTRL and self._ends_ns is None:
            self.registers[_PWR_CTRL] = value & 0x33
            if value & 0x30 in {0x10, 0x20}:
                self._started_ns = self._clock.now_ns()
                self._ends_ns = self._started_ns + self._conversion_ns()

    def fetch(self, register: int) -> int:
        """Read a register. Reading data clears its ready flag; reading events or errors clears them."""
        value = self.registers[register]
        if _DATA <= register < _DATA + 3:
            self.registers[_STATUS] &= ~_PRESSURE_READY
        elif _DATA + 3 <= register < _DATA + 6:
            self.registers[_STATUS] &= ~_TEMPERATURE_READY
        elif register in {_ERR, _EVENT}:
            self.registers[register] = 0
        return value

    def settle(self) -> None:
        """Finish a conversion or start-up that has ended, and count the sensor time (25 600 Hz)."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._ready_ns:
            self.registers[_STATUS] |= _CMD_READY
        self.registers[0x0C:0x0F] = (now_ns // 39_062 % (1 << 24)).to_bytes(3, "little")
        if self._ends_ns is not None and now_ns >= self._ends_ns:
            self._ends_ns = None
            self._convert()
            self.registers[_PWR_CTRL] &= ~0x30

    def _reset(self, ready_ns: int) -> None:
        super().power_cycle()
        self.registers[_CHIP_ID] = self._chip_id
        self.registers[_REVISION] = self._chip_id == 0x60
        self.registers[_DATA : _DATA + 6] = _NO_DATA
        self.registers[_EVENT] = 0x01
        self.registers[_OSR] = 0x02
        self.registers[_TRIM : _TRIM + _BLOCK.size] = self.calibration.to_registers()
        self._ready_ns = ready_ns
        self._ends_ns = None
        self.settle()

    def _samples(self) -> tuple[int, int]:
        """Temperature and pressure oversampling; 0 where the channel is off."""
        on, osr = self.registers[_PWR_CTRL], self.registers[_OSR]
        return (on >> 1 & 1) << (osr >> 3 & 7), (on & 1) << (osr & 7)

    def _conversion_ns(self) -> int:
        """Typical time (section 3.9.2); a driver that waits for the longest finds it done."""
        times_t, times_p = self._samples()
        micros = 234 + (313 + 2020 * times_t if times_t else 0) + (392 + 2020 * times_p if times_p else 0)
        return 1000 * micros

    def _convert(self) -> None:
        """Put the air of the start into the data registers."""
        times_t, times_p = self._samples()
        self.registers[_STATUS] |= _PRESSURE_READY * bool(times_p) | _TEMPERATURE_READY * bool(times_t)
        if self._fixed is not None:
            self.registers[_DATA : _DATA + 6] = self._fixed
            return
        air, noise = self._air(self._started_ns), self._random.gauss
        celsius = min(max(air.temperature_c + noise(0.0, _SIGMA_X1_C / (times_t or 1) ** 0.5), -40.0), 85.0)
        counts_t = counts_for(round(celsius * 65_536), self.calibration.linear_temperature, 1 << 23, _FULL_SCALE)
        counts_t = _resolved(counts_t, times_t)
        # Pressure is corrected with the temperature that the driver will compute.
        pressure = self.calibration.pressure_of(self.calibration.linear_temperature(counts_t))
        pascal = min(max(air.pressure_pa + noise(0.0, _SIGMA_X1_PA / (times_p or 1) ** 0.5), 30_000.0), 125_000.0)
        counts_p = counts_for(round(pascal * 100), pressure, 1 << 23, _FULL_SCALE, rising=False)
        counts_p = _resolved(counts_p, times_p)
        self.registers[_DATA : _DATA + 3] = counts_p.to_bytes(3, "little") if times_p else _NO_DATA[:3]
        self.registers[_DATA + 3 : _DATA + 6] = counts_t.to_bytes(3, "little") if times_t else _NO_DATA[:3]


def _resolved(counts: int, times: int) -> int:
    """Drop the bits that the converter does not have: 16 at x1 up to 21 at x32 (section 3.4.4)."""
    missing = 8 - (max(times, 1).bit_length() - 1)
    return min((counts + (1 << missing >> 1)) >> missing << missing, _FULL_SCALE >> missing << missing)


CHIPS: Final[Makers] = {"bmp388": partial(BoschBmp3, 0x50), "bmp390": partial(BoschBmp3, 0x60)}
