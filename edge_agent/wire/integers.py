"""Encodes columns of integers as heads and codes: common divisor, prediction, choice of the shortest code. Pure.

Sender and receiver calculate modulo 2**64, so every int64 is restored, and no damaged head can cause an overflow. Many
columns are encoded at once, because at 60 rows the call of a numpy function takes longer than its work.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, repeat
from math import gcd, log2
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.wire.bits import Run
from edge_agent.wire.cursor import signed_varint, varint, wrap_int64
from edge_agent.wire.predict import (
    EVEN,
    FOLLOW,
    PARAMETERS,
    STARTS,
    bit_length,
    follow,
    guesses_of,
    varint_length,
    zigzag,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Places = NDArray[np.intp]
    Words = NDArray[np.uint64]


_STARTS: Final = np.array(STARTS, dtype=np.int64)
_HAS_ORIGIN: Final = np.array([int(number > 0) for number in PARAMETERS], dtype=np.int64)
_HAS_BASE: Final = np.array([int(number > 1) for number in PARAMETERS], dtype=np.int64)

PACKED: Final = 0
RICE: Final = 1
SPARSE: Final = 2
"""Codings: how differences from the prediction are written. These numbers are part of the format."""

WIDTH_FOLLOWS: Final = 7
HAS_DIVISOR: Final = 0x80
TENS_BITS: Final = 4
MOST_TENS: Final = 15
SIX: Final = 6
UNIT_HAS_SIX: Final = 0x10
"""Bit of the unit of even steps: beside its powers of ten it has a factor of six, as minutes and hours have."""

# Cells per slab: they, and all predictions for them, fit into the cache of a core.
_SLAB_CELLS: Final = 1 << 13
# A divisor takes about three bytes of head: it must save more bits than that in the codes.
_DIVISOR_BITS: Final = 24
_DIVISOR_END_BITS: Final = 56
# Cells that are tried first; mostly they show already that a noisy column has no common divisor.
_DIVISOR_GLANCE: Final = 8
_SHORT_END: Final = 1 << 45  # codes below it: their sum over a column does not overflow 64 bits
_ONE_BYTE: Final = [bytes((value,)) for value in range(256)]
_SHORTEST_EVEN: Final = 3
_NEVER: Final = (1 << 63) - 1
"""The cost of a predictor that was not applied to a column."""
_TOO_MUCH: Final = 1 << 40
_WHOLE: Final = (1, 0)
"""Divisor and remainder of a column that has no common divisor."""


class Numbers(NamedTuple):
    """A column to encode, and the column of the same length that it may be predicted from."""

    values: Ints
    leader: Ints | None = None


class Block(NamedTuple):
    """An encoded column: its head, and its codes, which are written after all heads."""

    head: bytes
    runs: tuple[Run, ...]
    words: tuple[Words, ...]

    def bits(self) -> int:
        """Size of head and codes in bits."""
        unary = sum(
            int((words >> np.uint64(run.width)).sum()) + run.codes
            for run, words in zip(self.runs, self.words, strict=True)
            if run.unary
        )
        return 8 * len(self.head) + unary + sum(run.codes * run.width for run in self.runs)


_NOTHING: Final = Block(b"", (), ())


class _Thin(NamedTuple):
    """A sparse column: numbers of zeros before each code that is not 0, and those codes less 1."""

    gaps: Words
    words: Words
    gap_width: int
    width: int


def encode_integers(columns: Sequence[Numbers]) -> list[Block]:
    """Encode each column; those of equal length are encoded together. An empty column takes no byte."""
    blocks = [_NOTHING] * len(columns)
    alike: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        alike.setdefault(len(column.values), []).append(place)
    alike.pop(0, None)
    for length, places in alike.items():
        step = max(1, _SLAB_CELLS // length)
        for first in range(0, len(places), step):
            slab = places[first : first + step]
            encoded = _encode_slab([columns[place] for place in slab])
            for place, block in zip(slab, encoded, strict=True):
                blocks[place] = block
    return blocks


def _encode_slab(columns: Sequence[Numbers]) -> list[Block]:
    """Encode columns of one length ≥ 1."""
    table = np.concatenate([column.values for column in columns]).reshape(len(columns), -1)
    first = table[:, 0]
    divisors, rises = _divide_out(table)
    divided = int(divisors.max()) > 1
    led = [row for row, column in enumerate(columns) if column.leader is not None and divisors[row] == 1]
    guesses = guesses_of(first // divisors if divided else first, rises, led)
    if led:
        leaders = np.concatenate([columns[row].leader for row in led]).reshape(len(led), -1)
        guesses.append(follow(table[led], np.array(led, dtype=np.intp), leaders))
    sizes = [len(guess.rows) for guess in guesses]
    kinds = np.repeat(np.array([guess.kind for guess in guesses], dtype=np.int64), sizes)
    rows, rest, origins, bases = (np.concatenate(part) for part in zip(*[guess[1:] for guess in guesses], strict=True))
    codes = zigzag(rest)
    widths, codings, bits = _measure(codes, table.shape[1] - _STARTS[kinds])
    origin_bytes, base_bytes = varint_length(np.array([origins, bases]))
    head_bytes = origin_bytes * _HAS_ORIGIN[kinds] + base_bytes * _HAS_BASE[kinds]
    costs = bits + 8 * np.maximum(head_bytes, 1)  # the parameter of FOLLOW is always one byte
    best = _cheapest(costs, kinds, rows, len(table))
    kinds, codings, codes = kinds[best], codings[best], codes[best]
    is_thin = codings == SPARSE
    thin = iter(_thin(codes[is_thin], _STARTS[kinds[is_thin]]) if is_thin.any() else ())
    steps = zip(divisors.tolist(), (first % divisors).tolist(), strict=True) if divided else repeat(_WHOLE)
    chosen = kinds, codings, widths[best], origins[best], bases[best]
    details = zip(*[part.tolist() for part in chosen], strict=True)
    blocks = [
        _block(words, step, *detail) if detail[1] != SPARSE else _thin_block(next(thin), step, *detail)
        for words, step, detail in zip(codes, steps, details, strict=False)
    ]
    apart = rises[:, 1:] - rises[:, :-1]
    for row in np.nonzero((apart == apart[:, :1]).all(axis=1))[0].tolist():
        blocks[row] = _if_shorter(blocks[row], table[row, :2].tolist())
    return blocks


def _cheapest(costs: Ints, kinds: Ints, rows: Places, count: int) -> Places:
    """Find the guess of least cost for each row; of equal ones the one of the lowest kind.

    Args:
        costs: (K,) bits of each guess.
        kinds: (K,) predictor of each.
        rows: (K,) row that each is for; no two of a row are of one kind.
        count: number of rows; each has a guess.

    Returns:
        (count,) places among the K guesses.
    """
    by_kind = np.full((len(PARAMETERS), count), _NEVER, dtype=np.int64)
    by_kind[kinds, rows] = costs
    places = np.zeros(by_kind.shape, dtype=np.intp)
    places[kinds, rows] = np.arange(len(rows), dtype=np.intp)
    cheapest: Places = places[by_kind.argmin(axis=0), np.arange(count, dtype=np.intp)]
    return cheapest


def _if_shorter(block: Block, start: list[int]) -> Block:
    """Encode a column of even steps by its first two numbers, if that is shorter."""
    if len(block.head) <= _SHORTEST_EVEN:
        return block
    head = _even_head(*start)
    is_shorter = len(head) < len(block.head) or 8 * len(head) < block.bits()
    return Block(head, (), ()) if is_shorter else block


def _measure(codes: Words, written: Ints) -> tuple[Ints, Ints, Ints]:
    """Find width, coding and bits of the shortest coding of each row of codes.

    Args:
        codes: (K, n); those that are not written come first, and are 0.
        written: (K,) number of codes of each row that are written.
    """
    largest = codes.max(axis=1).astype(np.float64)
    short = largest.max(initial=0.0) < _SHORT_END
    total = codes.sum(axis=1, dtype=np.uint64 if short else np.float64).astype(np.float64)
    # With a width of k, 2**k ≤ mean < 2**(k+1), the quotients sum to less than 2n. One bit less is tried too.
    above, packed = bit_length(np.array([total / written, largest]))
    wide = np.maximum(above - 1, 0)
    narrow = np.maximum(wide - 1, 0)
    wide_bits = written * (wide + 1) + _quotient_sum(codes, wide)
    narrow_bits = written * (narrow + 1) + _quotient_sum(codes, narrow)
    few = (codes != 0).sum(axis=1, dtype=np.int64)
    some = np.maximum(few, 1)
    rest = np.log2((some + total - few) * (some + written - few) / (some * some))
    # An estimate. For codes distributed like sensor noise it is right within a few bits.
    sparse_bits = np.where(few < written, 20 + (few * (2.6 + rest)).astype(np.int64), _TOO_MUCH)
    bits = np.array([written * packed, np.minimum(wide_bits, narrow_bits), sparse_bits])
    coding = bits.argmin(axis=0)
    width = np.where(coding == PACKED, packed, np.where(narrow_bits < wide_bits, narrow, wide))
    # A width of 7 or more takes one more byte.
    return width, coding, bits.min(axis=0) + 8 * (width >= WIDTH_FOLLOWS)


def _quotient_sum(codes: Words, width: Ints) -> Ints:
    total: Words = (codes >> width.view(np.uint64)[:, None]).sum(axis=1)
    return total.view(np.int64)


def _thin(codes: Words, starts: Ints) -> list[_Thin]:
    """Encode each row of (R, n) as a sparse column."""
    rows, places = np.nonzero(codes)
    few = np.bincount(rows, minlength=len(codes))
    ends = np.cumsum(few)
    before = np.empty_like(places)
    before[1:] = places[:-1]
    some = few > 0
    before[(ends - few)[some]] = starts[some] - 1
    words = np.concatenate((places - before - 1, codes[rows, places].view(np.int64) - 1)).view(np.uint64)
    runs = np.concatenate((rows, rows + len(codes)))
    widths = _rice_widths(words, runs, np.concatenate((few, few)))
    bounds = [0, *ends.tolist(), *(ends + len(rows)).tolist()]
    parts = [words[start:end] for start, end in pairwise(bounds)]
    half = len(codes)
    return [_Thin(*row) for row in zip(parts[:half], parts[half:], widths[:half], widths[half:], strict=True)]


def _rice_widths(words: Words, runs: Ints, counts: Ints) -> list[int]:
    """Find the best, or nearly best, width of each run for words distributed like sensor noise."""
    means = np.bincount(runs, words, len(counts)) / np.maximum(counts, 1)
    wide = np.maximum(bit_length(means) - 1, 0)
    narrow = np.maximum(wide - 1, 0)
    costs = [
        counts * width + np.bincount(runs, words >> width.view(np.uint64)[runs], len(counts))
        for width in (wide, narrow)
    ]
    widths: list[int] = np.where(costs[1] < costs[0], narrow, wide).tolist()
    return widths


def _block(codes: Words, step: tuple[int, int], kind: int, coding: int, width: int, origin: int, base: int) -> Block:
    words = codes[STARTS[kind] :] if STARTS[kind] else codes
    run = Run(len(words), width, coding == RICE)
    return Block(_head(step, kind, coding, width, origin, base), (run,), (words,))


def _thin_block(thin: _Thin, step: tuple[int, int], kind: int, coding: int, _: int, origin: int, base: int) -> Block:
    gaps, words, gap_width, width = thin
    runs = Run(len(gaps), gap_width, unary=True), Run(len(words), width, unary=True)
    extra = varint(len(words)) + bytes((gap_width,))
    return Block(_head(step, kind, coding, width, origin, base) + extra, runs, (gaps, words))


def _even_head(origin: int, following: int | None = None) -> bytes:
    base = 0 if following is None else wrap_int64(following - origin)
    unit, rest, sixes = 0, gcd(origin, base), 0
    while rest and rest % 10 == 0 and unit < MOST_TENS:
        rest //= 10
        unit += 1
    if rest and rest % SIX == 0:
        sixes = UNIT_HAS_SIX
    step = 10**unit * (SIX if sixes else 1)
    return _ONE_BYTE[EVEN << 5 | sixes | unit] + signed_varint(origin // step) + signed_varint(base // step)


def _head(step: tuple[int, int], kind: int, coding: int, width: int, origin: int, base: int) -> bytes:
    start = kind << 5 | coding << 3
    if step[0] > 1:
        head = bytes((start | WIDTH_FOLLOWS, width | HAS_DIVISOR)) + _divisor_field(*step)
    elif width >= WIDTH_FOLLOWS:
        head = bytes((start | WIDTH_FOLLOWS, width))
    elif kind == FOLLOW:
        return bytes((start | width, origin))
    else:
        head = _ONE_BYTE[start | width]
    if PARAMETERS[kind] > 1:
        return head + signed_varint(origin) + signed_varint(base)
    return head + (signed_varint(origin) if kind != FOLLOW else _ONE_BYTE[origin])


@lru_cache(maxsize=256)
def _divisor_field(divisor: int, remainder: int) -> bytes:
    # Most divisors are powers of ten (milliseconds in nanoseconds): these take one byte this way.
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
    (rows,) = np.nonzero(divisors != 1)
    divisors[rows] = 1
    found = np.gcd.reduce(rises[rows], axis=1).tolist() if len(rows) else ()
    for row, divisor in zip(rows.tolist(), found, strict=True):
        # 0: the column is constant. Negative: 2**63, which int64 cannot hold. Too large: does not fit its field.
        if 1 < divisor < 1 << _DIVISOR_END_BITS and (length - 1) * log2(divisor) > _DIVISOR_BITS:
            divisors[row] = divisor
            rises[row] //= divisors[row]
    return divisors, rises
