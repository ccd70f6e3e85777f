"""Computes features of columns of scaled integers, at the sender as at the receiver. Pure.

Features that the receiver computes itself need not be sent. All sums are sums of integers, so both sides get the same
bits in whatever order they add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.features import PERCENT, Features, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_SAFE: Final = float(1 << 61)
"""Bound below which no sum of products overflows int64."""
_EXACT: Final = float(1 << 53)


def features_of(
    numbers: Ints, scales: Sequence[int], times_ns: Ints, shares: Sequence[float] | None = None
) -> list[Features | None]:
    """Compute the features of columns of equal length.

    Args:
        numbers: (C, n) integers, n ≥ 1; a value is `integer / 10**scale`.
        scales: 0..9, per column.
        times_ns: (C, n) stamps, or (1, n) for all columns.
        shares: share of good readings per column, 0..1. None: only the six first features of version 2 are computed.

    Returns:
        One per column, all numbers rounded to float32; None where a sum would overflow int64.
    """
    count = numbers.shape[1]
    if shares is not None:
        numbers, times_ns = _in_time(numbers, times_ns)
    first = numbers[:, 0]
    rise = numbers - first[:, None]
    ages, unit = _ages(times_ns)
    safe = _are_safe(first, rise, times_ns, ages)
    powers = np.array([10.0**scale for scale in scales], dtype=np.float64)
    total = rise.sum(axis=1)
    mean = (count * first + total) / (count * powers)
    square = count * (rise * rise).sum(axis=1) - total * total
    spread = np.sqrt(np.maximum(square, 0).astype(np.float64)) / (count * powers)
    age = ages.sum(axis=1)
    width = count * (ages * ages).sum(axis=1) - age * age
    per_unit = (count * (rise * ages).sum(axis=1) - age * total) / np.where(width == 0, 1, width)
    slope = per_unit / powers * (NS_PER_S / unit)
    table = [mean, spread, numbers.min(axis=1) / powers, numbers.max(axis=1) / powers, slope]
    if shares is not None:
        table += [*_beyond(first, rise, ages, powers, mean), np.array(shares, dtype=np.float64)]
    with np.errstate(over="ignore", under="ignore"):
        rows = np.array(table, dtype=np.float64).astype(np.float32).T.tolist()
    return [Features(count, *row) if good else None for row, good in zip(rows, safe.tolist(), strict=True)]


def are_safe(numbers: Ints, times_ns: Ints) -> list[bool]:
    """Tell for each column whether `features_of` can compute all features. It takes the same arguments."""
    ages = times_ns - times_ns[:, :1]
    oldest = int((np.abs(ages).max(axis=1) // np.maximum(np.gcd.reduce(ages, axis=1), 1)).max())
    # -2**63 has no magnitude in int64, so it is taken in Python's integers.
    widest, latest = (max(int(part.max()), -int(part.min())) for part in (numbers, times_ns))
    if latest <= _SAFE and (2 * numbers.shape[1] * max(widest, oldest)) ** 2 <= _SAFE:  # mostly bounds are enough
        return [True] * len(numbers)
    numbers, times_ns = _in_time(numbers, times_ns)
    first = numbers[:, 0]
    safe: list[bool] = _are_safe(first, numbers - first[:, None], times_ns, _ages(times_ns)[0]).tolist()
    return safe


def _in_time(numbers: Ints, times_ns: Ints) -> tuple[Ints, Ints]:
    """Sort the readings of each row by their stamps; those with equal stamps keep their order."""
    if (times_ns[:, 1:] >= times_ns[:, :-1]).all():
        return numbers, times_ns
    order = np.argsort(times_ns, axis=1, kind="stable")
    return np.take_along_axis(numbers, np.broadcast_to(order, numbers.shape), axis=1), np.take_along_axis(
        times_ns, order, axis=1
    )


def _ages(times_ns: Ints) -> tuple[Ints, Ints]:
    """Subtract its first stamp from each row, and divide by the greatest common unit, which is returned as well."""
    ages = times_ns - times_ns[:, :1]
    unit = np.maximum(np.abs(np.gcd.reduce(ages, axis=1)), 1)
    ages //= unit[:, None]
    return ages, unit


def _are_safe(first: Ints, rise: Ints, times_ns: Ints, ages: Ints) -> NDArray[np.bool_]:
    count = rise.shape[1]
    origin = np.abs(first.astype(np.float64))
    safe: NDArray[np.bool_] = np.maximum(_largest(rise), _largest(ages)) ** 2 * count * count <= _SAFE
    safe &= (origin * count <= _SAFE) & (origin < _EXACT) & (_largest(times_ns) <= _SAFE)
    return safe


def _beyond(first: Ints, rise: Ints, ages: Ints, powers: Floats, mean: Floats) -> list[Floats]:
    """Compute time-weighted mean, median, two percentiles, root mean square of differences; rows ascend in time."""
    count = rise.shape[1]
    span = ages[:, -1]
    area = ((ages[:, 1:] - ages[:, :-1]) * (rise[:, 1:] + rise[:, :-1])).sum(axis=1)
    weighted = (first + area / (2 * np.maximum(span, 1))) / powers
    ranked = np.sort(rise, axis=1)
    found = []
    for percent in (50, 5, 95):
        low, high, hundredths = place_of(percent, count)
        between = (PERCENT - hundredths) * ranked[:, low] + hundredths * ranked[:, high]
        found.append((PERCENT * first + between) / (PERCENT * powers))
    steps = rise[:, 1:] - rise[:, :-1]
    jitter = np.sqrt(np.maximum((steps * steps).sum(axis=1), 0) / max(count - 1, 1)) / powers
    return [np.where(span == 0, mean, weighted), *found, jitter]


def _largest(table: Ints) -> Floats:
    """Find the greatest magnitude in each row of (C, n)."""
    return np.abs(table.astype(np.float64)).max(axis=1)  # type: ignore[no-any-return]
