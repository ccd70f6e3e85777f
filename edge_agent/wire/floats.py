"""Columns of floats to bytes and back, bit for bit: scaled integers where the numbers are decimal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import WireError
from edge_agent.wire.integers import decode_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.cursor import Cursor

    Floats = NDArray[np.float64]

RAW_SCALE: Final = 15
"""Stands where the number of decimals stands when the column is not decimal."""
MOST_DECIMALS: Final = 9
_EXACT_END: Final = float(1 << 53)
_GLANCE: Final = 4
"""So many numbers of a column mostly tell already that it has more decimals."""


def scale_floats(columns: Sequence[Sequence[float]]) -> list[tuple[int, NDArray[np.int64] | bytes]]:
    """Turn each column into scaled integers, if that loses no bit, else into its IEEE-754 bytes.

    Returns:
        Per column `(d, integers)` with every number exactly `integer / 10**d`, d the least of 0..9
        and |integer| < 2**53; or `(RAW_SCALE, bytes)`, 8 little-endian bytes each. An empty column has d = 0.
    """
    scaled: list[tuple[int, NDArray[np.int64] | bytes]] = [(0, b"")] * len(columns)
    places_by_length: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        places_by_length.setdefault(len(column), []).append(place)
    places_by_length.pop(0, None)
    for places in places_by_length.values():
        table = np.array([columns[place] for place in places], dtype=np.float64)
        left = places
        for decimals in range(MOST_DECIMALS + 1):
            power = 10.0**decimals
            (hopeful,) = np.nonzero(_scale(table[:, :_GLANCE], power)[1])
            if not len(hopeful):
                continue
            integers, exact = _scale(table[hopeful], power)
            for row, numbers in zip(hopeful[exact].tolist(), integers[exact].astype(np.int64), strict=True):
                scaled[left[row]] = decimals, numbers
            open_rows = np.ones(len(table), dtype=np.bool_)
            open_rows[hopeful[exact]] = False
            table = table[open_rows]
            left = [place for place, is_open in zip(left, open_rows.tolist(), strict=True) if is_open]
            if not left:
                break
        for place, row in zip(left, table, strict=True):
            scaled[place] = RAW_SCALE, row.astype("<f8").tobytes()
    return scaled


def _scale(table: Floats, power: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Scale (C, n) and tell per row whether dividing gives back every bit."""
    with np.errstate(over="ignore", invalid="ignore"):
        integers = np.rint(table * power) + 0.0  # + 0.0 turns -0.0 into 0.0, so that it is seen not to come back
        back = integers / power
    exact = (back.view(np.int64) == table.view(np.int64)).all(axis=1)
    return integers, exact & (np.abs(integers) < _EXACT_END).all(axis=1)


def decode_floats(cursor: Cursor, scale: int, count: int) -> Floats:
    """Take a column of `count` numbers written with `scale`.

    Returns:
        (count,) float64.

    Raises:
        WireError: the scale is unknown, or the data end too early.
    """
    if scale == RAW_SCALE:
        return np.frombuffer(cursor.take(8 * count), dtype="<f8").astype(np.float64)
    if scale > MOST_DECIMALS:
        raise WireError(f"a column has the unknown scale {scale}")
    return decode_integers(cursor, count) / 10.0**scale
