"""BME680 and BME688: calibration, and the datasheet's integer compensation that is inverted to get counts. Pure.

Source: Bosch BST-BME680-DS001 sections 3.3 (integer formulas) and 3.11.1 (memory map). Python's integers do not
overflow as those of the published C code do; its steps of a few Pa remain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

LOW_BLOCK = 0x8A
HIGH_BLOCK = 0xE1

_PLACES = (
    # Name, address of the low byte, bytes, signed.
    ("t1", 0xE9, 2, False),
    ("t2", 0x8A, 2, True),
    ("t3", 0x8C, 1, True),
    ("p1", 0x8E, 2, False),
    ("p2", 0x90, 2, True),
    ("p3", 0x92, 1, True),
    ("p4", 0x94, 2, True),
    ("p5", 0x96, 2, True),
    ("p6", 0x99, 1, True),
    ("p7", 0x98, 1, True),
    ("p8", 0x9C, 2, True),
    ("p9", 0x9E, 2, True),
    ("p10", 0xA0, 1, False),
    ("h3", 0xE4, 1, True),
    ("h4", 0xE5, 1, True),
    ("h5", 0xE6, 1, True),
    ("h6", 0xE7, 1, False),
    ("h7", 0xE8, 1, True),
)
"""H1 and H2 are missing: they share the byte at 0xE2."""


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
    h1: int
    h2: int
    h3: int
    h4: int
    h5: int
    h6: int
    h7: int

    @staticmethod
    def of_some_part(draw: random.Random) -> Calibration:
        """Values within the spread of real parts."""
        return Calibration(
            t1=draw.randint(25_900, 26_400),
            t2=draw.randint(25_600, 26_650),
            t3=3,
            p1=draw.randint(35_300, 39_100),
            p2=draw.randint(-10_500, -10_200),
            p3=88,
            p4=draw.randint(4_800, 8_500),
            p5=draw.randint(-240, -60),
            p6=30,
            p7=draw.randint(24, 43),
            p8=draw.randint(-3_300, -240),
            p9=draw.randint(-4_600, -2_100),
            p10=30,
            h1=draw.randint(730, 870),
            h2=draw.randint(920, 1_025),
            h3=0,
            h4=45,
            h5=20,
            h6=120,
            h7=-100,
        )

    @staticmethod
    def from_registers(registers: bytes | bytearray) -> Calibration:
        """Decode the chip's 256 registers."""
        values = {
            name: int.from_bytes(registers[at : at + size], "little", signed=signed)
            for name, at, size, signed in _PLACES
        }
        h1 = registers[0xE3] * 16 + registers[0xE2] % 16
        h2 = registers[0xE1] * 16 + registers[0xE2] // 16
        return Calibration(**values, h1=h1, h2=h2)

    def write_to(self, registers: bytearray) -> None:
        """Encode into the chip's 256 registers."""
        for name, at, size, signed in _PLACES:
            registers[at : at + size] = int.to_bytes(getattr(self, name), size, "little", signed=signed)
        registers[0xE1], registers[0xE3] = self.h2 // 16, self.h1 // 16
        registers[0xE2] = self.h2 % 16 * 16 + self.h1 % 16

    def fine_temperature(self, adc: int) -> int:
        """The datasheet's `t_fine`: temperature in 1/5120 °C."""
        difference = (adc >> 3) - 2 * self.t1
        half = difference >> 1
        return (difference * self.t2 >> 11) + ((half * half >> 12) * (self.t3 << 4) >> 14)

    def pressure_of(self, t_fine: int) -> Callable[[int], int]:
        """Fix the temperature: the function that is left maps counts to pressure in Pa, falling."""
        part = (t_fine >> 1) - 64_000
        square = (part >> 2) ** 2
        offset = ((square >> 11) * self.p6 >> 2) + 2 * part * self.p5
        offset = (offset >> 2) + (self.p4 << 16)
        slope = ((square >> 13) * (self.p3 << 5) >> 3) + (self.p2 * part >> 1)
        slope = (32_768 + (slope >> 18)) * self.p1 >> 15
        p7, p8, p9, p10 = self.p7, self.p8, self.p9, self.p10

        def pressure_pa(adc: int) -> int:
            if not slope:
                return 0
            pressure = (1_048_576 - adc - (offset >> 12)) * 6250 // slope
            square = p9 * ((pressure >> 3) ** 2 >> 13) >> 12
            linear = (pressure >> 2) * p8 >> 13
            cube = (pressure >> 8) ** 3 * p10 >> 17
            return pressure + (square + linear + cube + (p7 << 7) >> 4)

        return pressure_pa

    def humidity_of(self, t_fine: int) -> Callable[[int], int]:
        """Fix the temperature: the function that is left maps counts to humidity in 1/1000 %, rising."""
        centi = (t_fine * 5 + 128) >> 8
        zero = self.h1 * 16 + (centi * self.h3 // 100 >> 1)
        gain = centi * self.h4 // 100 + ((centi * (centi * self.h5 // 100) >> 6) // 100) + 16_384
        bend = (self.h6 << 7) + centi * self.h7 // 100 >> 4
        h2 = self.h2

        def humidity_milli_pct(adc: int) -> int:
            linear = (adc - zero) * (h2 * gain >> 10)
            square = bend * ((linear >> 14) ** 2 >> 10) >> 1
            return min(max(((linear + square) >> 10) * 1000 >> 12, 0), 100_000)

        return humidity_milli_pct
