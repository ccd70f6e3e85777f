"""Calibration of measured values: by gain and offset, by a polynomial, or by a polyline through points. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Calibration:
    """Correction of one channel.

    Attributes:
        offset: canonical unit; added after the gain.
        gain: dimensionless: true = gain · raw + offset.
        points: (raw, true) pairs, canonical unit, raw strictly ascending, at least two; linear between neighbours, and
            beyond the ends by the line of the end segment. If not empty, the only correction.
        polynomial: coefficients, the constant one first: true = c0 + c1 · raw + c2 · raw² + …. If not empty, used
            instead of gain and offset.

    Raises:
        ValueError: there is only one point, or the raw values do not ascend.
    """

    offset: float = 0.0
    gain: float = 1.0
    points: tuple[tuple[float, float], ...] = ()
    polynomial: tuple[float, ...] = ()

    @property
    def is_line(self) -> bool:
        """Whether the correction consists of gain and offset only."""
        return not self.points and not self.polynomial

    def __post_init__(self) -> None:
        if len(self.points) == 1:
            raise ValueError("one calibration point is an offset; write it as offset, or give two points")
        if any(later[0] <= earlier[0] for earlier, later in zip(self.points, self.points[1:], strict=False)):
            raise ValueError("calibration points must ascend in their raw values")


def calibrate(calibration: Calibration, values: Sequence[float | None]) -> list[float | None]:
    """Correct a block of values, canonical unit. None stays None. Stateless."""
    if calibration.points:
        return _follow_points(calibration.points, values)
    if calibration.polynomial:
        return [None if value is None else _evaluate(calibration.polynomial, value) for value in values]
    offset, gain = calibration.offset, calibration.gain
    if offset == 0.0 and gain == 1.0:
        return list(values)
    return [None if value is None else gain * value + offset for value in values]


def _evaluate(polynomial: tuple[float, ...], value: float) -> float:
    """Evaluate a polynomial by Horner's rule."""
    total = 0.0
    for coefficient in reversed(polynomial):
        total = total * value + coefficient
    return total


def _follow_points(points: tuple[tuple[float, float], ...], values: Sequence[float | None]) -> list[float | None]:
    inner = [raw for raw, _ in points[1:-1]]
    corrected: list[float | None] = []
    for value in values:
        if value is None:
            corrected.append(None)
            continue
        segment = bisect_right(inner, value)
        (raw_low, true_low), (raw_high, true_high) = points[segment], points[segment + 1]
        corrected.append(true_low + (value - raw_low) * (true_high - true_low) / (raw_high - raw_low))
    return corrected
