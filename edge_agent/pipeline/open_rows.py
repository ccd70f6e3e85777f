"""Rows of a batch that is not sealed yet, as they are secured in the store: a dump of their arrays. Pure.

To encode them as a batch would take ten times as long, and hardly any dump is ever read. A dump is one byte with the
version of the layout, 1, and the rest deflated at the lowest level, which makes it four times smaller. Little-endian:

    u16  number of groups; per group:
    text id of the sensor (u8 length, UTF-8), u32 number of rows, u16 number of columns
    i64  stamps, nanoseconds since boot
    per column: text name of the quantity, u8 parts that follow beside the values (RAWS | SIGMAS | STATUSES),
         f64 values, i32 statuses (all 0 if left out), f64 raw values, f64 sigmas; NaN where there is no number

The store adds the checksum. A dump that the next start finds is encoded as a batch then; every release can read dumps
of the release before it. Releases before 0.2 secured encoded batches, which begin with a msgpack array and are used
without a change.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from functools import lru_cache
from math import nan
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import Truncated, UnknownVersion, WireError
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.encode import encode_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 1
RAWS: Final = 1
SIGMAS: Final = 2
STATUSES: Final = 4
_MSGPACK_ARRAYS: Final = range(0x90, 0xA0)
_LEVEL: Final = 1
_MOST_BYTES: Final = 1 << 26
_GROUPS: Final = struct.Struct("<H")
_GROUP: Final = struct.Struct("<IH")


def dump_rows(groups: Sequence[Group]) -> bytes:
    """Dump the rows of several sensors."""
    parts = [_GROUPS.pack(len(groups))]
    for group in groups:
        parts += [_text(group.sensor), _GROUP.pack(len(group.times_ns), len(group.columns))]
        parts.append(_bytes(array("q", group.times_ns)))
        for column in group.columns:
            given = RAWS * (column.raws is not None) | SIGMAS * (column.sigmas is not None)
            given |= STATUSES * any(column.statuses)
            parts += [_text(column.quantity), bytes((given,)), _doubles(column.values)]
            if given & STATUSES:
                parts.append(_bytes(array("i", column.statuses)))
            parts += [_doubles(numbers) for numbers in (column.raws, column.sigmas) if numbers is not None]
    return bytes((VERSION,)) + zlib.compress(b"".join(parts), _LEVEL)


def load_rows(dump: bytes) -> list[Group]:
    """Read a dump.

    Raises:
        UnknownVersion: it is no dump of this version.
        WireError: it is damaged, or ends too early.
    """
    if dump[:1] != bytes((VERSION,)):
        raise UnknownVersion(f"rows of an open batch in the unknown layout {dump[:1].hex()}")
    reader = _Reader(_inflated(dump[1:]))
    (count,) = reader.unpack(_GROUPS)
    groups = []
    for _ in range(count):
        sensor = reader.text()
        rows, columns = reader.unpack(_GROUP)
        times_ns = reader.numbers("q", rows)
        groups.append(Group(sensor, times_ns, tuple(_load_column(reader, rows) for _ in range(columns))))
    return groups


def promote_rows(dump: bytes) -> bytes:
    """Encode a dump as the body of a batch record. Segments of releases before 0.2 are such bodies already.

    Raises:
        WireError: the bytes are neither.
    """
    if dump and dump[0] in _MSGPACK_ARRAYS:
        return dump
    return encode_batch(Batch(tuple(load_rows(dump))))


def _inflated(deflated: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(deflated, _MOST_BYTES)
    except zlib.error as error:
        raise WireError(f"rows of an open batch are damaged: {error}") from None


def _load_column(reader: _Reader, rows: int) -> Column:
    quantity, (given,) = reader.text(), reader.take(1)
    values = reader.floats(rows)
    statuses = reader.numbers("i", rows) if given & STATUSES else [0] * rows
    raws = reader.floats(rows) if given & RAWS else None
    sigmas = reader.floats(rows) if given & SIGMAS else None
    return Column(quantity, values, raws, statuses, None, sigmas)


class _Reader:
    """Reads a dump from start to end."""

    def __init__(self, dump: bytes) -> None:
        self._dump = dump
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._dump[self._at : self._at + size]
        if len(part) < size:
            raise Truncated("rows of an open batch end too early")
        self._at += size
        return part

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def text(self) -> str:
        (size,) = self.take(1)
        return self.take(size).decode(errors="replace")

    def numbers(self, kind: str, count: int) -> list[Any]:
        read: array[Any] = array(kind)
        read.frombytes(self.take(read.itemsize * count))
        if sys.byteorder == "big":
            read.byteswap()
        return read.tolist()

    def floats(self, count: int) -> list[float | None]:
        return [None if number != number else number for number in self.numbers("d", count)]  # noqa: PLR0124 NaN


@lru_cache(maxsize=1024)
def _text(text: str) -> bytes:
    octets = text.encode()
    return bytes((len(octets),)) + octets


def _doubles(numbers: Sequence[float | None]) -> bytes:
    try:  # None is rare, and a test of each number takes more time than the conversion
        return _bytes(array("d", numbers))  # type: ignore[type-var, arg-type]
    except TypeError:
        return _bytes(array("d", [nan if number is None else number for number in numbers]))


def _bytes(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
