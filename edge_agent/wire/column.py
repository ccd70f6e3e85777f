"""Encodes the columns of a batch: cells, values, raw values, features, sigmas. Pure. `table` decodes them.

Mostly every cell of a column is good, present and decimal: it then costs one byte beside its numbers. Bits of that byte
say what else there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.reading import NOT_SENT
from edge_agent.wire.bits import write_codes
from edge_agent.wire.cursor import varint
from edge_agent.wire.extras import (
    COMPUTED_IN_FULL,
    HAS_SIGMAS,
    NO_FEATURES,
    UsedReadings,
    computable,
    encode_features,
    sigma_codes,
    used_readings,
)
from edge_agent.wire.floats import (
    MOST_DECIMALS,
    NOT_DECIMAL,
    Scaled,
    raw_bytes,
    scale_floats,
)
from edge_agent.wire.integers import Numbers, encode_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.batch import Column, Group
    from edge_agent.wire.bits import Run
    from edge_agent.wire.known import Latest

    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

MOST_STATUS: Final = 0xFFFF

SCALE_BITS: Final = 0x0F
HAS_CELLS: Final = 0x10
RAWS_SHIFT: Final = 5
HAS_EXTRAS: Final = 0x80

NO_RAWS: Final = 0
SAME_RAWS: Final = 1
LIKE_RAWS: Final = 2
"""Raw values of their own, with the scale and the cells of the values."""
OWN_RAWS: Final = 3

CELL_GOOD: Final = 0
CELL_NOT_SENT: Final = 1
CELL_OTHER: Final = 2
MOST_CELL: Final = CELL_OTHER + (MOST_STATUS << 1 | 1)

AS_DOUBLES: Final = 0
AS_INTEGERS: Final = 1

_EXACT_END: Final = 1 << 53
_NUMBER_BITS: Final = 64
_LEFT_TO_COMPUTE: Final = (bytes((COMPUTED_IN_FULL,)),)
_NO_ROWS: Final = np.empty(0, dtype=np.int64)
_ONE_BYTE: Final = [bytes((value,)) for value in range(256)]


class _Draft(NamedTuple):
    """A column split into the numbers that are sent and the cells that say where they stand."""

    cells: list[int] | None
    values: Sequence[float | None]
    raws_mode: int = NO_RAWS
    raws: Sequence[float | None] = ()
    raws_missing: list[int] | None = None


class _Sheet(NamedTuple):
    """A column ready to be written."""

    cells: list[int] | None
    values: Scaled
    raws_mode: int
    raws: Scaled
    raws_missing: list[int] | None


def encode_groups(groups: Sequence[Group], shared: Sequence[int | None], latest: Latest) -> bytes:
    """Encode all stamps and columns of a batch.

    Args:
        groups: of the batch.
        shared: per group the earlier one whose stamps it has; None: it has its own.
        latest: end of the batch that the numbers are written relative to.

    Raises:
        WireError: a status is outside of 0..65535 and not NOT_SENT.
    """
    stamps: list[Ints] = []
    for group, other in zip(groups, shared, strict=True):
        stamps.append(np.array(group.times_ns, dtype=np.int64) if other is None else stamps[other])
    columns = [(column, times_ns) for group, times_ns in zip(groups, stamps, strict=True) for column in group.columns]
    sheets = _sheets([column for column, _ in columns])
    extras = iter(_extras(columns, sheets))
    rows = iter(sheets)
    parts: list[bytes | Numbers | Scaled] = []
    since = latest.stamp_ns
    for group, other, times_ns in zip(groups, shared, stamps, strict=True):
        if other is None and len(times_ns):
            parts.append(Numbers(times_ns if since is None else times_ns - np.int64(since)))
            since = int(times_ns[0]) if since is None else since
        for column in group.columns:
            sheet = next(rows)
            if not latest.empty:
                values = _since(latest, group.sensor, column.quantity, sheet.values)
                raws = _since(latest, group.sensor, column.quantity, sheet.raws)
                sheet = sheet._replace(values=values, raws=raws)
            _assemble(parts, sheet, next(extras))
    return _finish(parts)


def _extras(columns: Sequence[tuple[Column, Ints]], sheets: Sequence[_Sheet]) -> list[Sequence[bytes | Numbers]]:
    """Write features and sigmas of all columns, each given with its stamps."""
    used = [
        _used(sheet, column, times_ns) if (column.describe or column.features is not None) and len(times_ns) else None
        for (column, times_ns), sheet in zip(columns, sheets, strict=True)
    ]
    rows = zip(columns, used, computable(used), strict=True)
    return [_extra(column, readings, can) for (column, _), readings, can in rows]


def _used(sheet: _Sheet, column: Column, times_ns: Ints) -> UsedReadings:
    if sheet.cells is None:
        return UsedReadings(*sheet.values, times_ns)
    present = np.array([_has_value(cell) for cell in sheet.cells], dtype=np.bool_)
    return used_readings(*sheet.values, times_ns, present, column.statuses)


def _extra(column: Column, used: UsedReadings | None, can: bool) -> Sequence[bytes | Numbers]:
    if can and column.features is None and column.sigmas is None:  # the usual case
        return _LEFT_TO_COMPUTE
    if used is not None:
        way, given = encode_features(column.features, used, computable=can)
    elif column.features is not None:  # the column has no rows
        way, given = encode_features(column.features, UsedReadings(NOT_DECIMAL, _NO_ROWS, _NO_ROWS), computable=False)
    else:
        way, given = NO_FEATURES, b""
    codes = None if column.sigmas is None else sigma_codes(column.sigmas, column.statuses)
    if codes is not None and any(codes):
        return [bytes((way | HAS_SIGMAS,)) + given, Numbers(np.array(codes, dtype=np.int64))]
    return [] if way == NO_FEATURES else [_ONE_BYTE[way] + given]


def _sheets(columns: Sequence[Column]) -> list[_Sheet]:
    """Split all columns, and scale their numbers in one call."""
    drafts = [_draft(column) for column in columns]
    scaled = iter(scale_floats([part for draft in drafts for part in (draft.values, draft.raws)]))
    sheets = []
    for column, draft in zip(columns, drafts, strict=True):
        values, raws = next(scaled), next(scaled)
        # A column with None is never decimal, so only these few are searched for it.
        if NOT_DECIMAL in (values.scale, raws.scale) and (None in draft.values or None in draft.raws):
            apart = _take_apart(column)
            sheets.append(_match(apart, *scale_floats((apart.values, apart.raws))))
        else:
            sheets.append(_match(draft, values, raws))
    return sheets


def _since(latest: Latest, sensor: str, quantity: str, numbers: Scaled) -> Scaled:
    """Subtract the last number of the earlier batch, as far as it is known."""
    if numbers.scale == NOT_DECIMAL:
        return numbers
    shift = latest.integer(sensor, quantity, numbers.scale)
    return numbers._replace(integers=numbers.integers - shift) if shift else numbers


def _finish(parts: list[bytes | Numbers | Scaled]) -> bytes:
    """Encode the parts that are still numbers; return all heads, then all codes."""
    blocks = iter(encode_integers([_numbers(part) for part in parts if not isinstance(part, bytes)]))
    heads: list[bytes] = []
    runs: list[Run] = []
    words: list[Words] = []
    for part in parts:
        if isinstance(part, bytes):
            heads.append(part)
            continue
        block = next(blocks)
        if isinstance(part, Scaled):
            integers = part.integers
            if block.bits() > _NUMBER_BITS * len(integers):
                heads += [_ONE_BYTE[AS_DOUBLES], raw_bytes(integers)]
                continue
            heads.append(_ONE_BYTE[AS_INTEGERS])
        heads.append(block.head)
        runs += block.runs
        words += block.words
    return b"".join(heads) + write_codes(runs, words)


def _numbers(part: Numbers | Scaled) -> Numbers:
    return Numbers(part.integers) if isinstance(part, Scaled) else part


def _draft(column: Column) -> _Draft:
    """Split a column. If all statuses are good, no value is expected to be missing."""
    values, raws, statuses = column.values, column.raws, column.statuses
    if statuses.count(CELL_GOOD) < len(statuses):
        return _take_apart(column)
    if raws is None:
        return _Draft(None, values)
    return _Draft(None, values, SAME_RAWS) if _same(raws, values) else _Draft(None, values, LIKE_RAWS, raws)


def _take_apart(column: Column) -> _Draft:
    values, raws = column.values, column.raws
    cells = [_cell(value, status) for value, status in zip(values, column.statuses, strict=True)]
    present = [value for value, cell in zip(values, cells, strict=True) if _has_value(cell)]
    marked = cells if any(cells) else None
    if raws is None:
        return _Draft(marked, present)
    # Raw values of absent cells are not sent.
    raws = [None if cell == CELL_NOT_SENT else raw for raw, cell in zip(raws, cells, strict=True)]
    values = [None if cell == CELL_NOT_SENT else value for value, cell in zip(values, cells, strict=True)]
    if _same(raws, values):
        return _Draft(marked, present, SAME_RAWS)
    missing = [int(raw is None) for raw in raws]
    numbers = [raw for raw in raws if raw is not None]
    alike = missing == [int(value is None) for value in values]
    return _Draft(marked, present, LIKE_RAWS if alike else OWN_RAWS, numbers, missing)


def _same(raws: Sequence[float | None], values: Sequence[float | None]) -> bool:
    """Tell whether both hold the same bits; 0.0 and -0.0 are equal, but not the same."""
    if raws is values:
        return True
    if len(raws) and raws[0] != values[0]:
        return False
    if list(raws) != list(values):
        return False
    # None becomes NaN in both at the same places, because the lists are equal.
    return np.array(raws, dtype=np.float64).tobytes() == np.array(values, dtype=np.float64).tobytes()


def _cell(value: float | None, status: int) -> int:
    if status == NOT_SENT:
        return CELL_NOT_SENT
    if not 0 <= status <= MOST_STATUS:
        raise WireError(f"status {status} is outside of 0..{MOST_STATUS}")
    if status == 0 and value is not None:
        return CELL_GOOD
    return CELL_OTHER + (status << 1 | (value is None))


def _has_value(cell: int) -> bool:
    return cell == CELL_GOOD or (cell >= CELL_OTHER and not cell & 1)


def _match(draft: _Draft, values: Scaled, raws: Scaled) -> _Sheet:
    """Bring values and raw values to one scale, if that is possible; else the raw values get a scale of their own."""
    mode, missing = draft.raws_mode, draft.raws_missing
    if mode == LIKE_RAWS and (values.scale != raws.scale or raws.scale == NOT_DECIMAL):
        finer = max(values.scale, raws.scale)
        both = [_refined(numbers, finer) for numbers in (values, raws)] if finer <= MOST_DECIMALS else []
        if both and None not in both:
            values, raws = both  # type: ignore[assignment]  # None is not in it
        else:
            mode = OWN_RAWS
    if missing is not None and (mode != OWN_RAWS or not any(missing)):
        missing = None
    return _Sheet(draft.cells, values, mode, raws, missing)


def _refined(numbers: Scaled, scale: int) -> Scaled | None:
    """Give numbers more decimals; None if they would not be exact."""
    factor = 10 ** (scale - numbers.scale)
    if factor == 1:
        return numbers
    if float(np.abs(numbers.integers).max(initial=0)) * factor >= _EXACT_END:
        return None
    return Scaled(scale, numbers.integers * np.int64(factor))


def _assemble(parts: list[bytes | Numbers | Scaled], sheet: _Sheet, extra: Sequence[bytes | Numbers]) -> None:
    values, raws = sheet.values, sheet.raws
    head = values.scale | sheet.raws_mode << RAWS_SHIFT
    if sheet.cells is not None:
        head |= HAS_CELLS
    if extra:
        head |= HAS_EXTRAS
    parts.append(_ONE_BYTE[head])
    if sheet.cells is not None:
        parts += [Numbers(np.array(sheet.cells, dtype=np.int64)), varint(len(values.integers))]
    leader = None
    if sheet.raws_mode == LIKE_RAWS:
        leader = raws.integers
        parts.append(Numbers(leader))
    elif sheet.raws_mode == OWN_RAWS:
        if sheet.raws_missing is not None:
            missing = np.array(sheet.raws_missing, dtype=np.int64)
            parts += [_ONE_BYTE[raws.scale | HAS_CELLS], Numbers(missing), varint(len(raws.integers))]
        else:
            parts.append(_ONE_BYTE[raws.scale])
        parts.append(_part(raws))
    parts.append(_part(values, leader))
    parts += extra


def _part(numbers: Scaled, leader: Ints | None = None) -> Numbers | Scaled:
    """Make the part for a column of numbers. How those that are not decimal are sent is chosen by `_finish`."""
    if numbers.scale == NOT_DECIMAL:
        return numbers
    return Numbers(numbers.integers, leader)
