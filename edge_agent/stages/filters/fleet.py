"""The quick road of many `Auto` filters at once, over blocks of (time × channel). Pure.

As long as readings come at the usual step and surprise nobody, an automatic filter is linear in its readings and its
state, and the three small filters are the same for every channel. So the errors of all of them, over all rows of all
channels, are one product of a fixed matrix with [levels, slopes, readings]. What is shown, and when shares are weighed
anew, follows from the errors without a loop. `Auto.run` is the reference: what is done here agrees with it to 1e-9,
and a reading that it would have to think about ends the block of its channel. A reading that is merely odd is not one,
if the next is not odd: nothing comes of it but that it was seen.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.stages.filters.auto import ODD_SQUARED, REFRESH, Odd
from edge_agent.stages.filters.bank import ALPHAS, BETAS, MEMORY, SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.stages.filters.auto import Auto

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MOST_ROWS: Final = 60
"""In a product; fewer than REFRESH, so that shares are weighed at most once in it."""
_ALPHAS: Final = np.array(ALPHAS)[:, None]
_REST: Final = 1.0 - _ALPHAS
"""How much of an error remains in the level."""
# A surprise so near to the limit is left to the reference to judge.
_CERTAIN: Final = 1.0 - 1e-9


class Sailed(NamedTuple):
    """A block that was filtered, (rows × channels), canonical unit; what stands from `done` on is no estimate.

    Attributes:
        done: (C,) rows of each channel that took the quick road.
        values, innovations: see `Estimates`.
        weighed: of each piece of MOST_ROWS, in which row of it shares were weighed; shares and noise until then.
        end: shares and noise after the last piece.
        ends: per channel, what `Auto.arrive` takes.
        odd: of channels that had some, the readings that were merely odd, each with the one after it.
    """

    done: list[int]
    values: Floats
    innovations: Floats
    weighed: list[tuple[Ints, Floats, Floats]]
    end: tuple[Floats, Floats]
    ends: list[list[float]]
    odd: dict[int, list[Odd]]

    def sigmas_of(self, channel: int) -> list[float | None]:
        """Standard deviations of the errors of one channel's estimates, row by row."""
        found: list[float | None] = []
        rows = len(self.values)
        after = [*[(shares, noise) for _, shares, noise in self.weighed[1:]], self.end]
        for piece, ((left, *before), then) in enumerate(zip(self.weighed, after, strict=True)):
            row, size = int(left[channel]), min(MOST_ROWS, rows - piece * MOST_ROWS)
            sigmas = [_sigma(shares, noise, channel) for shares, noise in (before, then)]
            found += [sigmas[0]] * min(row, size) + [sigmas[1]] * max(0, size - row)
        return found


class _Weighed(NamedTuple):
    """What `Shares.weigh` comes to: (3, C), (C,), (3, C)."""

    energies: Floats
    noise: Floats
    shares: Floats


class _State:
    """What the quick road needs of all channels, one number of each in a row."""

    def __init__(self, autos: Sequence[Auto]) -> None:
        table = np.ascontiguousarray(np.array([auto.depart() for auto in autos]).T)
        self.levels, self.slopes, self.shares, self.sums, self.energies = table[: 5 * SIZE].reshape(5, SIZE, -1)
        self.noise, self.left, self.count, self.counted, self.prior, self.floor, *rest = table[5 * SIZE :]
        self.soonest, self.latest, self.trusting = rest

    def ends(self) -> list[list[float]]:
        """Per channel, in the order of `Auto.arrive`."""
        parts = (self.levels, self.slopes, self.shares, self.sums, self.energies)
        singles = (self.noise, self.left, self.count, self.counted)
        ends: list[list[float]] = np.concatenate([*parts, np.array(singles)]).T.tolist()
        return ends


def sail(autos: Sequence[Auto], steps_ns: Ints, readings: Floats) -> Sailed:
    """Take readings along the quick road as far as it goes. Changes no filter: see `Auto.arrive`.

    Args:
        autos: the filters of C channels, all of which may take the quick road (`Auto.is_calm`).
        steps_ns: (n, C) since the reading before; the first since `Auto.at_ns`.
        readings: (n, C) finite, canonical unit.
    """
    state = _State(autos)
    even = (steps_ns >= state.soonest) & (steps_ns <= state.latest)
    values, innovations = np.empty_like(readings), np.empty_like(readings)
    done = np.zeros(len(autos), dtype=np.int64)
    weighed = []
    odd: dict[int, list[Odd]] = {}
    for first in range(0, len(readings), MOST_ROWS):
        piece = slice(first, first + MOST_ROWS)
        going = done == first
        weighed.append((state.left.astype(np.int64), state.shares, state.noise))
        gone = _sail_piece(state, readings[piece], even[piece] & going, values[piece], innovations[piece], odd)
        done += gone
    end = state.shares, state.noise
    return Sailed(done.tolist(), values, innovations, weighed, end, state.ends(), odd)


def _sail_piece(
    state: _State, readings: Floats, even: Bools, values: Floats, innovations: Floats, odd: dict[int, list[Odd]]
) -> Ints:
    """Filter at most MOST_ROWS; returns how many rows of each channel were.

    A reading that is odd may tell that the chip counts more finely than was known. That matters only to channels whose
    noise is taken to be that of their counts, which are not `sure`: there, the reference goes on from what was odd.
    """
    rows, origin = len(readings), readings[0]
    relative = readings - origin
    start = np.concatenate((state.levels - origin, state.slopes, relative))
    product = np.matmul(_matrix()[:, : rows + 1, : len(start)], start)
    errors = product[:, :rows]
    squares = errors * errors
    left, row = state.left.astype(np.int64), np.arange(rows)[:, None]
    shares, limit = state.shares[:, None], ODD_SQUARED * state.noise
    weighed, sure = None, np.ones(len(origin), dtype=np.bool_)
    if int(left.min()) <= rows:
        late = (row >= left).astype(np.float64)
        weighed = _weigh(state, np.einsum("irc,rc->ic", squares, 1.0 - late), left)
        # Where it is late, the new ones; np.where takes three times as long.
        shares = shares + late * (weighed.shares[:, None] - shares)
        limit = limit + late * (ODD_SQUARED * weighed.noise - limit)
        sure = weighed.energies.min(axis=0) >= state.floor
        even[:, [place for place in odd if not sure[place]]] = False
    shares = shares * errors
    shares.sum(axis=0, out=innovations)
    shares *= _REST[:, None]
    np.subtract(readings, shares.sum(axis=0), out=values)
    far = innovations * innovations
    calm = (far <= _CERTAIN * limit) & even
    done = np.full(len(origin), rows)
    (some,) = np.nonzero(~calm.all(axis=0))
    if len(some):
        with np.errstate(divide="ignore", invalid="ignore"):  # a channel that never moved has no noise
            times = (far / limit)[:, some]
        merely = _merely_odd(calm[:, some], even[:, some], times, (state.trusting * sure)[some], left[some])
        going = calm[:, some]
        going[:-1] |= merely
        done[some] = np.where(going.all(axis=0), rows, going.argmin(axis=0))
        _note_odd(merely & (row[:-1] < done[some]), some, readings, innovations, odd)
    _advance(state, done, product, relative, origin)
    _count(state, done, left, squares, weighed)
    return done


def _merely_odd(calm: Bools, even: Bools, far: Floats, trusting: Floats, left: Ints) -> Bools:
    """All rows but the last: those of readings that are merely odd, and followed by a calm one.

    `far` is the square of each surprise, as a multiple of the limit.
    """
    here, row = far[:-1], np.arange(1, len(far))[:, None]
    merely: Bools = calm[1:] & even[:-1] & (here <= trusting) & (here * _CERTAIN > 1.0)
    # The reference weighs before it shows either of the two.
    merely &= (row != left) & (row + 1 != left)
    return merely


def _note_odd(merely: Bools, some: Ints, readings: Floats, innovations: Floats, odd: dict[int, list[Odd]]) -> None:
    """Note readings that were merely odd, by channel."""
    at, index = np.nonzero(merely)
    places = some[index]
    columns = (places, readings[at, places], readings[at + 1, places], innovations[at, places] > 0.0)
    for place, here, there, upwards in zip(*[each.tolist() for each in columns], strict=True):
        odd.setdefault(place, []).append(Odd(here, there, upwards=upwards))


def _advance(state: _State, done: Ints, product: Floats, relative: Floats, origin: Floats) -> None:
    """Bring levels and slopes to the end of what was done."""
    if int(done.min()) == len(relative):
        reading, error, ahead = relative[-1], product[:, -2], -product[:, -1]
        levels = reading - _REST * error
        state.slopes[1:] = (ahead - levels)[1:]
        state.levels = levels + origin
        return
    (some,) = np.nonzero(done)
    last = done[some] - 1
    levels = relative[last, some] - _REST * product[:, last, some]
    # What is predicted for the row after the last is the level there and its slope; below the table stands a zero.
    after = np.concatenate((relative, np.zeros((1, relative.shape[1]))))[last + 1, some]
    state.slopes[1:, some] = (after - product[:, last + 1, some] - levels)[1:]
    state.levels[:, some] = levels + origin[some]


def _count(state: _State, done: Ints, left: Ints, squares: Floats, weighed: _Weighed | None) -> None:
    """Count what was done, and take over the new shares where it was so much."""
    rows = squares.shape[1]
    if weighed is None and int(done.min()) == rows:
        state.sums += squares.sum(axis=1)
        state.counted += rows
        state.left -= rows
        state.count += rows
        return
    turned = done >= left
    row = np.arange(rows)[:, None]
    sums = np.einsum("irc,rc->ic", squares, (row >= np.where(turned, left, 0)) & (row < done))
    state.sums = np.where(turned, sums, state.sums + sums)
    state.counted = np.where(turned, done - left, state.counted + done)
    state.left = np.where(turned, REFRESH - (done - left), left - done)
    state.count += done
    if weighed is not None:
        state.energies = np.where(turned, weighed.energies, state.energies)
        state.noise = np.where(turned, weighed.noise, state.noise)
        state.shares = np.where(turned, weighed.shares, state.shares)


def _weigh(state: _State, sums: Floats, left: Ints) -> _Weighed:
    """`Shares.weigh` of all channels, `left` readings from now, of which `sums` are the squared errors."""
    memory = np.clip(state.count + left - 1 + state.prior, 1, MEMORY)
    keep = np.maximum(0.0, 1.0 - (state.counted + left) / memory)
    energies = state.energies * keep + (state.sums + sums) / memory
    least = np.maximum(energies.min(axis=0), state.floor)
    # Where nothing was ever wrong, shares stay.
    some = np.where(least > 0.0, least, 1.0)
    weights = np.maximum(energies / some, 1.0) ** (memory / -2.0)
    return _Weighed(energies, least, np.where(least > 0.0, weights / weights.sum(axis=0), state.shares))


def _sigma(shares: Floats, noise: Floats, channel: int) -> float:
    share0, share1, share2 = shares[:, channel].tolist()
    gain = share0 * ALPHAS[0] + share1 * ALPHAS[1] + share2 * ALPHAS[2]
    return sqrt(gain * (1.0 - gain) * float(noise[channel]))


@cache
def _matrix() -> Floats:
    """(filters, rows + 1, levels + slopes + rows): errors, and less what is predicted for one row more."""
    columns = 2 * SIZE + MOST_ROWS
    matrix = np.zeros((SIZE, MOST_ROWS + 1, columns))
    unit = np.eye(columns)
    for index in range(SIZE):
        level, slope = unit[index], unit[SIZE + index]
        for row in range(MOST_ROWS + 1):
            reading = unit[2 * SIZE + row] if row < MOST_ROWS else np.zeros(columns)
            error = reading - level - slope
            matrix[index, row] = error
            level = level + slope + ALPHAS[index] * error
            slope = slope + BETAS[index] * error
    return matrix
