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
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.stages.auto import ODD_SQUARED, REFRESH, Odd
from edge_agent.stages.bank import ALPHAS, BETAS, MEMORY, SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.stages.auto import Auto

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
        sigmas: (pieces, 2, C) standard deviations before and after shares were weighed in a piece of MOST_ROWS.
        weighed: (pieces, C) in which row of the piece that was.
        ends: per channel, what `Auto.arrive` takes.
        odd: of channels that had some, the readings that were merely odd, each with the one after it.
    """

    done: list[int]
    values: Floats
    innovations: Floats
    sigmas: Floats
    weighed: Ints
    ends: list[list[float]]
    odd: dict[int, list[Odd]]

    def sigmas_of(self, channel: int) -> list[float | None]:
        """Those of one channel, row by row."""
        found: list[float | None] = []
        rows = len(self.values)
        for piece, row in enumerate(self.weighed[:, channel].tolist()):
            before, after = self.sigmas[piece, :, channel].tolist()
            size = min(MOST_ROWS, rows - piece * MOST_ROWS)
            found += [before] * min(row, size) + [after] * max(0, size - row)
        return found


_NONE: Final = np.empty((0, 0))
NOWHERE: Final = Sailed([], _NONE, _NONE, _NONE, _NONE.astype(np.int64), [], {})
"""No channel."""


class _State:
    """What the quick road needs of all channels, one number of each in a row."""

    def __init__(self, autos: Sequence[Auto]) -> None:
        table = np.array([auto.depart() for auto in autos]).T
        self.levels, self.slopes, self.shares, self.sums, self.energies = table[: 5 * SIZE].reshape(5, SIZE, -1)
        self.noise, self.left, self.count, self.counted, self.prior, self.floor = table[5 * SIZE :]

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
    soonest, latest, trusting = np.array([auto.bounds() for auto in autos]).T
    even = (steps_ns >= soonest) & (steps_ns <= latest)
    values, innovations = np.empty_like(readings), np.empty_like(readings)
    done = np.zeros(len(autos), dtype=np.int64)
    sigmas, weighed = [], []
    odd: dict[int, list[Odd]] = {}
    for first in range(0, len(readings), MOST_ROWS):
        piece = slice(first, first + MOST_ROWS)
        going = done == first
        before = _sigma(state)
        turns = state.left.astype(np.int64)
        gone = _sail_piece(
            state, readings[piece], even[piece] & going, trusting, values[piece], innovations[piece], odd
        )
        sigmas.append((before, _sigma(state)))
        weighed.append(turns)
        done += gone
    return Sailed(done.tolist(), values, innovations, np.array(sigmas), np.array(weighed), state.ends(), odd)


def _sail_piece(
    state: _State,
    readings: Floats,
    even: Bools,
    trusting: Floats,
    values: Floats,
    innovations: Floats,
    odd: dict[int, list[Odd]],
) -> Ints:
    """Filter at most MOST_ROWS; returns how many rows of each channel were."""
    rows = len(readings)
    origin = readings[0]
    relative = readings - origin
    product = np.matmul(
        _matrix()[:, : rows + 1, : 2 * SIZE + rows],
        np.concatenate((state.levels - origin, state.slopes, relative)),
    )
    errors = product[:, :rows]
    squares = errors * errors
    left = state.left.astype(np.int64)
    row = np.arange(rows)[:, None]
    if (left >= rows).all():
        before, sums = None, squares.sum(axis=1)
    else:
        before = row < left
        sums = np.einsum("irc,rc->ic", squares, before)
    energies, noise, shares = _weigh(state, sums + state.sums, left)
    surprise, shown = _mixed(state.shares, errors)
    limit = ODD_SQUARED * state.noise
    if before is None:
        innovations[:] = surprise
        values[:] = readings - shown
    else:
        later, shown_later = _mixed(shares, errors)
        innovations[:] = np.where(before, surprise, later)
        values[:] = readings - np.where(before, shown, shown_later)
        limit = np.where(before, limit, ODD_SQUARED * noise)
    far = innovations * innovations
    calm = (far <= _CERTAIN * limit) & even
    done = np.full(len(origin), rows)
    if not calm.all():
        merely = ~calm[:-1] & calm[1:] & even[:-1] & (far <= trusting * limit)[:-1] & (far * _CERTAIN > limit)[:-1]
        merely &= (row[1:] != left) & (row[:-1] + 2 != left)  # the reference weighs before it shows either of the two
        calm[:-1] |= merely
        done = np.where(calm.all(axis=0), rows, calm.argmin(axis=0))
        for at, place in zip(*[each.tolist() for each in np.nonzero(merely)], strict=True):
            if at < done[place]:
                here, there = readings[at : at + 2, place].tolist()
                odd.setdefault(place, []).append(Odd(here, there, upwards=bool(innovations[at, place] > 0.0)))
    _advance(state, done, product, relative, origin)
    _count(state, done, left, squares, (energies, noise, shares))
    return done


def _mixed(shares: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Mean error of each reading before it is used, and of what remains of it after."""
    ahead = shares[0] * errors[0]
    ahead += shares[1] * errors[1]
    ahead += shares[2] * errors[2]
    remain = shares * _REST
    behind = remain[0] * errors[0]
    behind += remain[1] * errors[1]
    behind += remain[2] * errors[2]
    return ahead, behind


def _advance(state: _State, done: Ints, product: Floats, relative: Floats, origin: Floats) -> None:
    """Bring levels and slopes to the end of what was done."""
    (some,) = np.nonzero(done)
    if not len(some):
        return
    last = done[some] - 1
    levels = relative[last, some] - _REST * product[:, last, some]
    # What is predicted for the row after the last is the level there and its slope; below the table stands a zero.
    after = np.concatenate((relative, np.zeros((1, relative.shape[1]))))[last + 1, some]
    state.slopes[1:, some] = (after - product[:, last + 1, some] - levels)[1:]
    state.levels[:, some] = levels + origin[some]


def _count(state: _State, done: Ints, left: Ints, squares: Floats, new: tuple[Floats, Floats, Floats]) -> None:
    """Count what was done, and take over the new shares where it was so much."""
    rows = squares.shape[1]
    turned = done >= left
    start = np.where(turned, left, 0)
    row = np.arange(rows)[:, None]
    sums = np.einsum("irc,rc->ic", squares, (row >= start) & (row < done))
    energies, noise, shares = new
    state.sums[:] = np.where(turned, sums, state.sums + sums)
    state.counted[:] = np.where(turned, done - left, state.counted + done)
    state.left[:] = np.where(turned, REFRESH - (done - left), left - done)
    state.count += done
    state.energies[:] = np.where(turned, energies, state.energies)
    state.noise[:] = np.where(turned, noise, state.noise)
    state.shares[:] = np.where(turned, shares, state.shares)


def _weigh(state: _State, sums: Floats, left: Ints) -> tuple[Floats, Floats, Floats]:
    """`Shares.weigh` of all channels, `left` readings from now; energies, noise and shares."""
    memory = np.clip(state.count + left - 1 + state.prior, 1, MEMORY)
    keep = np.maximum(0.0, 1.0 - (state.counted + left) / memory)
    energies = state.energies * keep + sums / memory
    least = np.maximum(energies.min(axis=0), state.floor)
    # Where nothing was ever wrong, shares stay.
    some = np.where(least > 0.0, least, 1.0)
    weights = np.maximum(energies / some, 1.0) ** (memory / -2.0)
    return energies, least, np.where(least > 0.0, weights / weights.sum(axis=0), state.shares)


def _sigma(state: _State) -> Floats:
    gain = (state.shares * _ALPHAS).sum(axis=0)
    sigma: Floats = np.sqrt(gain * (1.0 - gain) * state.noise)
    return sigma


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
