"""Bytes and fields that are almost right."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge_agent.wire.cursor import signed_varint, varint

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

_EDGES: Final = tuple(
    edge + beside
    for edge in (0, 63, 127, 255, 1023, 4096, 32_767, 65_535, 1 << 16, 1 << 20, 1 << 32, 1 << 53, 1 << 63)
    for beside in (-1, 0, 1)
)
"""Numbers at which something ends."""
_ODD: Final[tuple[Any, ...]] = (None, True, 1.5, b"", b"\x00" * 20, "", "air", "ß" * 200, [], [[]], {}, [0] * 70)
_MOST_STEPS: Final = 4
_MOST_BYTES: Final = 1 << 13


def damaged(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change a few bytes: bits, runs, numbers, and pieces of others."""
    octets = bytearray(data)
    for _ in range(rng.randint(1, _MOST_STEPS)):
        at = rng.randrange(len(octets) + 1)
        end = min(len(octets), at + rng.choice((1, 1, 2, 4, rng.randint(1, 64))))
        match rng.randrange(8):
            case 0 | 1 if at < len(octets):
                octets[at] ^= 1 << rng.randrange(8)
            case 2 if at < len(octets):
                octets[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3:
                del octets[at:end]
            case 4:
                octets[at:at] = octets[at:end] * rng.choice((1, 1, 2, 30))
            case 5:
                octets[at:end] = rng.choice((varint, signed_varint))(abs(rng.choice(_EDGES)) % (1 << 63))
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                octets[at:end] = other[start : start + rng.randint(1, 40)]
            case _:
                octets[at:] = octets[at:end]
    return bytes(octets[:_MOST_BYTES])


def confused(rng: random.Random, fields: Any) -> Any:
    """Change one element somewhere in nested lists: another number, another type, missing, or repeated."""
    if isinstance(fields, list) and fields and rng.random() < 0.8:
        changed = list(fields)
        place = rng.randrange(len(changed))
        match rng.randrange(8):
            case 0:
                del changed[place]
            case 1:
                changed[place:place] = changed[place : place + 1] * rng.choice((1, 2, 70, 1100))
            case _:
                changed[place] = confused(rng, changed[place])
        return changed
    if isinstance(fields, bytes) and rng.random() < 0.8:
        return damaged(rng, fields, [fields])
    return rng.choice(_EDGES) if rng.random() < 0.7 else rng.choice(_ODD)


def packed(fields: Any) -> bytes:
    """As msgpack; what it cannot hold becomes nil."""
    try:
        octets: bytes = msgpack.packb(fields)
    except (ValueError, OverflowError):
        return b"\xc0"
    return octets


def sealed(message: bytes, seed: int = 0) -> bytes:
    """With a checksum that is right."""
    return message + zlib.crc32(message, seed).to_bytes(4, "big")
