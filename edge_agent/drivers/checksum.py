"""Checksums of the chips and protocols that have one. Pure."""

from __future__ import annotations

from typing import Final


def _crc8_table(polynomial: int) -> bytes:
    """One byte's worth of division, most significant bit first."""
    table = bytearray()
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc << 1 ^ polynomial) & 0xFF if crc & 0x80 else crc << 1
        table.append(crc)
    return bytes(table)


def _reflected_table(polynomial: int) -> tuple[int, ...]:
    """One byte's worth of division, least significant bit first; `polynomial` is bit-reversed."""
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ polynomial if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_SENSIRION: Final = _crc8_table(0x31)
_DALLAS: Final = _reflected_table(0x8C)
_MODBUS: Final = _reflected_table(0xA001)


def crc8_sensirion(data: bytes) -> int:
    """CRC-8 over one word of a Sensirion chip: x⁸+x⁵+x⁴+1, start 0xFF (SHT3x datasheet, section 4.12).

    `0xBEEF` gives `0x92`.
    """
    crc = 0xFF
    for byte in data:
        crc = _SENSIRION[crc ^ byte]
    return crc


def crc8_sht2x(data: bytes) -> int:
    """CRC-8 of SHT2x, HTU21D and Si70xx: the polynomial of Sensirion, start 0 (HTU21D datasheet, CRC-8 checksum).

    `0x683A` gives `0x7C`.

    Limits:
        All zeros give 0, so that a line held low passes; the caller must refuse that itself.
    """
    crc = 0
    for byte in data:
        crc = _SENSIRION[crc ^ byte]
    return crc


def crc8_dallas(data: bytes) -> int:
    """CRC-8 of 1-Wire: x⁸+x⁵+x⁴+1, bits reflected, start 0 (Maxim application note 27).

    Limits:
        All zeros give 0, so that a line held low passes; the caller must refuse that itself.
    """
    crc = 0
    for byte in data:
        crc = _DALLAS[crc ^ byte]
    return crc


def crc16_modbus(data: bytes) -> int:
    """CRC-16 of Modbus RTU: 0x8005 reflected, start 0xFFFF (Modbus over serial line V1.02, section 6.2.2).

    Returns:
        The number whose low byte travels first.
    """
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _MODBUS[crc & 0xFF ^ byte]
    return crc
