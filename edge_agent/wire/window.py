"""Features of a window, computed from the column itself: what can be computed needs not be sent. Pure.

All sums are of integers, so that sender and receiver come to the same bits in whatever order they add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_SAFE: Final = float(1 << 61)
"""Below, no sum of products leaves int64."""


def features_of(numbers: Ints, scale: int, times_ns: Ints) -> list[Features] | None:
    """Describe columns that share their stamps.

    Args:
        numbers: (C, n) integers, n ≥ 1; a value is `integer / 10**scale`.
        scale: 0..9.
        times_ns: (n,) stamps.

    Returns:
        One per column, all numbers as float32; None where the sums would leave int64.
    """
    count = numbers.shape[1]
    first = numbers[:, 0]
    rise = numbers - first[:, None]
    ages = times_ns - times_ns[0]
    unit = int(np.gcd.reduce(ages)) or 1
    ages = ages // unit
    largest = max(float(np.abs(rise.astype(np.float64)).max()), float(np.abs(ages.astype(np.float64)).max()))
    if (
        largest * largest * count * count > _SAFE
        or float(np.abs(first.astype(np.float64)).max()) * count > _SAFE
        or np.abs(times_ns.astype(np.float64)).max() > _SAFE
    ):
        return None
    total = rise.sum(axis=1)
    whole = float(count * 10**scale)
    mean = (count * first + total) / whole
    spread = np.sqrt((count * (rise * rise).sum(axis=1) - total * total).astype(np.float64)) / whole
    age = int(ages.sum())
    width = count * int((ages * ages).sum()) - age * age
    per_unit = (count * (rise @ ages) - age * total) / float(width or 1)
    slope = per_unit / 10.0**scale * (NS_PER_S / unit)
    low, high = numbers.min(axis=1) / 10.0**scale, numbers.max(axis=1) / 10.0**scale
    with np.errstate(over="ignore", under="ignore"):
        table = np.array([mean, spread, low, high, slope]).astype(np.float32).T.tolist()
    return [Features(count, *row) for row in table]
