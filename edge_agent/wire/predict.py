"""Predictors of the numbers of a column, applied to many columns at once. Pure.

All arithmetic is modulo 2**64, so every int64 is restored. FORMAT.md defines each predictor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Places = NDArray[np.intp]
    Words = NDArray[np.uint64]

LEVEL: Final = 0
DELTA: Final = 1
STEP: Final = 2
CURVE: Final = 3
LINE: Final = 4
MEAN: Final = 5
FOLLOW: Final = 6
EVEN: Final = 7
"""Predictors. These numbers are part of the format. An enum would make the encoder a tenth slower."""
STARTS: Final = (0, 1, 1, 2, 0, 1, 0)
"""Per predictor, without EVEN, which has no codes: how many numbers follow from the head alone and have no code."""
PARAMETERS: Final = (1, 1, 2, 2, 2, 1, 0, 2)
"""Per predictor: signed varints in the head. The first is the origin, the second the base or the rise."""

GAIN_BITS: Final = 8
MOST_GAIN: Final = (1 << GAIN_BITS) - 1
GAIN_HALF: Final = 1 << GAIN_BITS - 1
MEAN_BITS: Final = 2
MEAN_HALF: Final = 2

# From here on, gain times difference could overflow int64.
_FOLLOW_END: Final = 1 << 53
_MEAN_END: Final = 1 << 60
_MEAN_OF: Final = 4
# A column has a trend if its median step is at least this fraction (1/4) of the mean magnitude of its steps.
_TREND: Final = 4


class Guess(NamedTuple):
    """One predictor applied to some of the rows of (C, n); each row is a column of the batch.

    Attributes:
        kind: the predictor.
        rows: (R,) the rows.
        rest: (R, n) numbers less predictions. The first ones, which have no code, are 0.
        origin, base: (R,) parameters in the head; ignored if the predictor has no such parameter.
    """

    kind: int
    rows: Places
    rest: Ints
    origin: Ints
    base: Ints


def guesses_of(first: Ints, rises: Ints, led: Sequence[int] = ()) -> list[Guess]:
    """Apply the predictors that use the column alone. A number is first + rise; the first rise is 0.

    Args:
        first: (C,) first number of each column.
        rises: (C, n) numbers less the first one.
        led: columns that may follow another one. For filtered values that is nearly always closer than a level or a
            mean, so these are not tried, which takes a fifth less time for all columns.
    """
    count, length = rises.shape
    every = np.arange(count, dtype=np.intp)
    delta = np.empty_like(rises)
    delta[:, 0] = 0
    np.subtract(rises[:, 1:], rises[:, :-1], out=delta[:, 1:])
    guesses = []
    alone, lines, slope, going = every, rises, first, every[:0]
    if length > 1:  # a single number has nothing but a level
        if len(led):
            alone = np.delete(every, led)
            lines = rises[alone]
        guesses.append(Guess(DELTA, every, delta, first, first))
        base = np.partition(delta[:, 1:], (length - 1) // 2, axis=1)[:, (length - 1) // 2]
        (going,) = np.nonzero(_TREND * length * np.abs(base) > np.abs(delta).view(np.uint64).sum(axis=1))
        if len(going):
            guesses += _steps(going, first[going], delta[going], base[going])
            if guesses[-1].rest.any():  # if all are 0, no line is shorter than even steps
                slope = _slope(rises[going])
                lines = np.concatenate((lines, rises[going] - np.arange(length, dtype=np.int64) * slope[:, None]))
    middle, low, high = _middle(lines)
    level, levels = lines - middle[:, None], len(alone)
    guesses.append(Guess(LEVEL, alone, level[:levels], first[alone] + middle[:levels], first[alone]))
    if len(lines) > levels:
        guesses.append(Guess(LINE, going, level[levels:], first[going] + middle[levels:], slope))
    if length > 1:
        tame = alone[(high[:levels] < _MEAN_END) & (low[:levels] > -_MEAN_END)]
        guesses.append(Guess(MEAN, tame, rises[tame] - _mean_before(rises[tame]), first[tame], first[tame]))
    return guesses


def _steps(rows: Places, first: Ints, delta: Ints, base: Ints) -> list[Guess]:
    """Apply CURVE, if the columns are long enough, and STEP to columns with a trend; STEP comes last."""
    stepped = delta - base[:, None]
    stepped[:, 0] = 0
    step = Guess(STEP, rows, stepped, first, base)
    if delta.shape[1] <= STARTS[CURVE]:
        return [step]
    curve = np.zeros_like(delta)
    np.subtract(delta[:, 2:], delta[:, 1:-1], out=curve[:, 2:])
    return [Guess(CURVE, rows, curve, first, delta[:, 1]), step]


def _slope(rises: Ints) -> Ints:
    """Find the slope per row as the median of differences over half the column: robust to jitter and to a gap."""
    length = rises.shape[1]
    lag = length // 2
    ahead = rises[:, lag:] - rises[:, :-lag]
    slope: Ints = (np.partition(ahead, (length - lag) // 2, axis=1)[:, (length - lag) // 2] + lag // 2) // lag
    return slope


def _mean_before(rises: Ints) -> Ints:
    """Compute the rounded mean of the four rises before each one; those before the first are 0."""
    before = np.zeros((len(rises), rises.shape[1] + _MEAN_OF), dtype=np.int64)
    before[:, _MEAN_OF:] = rises
    pairs = before[:, 1:-1] + before[:, :-2]
    fours: Ints = pairs[:, 2:] + pairs[:, :-2]
    fours += MEAN_HALF
    fours >>= MEAN_BITS
    return fours


def _middle(table: Ints) -> tuple[Ints, Ints, Ints]:
    """Find the best origin of each row of (C, n), its least and its greatest number.

    The origin is the median, which suits Rice codes. If all numbers are so close together that packed codes are
    shorter, it is moved to where zigzag makes those shortest: for an origin o and a width w,
    o - 2**(w-1) ≤ low and high < o + 2**(w-1).
    """
    length = table.shape[1]
    ordered = np.sort(table, axis=1)
    low, high, median = ordered[:, 0], ordered[:, -1], ordered[:, length // 2]
    width = bit_length((high - low).view(np.uint64).astype(np.float64))
    apart = np.abs(table - median[:, None]).sum(axis=1)
    half = np.left_shift(np.int64(1), np.minimum(np.maximum(width - 1, 0), 62))
    near = half <= 1.0 + 2.0 / length * apart
    return np.where(near, np.maximum(np.minimum(median, low + half), high - half + 1), median), low, high


def follow(table: Ints, rows: Places, leaders: Ints) -> Guess:
    """Predict that each number of (L, n) moves a fixed share of the way from the one before to the leader's number.

    Args:
        table: (L, n) numbers.
        rows: (L,) their places among all columns.
        leaders: (L, n) numbers of the columns that they may follow.
    """
    # The magnitude of -2**63 is right as an unsigned number only.
    beyond = np.abs(np.array((table, leaders))).view(np.uint64) >= np.uint64(_FOLLOW_END)
    if beyond.any():
        tame = ~beyond.any(axis=(0, 2))
        table, rows, leaders = table[tame], rows[tame], leaders[tame]
    before = np.empty_like(table)
    before[:, 0] = leaders[:, 0]
    before[:, 1:] = table[:, :-1]
    lead = leaders - before
    rest = table - before
    way = lead.astype(np.float64)
    gain = np.einsum("ij,ij->i", way, rest) / np.maximum(np.einsum("ij,ij->i", way, way), 1.0)
    steps = np.minimum(np.maximum(np.rint(gain * (1 << GAIN_BITS)), 0), MOST_GAIN).astype(np.int64)
    lead *= steps[:, None]
    lead += GAIN_HALF
    lead >>= GAIN_BITS
    rest -= lead
    return Guess(FOLLOW, rows, rest, steps, steps)


def bit_length(values: NDArray[np.float64]) -> Ints:
    """Bits of the integer part. Above 2**53 it may be one too many, which costs one bit per code and loses nothing."""
    return np.minimum(np.frexp(values)[1], 64).astype(np.int64)


def varint_length(values: Ints) -> Ints:
    """Bytes of each value as a zigzag varint."""
    return np.maximum((bit_length(zigzag(values).astype(np.float64)) + 6) // 7, 1)


def zigzag(values: Ints) -> Words:
    """Map signed to unsigned numbers: 0, -1, 1, -2 … become 0, 1, 2, 3 …"""
    folded = values << 1
    folded ^= values >> 63
    return folded.view(np.uint64)
