"""What a number of a column is expected to be: predictors, applied to many columns at once. Pure.

All arithmetic is modulo 2**64, so every int64 survives. FORMAT.md says what each predictor is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

LEVEL: Final = 0
DELTA: Final = 1
STEP: Final = 2
CURVE: Final = 3
LINE: Final = 4
MEAN: Final = 5
FOLLOW: Final = 6
"""What a number is expected to be. The numbers travel on the wire; an enum would cost a tenth of the encoder."""
STARTS: Final = (0, 1, 1, 2, 0, 1, 0)
"""Per predictor: so many numbers follow from the head alone and have no code."""
PARAMETERS: Final = (1, 1, 2, 2, 2, 1, 0)
"""Per predictor: signed varints in the head, origin and base or rise, as far as there are such."""

GAIN_BITS: Final = 8
MOST_GAIN: Final = (1 << GAIN_BITS) - 1
GAIN_HALF: Final = 1 << GAIN_BITS - 1
MEAN_BITS: Final = 2
MEAN_HALF: Final = 2

# Beyond, gain times difference would not stay within int64.
_FOLLOW_END: Final = 1 << 53
_MEAN_END: Final = 1 << 60
_MEAN_OF: Final = 4
# A column goes one way if its median step is at least so large a part of the mean one.
_TREND: Final = 4


class Guess(NamedTuple):
    """One predictor applied to some of the columns of (C, n).

    Attributes:
        kind: which.
        rows: (R,) the columns.
        rest: differences from it, (R, n); those that have no code are the first, and 0.
        origin, base: (R,) parameters of the head; base or rise counts only where the predictor has one.
    """

    kind: int
    rows: Ints
    rest: Ints
    origin: Ints
    base: Ints


def guesses_of(first: Ints, rises: Ints) -> list[Guess]:
    """Apply the predictors that need nothing but the column, which is first + rise; the first rise is 0."""
    length = rises.shape[1]
    every = np.arange(len(rises))
    middle = _middle(rises)
    guesses = [Guess(LEVEL, every, rises - middle[:, None], first + middle, middle)]
    if length == 1:
        return guesses
    delta = np.zeros_like(rises)
    np.subtract(rises[:, 1:], rises[:, :-1], out=delta[:, 1:])
    guesses.append(Guess(DELTA, every, delta, first, first))
    before = np.concatenate((np.zeros((len(rises), _MEAN_OF), dtype=np.int64), rises), axis=1)
    windows = before[:, 3:-1] + before[:, 2:-2] + before[:, 1:-3] + before[:, :-4]
    tame = np.nonzero(~_any_beyond(rises, _MEAN_END))[0]
    meant = rises - (windows + MEAN_HALF >> MEAN_BITS)
    guesses.append(Guess(MEAN, tame, meant[tame], first[tame], first[tame]))
    base = np.partition(delta[:, 1:], (length - 1) // 2, axis=1)[:, (length - 1) // 2]
    (rows,) = np.nonzero(_TREND * np.abs(base) > np.abs(delta).mean(axis=1))
    return guesses + _trends(rows, first[rows], rises[rows], delta[rows], base[rows]) if len(rows) else guesses


def _trends(rows: Ints, first: Ints, rises: Ints, delta: Ints, base: Ints) -> list[Guess]:
    """Apply the predictors that are for columns which go one way, as clocks do."""
    length = rises.shape[1]
    stepped = delta - base[:, None]
    stepped[:, 0] = 0
    # The slope over half of the column is hardly touched by jitter, nor by a gap.
    lag = length // 2
    ahead = rises[:, lag:] - rises[:, :-lag]
    slope = (np.partition(ahead, (length - lag) // 2, axis=1)[:, (length - lag) // 2] + lag // 2) // lag
    line = rises - np.arange(length) * slope[:, None]
    offset = _middle(line)
    guesses = [
        Guess(STEP, rows, stepped, first, base),
        Guess(LINE, rows, line - offset[:, None], first + offset, slope),
    ]
    if length > STARTS[CURVE]:
        curve = np.zeros_like(rises)
        np.subtract(delta[:, 2:], delta[:, 1:-1], out=curve[:, 2:])
        guesses.append(Guess(CURVE, rows, curve, first, delta[:, 1]))
    return guesses


def _middle(table: Ints) -> Ints:
    """Find what the numbers of each row of (C, n) lie around: the median, which suits Rice codes.

    Where all numbers are so near to each other that packed codes are shorter, it is moved to where zigzag makes those
    shortest: with 2**w numbers from low to high, o - 2**(w-1) ≤ low and high < o + 2**(w-1).
    """
    length = table.shape[1]
    median: Ints = np.partition(table, length // 2, axis=1)[:, length // 2]
    low, high = table.min(axis=1), table.max(axis=1)
    width = bit_length((high - low).view(np.uint64).astype(np.float64))
    mean = 2.0 * np.abs((table - median[:, None]).astype(np.float64)).mean(axis=1)
    half = np.left_shift(1, np.clip(width - 1, 0, 62))
    return np.where(width <= np.log2(1.0 + mean) + 1.0, np.clip(median, high - half + 1, low + half), median)


def follow(table: Ints, rows: Ints, leaders: Ints) -> Guess:
    """Predict that each number of (L, n) goes a fixed share of the way from the one before it to its leader's."""
    tame = ~(_any_beyond(table, _FOLLOW_END) | _any_beyond(leaders, _FOLLOW_END))
    table, rows, leaders = table[tame], rows[tame], leaders[tame]
    before = np.concatenate((leaders[:, :1], table[:, :-1]), axis=1)
    lead = leaders - before
    way = lead.astype(np.float64)
    gone = (table - before).astype(np.float64)
    gain = (way * gone).sum(axis=1) / np.maximum((way * way).sum(axis=1), 1.0)
    steps = np.clip(np.rint(gain * (1 << GAIN_BITS)), 0, MOST_GAIN).astype(np.int64)
    expected = before + (lead * steps[:, None] + GAIN_HALF >> GAIN_BITS)
    return Guess(FOLLOW, rows, table - expected, steps, steps)


def _any_beyond(table: Ints, end: int) -> NDArray[np.bool_]:
    """Tell per row of (C, n) whether any number is not within ±end."""
    beyond: NDArray[np.bool_] = (table.max(axis=1) >= end) | (table.min(axis=1) <= -end)
    return beyond


def bit_length(values: NDArray[np.float64]) -> Ints:
    """Bits of the integer part; above 2**53 it may be one too many, which costs a bit and loses nothing."""
    return np.minimum(np.frexp(values)[1], 64).astype(np.int64)


def varint_length(values: Ints) -> Ints:
    """Bytes of each value as zigzag varint."""
    return np.maximum((bit_length(zigzag(values).astype(np.float64)) + 6) // 7, 1)


def zigzag(values: Ints) -> Words:
    """Fold signs in: 0, -1, 1, -2 … become 0, 1, 2, 3 …"""
    return (values << 1 ^ values >> 63).view(np.uint64)
