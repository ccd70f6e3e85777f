"""What a window of readings was like: mean, spread, extremes, slope. Pure, keeps no state.

The first value is subtracted before anything is squared, so 0.1 Pa of noise on 100 000 Pa keeps its digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.reading import NOT_SENT, Features, Quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def features(
    times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int] | None = None
) -> Features | None:
    """Describe one channel over a window.

    Args:
        times_ns: nanoseconds since boot; need not be even, nor ascend.
        values: canonical unit; None where there is no number.
        statuses: see `reading.status_of`; readings that are bad or absent are left out. None: all are good.

    Returns:
        None if no reading is left.
    """
    if statuses is None:
        used = [pair for pair in zip(times_ns, values, strict=True) if pair[1] is not None]
    else:
        used = [
            (now_ns, value)
            for now_ns, value, status in zip(times_ns, values, statuses, strict=True)
            if value is not None and status != NOT_SENT and status & 3 != Quality.BAD
        ]
    if not used:
        return None
    stamps = [now_ns for now_ns, _ in used]
    return features_table(stamps, np.array([value for _, value in used], dtype=np.float64)[:, None])[0]


def features_table(times_ns: ArrayLike, table: ArrayLike) -> list[Features]:
    """Describe many channels that miss no value.

    Args:
        times_ns: nanoseconds since boot, int64, (rows,) if the channels share them, else (rows, channels); rows ≥ 1.
        table: (rows, channels), each in its canonical unit, finite.

    Returns:
        One per channel.
    """
    values: NDArray[np.float64] = np.asarray(table, dtype=np.float64)
    stamps: NDArray[np.int64] = np.asarray(times_ns, dtype=np.int64).reshape(len(values), -1)
    count = len(values)
    first = values[0]
    shifted = values - first
    mean = shifted.sum(axis=0) / count
    centred = shifted - mean
    std = np.sqrt((centred * centred).sum(axis=0) / count)
    # Integers are subtracted before they become floats: floats of nanoseconds since boot lose digits.
    since_s = (stamps - stamps[0]) / NS_PER_S
    since_s -= since_s.sum(axis=0) / count
    spread = (since_s * since_s).sum(axis=0)
    # Where time stands still there is no slope.
    slope = (since_s * centred).sum(axis=0) / np.where(spread > 0.0, spread, np.inf)
    described = zip(
        (first + mean).tolist(),
        std.tolist(),
        values.min(axis=0).tolist(),
        values.max(axis=0).tolist(),
        slope.tolist(),
        strict=True,
    )
    return [Features(count, *numbers) for numbers in described]
