"""Fixed-interval smoother of level and slope over a whole batch. Pure.

Rauch, Tung, Striebel: Maximum likelihood estimates of linear dynamic systems, AIAA Journal 3 (1965) 1445. A batch waits
until it is sealed, so later readings of it can improve earlier estimates without additional delay.

The model contains no steps: where a reading is far from its prediction, the series is cut, and both parts are smoothed
separately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.filters.estimates import Model

_S_PER_NS: Final = 1e-9
# A reading is a step beyond this many standard deviations from the prediction, squared.
_CUT_SQUARED: Final = 4.0**2


class _State(NamedTuple):
    """Level, slope and their covariance."""

    level: float
    slope: float
    p00: float
    p01: float
    p11: float

    def ahead(self, dt: float, model: Model) -> _State:
        """Predict by `dt` seconds."""
        drift = model.slope_per_s * dt
        return _State(
            self.level + self.slope * dt,
            self.slope,
            self.p00 + dt * (2.0 * self.p01 + dt * self.p11) + model.level_per_s * dt + drift * dt * dt / 3.0,
            self.p01 + dt * self.p11 + drift * dt / 2.0,
            self.p11 + drift,
        )

    def corrected(self, value: float, noise: float) -> _State:
        """Correct the state by one reading with the variance `noise`."""
        total = self.p00 + noise
        gain, slope_gain, surprise = self.p00 / total, self.p01 / total, value - self.level
        return _State(
            self.level + gain * surprise,
            self.slope + slope_gain * surprise,
            gain * noise,
            self.p01 * (1.0 - gain),
            self.p11 - slope_gain * self.p01,
        )

    def smoothed_by(self, dt: float, predicted: _State, later: _State) -> _State:
        """Smooth this state, given its prediction `dt` seconds later and the smoothed state at that time."""
        # Gain: covariance of this state with the prediction, times the inverse of the prediction's covariance.
        a, b = self.p00 + dt * self.p01, self.p01
        c, d = self.p01 + dt * self.p11, self.p11
        scale = predicted.p00 * predicted.p11 - predicted.p01 * predicted.p01
        if scale <= 0.0:  # singular: no time has passed
            return self
        g00 = (a * predicted.p11 - b * predicted.p01) / scale
        g01 = (b * predicted.p00 - a * predicted.p01) / scale
        g10 = (c * predicted.p11 - d * predicted.p01) / scale
        g11 = (d * predicted.p00 - c * predicted.p01) / scale
        level, slope = later.level - predicted.level, later.slope - predicted.slope
        return self._replace(level=self.level + g00 * level + g01 * slope, slope=self.slope + g10 * level + g11 * slope)


def smooth(model: Model, times_ns: Sequence[int], values: Sequence[float | None]) -> list[float | None]:
    """Estimate the level at every stamp from all readings before and after it.

    Args:
        model: noise model of the channel.
        times_ns: nanoseconds since boot. A stamp that is not later than the one before counts as the same moment.
        values: measured, canonical unit; None where there is no usable value.

    Returns:
        One level per stamp, canonical unit; None before the first value. The values themselves if the noise is 0.
    """
    if model.noise <= 0.0:
        return list(values)
    smoothed: list[float | None] = []
    segment: list[tuple[float, _State, _State]] = []
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
            # Variance of the first slope: the noise of a reading per second.
            start = _State(value or 0.0, 0.0, model.noise, 0.0, model.noise)
            segment.append((0.0, start, start))
            continue
        segment.append((dt, predicted, predicted if value is None else predicted.corrected(value, model.noise)))
    return smoothed + _backwards(segment)


def _backwards(segment: Sequence[tuple[float, _State, _State]]) -> list[float | None]:
    """Smoothed levels of a segment of (seconds since the entry before, predicted state, filtered state)."""
    levels: list[float | None] = []
    later: _State | None = None
    following: tuple[float, _State] | None = None
    for dt, predicted, filtered in reversed(segment):
        if later is None or following is None:
            later = filtered
        else:
            later = filtered.smoothed_by(following[0], following[1], later)
        following = dt, predicted
        levels.append(later.level)
    return levels[::-1]
