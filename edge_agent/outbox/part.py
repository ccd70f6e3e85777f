"""Stored form of a batch of which only some rows are left: a mark, which rows these are, and the body.

The mark begins with a byte that no body has there. So a database needs no further column, and releases that do not know
it see a body that cannot be read instead of a batch with other rows.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from edge_agent.reading import RowRange, RowsOfBatch

_MARK: Final = b"\xc1row"
"""msgpack never uses the first byte."""
_HEAD: Final = struct.Struct("<4sqqqIIIIH")
"""Mark, rowid, epoch and seq of the tombstone, total, first, step, count, number of further ranges."""
_RANGE: Final = struct.Struct("<III")


class Told(NamedTuple):
    """The tombstone of the rows that are gone: its rowid, epoch and seq."""

    rowid: int
    epoch: int
    seq: int


def with_rows(rows: RowsOfBatch, body: bytes, told: Told) -> bytes:
    """The stored form of some rows of a batch."""
    head = _HEAD.pack(_MARK, *told, rows.total, rows.first, rows.step, rows.count, len(rows.more))
    return head + b"".join(_RANGE.pack(*each) for each in rows.more) + body


def without_rows(stored: bytes) -> tuple[RowsOfBatch | None, bytes]:
    """Which rows a stored body holds, None: all; and the body. The stored form must be intact."""
    if not stored.startswith(_MARK):
        return None, stored
    *_told, total, first, step, count, ranges = _HEAD.unpack_from(stored)
    end = _HEAD.size + ranges * _RANGE.size
    more = tuple(RowRange(*each) for each in _RANGE.iter_unpack(stored[_HEAD.size : end]))
    return RowsOfBatch(total, first, step, count, more), stored[end:]


def told_by(stored: bytes) -> Told | None:
    """The tombstone of the rows that are gone; None if all are there."""
    return Told(*_HEAD.unpack_from(stored)[1:4]) if stored.startswith(_MARK) else None
