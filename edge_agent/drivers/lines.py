"""Common part of the drivers for devices that send lines of text: split a stream into lines, parse numbers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.quantity import Unit, find_unit

if TYPE_CHECKING:
    from edge_agent.bus.base import Listener

LONGEST: Final = 512
"""Longest line in bytes; longer ones are noise, or have another baud rate."""
_ENDS: Final = re.compile(rb"[\r\n]+")

NUMBER: Final = r"[-+]?(?:[0-9]{1,15}(?:\.[0-9]{0,15}|,[0-9]{1,15})?|[.,][0-9]{1,15})(?:[eE][-+]?[0-9]{1,2})?"
"""A number as devices write it: with a point or a comma."""
_VALUE: Final = re.compile(rf"\s*({NUMBER})\s*([^0-9\s][^\s]{{0,9}})?\s*")
_NO_VALUE: Final = re.compile(
    r"\s*([-+]?nan|[-+]?inf(inity)?|ovf|err(or)?|n/?a|none|null|fail(ed)?|-{1,8}|\*{1,12}|\?{0,8})\s*", re.IGNORECASE
)
"""Texts that devices send for a missing value."""

_DISCONNECTED_C: Final = frozenset({-127.0, 85.0})
"""Values of Arduino libraries for a DS18B20 that does not answer, and for one that has not converted, °C."""


class LineReader:
    """Complete lines from a listener, in order and without line ends.

    The first piece after opening or after a loss is an incomplete line and is dropped. Memory is bounded; time is
    linear in the number of bytes.

    Args:
        listener: gives the bytes.
        longest: longest line in bytes; longer ones are dropped.
    """

    def __init__(self, listener: Listener, *, longest: int = LONGEST) -> None:
        self._listener = listener
        self._longest = longest
        self._tail = b""
        self._skipping = True
        self._lost = 0

    def take(self) -> list[bytes]:
        """Lines completed since the last call, oldest first, without empty ones.

        Raises:
            BusError: as the listener.
        """
        received = self._listener.take()
        if self._listener.lost != self._lost:
            self._lost = self._listener.lost
            self._tail, self._skipping = b"", True
        *lines, tail = _ENDS.split(self._tail + received)
        if lines and self._skipping:
            del lines[0]
            self._skipping = False
        if self._skipping or len(tail) > self._longest:
            tail, self._skipping = b"", True
        self._tail = tail
        cleaned = (line.replace(b"\0", b"") for line in lines if len(line) <= self._longest)
        return [line for line in cleaned if line.strip()]


def text_of(line: bytes) -> str:
    """Decode a line as UTF-8, or if that fails as Latin-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


class NoField(ValueError):
    """The text is neither a number nor a text for a missing value."""


def value_of(text: str, quantity: str, *, unit: Unit, scale: Decimal = Decimal(1)) -> float | None:
    """Parse a number as devices write it, into the canonical unit of its quantity.

    Args:
        text: the number, with a point or a comma; a unit may follow, and then overrides `unit`.
        quantity: of the value.
        unit: of the number.
        scale: factor applied first.

    Returns:
        None for a text that means a missing value.

    Raises:
        NoField: the text is neither.
    """
    if _NO_VALUE.fullmatch(text):
        return None
    match = _VALUE.fullmatch(text)
    stated = find_unit(quantity, match[2]) if match and match[2] else unit
    if match is None or stated is None:
        raise NoField(f"{text[:40]!r} is not a number of {quantity}")
    value = stated.canonical(Decimal(match[1].replace(",", ".")) * scale)
    return None if quantity == "temperature_c" and value in _DISCONNECTED_C else value
