"""Reads msgpack elements from any bytes, and checks their types. Pure.

Raises nothing but WireError, and takes no more memory than the caps allow.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from edge_agent.errors import Truncated, WireError
from edge_agent.wire.limits import MAX_COLUMNS, MAX_GROUPS, MAX_MESSAGE_BYTES, MAX_TEXT_BYTES

INT64: Final = (-(1 << 63), (1 << 63) - 1)
COUNT: Final = (0, (1 << 63) - 1)
_FIRST_LOOK: Final = 4096


def take_element(data: bytes, start: int) -> tuple[Any, int]:
    """Read one element at `start`, from more and more bytes until it is complete.

    Returns:
        The element, and the offset of the first byte after it.
    """
    look = _FIRST_LOOK
    while True:
        piece = data[start : start + min(look, MAX_MESSAGE_BYTES)]
        unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            max_buffer_size=MAX_MESSAGE_BYTES,
            max_str_len=MAX_TEXT_BYTES,
            max_bin_len=MAX_MESSAGE_BYTES,
            max_array_len=MAX_GROUPS,
            max_map_len=MAX_COLUMNS,
            max_ext_len=MAX_TEXT_BYTES,
        )
        unpacker.feed(piece)
        try:
            fields = unpacker.unpack()
        except msgpack.OutOfData:
            if len(piece) == MAX_MESSAGE_BYTES:
                raise WireError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes") from None
            if start + len(piece) == len(data):
                raise Truncated("the message ends too early") from None
            look *= 8
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
            raise WireError(f"the message is not msgpack as the format wants it: {error}") from None
        else:
            return fields, start + int(unpacker.tell())


def array(field: Any, least: int, what: str, *, exact: bool = True) -> list[Any]:
    """Check an array; with `exact`, elements after the first `least`, which newer senders append, are left out."""
    if type(field) is not list or len(field) < least:
        raise WireError(f"{what} is not an array of at least {least}")
    return field[:least] if exact else field


def integer(field: Any, limits: tuple[int, int], what: str) -> int:
    """Check an integer and its limits."""
    low, high = limits
    if type(field) is not int or not low <= field <= high:
        raise WireError(f"{what} is not an integer from {low} to {high}")
    return field


def text(field: Any, what: str) -> str:
    """Check a text."""
    if type(field) is not str:
        raise WireError(f"{what} is not a text")
    return field


def octets(field: Any, what: str) -> bytes:
    """Check bytes."""
    if type(field) is not bytes:
        raise WireError(f"{what} are not bytes")
    return field
