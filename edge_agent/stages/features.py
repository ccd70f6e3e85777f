"""What a window of readings was like: mean, spread, extremes, percentiles, slope. Pure, keeps no state.

Whoever wants a sliding window hands in the last readings each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.reading import NOT_SENT, Quality
from edge_agent.window import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Features


def features(
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
