"""Common part of the Sensirion drivers: commands, and replies of 16-bit words with a checksum after each.

The checksum is that of SHT3x datasheet section 4.12. A command and the read of its answer are two transfers with a STOP
between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.drivers.checksum import crc8_sensirion
from edge_agent.errors import BadReply, ChecksumMismatch, DriverError, NoAcknowledge

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus

SHT3X_STATUS: Final = b"\xf3\x2d"
SHT4X_SERIAL: Final = b"\x89"

NO_CONVERSION: Final = frozenset({0x0000, 0xFFFF})
"""Words at an end of the scale: a defective sensor element, or power-up."""


def checked_words(reply: bytes, count: int) -> tuple[int, ...]:
    """Split a reply into 16-bit words, each followed by its checksum.

    Raises:
        BadReply: not `count` words long.
        ChecksumMismatch: a word was damaged.
    """
    if len(reply) != 3 * count:
        raise BadReply(f"{len(reply)} bytes where {3 * count} were expected: {reply.hex()}")
    words: list[int] = []
    for start in range(0, len(reply), 3):
        word, received = reply[start : start + 2], reply[start + 2]
        expected = crc8_sensirion(word)
        if received != expected:
            raise ChecksumMismatch(expected=expected, received=received, raw=reply)
        words.append(int.from_bytes(word))
    return tuple(words)


def read_words(bus: I2CBus, address: int, command: bytes, count: int) -> tuple[int, ...]:
    """Send a command that is answered at once, and split the reply. Raises as `checked_words` and the bus do."""
    bus.transfer(address, command, 0)
    return checked_words(bus.transfer(address, b"", 3 * count), count)


def understands(bus: I2CBus, address: int, command: bytes, count: int) -> bool:
    """Whether the chip answers a command of another chip of the family with `count` words: then it is that chip."""
    try:
        read_words(bus, address, command, count)
    except (NoAcknowledge, DriverError):
        return False
    return True


def with_checksum(value: int) -> bytes:
    """One word as it follows a command, with its checksum."""
    word = value.to_bytes(2)
    return word + bytes((crc8_sensirion(word),))
