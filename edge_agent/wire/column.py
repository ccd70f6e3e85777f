"""Columns of a group to bytes and back: cells, values, raw values, features. Pure.

A column in which every cell is good, present and decimal is the rule, and costs one byte beside its numbers;
everything else is announced by bits of that byte.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.reading import NOT_SENT, Features
from edge_agent.wire.bits import write_codes
from edge_agent.wire.cursor import varint
from edge_agent.wire.floats import MOST_DECIMALS, NOT_DECIMAL, raw_bytes, scale_floats
from edge_agent.wire.integers import Block, Numbers, encode_integers
from edge_agent.wire.window import features_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.batch import Column, Group
    from edge_agent.wire.known import Latest

    Ints = NDArray[np.int64]

MOST_STATUS: Final = 0xFFFF

SCALE_BITS: Final = 0x0F
HAS_CELLS: Final = 0x10
RAWS_SHIFT: Final = 5
HAS_FEATURES: Final = 0x80

NO_RAWS: Final = 0
SAME_RAWS: Final = 1
LIKE_RAWS: Final = 2
"""Own ones, in the scale and in the cells of the values."""
OWN_RAWS: Final = 3

CELL_GOOD: Final = 0
CELL_NOT_SENT: Final = 1
CELL_OTHER: Final = 2
MOST_CELL: Final = CELL_OTHER + (MOST_STATUS << 1 | 1)

AS_DOUBLES: Final = 0
AS_INTEGERS: Final = 1

COMPUTED: Final = 0
GIVEN: Final = 1
FEATURES: Final = struct.Struct("<I5f")

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_UINT32_MAX: Final = 0xFFFF_FFFF
_EXACT_END: Final = 1 << 53
_NUMBER_BITS: Final = 64


class _Sheet(NamedTuple):
    """A column taken apart: only the numbers that travel, and where they stand."""

    cells: list[int] | None
    values: Sequence[float]
    raws_mode: int
    raws_missing: list[int] | None
    raws: Sequence[float]


class _Scaled(NamedTuple):
    """Numbers that travel, see `scale_floats`."""

    scale: int
    integers: Ints


def encode_groups(groups: Sequence[Group], written: Sequence[bool], latest: Latest) -> bytes:
    """Encode all stamps and columns of a batch at once.

    Args:
        groups: of the batch.
        written: per group whether its stamps are; else it shares those of another.
        latest: what the numbers are written relative to.

    Raises:
        WireError: a status is outside of 0..65535 and not NOT_SENT.
    """
    sheets = [_take_apart(column) for group in groups for column in group.columns]
    scaled = iter(
        [_Scaled(*each) for each in scale_floats([n for sheet in sheets for n in (sheet.values, sheet.raws)])]
    )
    matched = [_match(sheet, next(scaled), next(scaled)) for sheet in sheets]
    features = _encode_features(groups, matched)
    rows = iter(zip(matched, features, strict=True))
    parts: list[bytes | Numbers | _Scaled] = []
    since = latest.stamp_ns
    for group, own in zip(groups, written, strict=True):
        if own and len(group.times_ns):
            times = np.array(group.times_ns, dtype=np.int64)
            parts.append(Numbers(times if since is None else times - np.array([since])))
            since = int(times[0]) if since is None else since
        for column in group.columns:
            (sheet, values, raws), described = next(rows)
            values = _since(latest, group.sensor, column.quantity, values)
            raws = _since(latest, group.sensor, column.quantity, raws)
            parts += _assemble(sheet, values, raws, described)
    return _finish(parts)


def _since(latest: Latest, sensor: str, quantity: str, numbers: _Scaled) -> _Scaled:
    """Write numbers relative to the last one of the earlier batch."""
    if latest.empty or numbers.scale == NOT_DECIMAL:
        return numbers
    shift = latest.integer(sensor, quantity, numbers.scale)
    return numbers._replace(integers=numbers.integers - shift) if shift else numbers


def _finish(parts: list[bytes | Numbers | _Scaled]) -> bytes:
    """Encode what is still numbers, and put heads and codes together."""
    blocks = iter(encode_integers([_numbers(part) for part in parts if not isinstance(part, bytes)]))
    heads = []
    done: list[Block] = []
    for part in parts:
        if isinstance(part, bytes):
            heads.append(part)
            continue
        block = next(blocks)
        if isinstance(part, _Scaled):
            integers = part.integers
            if block.bits() > _NUMBER_BITS * len(integers):
                heads += [bytes((AS_DOUBLES,)), raw_bytes(integers)]
                continue
            heads.append(bytes((AS_INTEGERS,)))
        heads.append(block.head)
        done.append(block)
    runs = [run for block in done for run in block.runs]
    return b"".join(heads) + write_codes(runs, [words for block in done for words in block.words])


def _numbers(part: Numbers | _Scaled) -> Numbers:
    return Numbers(part.integers) if isinstance(part, _Scaled) else part


def _take_apart(column: Column) -> _Sheet:
    values, raws, statuses = column.values, column.raws, column.statuses
    if not any(statuses) and None not in values:
        cells = None
        present = values
    else:
        cells = [_cell(value, status) for value, status in zip(values, statuses, strict=True)]
        present = [value for value, cell in zip(values, cells, strict=True) if _has_value(cell) and value is not None]
    if raws is None:
        return _Sheet(cells, present, NO_RAWS, None, ())  # type: ignore[arg-type]  # None is not in it
    if cells is not None:  # raw values of absent cells do not travel
        raws = [None if cell == CELL_NOT_SENT else raw for raw, cell in zip(raws, cells, strict=True)]
        values = [None if cell == CELL_NOT_SENT else value for value, cell in zip(values, cells, strict=True)]
    if _same(raws, values):
        return _Sheet(cells, present, SAME_RAWS, None, ())  # type: ignore[arg-type]
    if None not in raws and cells is None:
        return _Sheet(cells, present, LIKE_RAWS, None, raws)  # type: ignore[arg-type]
    missing = [int(raw is None) for raw in raws]
    numbers = [raw for raw in raws if raw is not None]
    alike = missing == [int(value is None) for value in values]
    return _Sheet(cells, present, LIKE_RAWS if alike else OWN_RAWS, missing, numbers)  # type: ignore[arg-type]


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
        return CELL_NOT_SENT
    if not 0 <= status <= MOST_STATUS:
        raise WireError(f"status {status} is outside of 0..{MOST_STATUS}")
    if status == 0 and value is not None:
        return CELL_GOOD
    return CELL_OTHER + (status << 1 | (value is None))


def _has_value(cell: int) -> bool:
    return cell == CELL_GOOD or (cell >= CELL_OTHER and not cell & 1)


def _match(sheet: _Sheet, values: _Scaled, raws: _Scaled) -> tuple[_Sheet, _Scaled, _Scaled]:
    """Bring values and raw values to one scale, if that is possible; else say that the raw ones have their own."""
    if sheet.raws_mode != LIKE_RAWS or values.scale == raws.scale != NOT_DECIMAL:
        return sheet, values, raws
    if max(values.scale, raws.scale) <= MOST_DECIMALS:
        scale = max(values.scale, raws.scale)
        finer = [each.integers * 10 ** (scale - each.scale) for each in (values, raws)]
        sizes = [np.abs(each.integers).max(initial=0) * 10.0 ** (scale - each.scale) for each in (values, raws)]
        if max(sizes) < _EXACT_END:
            return sheet, _Scaled(scale, finer[0]), _Scaled(scale, finer[1])
    missing = sheet.raws_missing if sheet.raws_missing is not None and any(sheet.raws_missing) else None
    return sheet._replace(raws_mode=OWN_RAWS, raws_missing=missing), values, raws


def _assemble(sheet: _Sheet, values: _Scaled, raws: _Scaled, features: bytes | None) -> list[bytes | Numbers | _Scaled]:
    head = values.scale | sheet.raws_mode << RAWS_SHIFT
    parts: list[bytes | Numbers | _Scaled] = []
    if sheet.cells is not None:
        head |= HAS_CELLS
        parts += [Numbers(np.array(sheet.cells, dtype=np.int64)), varint(len(values.integers))]
    if sheet.raws_mode == OWN_RAWS:
        if sheet.raws_missing is not None and any(sheet.raws_missing):
            missing = np.array(sheet.raws_missing, dtype=np.int64)
            parts += [bytes((raws.scale | HAS_CELLS,)), Numbers(missing), varint(len(raws.integers))]
        else:
            parts.append(bytes((raws.scale,)))
        parts.append(_part(raws))
    leader = None
    if sheet.raws_mode == LIKE_RAWS:
        leader = raws.integers
        parts.append(Numbers(leader))
    parts.append(_part(values, leader))
    if features is not None:
        head |= HAS_FEATURES
        parts.append(features)
    parts.insert(0, bytes((head,)))
    return parts


def _part(numbers: _Scaled, leader: Ints | None = None) -> Numbers | _Scaled:
    """Only numbers that are not decimal still have a choice; there must be some."""
    if numbers.scale == NOT_DECIMAL:
        return numbers
    return Numbers(numbers.integers, leader)


def _encode_features(groups: Sequence[Group], matched: list[tuple[_Sheet, _Scaled, _Scaled]]) -> list[bytes | None]:
    """Write the features of all columns; those that the receiver can compute take one byte."""
    columns = [(group, column) for group in groups for column in group.columns]
    asked: dict[int, list[int]] = {}
    for place, ((group, column), (sheet, values, _)) in enumerate(zip(columns, matched, strict=True)):
        if column.features is not None and sheet.cells is None and values.scale != NOT_DECIMAL and len(group.times_ns):
            asked.setdefault(len(group.times_ns), []).append(place)
    computed: dict[int, Features | None] = {}
    for places in asked.values():
        table = np.array([matched[place][1].integers for place in places])
        stamps = np.array([columns[place][0].times_ns for place in places], dtype=np.int64)
        found = features_of(table, [matched[place][1].scale for place in places], stamps)
        computed.update(zip(places, found, strict=True))
    written: list[bytes | None] = []
    for place, (_, column) in enumerate(columns):
        given = None if column.features is None else _pack_features(column.features)
        known = computed.get(place)
        can = known is not None and FEATURES.pack(*_fields(known)) == given
        written.append(None if given is None else bytes((COMPUTED,)) if can else bytes((GIVEN,)) + given)
    return written


def _fields(features: Features) -> tuple[float, ...]:
    return (
        features.count,
        features.mean,
        features.std,
        features.minimum,
        features.maximum,
        features.slope_per_s,
    )


def _pack_features(features: Features) -> bytes:
    count, *numbers = _fields(features)
    if not all([-_FLOAT32_MAX <= number <= _FLOAT32_MAX for number in numbers]):  # noqa: C419 a list is faster for five
        numbers = [max(-_FLOAT32_MAX, min(number, _FLOAT32_MAX)) for number in numbers]
    return FEATURES.pack(min(int(count), _UINT32_MAX), *numbers)
