"""Infineon DPS310 and DPS368, register by register.

Source: Infineon DPS310 datasheet rev. 1.2, sections 3 (noise), 4 (modes, start-up, compensation), 7 and 8 (registers).
Every chip has the wrong fuse setting of some real ones, and its second thermometer gives other counts: a driver that
leaves out the correction or the coefficient source is far off.

Limits: no FIFO, no interrupts.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.bosch280 import counts_for
from edge_agent.simulate.chips.register_file import RegisterFile

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from edge_agent.simulate.chips.base import Makers, Part

_DATA, _PRS_CFG, _TMP_CFG, _MEAS_CFG, _CFG_REG = 0x00, 0x06, 0x07, 0x08, 0x09
_RESET, _ID, _COEFFICIENTS, _SOURCE = 0x0C, 0x0D, 0x10, 0x28
_KEYS: Final = {0x0E: 0xA5, 0x0F: 0x96}
_FUSES: Final = 0x62

_SENSOR_NS: Final = 12_000_000
_COEFFICIENTS_NS: Final = 40_000_000
_PRESSURE, _TEMPERATURE = 1, 2
"""Bits of the mode; bit 2 is set in the background."""
_READY: Final = {_PRESSURE: 0x10, _TEMPERATURE: 0x20}
_CONFIG_OF: Final = {_PRESSURE: _PRS_CFG, _TEMPERATURE: _TMP_CFG}
_WIDTHS: Final = (12, 12, 20, 20, 16, 16, 16, 16, 16)
_FULL_SCALE: Final = (524_288, 1_572_864, 3_670_016, 7_864_320, 253_952, 516_096, 1_040_384, 2_088_960)
_HALF: Final = 1 << 23
_WRONG_FUSE_C: Final = 38.0
_OTHER_THERMOMETER_C: Final = -25.0
_SIGMA_X1_PA: Final = 2.5
_SIGMA_C: Final = 0.01


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The calibration of one part, named as in the datasheet and in its order."""

    c0: int
    c1: int
    c00: int
    c10: int
    c01: int
    c11: int
    c20: int
    c21: int
    c30: int

    @staticmethod
    def of_some_part(draw: random.Random) -> Coefficients:
        """Values within the spread of real parts."""
        return Coefficients(
            c0=draw.randint(195, 228),
            c1=draw.randint(-268, -246),
            c00=draw.randint(75_000, 87_600),
            c10=draw.randint(-56_000, -47_000),
            c01=draw.randint(-2_700, -1_700),
            c11=draw.randint(1_100, 1_550),
            c20=draw.randint(-9_400, -7_800),
            c21=draw.randint(-105, 30),
            c30=draw.randint(-1_950, -800),
        )

    @staticmethod
    def from_registers(block: bytes) -> Coefficients:
        """Decode the 18 bytes from 0x10."""
        digits = "".join(f"{byte:08b}" for byte in block)
        values = []
        for width in _WIDTHS:
            number, digits = int(digits[:width], 2), digits[width:]
            values.append(number - 2**width if number >= 2 ** (width - 1) else number)
        return Coefficients(*values)

    def to_registers(self) -> bytes:
        """Encode the 18 bytes from 0x10."""
        digits = "".join(f"{value % 2**width:0{width}b}" for value, width in zip(astuple(self), _WIDTHS, strict=True))
        return int(digits, 2).to_bytes(len(digits) // 8, "big")

    def pressure_pa(self, p: float, t: float) -> float:
        """Pressure from scaled counts (section 4.9.1), each term by itself."""
        return (
            self.c00
            + self.c10 * p
            + self.c20 * p**2
            + self.c30 * p**3
            + self.c01 * t
            + self.c11 * t * p
            + self.c21 * t * p**2
        )


class Dps310(RegisterFile):
    """One chip."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self.coefficients = Coefficients.of_some_part(part.random)
        self._source = part.random.choice((0x00, 0x80))
        self._fixed: bytes | None = None
        self._powered_ns = -_COEFFICIENTS_NS
        self._started_ns = 0
        self._done: dict[int, int] = {}
        self._unlocked: dict[int, int] = {}
        self._repaired = False
        self._reset(self._powered_ns)

    def load(self, blocks: Mapping[int, bytes]) -> None:
        """Set coefficients from 0x10, their source at 0x28, or data from 0x00 as the result of every conversion."""
        for start, content in blocks.items():
            if start == _DATA:
                self._fixed = content
            elif start == _SOURCE:
                self._source = content[0]
            elif start == _COEFFICIENTS:
                self.coefficients = Coefficients.from_registers(content)
        self._show_coefficients()

    def power_cycle(self) -> None:
        """Start: the coefficients can be read after 40 ms."""
        self._reset(self._clock.now_ns())

    def store(self, register: int, value: int) -> None:
        """Write a setting, the mode, a reset, or the hidden fuse register."""
        if register == _RESET and value & 0x0F == 0x09:
            self.power_cycle()
        elif register in {_PRS_CFG, _TMP_CFG, _CFG_REG}:
            self.registers[register] = value
        elif register == _MEAS_CFG:
            self.registers[_MEAS_CFG] = self.registers[_MEAS_CFG] & 0xF8 | value & 0x07
            self._started_ns = self._clock.now_ns()
            self._done = {}
        elif register in _KEYS:
            self._unlocked[register] = value
        elif register == _FUSES and self._unlocked == _KEYS:
            self._repaired = value == 0x02

    def fetch(self, register: int) -> int:
        """Read a register. Reading data clears its ready flag."""
        if register in {_DATA, _DATA + 3}:
            self.registers[_MEAS_CFG] &= ~_READY[_PRESSURE if register == _DATA else _TEMPERATURE]
        return self.registers[register]

    def settle(self) -> None:
        """Finish the conversions that have ended."""
        now_ns = self._clock.now_ns()
        if now_ns - self._powered_ns >= _SENSOR_NS:
            self.registers[_MEAS_CFG] |= 0x40
        if now_ns - self._powered_ns >= _COEFFICIENTS_NS and not self.registers[_MEAS_CFG] & 0x80:
            self.registers[_MEAS_CFG] |= 0x80
            self._show_coefficients()
        mode = self.registers[_MEAS_CFG] & 0x07
        wanted = [kind for kind in (_TEMPERATURE, _PRESSURE) if mode & kind]
        times_ns = {kind: self._measuring_ns(kind) for kind in wanted}
        first_ns = self._started_ns
        for kind in wanted:
            first_ns += times_ns[kind]
            if now_ns < first_ns:
                continue
            period_ns = number = 0
            if mode & 0x04:
                rate_hz = 1 << (self.registers[_CONFIG_OF[kind]] >> 4 & 0x07)
                period_ns = max(1_000_000_000 // rate_hz, sum(times_ns.values()))
                number = (now_ns - first_ns) // period_ns
            if number > self._done.get(kind, -1):
                self._done[kind] = number
                self._convert(kind, first_ns + number * period_ns)
            if not mode & 0x04:
                self.registers[_MEAS_CFG] &= 0xF8

    def _reset(self, powered_ns: int) -> None:
        super().power_cycle()
        self.registers[_ID] = 0x10
        self.registers[_DATA] = self.registers[_DATA + 3] = 0x80
        self._powered_ns = powered_ns
        self._done, self._unlocked, self._repaired = {}, {}, False
        self.settle()

    def _show_coefficients(self) -> None:
        block = self.coefficients.to_registers()
        self.registers[_COEFFICIENTS : _COEFFICIENTS + len(block)] = block
        self.registers[_SOURCE] = self._source

    def _measuring_ns(self, kind: int) -> int:
        """Typical time of one conversion: 2 ms, and 1.6 ms for each sample."""
        return 1_000_000 * 2 + 1_600_000 * (1 << (self.registers[_CONFIG_OF[kind]] & 0x07))

    def _convert(self, kind: int, boot_ns: int) -> None:
        """Put the air at that time into one of the two results."""
        self.registers[_MEAS_CFG] |= _READY[kind]
        at = _DATA if kind == _PRESSURE else _DATA + 3
        if self._fixed is not None:
            self.registers[at : at + 3] = self._fixed[at : at + 3]
            return
        air, noise = self._air(boot_ns), self._random.gauss
        seen_c = air.temperature_c + noise(0.0, _SIGMA_C)
        if not self._repaired:
            seen_c += _WRONG_FUSE_C
        if self.registers[_TMP_CFG] & 0x80 != self._source:
            seen_c += _OTHER_THERMOMETER_C
        c = self.coefficients
        t = (seen_c - c.c0 / 2) / c.c1
        code = self.registers[_CONFIG_OF[kind]] & 0x07
        counts = round(t * _FULL_SCALE[code])
        if kind == _PRESSURE:
            true_t = (air.temperature_c - c.c0 / 2) / c.c1
            pascal = min(max(air.pressure_pa + noise(0.0, _SIGMA_X1_PA / (1 << code) ** 0.5), 30_000.0), 120_000.0)
            counts = counts_for(
                round(pascal * 100),
                lambda counts: round(c.pressure_pa((counts - _HALF) / _FULL_SCALE[code], true_t) * 100),
                _HALF,
                2 * _HALF - 1,
                rising=False,
            ) - _HALF  # fmt: skip
        shift = 0x04 if kind == _PRESSURE else 0x08
        if code > 3 and not self.registers[_CFG_REG] & shift:
            counts *= 16  # what does not fit into 24 bits is lost
        self.registers[at : at + 3] = (counts % (2 * _HALF)).to_bytes(3, "big")


CHIPS: Final[Makers] = {"dps310": Dps310}
