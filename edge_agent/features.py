"""What a window of readings was like, in floats: for whoever has no integers. Pure, keeps no state.

The first value is subtracted before anything is squared, and sums are exact (`math.fsum`), so 0.1 Pa of noise on
100 000 Pa keeps its digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import fsum, sqrt
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.reading import NOT_SENT, Quality

if TYPE_CHECKING:
    from collections.abc import Sequence

PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Features:
    """What a window of one channel was like, over its readings that have a value and are not bad.

    In the channel's canonical unit where nothing else is said. What has None was not told by whoever described the
    window: senders once knew only what stands before.

    Attributes:
        count: readings that went in.
        mean, std, minimum, maximum: std is of the population.
        slope_per_s: least-squares slope over real time, canonical unit per second; 0 where time stands still.
        time_weighted_mean: integral of the straight lines between successive readings, divided by the time from the
            first to the last; the mean where time stands still.
        median, p05, p95: percentiles; between two readings in rank they are interpolated linearly.
        rms_difference: root of the mean square of the differences between successive readings in the order of time;
            0 for a single one.
        share_good: 0..1, good readings of all that were sampled in the window, with those that did not go in.
    """

    count: int
    mean: float
    std: float
    minimum: float
    maximum: float
    slope_per_s: float
    time_weighted_mean: float | None = None
    median: float | None = None
    p05: float | None = None
    p95: float | None = None
    rms_difference: float | None = None
    share_good: float | None = None

    @property
    def range(self) -> float:
        """Maximum less minimum."""
        return self.maximum - self.minimum

    @property
    def is_full(self) -> bool:
        """Whether all of it was told."""
        told = (self.time_weighted_mean, self.median, self.p05, self.p95, self.rms_difference, self.share_good)
        return None not in told


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


def describe_column(
    times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int] | None = None
) -> Features | None:
    """Describe one channel over a window.

    Args:
        times_ns: nanoseconds since boot; need not be even, nor ascend.
        values: canonical unit, finite; None where there is no number.
        statuses: see `reading.status_of`; readings that are bad or absent are left out. None: all that have a value
            are good.

    Returns:
        None if no reading is left.
    """
    if statuses is None:
        statuses = [Quality.GOOD if value is not None else Quality.BAD for value in values]
    good = sampled = 0
    stamps: list[int] = []
    used: list[float] = []
    for now_ns, value, status in zip(times_ns, values, statuses, strict=True):
        if status == NOT_SENT:
            continue
        sampled += 1
        quality = status & 3
        if value is not None and quality != Quality.BAD:
            good += quality == Quality.GOOD
            stamps.append(now_ns)
            used.append(value)
    return describe(stamps, used, good / sampled) if used else None
