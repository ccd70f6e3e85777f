"""Rows of a batch that is not sealed yet, as they are secured in the store: a dump of their arrays. Pure.

To encode them as a batch would take ten times as long, and hardly any dump is ever read. Little-endian:

    u8   layout: 1, plus THOUSANDTHS, plus DEFLATED if all bytes after this one are deflated

    u16  number of groups; per group:
         text id of the sensor (u8 length, UTF-8), u32 number of rows, u16 number of columns; per column:
         text name of the quantity, u8 what there is beside its values (RAWS | SIGMAS | STATUSES)
    i64  stamps of all groups, nanoseconds since boot
    i32  statuses of the columns that have any but 0
    f64  of all columns: values, raw values, sigmas; NaN where there is no number. With THOUSANDTHS these are
         i32 thousandths, MISSING where there is no number.

A dump that is larger than one block of the store is made smaller. Mostly thousandths are exact, because the resolution
of chips is a decimal, and they take a third of the time that deflating takes.

The store adds the checksum. A dump that the next start finds is encoded as a batch then; every release can read dumps
of the release before it. Releases before 0.2 secured encoded batches, which begin with a msgpack array and are used
without a change.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from functools import lru_cache
from math import nan
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edge_agent.errors import Truncated, UnknownVersion, WireError
from edge_agent.reading import NOT_SENT
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.encode import encode_batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

LAYOUT: Final = 1
DEFLATED: Final = 1
THOUSANDTHS: Final = 2
PLAIN_BYTES: Final = 4000
"""A dump up to this size takes one block of the store."""
MISSING: Final = -(1 << 31)
RAWS: Final = 1
SIGMAS: Final = 2
STATUSES: Final = 4
_MSGPACK_ARRAYS: Final = range(0x90, 0xA0)
_LEVEL: Final = 1
_MOST_IN_THOUSANDTHS: Final = 2_147_483.0
_MOST_BYTES: Final = 1 << 26
_GROUPS: Final = struct.Struct("<H")
_GROUP: Final = struct.Struct("<IH")


OpenColumn = tuple[
    str, Sequence[float | None], Sequence[float | None] | None, Sequence[float | None] | None, Sequence[int]
]
"""Rows of one channel: quantity, values, raw values (None: not sent), sigmas (None: not sent), statuses. A plain tuple,
because one is made per channel and dump."""
OpenGroup = tuple[str, Sequence[int], Sequence[OpenColumn]]
"""Rows of one sensor: its id, stamps in nanoseconds since boot, and its columns."""


class Dump(NamedTuple):
    """Dumped rows.

    Attributes:
        readings: number of readings in them, without cells that the sensor did not measure.
        first_ns, last_ns: earliest and latest stamp, nanoseconds since boot; 0 if there is none.
        body: the dump.
    """

    readings: int
    first_ns: int
    last_ns: int
    body: bytes


def dump_rows(groups: Sequence[OpenGroup]) -> Dump:
    """Dump the rows of several sensors."""
    heads = [_GROUPS.pack(len(groups))]
    stamps: list[int] = []
    statuses: list[int] = []
    numbers: list[float | None] = []
    cells = 0
    for sensor, times_ns, columns in groups:
        heads += (_text(sensor), _GROUP.pack(len(times_ns), len(columns)))
        stamps += times_ns
        cells += len(times_ns) * len(columns)
        for quantity, values, raws, sigmas, states in columns:
            given = 0
            numbers += values
            if raws is not None:
                given = RAWS
                numbers += raws
            if sigmas is not None:
                given |= SIGMAS
                numbers += sigmas
            if any(states):
                given |= STATUSES
                statuses += states
            heads.append(_column_head(quantity, given))
    heads += (_bytes(array("q", stamps)), _bytes(array("i", statuses)))
    doubles, layout = _doubles(numbers), LAYOUT
    if sum(map(len, heads)) + len(doubles) > PLAIN_BYTES and (thousandths := _thousandths(doubles)) is not None:
        doubles, layout = thousandths, LAYOUT + THOUSANDTHS
    plain = b"".join([*heads, doubles])
    if len(plain) > PLAIN_BYTES:
        plain, layout = zlib.compress(plain, _LEVEL), layout + DEFLATED
    body = bytes((layout,)) + plain
    return Dump(cells - statuses.count(NOT_SENT), min(stamps, default=0), max(stamps, default=0), body)


def load_rows(dump: bytes) -> list[Group]:
    """Read a dump.

    Raises:
        UnknownVersion: it is no dump of this version.
        WireError: it is damaged, or ends too early.
    """
    layout = dump[0] - LAYOUT if dump else -1
    if not 0 <= layout <= DEFLATED + THOUSANDTHS:
        raise UnknownVersion(f"rows of an open batch in the unknown layout {dump[:1].hex()}")
    reader = _Reader(_inflated(dump[1:]) if layout & DEFLATED else dump[1:], layout & THOUSANDTHS != 0)
    (count,) = reader.unpack(_GROUPS)
    heads = [reader.head() for _ in range(count)]
    stamps = [reader.integers("q", head.rows) for head in heads]
    statuses = [
        reader.integers("i", head.rows) if given & STATUSES else None for head in heads for _, given in head.columns
    ]
    rest = iter(statuses)
    return [
        Group(
            head.sensor,
            times_ns,
            tuple(_load_column(reader, head.rows, *column, next(rest)) for column in head.columns),
        )
        for head, times_ns in zip(heads, stamps, strict=True)
    ]


def promote_rows(dumps: Sequence[bytes]) -> bytes:
    """Encode dumps of one batch, oldest first, as the body of its record.

    Segments of releases before 0.2 are such bodies already, each of a batch of its own.

    Raises:
        WireError: the bytes are neither.
    """
    if len(dumps) == 1 and dumps[0] and dumps[0][0] in _MSGPACK_ARRAYS:
        return dumps[0]
    groups = [group for dump in dumps for group in load_rows(dump)]
    return encode_batch(Batch(tuple(_without_empty(_joined(groups)))))


def _joined(groups: Sequence[Group]) -> Iterator[Group]:
    """Groups of one sensor and the same columns as one, with the rows in order."""
    parts: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        shape = [(column.quantity, column.raws is None, column.sigmas is None) for column in group.columns]
        parts.setdefault((group.sensor, *shape), []).append(group)
    for same in parts.values():
        columns = zip(*[group.columns for group in same], strict=True)
        times_ns = [time_ns for group in same for time_ns in group.times_ns]
        yield Group(same[0].sensor, times_ns, tuple([_joined_column(each) for each in columns]))


def _joined_column(parts: Sequence[Column]) -> Column:
    def chained(cells: Sequence[Sequence[Any] | None]) -> list[Any] | None:
        return None if cells[0] is None else [cell for part in cells if part is not None for cell in part]

    return Column(
        parts[0].quantity,
        [value for part in parts for value in part.values],
        chained([part.raws for part in parts]),
        [status for part in parts for status in part.statuses],
        None,
        chained([part.sigmas for part in parts]),
    )


def _without_empty(groups: Iterable[Group]) -> Iterator[Group]:
    """Groups without the columns of which nothing is sent, as a sealed batch has them."""
    for group in groups:
        columns = tuple([column for column in group.columns if column.cells_sent()])
        if columns:
            yield Group(group.sensor, group.times_ns, columns)


def _inflated(deflated: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(deflated, _MOST_BYTES)
    except zlib.error as error:
        raise WireError(f"rows of an open batch are damaged: {error}") from None
    if not inflate.eof:
        raise Truncated("rows of an open batch end too early, or are too many")
    return plain


class _Head(NamedTuple):
    """What a dump says of a group: columns by quantity and what there is beside their values."""

    sensor: str
    rows: int
    columns: Sequence[tuple[str, int]]


def _load_column(reader: _Reader, rows: int, quantity: str, given: int, statuses: list[int] | None) -> Column:
    values = reader.floats(rows)
    raws = reader.floats(rows) if given & RAWS else None
    sigmas = reader.floats(rows) if given & SIGMAS else None
    return Column(quantity, values, raws, statuses or [0] * rows, None, sigmas)


class _Reader:
    """Reads a dump from start to end."""

    def __init__(self, dump: bytes, in_thousandths: bool) -> None:
        self._dump = dump
        self._in_thousandths = in_thousandths
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

    def head(self) -> _Head:
        sensor = self.text()
        rows, columns = self.unpack(_GROUP)
        return _Head(sensor, rows, [(self.text(), *self.take(1)) for _ in range(columns)])

    def integers(self, kind: str, count: int) -> list[int]:
        return self._numbers(kind, count)

    def floats(self, count: int) -> list[float | None]:
        if self._in_thousandths:
            return [None if number == MISSING else number / 1000 for number in self._numbers("i", count)]
        return [None if number != number else number for number in self._numbers("d", count)]  # noqa: PLR0124 NaN

    def _numbers(self, kind: str, count: int) -> list[Any]:
        read: array[Any] = array(kind)
        read.frombytes(self.take(read.itemsize * count))
        if sys.byteorder == "big":
            read.byteswap()
        return read.tolist()


@lru_cache(maxsize=1024)
def _text(text: str) -> bytes:
    octets = text.encode()
    return bytes((len(octets),)) + octets


@lru_cache(maxsize=1024)
def _column_head(quantity: str, given: int) -> bytes:
    return _text(quantity) + bytes((given,))


def _doubles(numbers: list[float | None]) -> bytes:
    try:  # None is rare, and a test of each number takes more time than the conversion
        return _bytes(array("d", numbers))  # type: ignore[type-var, arg-type]
    except TypeError:
        return _bytes(array("d", [nan if number is None else number for number in numbers]))


def _thousandths(doubles: bytes) -> bytes | None:
    """Turn doubles into thousandths; None if not all of them are exactly what the thousandths will be read as."""
    numbers = np.frombuffer(doubles, dtype="<f8")
    missing: NDArray[np.bool_] | None = None
    if not np.abs(numbers).max(initial=0) <= _MOST_IN_THOUSANDTHS:  # true for NaN too
        missing = np.isnan(numbers)
        numbers = np.where(missing, 0.0, numbers)
        if np.abs(numbers).max() > _MOST_IN_THOUSANDTHS:
            return None
    integers = np.rint(numbers * 1000).astype("<i4")
    restored = integers / 1000
    if missing is not None:
        integers[missing], restored[missing] = MISSING, nan
    # Bytes, because -0.0 equals 0.0.
    return integers.tobytes() if restored.astype("<f8", copy=False).tobytes() == doubles else None


def _bytes(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
