"""What a channel was, seen from the end of a batch: a fixed-interval smoother over level and slope. Pure.

Rauch, Tung, Striebel: Maximum likelihood estimates of linear dynamic systems, AIAA Journal 3 (1965) 1445. A batch waits
until it is sealed anyway, so what came after a reading may as well speak for it.

A true step is no part of the model: where a reading is far off what leads to it, the course is cut, and each side is
smoothed by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.filters.estimates import Model

_S_PER_NS: Final = 1e-9
# Further from the prediction than so many standard deviations, squared: a step.
_CUT_SQUARED: Final = 4.0**2


class _Belief(NamedTuple):
    """Level, slope, and their covariance."""

    level: float
    slope: float
    p00: float
    p01: float
    p11: float

    def ahead(self, dt: float, model: Model) -> _Belief:
        """Predict by `dt` seconds."""
        drift = model.slope_per_s * dt
        return _Belief(
            self.level + self.slope * dt,
            self.slope,
            self.p00 + dt * (2.0 * self.p01 + dt * self.p11) + model.level_per_s * dt + drift * dt * dt / 3.0,
            self.p01 + dt * self.p11 + drift * dt / 2.0,
            self.p11 + drift,
        )

    def corrected(self, value: float, noise: float) -> _Belief:
        """Take in one reading."""
        total = self.p00 + noise
        gain, slope_gain, surprise = self.p00 / total, self.p01 / total, value - self.level
        return _Belief(
            self.level + gain * surprise,
            self.slope + slope_gain * surprise,
            gain * noise,
            self.p01 * (1.0 - gain),
            self.p11 - slope_gain * self.p01,
        )

    def looking_back(self, dt: float, predicted: _Belief, later: _Belief) -> _Belief:
        """What this is, given what came of its prediction `dt` seconds on."""
        # Covariance of this with the prediction, times the inverse of the prediction's.
        a, b = self.p00 + dt * self.p01, self.p01
        c, d = self.p01 + dt * self.p11, self.p11
        scale = predicted.p00 * predicted.p11 - predicted.p01 * predicted.p01
        if scale <= 0.0:  # nothing has moved
            return self
        g00 = (a * predicted.p11 - b * predicted.p01) / scale
        g01 = (b * predicted.p00 - a * predicted.p01) / scale
        g10 = (c * predicted.p11 - d * predicted.p01) / scale
        g11 = (d * predicted.p00 - c * predicted.p01) / scale
        level, slope = later.level - predicted.level, later.slope - predicted.slope
        return self._replace(level=self.level + g00 * level + g01 * slope, slope=self.slope + g10 * level + g11 * slope)


def smooth(model: Model, times_ns: Sequence[int], values: Sequence[float | None]) -> list[float | None]:
    """Estimate the level at every moment from all readings before and after it.

    Args:
        model: of the channel.
        times_ns: nanoseconds since boot. A stamp that is not later than the one before counts as the same moment.
        values: measured, canonical unit; None where there is none, or none to be believed.

    Returns:
        One per moment; None before the first reading that has a value. Where there is no noise, what was measured.
    """
    if model.noise <= 0.0:
        return list(values)
    smoothed: list[float | None] = []
    segment: list[tuple[float, _Belief, _Belief]] = []
    before_ns = 0
    for now_ns, value in zip(times_ns, values, strict=True):
        if not segment and value is None:
            smoothed.append(None)
            continue
        dt = max(0, now_ns - before_ns) * _S_PER_NS
        before_ns = max(before_ns, now_ns) if segment else now_ns
        predicted = segment[-1][2].ahead(dt, model) if segment else None
        if predicted is not None and value is not None:
            off = value - predicted.level
            if off * off > _CUT_SQUARED * (predicted.p00 + model.noise):
                smoothed += _backwards(segment)
                segment, predicted, before_ns = [], None, now_ns
        if predicted is None:
            # A first slope may be as steep as noise is in a second.
            start = _Belief(value or 0.0, 0.0, model.noise, 0.0, model.noise)
            segment.append((0.0, start, start))
            continue
        segment.append((dt, predicted, predicted if value is None else predicted.corrected(value, model.noise)))
    return smoothed + _backwards(segment)


def _backwards(segment: Sequence[tuple[float, _Belief, _Belief]]) -> list[float | None]:
    """Levels of a course of (seconds since the one before, predicted, filtered), seen from its end."""
    levels: list[float | None] = []
    later: _Belief | None = None
    following: tuple[float, _Belief] | None = None
    for dt, predicted, filtered in reversed(segment):
        if later is None or following is None:
            later = filtered
        else:
            later = filtered.looking_back(following[0], following[1], later)
        following = dt, predicted
        levels.append(later.level)
    return levels[::-1]
