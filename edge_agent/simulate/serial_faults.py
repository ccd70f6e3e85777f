"""What can happen to bytes on a serial line."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class SerialFault(Enum):
    """What can happen to one reply, or to one line of a device that sends by itself."""

    SILENCE = auto()
    GARBAGE = auto()
    """Two stray bytes before it, as from a line without bias."""
    TRAILING = auto()
    """Two stray bytes after it, as from a driver that is switched off late."""
    NULS = auto()
    """Zeros before it, as from a device that was just switched on."""
    BAD_CRC = auto()
    TRUNCATED = auto()
    """Its second half is missing."""
    NO_END = auto()
    """Its line end is missing."""
    FLOOD = auto()
    """64 kB without a line end instead of it, as from another baud rate."""
    CHUNKED = auto()
    """In pieces of three bytes with pauses between them."""
    LATE = auto()
    """It comes when the next request does, before the answer to that."""


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
    """A reply or a line as the fault leaves it, in the pieces in which it travels. Not for LATE, which takes a line."""
    return _SPOILT[fault](whole)
