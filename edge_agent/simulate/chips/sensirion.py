"""Common part of the Sensirion models: commands, replies that can be read once, no acknowledge while busy.

Source: Sensirion datasheets SHT3x-DIS version 6 and SHT4x version 6.6, sections 4 (I2C, data format, CRC).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Part


class SensirionChip:
    """Busy NACK and one-shot reply; subclasses add commands."""

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._fixed: bytes | None = None
        self._reply = b""
        self._busy_until_ns = 0

    def load(self, reply: bytes) -> None:
        """Let every measurement give these bytes, checksums included."""
        self._fixed = reply

    def read(self, count: int) -> bytes:
        """Give the reply once; ones after its end. Raises Nack when there is none, and while busy."""
        self._refuse_while_busy()
        if not self._reply:
            raise Nack
        reply, self._reply = self._reply, b""
        return reply[:count].ljust(count, b"\xff")

    def _refuse_while_busy(self) -> None:
        if self._clock.now_ns() < self._busy_until_ns:
            raise Nack

    def _restart(self, busy_ns: int) -> None:
        """Clear the reply, and be busy for `busy_ns`."""
        self._reply = b""
        self._busy_until_ns = self._clock.now_ns() + busy_ns

    def _finish(self, measurement: bytes, duration_ns: int) -> None:
        """Make a measurement, or the loaded bytes, the reply after `duration_ns`."""
        self._reply = self._fixed or measurement
        self._busy_until_ns = self._clock.now_ns() + duration_ns


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = (crc << 1 ^ 0x131) if crc & 0x80 else crc << 1
    return crc


_CRC_OF_BYTE: Final = bytes(_crc_of_byte(byte) for byte in range(256))


def sensirion_crc(data: bytes) -> int:
    """CRC-8, polynomial 0x31, start 0xFF (SHT3x section 4.12): 0xBEEF gives 0x92."""
    crc = 0xFF
    for byte in data:
        crc = _CRC_OF_BYTE[crc ^ byte]
    return crc


def word(value: int) -> bytes:
    """A word of 16 bits and its checksum."""
    data = value.to_bytes(2, "big")
    return data + bytes([sensirion_crc(data)])


def of_full_scale(fraction: float, full_scale: int = 65_535) -> int:
    """The count nearest to a fraction of full scale, limited to 16 bits."""
    return min(max(round(fraction * full_scale), 0), 65_535)
