"""Faults of replies on a serial line."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class SerialFault(Enum):
    """A fault of one reply, or of one line of a device that sends by itself."""

    SILENCE = auto()
    GARBAGE = auto()
    """Two extra bytes before it, as from a line without bias resistors."""
    TRAILING = auto()
    """Two extra bytes after it, as from a line driver that is switched off late."""
    NULS = auto()
    """Zero bytes before it, as from a device that was just switched on."""
    BAD_CRC = auto()
    TRUNCATED = auto()
    """Its second half is missing."""
    NO_END = auto()
    """Its line end is missing."""
    FLOOD = auto()
    """64 kB without a line end instead of it, as from another baud rate."""
    CHUNKED = auto()
    """It comes in pieces of three bytes with pauses between them."""
    LATE = auto()
    """It comes after the next request, before the reply to that."""


_SPOILT: Final[dict[SerialFault, Callable[[bytes], list[bytes]]]] = {
    SerialFault.SILENCE: lambda _whole: [],
    SerialFault.GARBAGE: lambda whole: [b"\x00\xff" + whole],
    SerialFault.TRAILING: lambda whole: [whole + b"\xff\x00"],
    SerialFault.NULS: lambda whole: [b"\x00" * 5 + whole],
    SerialFault.BAD_CRC: lambda whole: [whole[:-1] + bytes([whole[-1] ^ 0x55])],
    SerialFault.TRUNCATED: lambda whole: [whole[: len(whole) // 2]],
    SerialFault.NO_END: lambda whole: [whole.rstrip(b"\r\n")],
    SerialFault.FLOOD: lambda _whole: [b"\xf8" * 65_536],
    SerialFault.CHUNKED: lambda whole: [whole[start : start + 3] for start in range(0, len(whole), 3)],
}


def spoil(fault: SerialFault, whole: bytes) -> list[bytes]:
    """The pieces in which a reply or a line arrives with a fault. Not for LATE, which the line itself handles."""
    return _SPOILT[fault](whole)
