"""Columns of a group to bytes and back: cells, values, raw values, features. Pure.

A column in which every cell is good, present and decimal is the rule, and costs two header bytes; everything
else is announced by bits of the first.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.reading import NOT_SENT, Features
from edge_agent.wire.batch import Column
from edge_agent.wire.floats import decode_floats, scale_floats
from edge_agent.wire.integers import decode_integers, encode_integers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.cursor import Cursor

    Ints = NDArray[np.int64]
    Part = bytes | Ints
    """What is ready, or integers that are still to be encoded together with all others."""

MOST_STATUS: Final = 0xFFFF

_SCALE: Final = 0x0F
_HAS_CELLS: Final = 0x10
_RAWS_SHIFT: Final = 5
_HAS_FEATURES: Final = 0x80

_NO_RAWS: Final = 0
_SAME_RAWS: Final = 1
_OWN_RAWS: Final = 2

_CELL_GOOD: Final = 0
_CELL_NOT_SENT: Final = 1
_CELL_OTHER: Final = 2

_FEATURES: Final = struct.Struct("<I5f")
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_UINT32_MAX: Final = 0xFFFF_FFFF


class _Sheet(NamedTuple):
    """A column taken apart: only the numbers that travel, and where they stand."""

    cells: list[int] | None
    values: Sequence[float]
    raws_mode: int
    raws_missing: list[int] | None
    raws: Sequence[float]
    features: Features | None


def encode_columns(columns: Sequence[Column], times: Sequence[Sequence[int]]) -> tuple[list[bytes], list[bytes]]:
    """Encode value columns and time columns (int64 ns) of a whole batch at once.

    Returns:
        One block per value column, one block per time column.

    Raises:
        WireError: a status is outside of 0..65535 and not NOT_SENT.
    """
    sheets = [_take_apart(column) for column in columns]
    scaled = iter(scale_floats([numbers for sheet in sheets for numbers in (sheet.values, sheet.raws)]))
    parts = [_assemble(sheet, next(scaled), next(scaled)) for sheet in sheets]
    parts += [[np.array(stamps, dtype=np.int64)] for stamps in times]
    blocks = iter(encode_integers([part for block in parts for part in block if not isinstance(part, bytes)]))
    done = [b"".join([part if isinstance(part, bytes) else next(blocks) for part in block]) for block in parts]
    return done[: len(sheets)], done[len(sheets) :]


def _take_apart(column: Column) -> _Sheet:
    values, raws, statuses = column.values, column.raws, column.statuses
    if not any(statuses) and None not in values:
        cells = None
        present = values
    else:
        cells = [_cell(value, status) for value, status in zip(values, statuses, strict=True)]
        present = [value for value, cell in zip(values, cells, strict=True) if _has_value(cell) and value is not None]
    if raws is None:
        return _Sheet(cells, present, _NO_RAWS, None, (), column.features)  # type: ignore[arg-type]  # None is not in it
    if cells is not None:  # raw values of absent cells do not travel
        raws = [None if cell == _CELL_NOT_SENT else raw for raw, cell in zip(raws, cells, strict=True)]
        values = [None if cell == _CELL_NOT_SENT else value for value, cell in zip(values, cells, strict=True)]
    if _same(raws, values):
        return _Sheet(cells, present, _SAME_RAWS, None, (), column.features)  # type: ignore[arg-type]
    if None not in raws:
        return _Sheet(cells, present, _OWN_RAWS, None, raws, column.features)  # type: ignore[arg-type]
    missing = [int(raw is None) for raw in raws]
    numbers = [raw for raw in raws if raw is not None]
    return _Sheet(cells, present, _OWN_RAWS, missing, numbers, column.features)  # type: ignore[arg-type]


def _same(raws: Sequence[float | None], values: Sequence[float | None]) -> bool:
    """Tell whether both hold the same bits: equality alone takes 0.0 for -0.0."""
    if raws is values:
        return True
    if list(raws) != list(values):
        return False
    # None becomes NaN in both at the same places, because the lists are equal.
    return np.array(raws, dtype=np.float64).tobytes() == np.array(values, dtype=np.float64).tobytes()


def _cell(value: float | None, status: int) -> int:
    if status == NOT_SENT:
        return _CELL_NOT_SENT
    if not 0 <= status <= MOST_STATUS:
        raise WireError(f"status {status} is outside of 0..{MOST_STATUS}")
    if status == 0 and value is not None:
        return _CELL_GOOD
    return _CELL_OTHER + (status << 1 | (value is None))


def _has_value(cell: int) -> bool:
    return cell == _CELL_GOOD or (cell >= _CELL_OTHER and not cell & 1)


def _assemble(sheet: _Sheet, values: tuple[int, Part], raws: tuple[int, Part]) -> list[Part]:
    scale, numbers = values
    head = scale | sheet.raws_mode << _RAWS_SHIFT
    parts: list[Part] = [numbers]
    if sheet.cells is not None:
        head |= _HAS_CELLS
        parts.insert(0, np.array(sheet.cells, dtype=np.int64))
    if sheet.raws_mode == _OWN_RAWS:
        raw_scale, raw_numbers = raws
        if sheet.raws_missing is not None:
            parts += [bytes((raw_scale | _HAS_CELLS,)), np.array(sheet.raws_missing, dtype=np.int64)]
        else:
            parts.append(bytes((raw_scale,)))
        parts.append(raw_numbers)
    if sheet.features is not None:
        head |= _HAS_FEATURES
        parts.append(_encode_features(sheet.features))
    parts.insert(0, bytes((head,)))
    return parts


def _encode_features(features: Features) -> bytes:
    numbers = (features.mean, features.std, features.minimum, features.maximum, features.slope_per_s)
    if not all([-_FLOAT32_MAX <= number <= _FLOAT32_MAX for number in numbers]):  # noqa: C419 a list is faster for five
        numbers = tuple(max(-_FLOAT32_MAX, min(number, _FLOAT32_MAX)) for number in numbers)  # type: ignore[assignment]
    return _FEATURES.pack(min(features.count, _UINT32_MAX), *numbers)


def decode_column(cursor: Cursor, quantity: str, rows: int) -> Column:
    """Take the block of one column of `rows` cells.

    Raises:
        WireError: it ends too early or contradicts itself.
    """
    head = cursor.byte()
    cells = decode_integers(cursor, rows) if head & _HAS_CELLS else np.zeros(rows, dtype=np.int64)
    if rows and not 0 <= int(cells.min()) <= int(cells.max()) <= _CELL_OTHER + (MOST_STATUS << 1 | 1):
        raise WireError(f"a cell of {quantity} has an impossible status")
    other = cells >= _CELL_OTHER
    present = (cells == _CELL_GOOD) | (other & (cells & 1 == 0))
    values = tuple(_spread(cursor, head & _SCALE, present))
    statuses = np.where(other, cells - _CELL_OTHER >> 1, np.where(cells == _CELL_GOOD, 0, NOT_SENT))
    raws_mode = head >> _RAWS_SHIFT & 3
    raws: tuple[float | None, ...] | None = None
    if raws_mode == _SAME_RAWS:
        raws = values
    elif raws_mode == _OWN_RAWS:
        raws = tuple(_take_raws(cursor, rows))
    elif raws_mode != _NO_RAWS:
        raise WireError(f"raw values of {quantity} are sent in an unknown way")
    features = Features(*_FEATURES.unpack(cursor.take(_FEATURES.size))) if head & _HAS_FEATURES else None
    return Column(quantity, values, raws, tuple(statuses.tolist()), features)


def _take_raws(cursor: Cursor, rows: int) -> Iterator[float | None]:
    head = cursor.byte()
    if head & ~(_SCALE | _HAS_CELLS):
        raise WireError(f"raw values have the unknown header {head:#04x}")
    missing = decode_integers(cursor, rows) if head & _HAS_CELLS else np.zeros(rows, dtype=np.int64)
    if rows and not 0 <= int(missing.min()) <= int(missing.max()) <= 1:
        raise WireError("raw values are marked by something else than 0 and 1")
    return _spread(cursor, head & _SCALE, missing == 0)


def _spread(cursor: Cursor, scale: int, present: NDArray[np.bool_]) -> Iterator[float | None]:
    """Take as many numbers as there are places, and set None between them."""
    count = int(np.count_nonzero(present))
    numbers: list[float] = decode_floats(cursor, scale, count).tolist()
    if count == len(present):
        return iter(numbers)
    following = iter(numbers)
    return iter([next(following) if here else None for here in present.tolist()])
