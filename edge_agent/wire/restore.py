"""Decodes heads and codes to columns of integers. Pure.

First all heads are read, which tell how many codes of which width follow. Then all codes are read at once. Then columns
of the same predictor and length are restored together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.wire.bits import Run, read_codes
from edge_agent.wire.cursor import wrap_int64
from edge_agent.wire.integers import (
    HAS_DIVISOR,
    MOST_TENS,
    PACKED,
    RICE,
    SIX,
    SPARSE,
    TENS_BITS,
    UNIT_HAS_SIX,
    WIDTH_FOLLOWS,
)
from edge_agent.wire.predict import (
    CURVE,
    EVEN,
    FOLLOW,
    GAIN_BITS,
    GAIN_HALF,
    LEVEL,
    LINE,
    MEAN,
    MEAN_BITS,
    MEAN_HALF,
    PARAMETERS,
    STARTS,
    STEP,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.cursor import Cursor

    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

_WIDEST: Final = 64
_NO_CODES: Final = np.empty(0, dtype=np.uint64)


class Head(NamedTuple):
    """The head of an encoded column.

    Attributes:
        length: numbers in the column, ≥ 1.
        kind, coding: see FORMAT.md.
        parameters: start and base, or gain.
        divisor, remainder: number = remainder + divisor · y.
        runs: its codes.
        leader: place of the head whose column it follows; None if there is none.
    """

    length: int
    kind: int
    coding: int
    parameters: tuple[int, ...]
    divisor: int
    remainder: int
    runs: tuple[Run, ...]
    leader: int | None


def take_head(cursor: Cursor, count: int, leader: int | None = None) -> Head:
    """Take the head of a column of `count` ≥ 1 numbers.

    Args:
        cursor: stands at it.
        count: numbers in the column.
        leader: place of the head whose column it may follow, which has as many numbers.

    Raises:
        WireError: the head ends too early or contradicts itself.
    """
    first = cursor.byte()
    kind, coding, width = first >> 5, first >> 3 & 3, first & 7
    if kind == EVEN:
        return _take_even(cursor, first, count)
    if coding > SPARSE or STARTS[kind] >= count or (kind == FOLLOW and leader is None):
        raise WireError(f"a column of {count} integers has the unknown header {first:#04x}")
    divisor, remainder = 1, 0
    if width == WIDTH_FOLLOWS:
        width = cursor.byte()
        if width & HAS_DIVISOR:
            width -= HAS_DIVISOR
            divisor, remainder = _take_divisor(cursor)
    if width > _WIDEST - (coding != PACKED):
        raise WireError(f"a column has codes of {width} bits")
    parameters: tuple[int, ...]
    if kind == FOLLOW:
        parameters = (cursor.byte(),)
    else:
        parameters = tuple([cursor.signed_varint() for _ in range(PARAMETERS[kind])])
    codes = count - STARTS[kind]
    if coding == SPARSE:
        few, gap_width = cursor.varint(), cursor.byte()
        if few > codes or gap_width >= _WIDEST:
            raise WireError(f"a column of {count} integers has {few} codes of {gap_width} bits")
        runs: tuple[Run, ...] = (Run(few, gap_width, unary=True), Run(few, width, unary=True))
    else:
        runs = (Run(codes, width, unary=coding == RICE),)
    return Head(count, kind, coding, parameters, divisor, remainder, runs, leader)


def _take_even(cursor: Cursor, first: int, count: int) -> Head:
    unit = 10 ** (first & MOST_TENS) * (SIX if first & UNIT_HAS_SIX else 1)
    return Head(count, EVEN, PACKED, (cursor.signed_varint(), cursor.signed_varint()), unit, 0, (), None)


def _take_divisor(cursor: Cursor) -> tuple[int, int]:
    field = cursor.varint()
    remainder = cursor.varint() if field >> TENS_BITS & 1 else 0
    return wrap_int64((field >> TENS_BITS + 1) * 10 ** (field & MOST_TENS)), wrap_int64(remainder)


def restore(heads: Sequence[Head], data: bytes) -> list[Ints]:
    """Read the codes of all heads from all of `data`, and compute the columns.

    Returns:
        One (count,) int64 per head.

    Raises:
        WireError: the data do not fit the heads.
    """
    words = iter(read_codes(data, [run for head in heads for run in head.runs]))
    alike: dict[tuple[int, int], list[int]] = {}
    codes: list[Words] = []
    for place, head in enumerate(heads):
        codes.append(_codes(head, words))
        alike.setdefault((head.kind, head.length), []).append(place)
    columns: list[Ints] = [np.empty(0, dtype=np.int64)] * len(heads)
    for (kind, count), places in alike.items():
        folded = np.array([codes[place] for place in places], dtype=np.uint64)
        rest = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
        if kind == FOLLOW:
            for place, column in zip(places, rest, strict=True):
                columns[place] = column  # its leader may still be missing
            continue
        parameters = np.array([heads[place].parameters for place in places], dtype=np.int64)
        table = _predicted(kind, count, parameters.T[..., None], rest)
        table += parameters[:, :1]
        if any(heads[place].divisor != 1 for place in places):
            table *= np.array([[heads[place].divisor] for place in places], dtype=np.int64)
            table += np.array([[heads[place].remainder] for place in places], dtype=np.int64)
        for place, column in zip(places, table, strict=True):
            columns[place] = column
    for place, head in enumerate(heads):
        if head.kind == FOLLOW and head.leader is not None:
            if head.divisor != 1:
                raise WireError("a column that follows another has a divisor")
            columns[place] = _followed(columns[head.leader], head.parameters[0], columns[place])
    return columns


def _codes(head: Head, words: Iterator[Words]) -> Words:
    if head.coding == SPARSE:
        return _spread(head, next(words), next(words))
    return next(words) if head.runs else _NO_CODES


def _spread(head: Head, gaps: Words, words: Words) -> Words:
    """Put the few words that are not zero to where they belong."""
    codes = head.length - STARTS[head.kind]
    if len(gaps) and int(gaps.max()) >= codes:
        raise WireError("a gap is longer than its column")
    places = np.cumsum(gaps.view(np.int64) + 1) - 1
    if len(places) and int(places[-1]) >= codes:
        raise WireError("gaps are longer than their column")
    spread = np.zeros(codes, dtype=np.uint64)
    spread[places] = words + np.uint64(1)
    return spread


def _predicted(kind: int, count: int, parameters: Ints, rest: Ints) -> Ints:
    """Compute (C, count) without the origin, from parameters (k, C, 1) and the differences (C, codes)."""
    if kind == LEVEL:
        return rest
    if kind in {LINE, EVEN}:
        line: Ints = np.arange(count, dtype=np.int64) * parameters[1]
        return line if kind == EVEN else line + rest
    if kind == STEP:
        rest = rest + parameters[1]
    elif kind == CURVE:
        rest = np.cumsum(np.concatenate((parameters[1], rest), axis=1), axis=1)
    elif kind == MEAN:
        return _int64([_mean(row) for row in rest.tolist()])
    table = np.zeros((len(rest), count), dtype=np.int64)
    np.cumsum(rest, axis=1, out=table[:, 1:])
    return table


def _mean(rest: list[int]) -> list[int]:
    a = b = c = d = 0
    column = [0]
    for difference in rest:
        a, b, c, d = b, c, d, (a + b + c + d + MEAN_HALF >> MEAN_BITS) + difference
        column.append(d)
    return column


def _followed(leader: Ints, gain: int, rest: Ints) -> Ints:
    column = []
    before = int(leader[0])
    for ahead, difference in zip(leader.tolist(), rest.tolist(), strict=True):
        before += ((ahead - before) * gain + GAIN_HALF >> GAIN_BITS) + difference
        column.append(before)
    return _int64(column)


def _int64(numbers: list[int] | list[list[int]]) -> Ints:
    try:
        return np.array(numbers, dtype=np.int64)
    except OverflowError:
        raise WireError("a column runs out of 64 bits") from None
