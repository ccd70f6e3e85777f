"""What drivers of devices that speak in lines of text share: the lines out of a stream, and the numbers out of text."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.quantity import Unit, find_unit

if TYPE_CHECKING:
    from edge_agent.bus.base import Listener

LONGEST: Final = 512
"""Bytes of a line; what is longer is noise, or comes from another baud rate."""
_ENDS: Final = re.compile(rb"[\r\n]+")

NUMBER: Final = r"[-+]?(?:[0-9]{1,15}(?:\.[0-9]{0,15}|,[0-9]{1,15})?|[.,][0-9]{1,15})(?:[eE][-+]?[0-9]{1,2})?"
"""As devices write it: with a point or a comma."""
_VALUE: Final = re.compile(rf"\s*({NUMBER})\s*([^0-9\s][^\s]{{0,9}})?\s*")
_NO_VALUE: Final = re.compile(
    r"\s*([-+]?nan|[-+]?inf(inity)?|ovf|err(or)?|n/?a|none|null|fail(ed)?|-{1,8}|\*{1,12}|\?{0,8})\s*", re.IGNORECASE
)
"""What devices write where they have no value."""

_DISCONNECTED_C: Final = frozenset({-127.0, 85.0})
"""What Arduino libraries give for a DS18B20 that does not answer, and for one that has not converted."""


class LineReader:
    """Complete lines from a listener: in order, without their ends, and without what a broken stream left of them.

    The first piece after opening is half a line, and so is the first after a loss. Memory is bounded, and time grows
    with what comes and not with its square.

    Args:
        listener: where bytes come from.
        longest: longer lines are left out.
    """

    def __init__(self, listener: Listener, *, longest: int = LONGEST) -> None:
        self._listener = listener
        self._longest = longest
        self._tail = b""
        self._skipping = True
        self._lost = 0

    def take(self) -> list[bytes]:
        """Lines that were completed since the last call, oldest first; empty ones are left out.

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
    """The text of a line in UTF-8, or where it is none in Latin-1, which every byte is."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


class NoField(ValueError):
    """Text that is neither a number nor a way to say that there is none."""


def value_of(text: str, quantity: str, *, unit: Unit, scale: Decimal = Decimal(1)) -> float | None:
    """A number as devices write it, in the canonical unit of its quantity.

    Args:
        text: the number, with a point or a comma; a unit may follow, and then overrides `unit`.
        quantity: what it is.
        unit: of the number.
        scale: what it is multiplied with first.

    Returns:
        None where the device says that it has no value.

    Raises:
        NoField: it is something else.
    """
    if _NO_VALUE.fullmatch(text):
        return None
    match = _VALUE.fullmatch(text)
    stated = find_unit(quantity, match[2]) if match and match[2] else unit
    if match is None or stated is None:
        raise NoField(f"{text[:40]!r} is not a number of {quantity}")
    value = stated.canonical(Decimal(match[1].replace(",", ".")) * scale)
    return None if quantity == "temperature_c" and value in _DISCONNECTED_C else value
