"""BME280 and BMP280: calibration, and which ADC counts a given air makes. Pure.

Source: Bosch BST-BME280-DS002 sections 4.2.2 (memory map) and 4.2.3 (integer compensation, 64-bit pressure).
The counts are found by inverting the integer formulas, so that a driver which computes in floats is tested against
different arithmetic.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

FULL_SCALE_20_BIT: Final = (1 << 20) - 1
FULL_SCALE_16_BIT: Final = (1 << 16) - 1

LOW_BLOCK: Final = 0x88
HIGH_BLOCK: Final = 0xE1
_STRIDE: Final = 256
"""Distance in counts of the two points of the secant: many steps of the coarsest formula."""
_LOW: Final = struct.Struct("<HhhHhhhhhhhhxB")
_HIGH: Final = struct.Struct("<hBBBBb")


@dataclass(frozen=True, slots=True)
class Calibration:
    """The trimming values of one part, named as in the datasheet (table 16)."""

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
    h1: int
    h2: int
    h3: int
    h4: int
    h5: int
    h6: int

    @staticmethod
    def of_some_part(draw: random.Random) -> Calibration:
        """Values within the spread of real parts. H5 has either sign: a common mistake of drivers."""
        return Calibration(
            t1=draw.randint(26_900, 28_400),
            t2=draw.randint(25_700, 27_100),
            t3=draw.choice((50, 50, 50, -1000)),
            p1=draw.randint(35_600, 38_300),
            p2=draw.randint(-10_830, -10_400),
            p3=3024,
            p4=draw.randint(2_800, 9_500),
            p5=draw.randint(-160, 250),
            p6=-7,
            p7=draw.choice((9_900, 12_300, 15_500)),
            p8=draw.choice((-14_600, -10_230)),
            p9=draw.choice((4_285, 6_000)),
            h1=75,
            h2=draw.randint(340, 385),
            h3=0,
            h4=draw.randint(285, 360),
            h5=draw.choice((0, 50, 50, draw.randint(-90, -10))),
            h6=30,
        )

    @staticmethod
    def from_registers(low: bytes, high: bytes) -> Calibration:
        """Decode the 26 bytes from 0x88 and the 7 bytes from 0xE1."""
        h2, h3, e4, e5, e6, h6 = _HIGH.unpack(high)
        h4 = _signed_12_bit(e4 << 4 | e5 & 0x0F)
        h5 = _signed_12_bit(e6 << 4 | e5 >> 4)
        values: tuple[int, ...] = (*_LOW.unpack(low), h2, h3, h4, h5, h6)
        return Calibration(*values)

    def to_registers(self) -> tuple[bytes, bytes]:
        """Encode the blocks that start at 0x88 and 0xE1. H4 and H5 share the byte at 0xE5."""
        shared = (self.h4 & 0x0F) | (self.h5 & 0x0F) << 4
        high = _HIGH.pack(self.h2, self.h3, self.h4 >> 4 & 0xFF, shared, self.h5 >> 4 & 0xFF, self.h6)
        return _LOW.pack(*astuple(self)[:13]), high

    def fine_temperature(self, adc: int) -> int:
        """The datasheet's `t_fine`: temperature in 1/5120 °C."""
        difference = (adc >> 4) - self.t1
        return ((((adc >> 3) - (self.t1 << 1)) * self.t2) >> 11) + ((((difference * difference) >> 12) * self.t3) >> 14)

    def pressure_of(self, t_fine: int) -> Callable[[int], int]:
        """Fix the temperature: the function that is left maps counts to pressure in 1/256 Pa, falling."""
        part = t_fine - 128_000
        offset = part * part * self.p6 + ((part * self.p5) << 17) + (self.p4 << 35)
        slope = (((part * part * self.p3) >> 8) + ((part * self.p2) << 12) + (1 << 47)) * self.p1 >> 33
        p7, p8, p9 = self.p7, self.p8, self.p9

        def pressure_q24_8(adc: int) -> int:
            if not slope:
                return 0
            pressure = (((1_048_576 - adc) << 31) - offset) * 3125 // slope
            upper = pressure >> 13
            return ((pressure + ((p9 * upper * upper) >> 25) + ((p8 * pressure) >> 19)) >> 8) + (p7 << 4)

        return pressure_q24_8

    def humidity_of(self, t_fine: int) -> Callable[[int], int]:
        """Fix the temperature: the function that is left maps counts to humidity in 1/1024 %, rising."""
        part = t_fine - 76_800
        zero = (self.h4 << 20) + self.h5 * part
        gain = (((part * self.h6) >> 10) * (((part * self.h3) >> 11) + 32_768)) >> 10
        gain = ((gain + 2_097_152) * self.h2 + 8_192) >> 14
        h1 = self.h1

        def humidity_q22_10(adc: int) -> int:
            value = (((adc << 14) - zero + 16_384) >> 15) * gain
            upper = value >> 15
            value -= (((upper * upper) >> 7) * h1) >> 4
            return min(max(value, 0), 419_430_400) >> 12

        return humidity_q22_10


def counts_for(target: int, function: Callable[[int], int], guess: int, full_scale: int, *, rising: bool = True) -> int:
    """Find the first counts at which a monotonic function has reached `target`, or an end of the scale.

    `guess` is best the result of the last conversion. A secant through it gives the start of the bracket.
    """
    guess = min(max(guess, 0), full_scale - _STRIDE)
    here = function(guess)
    there = function(guess + _STRIDE)
    if here != there:
        guess += (target - here) * _STRIDE // (there - here)
    low = high = min(max(guess, 0), full_scale)
    upwards = (function(low) < target) == rising
    step = 2
    while True:
        if upwards:
            low, high = high, min(high + step, full_scale)
            if high == full_scale or (function(high) < target) != rising:
                break
        else:
            low, high = max(low - step, 0), low
            if low == 0 or (function(low) < target) == rising:
                break
        step *= 4
    while high - low > 1:
        middle = (low + high) // 2
        if (function(middle) < target) == rising:
            low = middle
        else:
            high = middle
    return high


def _signed_12_bit(value: int) -> int:
    return value - 4096 if value & 0x800 else value
