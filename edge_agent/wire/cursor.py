"""Reads and writes small fields: bytes, varints, slices. Pure.

The bytes may be damaged: `Cursor` never reads past their end, and raises nothing but WireError.
"""

from __future__ import annotations

from typing import Final

from edge_agent.errors import Truncated, WireError

_UINT64_END: Final = 1 << 64
_INT64_END: Final = 1 << 63
_ONE_BYTE: Final = [bytes((value,)) for value in range(128)]


def varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits per byte, least significant first, high bit set on all but the last.

    Args:
        value: 0..2**64-1.
    """
    if value < 128:
        return _ONE_BYTE[value]
    if value < 1 << 14:
        return bytes((value & 127 | 128, value >> 7))
    encoded = bytearray()
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def signed_varint(value: int) -> bytes:
    """Zigzag, then varint: 0, -1, 1, -2 … become 0, 1, 2, 3 …

    Args:
        value: an int64.
    """
    folded = value << 1 if value >= 0 else ~(value << 1)
    if 128 <= folded < 1 << 14:  # the most frequent case
        return bytes((folded & 127 | 128, folded >> 7))
    return varint(folded)


class Cursor:
    """A reading position in bytes.

    Attributes:
        data: all the bytes.
        at: offset of the next byte to read.
    """

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        """Take one byte, 0..255."""
        if self.at >= len(self.data):
            raise Truncated("column data end too early")
        self.at += 1
        return self.data[self.at - 1]

    def take(self, count: int) -> bytes:
        """Take exactly `count` bytes."""
        end = self.at + count
        if end > len(self.data):
            raise Truncated("column data end too early")
        self.at = end
        return self.data[end - count : end]

    def varint(self) -> int:
        """Take a varint, 0..2**64-1."""
        at = self.at
        if at < len(self.data) and self.data[at] < 128:
            self.at = at + 1
            return self.data[at]
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                if value >= _UINT64_END:
                    break
                return value
        raise WireError("a varint is longer than 64 bits")

    def signed_varint(self) -> int:
        """Take a zigzag varint, an int64."""
        value = self.varint()
        return value >> 1 if value & 1 == 0 else ~(value >> 1)


def wrap_int64(value: int) -> int:
    """Reduce modulo 2**64 to the int64 with the same bits."""
    return (value + _INT64_END) % _UINT64_END - _INT64_END
