"""Columns of integers to bytes and back: common divisor, differences, Rice codes or fixed width. Pure.

All arithmetic is modulo 2**64 on both sides, so every int64 survives and no damaged header can overflow. Many
columns are encoded at once, because at 60 rows a numpy call costs more than its work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.wire.cursor import signed_varint, varint, wrap_int64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.cursor import Cursor

    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

PACKED: Final = 0
"""Fixed width above the minimum, which is sent."""
RICE: Final = 1
"""Rice codes of the zigzagged residuals."""
RICE_BASED: Final = 2
"""The same, of the residuals minus a base, which is sent."""

_WIDTH_FOLLOWS: Final = 7
_ORDERS: Final = 3
_SLAB_CELLS: Final = 1 << 16
# A divisor costs about three bytes of header: it must save more in the codes.
_DIVISOR_BITS: Final = 24
_DIVISOR_END_BITS: Final = 56
# Enough cells to see that a noisy column has no common divisor without asking all of them.
_DIVISOR_GLANCE: Final = 8


class _Plan(NamedTuple):
    """How each of C columns is coded; all arrays (C,)."""

    order: Ints
    rice: NDArray[np.bool_]
    width: Ints
    base: Ints


def encode_integers(columns: Sequence[Ints]) -> list[bytes]:
    """Encode each column (n,) into its block; equal lengths share the work. An empty one takes no byte."""
    blocks = [b""] * len(columns)
    places_by_length: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        places_by_length.setdefault(len(column), []).append(place)
    places_by_length.pop(0, None)
    for length, places in places_by_length.items():
        step = max(1, _SLAB_CELLS // length)  # bounds the memory that many long columns would take at once
        for first in range(0, len(places), step):
            slab = places[first : first + step]
            encoded = _encode_slab(np.array([columns[place] for place in slab], dtype=np.int64))
            for place, block in zip(slab, encoded, strict=True):
                blocks[place] = block
    return blocks


def _encode_slab(table: Ints) -> list[bytes]:
    """Encode the rows of (C, n), n ≥ 1, as one column each."""
    divisors, remainders, table = _divide_out(table)
    residuals = _differences(table)
    plan = _choose(residuals)
    chosen = residuals[plan.order, np.arange(len(table))] - plan.base[:, None]
    words = np.where(plan.rice[:, None], _zigzag(chosen), chosen.view(np.uint64))
    codes = _pack(words, plan)
    starts = table[:, : _ORDERS - 1].tolist()
    details = zip(
        plan.order.tolist(),
        plan.rice.tolist(),
        plan.width.tolist(),
        plan.base.tolist(),
        divisors,
        remainders,
        starts,
        codes,
        strict=True,
    )
    return [_header(*detail) + code for *detail, code in details]


def _header(  # the fields, in the order of FORMAT.md
    order: int, rice: bool, width: int, base: int, divisor: int, remainder: int, start: list[int]
) -> bytes:
    coding = (RICE_BASED if base else RICE) if rice else PACKED
    short = min(width, _WIDTH_FOLLOWS)
    head = order << 6 | (divisor > 1) << 5 | coding << 3 | short
    fields = bytes((head, width)) if short == _WIDTH_FOLLOWS else bytes((head,))
    if divisor > 1:
        fields += _divisor_field(divisor, remainder)
    if order > 0:
        fields += signed_varint(start[0])
    if order > 1:
        fields += signed_varint(wrap_int64(start[1] - start[0]))
    return fields if coding == RICE else fields + signed_varint(base)


def _divisor_field(divisor: int, remainder: int) -> bytes:
    # Most divisors are powers of ten (milliseconds in nanoseconds), which fit one byte this way.
    tens = 0
    while divisor % 10 == 0:
        divisor //= 10
        tens += 1
    field = varint(divisor << 6 | (remainder > 0) << 5 | tens)
    return field + varint(remainder) if remainder else field


def _divide_out(table: Ints) -> tuple[list[int], list[int], Ints]:
    """Find g and r per row of (C, n) such that every cell is r + g·y, and return g, r and the table of y."""
    length = table.shape[1]
    rise = table - table[:, :1]
    divisors = np.gcd.reduce(rise[:, :_DIVISOR_GLANCE], axis=1)
    (open_rows,) = np.nonzero(divisors != 1)
    divisors[open_rows] = np.gcd.reduce(rise[open_rows], axis=1)
    # 0: constant, needs none. Negative: gcd of -2**63, which int64 cannot hold. Huge: does not fit its field.
    divisors[(divisors < 1) | (divisors >> _DIVISOR_END_BITS > 0)] = 1
    (rows,) = np.nonzero((length - 1) * np.log2(divisors) > _DIVISOR_BITS)
    useful = divisors[rows]
    divisors[:] = 1
    divisors[rows] = useful
    first = table[:, 0]
    if len(rows):
        table = table.copy()
        table[rows] = rise[rows] // useful[:, None] + first[rows, None] // useful[:, None]
    return divisors.tolist(), (first % divisors).tolist(), table


def _differences(table: Ints) -> Ints:
    """Stack the differences of order 0, 1 and 2 of (C, n) into (3, C, n).

    The first cells of a difference do not exist (they are the start values of the header); they take its
    first real one, so that they move neither minimum nor median.
    """
    residuals = np.zeros((_ORDERS, *table.shape), dtype=np.int64)
    residuals[0] = table
    for order in range(1, min(_ORDERS, table.shape[1])):
        before = residuals[order - 1, :, order - 1 :]
        np.subtract(before[:, 1:], before[:, :-1], out=residuals[order, :, order:])
        residuals[order, :, :order] = residuals[order, :, order, None]
    return residuals


def _choose(residuals: Ints) -> _Plan:
    """Pick order and coding of each column of (3, C, n) by the bits that they would take."""
    length = residuals.shape[2]
    left = length - np.arange(_ORDERS)[:, None]
    low = residuals.min(axis=2)
    packed_width = _bit_length((residuals.max(axis=2) - low).view(np.uint64))
    middle = np.partition(residuals, length // 2, axis=2)[..., length // 2]
    folded = _zigzag(residuals - middle[..., None])
    # With 2**k ≤ mean < 2**(k+1) the quotients sum to less than 2n; one bit narrower is tried too.
    wide = np.maximum(_bit_length(folded.mean(axis=2)) - 1, 0)
    narrow = np.maximum(wide - 1, 0)
    wide_bits = left * (wide + 1) + _quotient_sum(folded, wide)
    narrow_bits = left * (narrow + 1) + _quotient_sum(folded, narrow)
    rice_width = np.where(narrow_bits < wide_bits, narrow, wide)
    rice_bits = np.minimum(narrow_bits, wide_bits) + 8 * _varint_length(middle) * (middle != 0)
    packed_bits = left * packed_width + 8 * _varint_length(low)
    start_bytes = _varint_length(residuals[:2, :, 0])
    bits = np.minimum(rice_bits, packed_bits)
    bits[1] += 8 * start_bytes[0]
    bits[2] += 8 * start_bytes.sum(axis=0)
    bits[max(1, length) :] = np.iinfo(np.int64).max  # an order needs more cells than it has start values
    order = bits.argmin(axis=0)
    at = (order, np.arange(len(order)))
    rice = (rice_bits < packed_bits)[at]
    return _Plan(order, rice, np.where(rice, rice_width[at], packed_width[at]), np.where(rice, middle[at], low[at]))


def _quotient_sum(folded: Words, width: Ints) -> Ints:
    total: Words = (folded >> width.view(np.uint64)[..., None]).sum(axis=2)
    return total.view(np.int64)


def _bit_length(values: NDArray[np.uint64] | NDArray[np.float64]) -> Ints:
    """Bits of the integer part; above 2**53 it may be one too many, which costs a bit and loses nothing."""
    return np.minimum(np.frexp(values.astype(np.float64))[1], 64).astype(np.int64)


def _varint_length(values: Ints) -> Ints:
    """Bytes of each value as zigzag varint."""
    return np.maximum((_bit_length(_zigzag(values)) + 6) // 7, 1)


def _zigzag(values: Ints) -> Words:
    return (values << 1 ^ values >> 63).view(np.uint64)


def _pack(words: Words, plan: _Plan) -> list[bytes]:
    """Write the codes of each row of (C, n): low parts at fixed width, then Rice quotients in unary."""
    length = words.shape[1]
    exists = np.arange(length) >= plan.order[:, None]
    flat = words[exists]
    counts = length - plan.order
    column = np.repeat(np.arange(len(words)), counts)
    widths = plan.width[column]
    # Unary: as many zeros as the quotient says, then a one; so a code ends at the sum of all lengths.
    unary = np.where(plan.rice[column], (flat >> widths.view(np.uint64)).view(np.int64) + 1, 0)
    unary_end = np.cumsum(unary)
    low_bits = counts * plan.width
    unary_total = np.diff(unary_end[np.cumsum(counts) - 1], prepend=0)
    sizes = (low_bits + unary_total + 7) // 8
    ends = np.cumsum(sizes)
    first_bit = 8 * (ends - sizes)
    bits = np.zeros(8 * int(ends[-1]), dtype=np.uint8)

    last = np.cumsum(widths) - 1
    cell = np.repeat(np.arange(len(flat)), widths)
    order = np.arange(len(cell))
    gap = (first_bit - (np.cumsum(low_bits) - low_bits))[column]
    bits[order + gap[cell]] = (flat[cell] >> (last[cell] - order).view(np.uint64)).view(np.int64) & 1

    unary_gap = first_bit + low_bits - (np.cumsum(unary_total) - unary_total)
    bits[(unary_end - 1 + unary_gap[column])[unary > 0]] = 1
    packed = np.packbits(bits).tobytes()
    return [packed[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]


def decode_integers(cursor: Cursor, count: int) -> Ints:
    """Take the block of a column of `count` cells.

    Returns:
        (count,) int64.

    Raises:
        WireError: the block ends too early or contradicts itself. Memory stays below 100 bytes per cell.
    """
    if count == 0:
        return np.empty(0, dtype=np.int64)
    head = cursor.byte()
    order, coding, width = head >> 6, head >> 3 & 3, head & 7
    if order >= _ORDERS or coding > RICE_BASED or order >= count:
        raise WireError(f"a column of {count} integers has the unknown header {head:#04x}")
    if width == _WIDTH_FOLLOWS:
        width = cursor.byte()
    if width > (64 if coding == PACKED else 63):
        raise WireError(f"a column has codes of {width} bits")
    divisor, remainder = _take_divisor(cursor) if head & 0x20 else (1, 0)
    starts = [cursor.signed_varint() for _ in range(order)]
    base = 0 if coding == RICE else cursor.signed_varint()
    if coding == PACKED:
        values = _unpack_packed(cursor, count - order, width).view(np.int64)
    else:
        folded = _unpack_rice(cursor, count - order, width, count)
        values = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
    values = values + np.array([base])
    for start in reversed(starts):
        values = np.cumsum(np.concatenate((np.array([start]), values)))
    if divisor != 1:
        values = values * np.array([divisor]) + np.array([remainder])
    return values


def _take_divisor(cursor: Cursor) -> tuple[int, int]:
    field = cursor.varint()
    divisor = (field >> 6) * 10 ** (field & 31)
    remainder = cursor.varint() if field & 32 else 0
    return wrap_int64(divisor), wrap_int64(remainder)


def _unpack_packed(cursor: Cursor, count: int, width: int) -> Words:
    data = cursor.take((count * width + 7) // 8)
    return _words(np.unpackbits(np.frombuffer(data, dtype=np.uint8)), count, width)


def _unpack_rice(cursor: Cursor, count: int, width: int, cells: int) -> Words:
    """Take Rice codes. FORMAT.md bounds their unary part, which bounds what is looked at here."""
    low_bits = count * width
    data = cursor.peek((low_bits + 3 * cells + 7) // 8)
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    (ends,) = np.nonzero(bits[low_bits : low_bits + 3 * cells])
    if len(ends) < count:
        raise WireError(f"a column ends before its {count} Rice codes do")
    ends = ends[:count]
    cursor.take((low_bits + int(ends[-1]) + 8) // 8)
    quotients = np.diff(ends, prepend=-1) - 1
    return quotients.astype(np.uint64) << np.uint64(width) | _words(bits, count, width)


def _words(bits: NDArray[np.uint8], count: int, width: int) -> Words:
    """Read `count` big-endian numbers of `width` bits from the front of `bits`."""
    size = (width + 7) // 8
    padded = np.zeros((count, 8 * size), dtype=np.uint8)
    padded[:, 8 * size - width :] = bits[: count * width].reshape(count, width)
    octets = np.zeros((count, 8), dtype=np.uint8)
    octets[:, 8 - size :] = np.packbits(padded, axis=1)
    return octets.view(">u8")[:, 0].astype(np.uint64)
