"""MS5611 and its relatives: calibration words of the PROM, and compensation of the two counts. Pure.

Sources: datasheets MS5611-01BA03, MS5607-02BA03, MS5637-02BA03 and MS5837-30BA (flow charts "pressure and temperature
calculation", first and second order); application note AN520 for the CRC. In integers, as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SecondOrder = tuple[int, int, int]
"""Corrections to subtract from temperature (1/100 °C), offset and sensitivity."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the chips.

    Attributes:
        title: for people.
        crc_in_last_word: low nibble of word 7; otherwise high nibble of word 0, and there are seven words.
        offset, slope: C2 times two to the first, C4·dT by two to the second.
        sensitivity, sensitivity_slope: the same with C1 and C3.
        fraction_bits: of the pressure before truncation.
        unit_pa: unit of the pressure after truncation, Pa.
        second_order: from dT and the first temperature in 1/100 °C.
    """

    title: str
    crc_in_last_word: bool
    offset: int
    slope: int
    sensitivity: int
    sensitivity_slope: int
    fraction_bits: int
    unit_pa: int
    second_order: Callable[[int, int], SecondOrder]


def compensate(kind: Kind, prom: tuple[int, ...], pressure_raw: int, temperature_raw: int) -> tuple[float, float]:
    """Turn the two counts of a chip into °C and Pa.

    Args:
        kind: the chip.
        prom: its eight words; C1 to C6 are the second to the seventh.
        pressure_raw: D1, 24 bits.
        temperature_raw: D2, 24 bits.
    """
    _, c1, c2, c3, c4, c5, c6, _ = prom
    difference = temperature_raw - (c5 << 8)
    centi_c = 2000 + (difference * c6 >> 23)
    offset = (c2 << kind.offset) + (c4 * difference >> kind.slope)
    sensitivity = (c1 << kind.sensitivity) + (c3 * difference >> kind.sensitivity_slope)
    centi_c_less, offset_less, sensitivity_less = kind.second_order(difference, centi_c)
    offset -= offset_less
    sensitivity -= sensitivity_less
    pressure = (pressure_raw * sensitivity >> 21) - offset >> kind.fraction_bits
    return (centi_c - centi_c_less) / 100.0, float(pressure * kind.unit_pa)


def prom_is_valid(words: tuple[int, ...], *, crc_in_last_word: bool) -> bool:
    """Whether eight words have the right CRC and are not all zeros or ones.

    Limits:
        Seven words with their CRC and a zero after them are valid as eight, by the definition of the CRC.
    """
    if not all(0 < word < 0xFFFF for word in words[1:7]):
        return False
    received, computed = crc4(words, crc_in_last_word=crc_in_last_word)
    return received == computed


def crc4(words: tuple[int, ...], *, crc_in_last_word: bool) -> tuple[int, int]:
    """The CRC that stands in eight words, and the one computed over them, with zeros in its place (AN520)."""
    if crc_in_last_word:
        received, words = words[7] & 0x000F, (*words[:7], words[7] & 0xFF00)
    else:
        received, words = words[0] >> 12, (words[0] & 0x0FFF, *words[1:7], 0)
    remainder = 0
    for word in words:
        for byte in (word >> 8, word & 0xFF):
            remainder ^= byte
            for _ in range(8):
                remainder = (remainder << 1 ^ 0x3000) & 0xFFFF if remainder & 0x8000 else remainder << 1
    return received, remainder >> 12


def _ms5611(difference: int, centi_c: int) -> SecondOrder:
    if centi_c >= 2000:
        return 0, 0, 0
    square = (centi_c - 2000) ** 2
    offset, sensitivity = 5 * square >> 1, 5 * square >> 2
    if centi_c < -1500:
        square = (centi_c + 1500) ** 2
        offset, sensitivity = offset + 7 * square, sensitivity + (11 * square >> 1)
    return difference * difference >> 31, offset, sensitivity


def _ms5607(difference: int, centi_c: int) -> SecondOrder:
    if centi_c >= 2000:
        return 0, 0, 0
    square = (centi_c - 2000) ** 2
    offset, sensitivity = 61 * square >> 4, 2 * square
    if centi_c < -1500:
        square = (centi_c + 1500) ** 2
        offset, sensitivity = offset + 15 * square, sensitivity + 8 * square
    return difference * difference >> 31, offset, sensitivity


def _ms5637(difference: int, centi_c: int) -> SecondOrder:
    if centi_c >= 2000:
        return 5 * difference * difference >> 38, 0, 0
    square = (centi_c - 2000) ** 2
    offset, sensitivity = 61 * square >> 4, 29 * square >> 4
    if centi_c < -1500:
        square = (centi_c + 1500) ** 2
        offset, sensitivity = offset + 17 * square, sensitivity + 9 * square
    return 3 * difference * difference >> 33, offset, sensitivity


def _ms5837(difference: int, centi_c: int) -> SecondOrder:
    square = (centi_c - 2000) ** 2
    if centi_c >= 2000:
        return 2 * difference * difference >> 37, square >> 4, 0
    offset, sensitivity = 3 * square >> 1, 5 * square >> 3
    if centi_c < -1500:
        square = (centi_c + 1500) ** 2
        offset, sensitivity = offset + 7 * square, sensitivity + 4 * square
    return 3 * difference * difference >> 33, offset, sensitivity


MS5611: Final = Kind("MS5611", True, 16, 7, 15, 8, 15, 1, _ms5611)
MS5607: Final = Kind("MS5607", True, 17, 6, 16, 7, 15, 1, _ms5607)
MS5637: Final = Kind("MS5637", False, 17, 6, 16, 7, 15, 1, _ms5637)
MS5837: Final = Kind("MS5837-30BA", False, 16, 7, 15, 8, 13, 10, _ms5837)
"""Range 30 bar: its pressure counts tenths of a millibar."""

ALL_KINDS: Final = (MS5611, MS5607, MS5637, MS5837)
