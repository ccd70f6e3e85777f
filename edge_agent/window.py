"""What a window of readings was like, in floats: for whoever has no integers. Pure, keeps no state.

The first value is subtracted before anything is squared, and sums are exact (`math.fsum`), so 0.1 Pa of noise on
100 000 Pa keeps its digits.
"""

from __future__ import annotations

from itertools import pairwise
from math import fsum, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

PERCENT: Final = 100


def describe(times_ns: Sequence[int], values: Sequence[float], share_good: float) -> Features:
    """Describe readings that all count.

    Args:
        times_ns: nanoseconds since boot; need not be even, nor ascend.
        values: as many, at least one; canonical unit, magnitude below 1e140.
        share_good: 0..1.
    """
    count, first = len(values), values[0]
    rises = [value - first for value in values]
    # Integers are subtracted before they become floats: floats of nanoseconds since boot lose digits.
    start_ns = min(times_ns)
    ages_s = [(now_ns - start_ns) / NS_PER_S for now_ns in times_ns]
    mean = fsum(rises) / count
    centred = [rise - mean for rise in rises]
    middle_s = fsum(ages_s) / count
    spread = fsum([(age - middle_s) ** 2 for age in ages_s])
    # Where time stands still there is no slope.
    slope = (
        fsum([(age - middle_s) * rise for age, rise in zip(ages_s, centred, strict=True)]) / spread if spread else 0.0
    )
    in_time = sorted(zip(ages_s, rises, strict=True), key=_age)
    span_s = in_time[-1][0]
    area = fsum([(later - age) * (rise + following) for (age, rise), (later, following) in pairwise(in_time)])
    steps = fsum([(following - rise) ** 2 for (_, rise), (_, following) in pairwise(in_time)])
    ranked = sorted(rises)
    return Features(
        count,
        first + mean,
        sqrt(fsum([rise * rise for rise in centred]) / count),
        min(values),
        max(values),
        slope,
        first + (area / (2 * span_s) if span_s else mean),
        first + _percentile(ranked, 50),
        first + _percentile(ranked, 5),
        first + _percentile(ranked, 95),
        sqrt(steps / (count - 1)) if count > 1 else 0.0,
        share_good,
    )


def _age(point: tuple[float, float]) -> float:
    return point[0]


def place_of(percent: int, count: int) -> tuple[int, int, int]:
    """Find where a percentile is among `count` ordered numbers: between which two, and how many hundredths beyond."""
    low, hundredths = divmod((count - 1) * percent, PERCENT)
    return low, min(low + 1, count - 1), hundredths


def _percentile(ranked: Sequence[float], percent: int) -> float:
    low, high, hundredths = place_of(percent, len(ranked))
    return ranked[low] + (ranked[high] - ranked[low]) * hundredths / PERCENT
