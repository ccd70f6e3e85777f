"""Columns of integers to heads and codes: common divisor, prediction, choice of the shortest code. Pure.

All arithmetic is modulo 2**64 on both sides, so every int64 survives and no damaged header can overflow. Many
columns are encoded at once, because at 60 rows a numpy call costs more than its work.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.wire.bits import Run
from edge_agent.wire.cursor import signed_varint, varint
from edge_agent.wire.predict import FOLLOW, PARAMETERS, STARTS, bit_length, follow, guesses_of, varint_length, zigzag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]


_STARTS: Final = np.array(STARTS)
_PARAMETERS: Final = np.array(PARAMETERS)

PACKED: Final = 0
RICE: Final = 1
SPARSE: Final = 2
"""How what differs from the expectation is written. The numbers travel on the wire."""

WIDTH_FOLLOWS: Final = 7
HAS_DIVISOR: Final = 0x80
TENS_BITS: Final = 4
MOST_TENS: Final = 15

_SLAB_CELLS: Final = 1 << 16
# A divisor costs about three bytes of header: it must save more in the codes.
_DIVISOR_BITS: Final = 24
_DIVISOR_END_BITS: Final = 56
# Enough cells to see that a noisy column has no common divisor without asking all of them.
_DIVISOR_GLANCE: Final = 8
_SHORT_END: Final = 1 << 45  # sums of so small codes stay within 64 bits
_NEVER: Final = 1 << 60


class Numbers(NamedTuple):
    """A column to be encoded, and the one of the same length that it may follow."""

    values: Ints
    leader: Ints | None = None


class Block(NamedTuple):
    """An encoded column: its head, and the codes that stand elsewhere."""

    head: bytes
    runs: tuple[Run, ...]
    words: tuple[Words, ...]

    def bits(self) -> int:
        """Size of all that belongs to it."""
        unary = sum(
            int((words >> np.uint64(run.width)).sum()) + run.codes
            for run, words in zip(self.runs, self.words, strict=True)
            if run.unary
        )
        return 8 * len(self.head) + unary + sum(run.codes * run.width for run in self.runs)


_NOTHING: Final = Block(b"", (), ())


def encode_integers(columns: Sequence[Numbers]) -> list[Block]:
    """Encode each column; equal lengths share the work. An empty one takes no byte."""
    blocks = [_NOTHING] * len(columns)
    alike: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        alike.setdefault(len(column.values), []).append(place)
    alike.pop(0, None)
    for length, places in alike.items():
        step = max(1, _SLAB_CELLS // length)  # bounds the memory that many long columns would take at once
        for first in range(0, len(places), step):
            slab = places[first : first + step]
            encoded = _encode_slab([columns[place] for place in slab])
            for place, block in zip(slab, encoded, strict=True):
                blocks[place] = block
    return blocks


def _encode_slab(columns: Sequence[Numbers]) -> list[Block]:
    """Encode columns of one length ≥ 1."""
    table = np.array([column.values for column in columns], dtype=np.int64)
    first = table[:, 0]
    divisors, rises = _divide_out(table)
    guesses = guesses_of(first // divisors, rises)
    led = [row for row, column in enumerate(columns) if column.leader is not None and divisors[row] == 1]
    if led:
        leaders = np.array([columns[row].leader for row in led], dtype=np.int64)
        guesses.append(follow(table[led], np.array(led), leaders))
    kinds = np.repeat([guess.kind for guess in guesses], [len(guess.rows) for guess in guesses])
    rows, rest, origins, bases = (np.concatenate(part) for part in zip(*[guess[1:] for guess in guesses], strict=True))
    codes = zigzag(rest)
    widths, codings, bits = _measure(codes, table.shape[1] - _STARTS[kinds])
    origin_bytes, base_bytes = varint_length(np.array([origins, bases]))
    parameters = _PARAMETERS[kinds]
    costs = np.full((FOLLOW + 1, len(table)), _NEVER)
    costs[kinds, rows] = bits + 8 * np.where(parameters == 0, 1, origin_bytes + base_bytes * (parameters > 1))
    places = np.zeros_like(costs)
    places[kinds, rows] = np.arange(len(rows))
    best = places[costs.argmin(axis=0), np.arange(len(table))]
    details = (kinds, origins, bases, widths, codings)
    return [
        _block(codes[place], step, *detail)
        for place, step, detail in zip(
            best.tolist(),
            zip(divisors.tolist(), (first % divisors).tolist(), strict=True),
            zip(*[each[best].tolist() for each in details], strict=True),
            strict=True,
        )
    ]


def _measure(codes: Words, number: Ints) -> tuple[Ints, Ints, Ints]:
    """Find width, coding and bits of the shortest code of each row of (K, n), of which `number` (K,) exist."""
    largest = codes.max(axis=1).astype(np.float64)
    short = bool(largest.max(initial=0.0) < _SHORT_END)
    total = codes.sum(axis=1, dtype=np.uint64 if short else np.float64).astype(np.float64)
    # With 2**k ≤ mean < 2**(k+1) the quotients sum to less than 2n; one bit narrower is tried too.
    wide = np.maximum(bit_length(total / number) - 1, 0)
    narrow = np.maximum(wide - 1, 0)
    wide_bits = number * (wide + 1) + _quotient_sum(codes, wide)
    narrow_bits = number * (narrow + 1) + _quotient_sum(codes, narrow)
    packed = bit_length(largest)
    few = np.count_nonzero(codes, axis=1)
    some = np.maximum(few, 1)
    rest = np.log2((1 + (total - few) / some) * (1 + (number - few) / some))
    # An estimate: within a few bits for what is spread as sensors' noise is.
    sparse_bits = np.where(few < number, 20 + (few * (2.6 + rest)).astype(np.int64), _NEVER)
    bits = np.array([number * packed, np.minimum(wide_bits, narrow_bits), sparse_bits])
    coding = bits.argmin(axis=0)
    width = np.where(coding == PACKED, packed, np.where(narrow_bits < wide_bits, narrow, wide))
    # Widths from 7 on take a byte more.
    return width, coding, bits.min(axis=0) + 8 * (width >= WIDTH_FOLLOWS)


def _quotient_sum(codes: Words, width: Ints) -> Ints:
    total: Words = (codes >> width.view(np.uint64)[:, None]).sum(axis=1)
    return total.view(np.int64)


def _block(codes: Words, step: tuple[int, int], kind: int, origin: int, base: int, width: int, coding: int) -> Block:
    divisor, remainder = step
    words = codes[STARTS[kind] :]
    extra = b""
    runs: tuple[Run, ...]
    parts: tuple[Words, ...]
    if coding == SPARSE:
        (places,) = np.nonzero(words)
        gaps = (np.diff(places, prepend=-1) - 1).view(np.uint64)
        words = words[places] - np.uint64(1)
        width, gap_width = _rice_width(words), _rice_width(gaps)
        extra = varint(len(places)) + bytes((gap_width,))
        runs, parts = (Run(len(places), gap_width, unary=True), Run(len(places), width, unary=True)), (gaps, words)
    else:
        runs, parts = (Run(len(words), width, coding == RICE),), (words,)
    if divisor > 1:
        head = bytes((kind << 5 | coding << 3 | WIDTH_FOLLOWS, width | HAS_DIVISOR)) + _divisor_field(
            divisor, remainder
        )
    elif width >= WIDTH_FOLLOWS:
        head = bytes((kind << 5 | coding << 3 | WIDTH_FOLLOWS, width))
    else:
        head = bytes((kind << 5 | coding << 3 | width,))
    head += signed_varint(origin) if kind != FOLLOW else bytes((origin,))
    if PARAMETERS[kind] > 1:
        head += signed_varint(base)
    return Block(head + extra, runs, parts)


def _rice_width(words: Words) -> int:
    """The width that is best, or next to best, for what is spread as sensors' noise is."""
    if not len(words):
        return 0
    mean = float(words.mean())
    wide = max(0, int(mean).bit_length() - 1)
    narrow = max(0, wide - 1)
    costs = {width: width * len(words) + int((words >> np.uint64(width)).sum()) for width in (wide, narrow)}
    return min(costs, key=lambda width: costs[width])


@lru_cache(maxsize=256)
def _divisor_field(divisor: int, remainder: int) -> bytes:
    # Most divisors are powers of ten (milliseconds in nanoseconds), which fit one byte this way.
    tens = 0
    while divisor % 10 == 0 and tens < MOST_TENS:
        divisor //= 10
        tens += 1
    field = varint(divisor << TENS_BITS + 1 | (remainder > 0) << TENS_BITS | tens)
    return field + varint(remainder) if remainder else field


def _divide_out(table: Ints) -> tuple[Ints, Ints]:
    """Find the divisor g per row of (C, n) such that every cell is first + g·y, and return g and the table of y."""
    length = table.shape[1]
    rises = table - table[:, :1]
    divisors: Ints = np.gcd.reduce(rises[:, :_DIVISOR_GLANCE], axis=1)
    (open_rows,) = np.nonzero(divisors != 1)
    divisors[open_rows] = np.gcd.reduce(rises[open_rows], axis=1)
    # 0: constant, needs none. Negative: gcd of -2**63, which int64 cannot hold. Huge: does not fit its field.
    divisors[(divisors < 1) | (divisors >> _DIVISOR_END_BITS > 0)] = 1
    divisors[(length - 1) * np.log2(divisors) <= _DIVISOR_BITS] = 1
    (rows,) = np.nonzero(divisors > 1)
    rises[rows] //= divisors[rows, None]
    return divisors, rises
