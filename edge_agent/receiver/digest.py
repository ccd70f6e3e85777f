"""A number that says which readings of an epoch somebody has, so that both ends can compare. Pure.

It is a sum, so it does not depend on the order of arrival, both ends can keep it up to date record by record, and a
sender can subtract what it drops.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_IDENTITY: Final = struct.Struct(">QIB")
_MODULUS: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Digest:
    """The readings of an epoch.

    Attributes:
        rows: rows with at least one reading.
        readings: cells of these rows that are not absent.
        crc_sum: sum over these rows of the CRC-32 (zlib) of 13 bytes, big-endian: seq in 8, row in 4, readings of the
            row in 1; modulo 2**63.
    """

    rows: int = 0
    readings: int = 0
    crc_sum: int = 0

    def plus(self, seq: int, rows: Iterable[tuple[int, int]]) -> Digest:
        """With more rows of a record.

        Args:
            seq: of the record.
            rows: number of each row in its batch, and how many readings it has, 0..64; rows with 0 do not count.
        """
        count = readings = crc_sum = 0
        pack, crc = _IDENTITY.pack, zlib.crc32
        for row, width in rows:
            if width:
                count += 1
                readings += width
                crc_sum += crc(pack(seq, row, width))
        return Digest(self.rows + count, self.readings + readings, (self.crc_sum + crc_sum) % _MODULUS)
