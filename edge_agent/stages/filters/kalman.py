"""Kalman filter of level and slope for one channel, with a gate against outliers. Pure.

Model: white acceleration; over a gap of dt seconds the covariance grows by
q·[[dt³/3, dt²/2], [dt²/2, dt]] with q = drift_per_s² (Bar-Shalom, Li, Kirubarajan: Estimation with
Applications to Tracking and Navigation, 2001, §6.2.2). A reading further than `gate` standard deviations from
the prediction is refused.

Refused readings that agree with each other become the new level, so the filter always follows a true step. The state
before them is kept for some time: if two spikes in a row were taken for a step, it is restored at the next reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, sqrt
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from edge_agent.reading import Flag
from edge_agent.stages.filters.estimates import Estimates, Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.filters.estimates import FilterState

_S_PER_NS: Final = 1e-9
_NO_VALUE: Final = Flag.NO_VALUE
_UNUSED: Final = Flag.NO_VALUE | Flag.OUT_OF_RANGE
_OUTLIER: Final = Flag.OUTLIER
# Variance of the first slope: as much as the model adds in this time.
_FIRST_SLOPE_S: Final = 3600.0
# Restart when the standard deviation of the prediction is more than this many times that of one reading.
_RESTART_SIGMAS: Final = 100.0
# The state before a re-acquisition is used until its variance is more than this many times that of one reading.
_FORMER_WORTH: Final = 4.0


@dataclass(frozen=True, slots=True)
class KalmanSettings:
    """Model of one channel.

    Attributes:
        sigma: noise of one reading (standard deviation), canonical unit, > 0.
        drift_per_s: change of the slope in one second (standard deviation), canonical unit per second per
            sqrt(second), ≥ 0; see `Quantity`.
        gate: a reading further from the prediction than this many standard deviations is an outlier.
        reacquire_after: number of consecutive outliers, agreeing with each other, that make a new level; ≥ 1.
    """

    stage: ClassVar = "kalman"
    """Name under which the state is saved. Public: if it changes, saved states are lost."""

    sigma: float
    drift_per_s: float
    gate: float = 5.0
    reacquire_after: int = 2

    def build(self) -> Kalman:
        """Make a filter in its initial state."""
        return Kalman(self)


class _State(NamedTuple):
    """Level, slope and their covariance at one time."""

    at_ns: int
    level: float
    slope: float
    p00: float
    p01: float
    p11: float

    def ahead(self, now_ns: int, drift: float) -> _State:
        """Predict the state at `now_ns`; at `at_ns` if that is later."""
        dt = max(0, now_ns - self.at_ns) * _S_PER_NS
        return _State(
            max(now_ns, self.at_ns),
            self.level + self.slope * dt,
            self.slope,
            self.p00 + dt * (2.0 * self.p01 + dt * self.p11) + drift * dt * dt * dt / 3.0,
            self.p01 + dt * self.p11 + drift * dt * dt / 2.0,
            self.p11 + drift * dt,
        )

    def corrected(self, value: float, noise: float) -> _State:
        """Correct the state by one reading with the variance `noise`."""
        total = self.p00 + noise
        gain, slope_gain = self.p00 / total, self.p01 / total
        surprise = value - self.level
        return _State(
            self.at_ns,
            self.level + gain * surprise,
            self.slope + slope_gain * surprise,
            gain * noise,
            self.p01 - gain * self.p01,
            self.p11 - slope_gain * self.p01,
        )


class Kalman:
    """Filter of one channel."""

    __slots__ = (
        "_drift",
        "_former",
        "_gate_squared",
        "_noise",
        "_outliers",
        "_reacquire_after",
        "_restart_variance",
        "_state",
    )

    def __init__(self, settings: KalmanSettings) -> None:
        self._noise = settings.sigma * settings.sigma
        self._drift = settings.drift_per_s * settings.drift_per_s
        self._gate_squared = settings.gate * settings.gate
        self._reacquire_after = settings.reacquire_after
        self._restart_variance = self._noise * _RESTART_SIGMAS * _RESTART_SIGMAS
        self._state: _State | None = None
        self._outliers: list[float] = []
        self._former: _State | None = None

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], flags: list[Flag]) -> Estimates:
        """See `Filter.run`."""
        result = Estimates([], [], [])
        for row, (now_ns, value, flag) in enumerate(zip(times_ns, values, flags, strict=True)):
            if value is None or (flag and flag & _UNUSED):
                result.add(None if flag & _NO_VALUE else value)
            elif self._take(now_ns, value, result):
                flags[row] = flag | _OUTLIER
        return result

    def _take(self, now_ns: int, value: float, result: Estimates) -> bool:
        """Estimate one reading. Returns whether it was refused."""
        noise = self._noise
        predicted = self._state.ahead(now_ns, self._drift) if self._state is not None else None
        if predicted is None or predicted.p00 > self._restart_variance:  # first reading, or after a long gap
            self._restart(predicted.at_ns if predicted is not None else now_ns, value)
            result.add(value, sqrt(noise), 0.0)
            return False
        surprise = value - predicted.level
        if surprise * surprise <= self._gate_squared * (predicted.p00 + noise):
            self._outliers.clear()
            self._state = predicted.corrected(value, noise)
            result.add(self._state.level, sqrt(self._state.p00), surprise)
            return False
        accepted = self._reconsider(predicted, value)
        self._state = predicted if accepted is None else accepted
        result.add(self._state.level, sqrt(self._state.p00), surprise)
        return accepted is None

    def _restart(self, now_ns: int, value: float) -> None:
        self._state = _State(now_ns, value, 0.0, self._noise, 0.0, self._drift * _FIRST_SLOPE_S)
        self._outliers.clear()
        self._former = None

    def model(self) -> Model:
        """See `Filter.model`."""
        return Model(self._noise, 0.0, self._drift)

    def state(self) -> FilterState:
        """See `Filter.state`."""
        known = [state for state in (self._state, self._former) if state is not None]
        return (len(known), *(number for state in known for number in state), *self._outliers)

    def restore(self, state: FilterState, shift_ns: int = 0) -> None:
        """See `Filter.restore`."""
        count, rest = int(state[0]) if state else -1, state[1:]
        width = len(_State._fields)
        if not 0 <= count <= 2 or len(rest) < count * width:
            raise ValueError(f"{len(state)} numbers are no state of a Kalman filter")
        states = [_State(int(rest[at]) + shift_ns, *rest[at + 1 : at + width]) for at in range(0, count * width, width)]
        self._state = states[0] if count else None
        self._former = states[1] if count > 1 else None
        self._outliers = list(rest[count * width :])

    def _reconsider(self, now: _State, value: float) -> _State | None:
        """Judge a reading outside of the gate: return the state that accepts it, or None to refuse it."""
        outliers, noise = self._outliers, self._noise
        if self._former is not None:
            former = self._former.ahead(now.at_ns, self._drift)
            known = former.p00 <= _FORMER_WORTH * noise
            if known and (value - former.level) ** 2 <= self._gate_squared * (former.p00 + noise):
                self._former = None
                outliers.clear()
                return former.corrected(value, noise)
        agrees = all((value - outlier) ** 2 <= self._gate_squared * 2.0 * noise for outlier in outliers)
        if not agrees:
            outliers.clear()
        outliers.append(value)
        if len(outliers) < self._reacquire_after:
            return None
        count = len(outliers)
        level = fsum(outliers) / count
        outliers.clear()
        self._former = now
        return _State(now.at_ns, level, 0.0, noise / count, 0.0, self._drift * _FIRST_SLOPE_S)
