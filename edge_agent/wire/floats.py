"""Columns of floats to integers and back, bit for bit: scaled where the numbers are decimal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NOT_DECIMAL: Final = 15
"""Stands where the number of decimals stands when the integers are the bits of doubles."""
MOST_DECIMALS: Final = 9
_EXACT_END: Final = float(1 << 53)
_POWERS: Final = np.array([10.0**decimals for decimals in range(MOST_DECIMALS + 1)], dtype=np.float64)
_GLANCE: Final = 4
"""So many numbers of a column mostly tell already that it has more decimals."""


def scale_floats(columns: Sequence[Sequence[float]]) -> list[tuple[int, Ints]]:
    """Turn each column into scaled integers, if that loses no bit, else into those that its bits are.

    Returns:
        Per column `(d, integers)` with every number exactly `integer / 10**d`, d the least of 0..9
        and |integer| < 2**53; or `(NOT_DECIMAL, integers)`. An empty column has d = 0.
    """
    scaled: list[tuple[int, Ints]] = [(0, np.empty(0, dtype=np.int64))] * len(columns)
    places_by_length: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        places_by_length.setdefault(len(column), []).append(place)
    places_by_length.pop(0, None)
    for places in places_by_length.values():
        table = np.array([columns[place] for place in places], dtype=np.float64)
        is_open = np.ones(len(places), dtype=np.bool_)
        glance = _scale(table[:, :_GLANCE], _POWERS[:, None, None])[1]
        for decimals in range(MOST_DECIMALS + 1):
            (hopeful,) = np.nonzero(glance[decimals] & is_open)
            if not len(hopeful):
                continue
            integers, exact = _scale(table[hopeful], 10.0**decimals)
            for row, numbers in zip(hopeful[exact].tolist(), integers[exact].astype(np.int64), strict=True):
                scaled[places[row]] = decimals, numbers
            is_open[hopeful[exact]] = False
            if not is_open.any():
                break
        for row in np.nonzero(is_open)[0].tolist():
            scaled[places[row]] = NOT_DECIMAL, _turned(table[row].view(np.int64))
    return scaled


def _turned(bits: Ints) -> Ints:
    """Turn bits of doubles into integers of the same order, or back."""
    return np.where(bits < 0, bits ^ np.iinfo(np.int64).max, bits)


def _scale(table: Floats, power: float | Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Scale (…, C, n) and tell per row whether dividing gives back every bit."""
    with np.errstate(over="ignore", invalid="ignore"):
        integers = np.rint(table * power) + 0.0  # + 0.0 turns -0.0 into 0.0, so that it is seen not to come back
        back = integers / power
    exact = (back.view(np.int64) == table.view(np.int64)).all(axis=-1)
    return integers, exact & (np.abs(integers) < _EXACT_END).all(axis=-1)


def raw_bytes(integers: Ints) -> bytes:
    """Write what `scale_floats` turned into NOT_DECIMAL as IEEE-754 doubles, 8 little-endian bytes each."""
    return _turned(integers).astype("<i8").tobytes()


def from_bytes(octets: bytes) -> Ints:
    """Read what `raw_bytes` wrote."""
    return _turned(np.frombuffer(octets, dtype="<i8").astype(np.int64))


def unscale(columns: Sequence[Ints], scales: Sequence[int]) -> list[list[float]]:
    """Turn integers back into the numbers that they stand for; 0..9 and NOT_DECIMAL are scales."""
    numbers: list[list[float]] = [[]] * len(columns)
    alike: dict[tuple[int, int], list[int]] = {}
    for place, (column, scale) in enumerate(zip(columns, scales, strict=True)):
        alike.setdefault((len(column), scale), []).append(place)
    for (_, scale), places in alike.items():
        table = np.array([columns[place] for place in places])
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
