"""Turns columns of floats into integers and back without losing a bit; decimal numbers are scaled. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NOT_DECIMAL: Final = 15
"""Scale of a column that is not decimal: its integers are the bits of doubles."""
MOST_DECIMALS: Final = 9
_EXACT_END: Final = float(1 << 53)
_POWERS: Final = np.array([10.0**decimals for decimals in range(MOST_DECIMALS + 1)], dtype=np.float64)
_FIRST_GUESS: Final = 2
"""Decimals of most sensors; tried first."""
_GLANCE: Final = 4
"""Numbers of a column that are tried before all; mostly they show already that a scale is wrong."""


class Scaled(NamedTuple):
    """A column of numbers.

    Attributes:
        scale: decimals, 0..9, or NOT_DECIMAL.
        integers: (n,) each number is `integer / 10**scale`; with NOT_DECIMAL they are the bits of the numbers.
    """

    scale: int
    integers: Ints


NO_NUMBERS: Final = Scaled(0, np.empty(0, dtype=np.int64))


def scale_floats(columns: Sequence[Sequence[float | None]]) -> list[Scaled]:
    """Turn each column into scaled integers if that loses no bit, else into the bits of its numbers.

    Returns:
        Per column `(d, integers)`: every number is exactly `integer / 10**d`, d is the least possible of 0..9, and
        |integer| < 2**53. Or `(NOT_DECIMAL, integers)`. A column with None is never decimal, and its integers then
        mean nothing. An empty column has d = 0.
    """
    scaled = [NO_NUMBERS] * len(columns)
    places_by_length: dict[int, list[int]] = {}
    for place, numbers in enumerate(columns):
        places_by_length.setdefault(len(numbers), []).append(place)
    places_by_length.pop(0, None)
    for length, places in places_by_length.items():
        doubles = struct.Struct(f"{length}d")
        try:  # takes a third of the time of np.array
            octets = b"".join([doubles.pack(*columns[place]) for place in places])
            table = np.frombuffer(octets, dtype=np.float64).reshape(-1, length)
        except struct.error:
            table = np.array([columns[place] for place in places], dtype=np.float64)
        for place, column in zip(places, _scale_table(table), strict=True):
            scaled[place] = column
    return scaled


def _scale_table(table: Floats) -> list[Scaled]:
    """Scale each row of (C, n): at the first guess, unless the row has more decimals."""
    found, exact = _scale(table, 10.0**_FIRST_GUESS)
    scales = np.where(exact, np.int64(_FIRST_GUESS), np.int64(NOT_DECIMAL))
    is_right = bool(exact.all())
    whole = (found if is_right else np.where(exact[:, None], found, 0.0)).astype(np.int64)
    _drop_zeros(whole, scales, _FIRST_GUESS)
    if not is_right:
        (rows,) = np.nonzero(~exact)
        scales[rows], whole[rows] = _scale_otherwise(table[rows])
    return list(map(Scaled, scales.tolist(), whole))


def _drop_zeros(whole: Ints, scales: Ints, most: int) -> None:
    """Remove the decimals that are 0 in every number of a row of (C, n), from rows that have `most`."""
    for decimals in range(most, 0, -1):
        (rows,) = np.nonzero((scales == decimals) & ~(whole[:, :_GLANCE] % 10).any(axis=1))
        if not len(rows):
            break
        rows = rows[~(whole[rows] % 10).any(axis=1)]
        whole[rows] //= 10
        scales[rows] = decimals - 1


def _scale_otherwise(table: Floats) -> tuple[Ints, Ints]:
    """Try all decimals on rows of (C, n) for which the first guess was wrong."""
    scales = np.full(len(table), NOT_DECIMAL, dtype=np.int64)
    whole = _turned(table.view(np.int64))
    glance = _scale(table[:, :_GLANCE], _POWERS[:, None, None])[1]
    for decimals in range(MOST_DECIMALS + 1):
        (hopeful,) = np.nonzero(glance[decimals] & (scales == NOT_DECIMAL))
        if len(hopeful):
            found, exact = _scale(table[hopeful], 10.0**decimals)
            scales[hopeful[exact]] = decimals
            whole[hopeful[exact]] = found[exact].astype(np.int64)
    return scales, whole


def _turned(bits: Ints) -> Ints:
    """Turn bits of doubles into integers that are ordered like the doubles, or back."""
    return np.where(bits < 0, bits ^ np.iinfo(np.int64).max, bits)


def _scale(table: Floats, power: float | Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Scale (…, C, n) and tell per row whether dividing gives back every bit; a row that does not is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        integers = np.rint(table * power)
        integers += 0.0  # turns -0.0 into 0.0, whose bits differ: as an integer it would lose its sign
        exact = ((integers / power).view(np.int64) == table.view(np.int64)).all(axis=-1)
        exact &= np.abs(integers).max(axis=-1) < _EXACT_END
    return integers, exact


def raw_bytes(integers: Ints) -> bytes:
    """Write what `scale_floats` turned into NOT_DECIMAL as IEEE-754 doubles, 8 little-endian bytes each."""
    return _turned(integers).astype("<i8").tobytes()


def from_bytes(octets: bytes) -> Ints:
    """Read what `raw_bytes` wrote."""
    return _turned(np.frombuffer(octets, dtype="<i8").astype(np.int64))


def unscale(columns: Sequence[Ints], scales: Sequence[int]) -> list[list[float]]:
    """Turn integers back into numbers. A scale is 0..9 or NOT_DECIMAL."""
    numbers: list[list[float]] = [[]] * len(columns)
    alike: dict[tuple[int, int], list[int]] = {}
    for place, (column, scale) in enumerate(zip(columns, scales, strict=True)):
        alike.setdefault((len(column), scale), []).append(place)
    for (_, scale), places in alike.items():
        table = np.array([columns[place] for place in places], dtype=np.int64)
        floats = _turned(table).view(np.float64) if scale == NOT_DECIMAL else table / 10.0**scale
        for place, row in zip(places, floats.tolist(), strict=True):
            numbers[place] = row
    return numbers


def check_scale(scale: int) -> int:
    """Refuse a scale that this version does not have.

    Raises:
        WireError: it is neither 0..9 nor NOT_DECIMAL.
    """
    if scale > MOST_DECIMALS and scale != NOT_DECIMAL:
        raise WireError(f"a column has the unknown scale {scale}")
    return scale
