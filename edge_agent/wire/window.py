"""Features of a window, computed from the column itself: what can be computed needs not be sent. Pure.

All sums are of integers, so that sender and receiver come to the same bits in whatever order they add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_SAFE: Final = float(1 << 61)
"""Below, no sum of products leaves int64."""


def features_of(numbers: Ints, scales: Sequence[int], times_ns: Ints) -> list[Features | None]:
    """Describe columns of equal length.

    Args:
        numbers: (C, n) integers, n ≥ 1; a value is `integer / 10**scale`.
        scales: 0..9, per column.
        times_ns: (C, n) stamps.

    Returns:
        One per column, all numbers as float32; None where the sums would leave int64.
    """
    count = numbers.shape[1]
    first = numbers[:, 0]
    rise = numbers - first[:, None]
    ages = times_ns - times_ns[:, :1]
    unit = np.maximum(np.abs(np.gcd.reduce(ages, axis=1)), 1)
    ages //= unit[:, None]
    safe = np.maximum(_largest(rise), _largest(ages)) ** 2 * count * count <= _SAFE
    safe &= (np.abs(first.astype(np.float64)) * count <= _SAFE) & (_largest(times_ns) <= _SAFE)
    powers = np.array([10.0**scale for scale in scales])
    total = rise.sum(axis=1)
    mean = (count * first + total) / (count * powers)
    square = count * (rise * rise).sum(axis=1) - total * total
    spread = np.sqrt(np.maximum(square, 0).astype(np.float64)) / (count * powers)
    age = ages.sum(axis=1)
    width = count * (ages * ages).sum(axis=1) - age * age
    per_unit = (count * (rise * ages).sum(axis=1) - age * total) / np.where(width == 0, 1, width)
    slope = per_unit / powers * (NS_PER_S / unit)
    table = np.array([mean, spread, numbers.min(axis=1) / powers, numbers.max(axis=1) / powers, slope])
    with np.errstate(over="ignore", under="ignore"):
        rows = table.astype(np.float32).T.tolist()
    return [Features(count, *row) if good else None for row, good in zip(rows, safe.tolist(), strict=True)]


def _largest(table: Ints) -> NDArray[np.float64]:
    """Find the greatest magnitude in each row of (C, n)."""
    return np.abs(table.astype(np.float64)).max(axis=1)  # type: ignore[no-any-return]
