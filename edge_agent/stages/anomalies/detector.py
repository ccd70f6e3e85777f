"""Anomaly detector of one channel without settings: compares every reading with the history of the channel. Pure.

`Detector.run` takes readings one by one, so the size of a block has no effect on results or state. It tests for each:
does its stamp follow at the usual step (`Pace`), is it far from the prediction of the filter (`Surprise`), does the
channel repeat one value (`Flatline`), has its mean of five minutes moved (`Level`)? Statistics of more than one reading
are updated after every `PERIOD` of 60 readings, a minute at 1 Hz: noise, step, usual size of surprises.

Scores are -log10 of probabilities, so one threshold serves all kinds. The state is about 350 numbers at any rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.reading import Flag
from edge_agent.stages.anomalies import level, surprise
from edge_agent.stages.anomalies.anomaly import AnomalyKind
from edge_agent.stages.anomalies.classic import Classic
from edge_agent.stages.anomalies.flatline import Flatline
from edge_agent.stages.anomalies.level import Level
from edge_agent.stages.anomalies.noise import Noise
from edge_agent.stages.anomalies.pace import OTHER_BOOT_NS, Pace
from edge_agent.stages.anomalies.surprise import Surprise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.anomalies.anomaly import Anomaly
    from edge_agent.stages.filters.estimates import Estimates

THRESHOLD: Final = 5.0
PERIOD: Final = 60
"""Readings between two updates of noise, step and rarity."""
_UNUSED: Final = Flag.NO_VALUE | Flag.OUT_OF_RANGE
# Readings from which the smallest change of a chip is learned, if its resolution is not configured.
_GRAIN_READINGS: Final = 240
_OWN: Final = 6
_FIXED: Final = _OWN + surprise.STATE_SIZE + level.STATE_SIZE + Flatline.STATE_SIZE + Noise.STATE_SIZE + Pace.STATE_SIZE


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """Optional prior knowledge of a channel, and limits.

    Attributes:
        threshold: score from which an anomaly is reported, > 0; plus 1 makes false alarms ten times rarer.
        resolution: smallest difference that the chip can report, canonical unit; None: learned.
        z_score, jump_per_s: limits of the classic rules; None: the rule is off. See `Classic`.
    """

    threshold: float = THRESHOLD
    resolution: float | None = None
    z_score: float | None = None
    jump_per_s: float | None = None

    def build(self) -> Detector:
        """Make a detector in its initial state."""
        return Detector(self)


class Detector:
    """Anomaly detector of one channel."""

    __slots__ = (
        "_classic",
        "_flatline",
        "_grain",
        "_last",
        "_level",
        "_noise",
        "_pace",
        "_period",
        "_started",
        "_surprise",
        "_to_learn_grain",
    )

    def __init__(self, settings: AnomalySettings) -> None:
        self._surprise = Surprise(settings.threshold)
        self._level = Level(settings.threshold)
        self._flatline = Flatline(settings.threshold)
        self._noise = Noise(settings.threshold)
        self._pace = Pace(settings.threshold)
        self._classic: Classic | None = None
        if settings.z_score is not None or settings.jump_per_s is not None:
            self._classic = Classic(settings.z_score, settings.jump_per_s, settings.resolution or 0.0)
        self._period: list[float] = []  # surprises since the last update
        self._last = 0.0
        self._started = False
        self._grain = settings.resolution or 0.0
        self._to_learn_grain = 0 if settings.resolution else _GRAIN_READINGS

    def run(
        self,
        times_ns: Sequence[int],
        values: Sequence[float | None],
        flags: Sequence[Flag],
        estimates: Estimates | None,
    ) -> list[Anomaly]:
        """Test a block.

        Args:
            times_ns: nanoseconds since boot. A stamp more than a minute before the last one belongs to another boot:
                the learned state is kept, except for what depends on the hour of the day.
            values: calibrated, canonical unit, not filtered; finite unless flagged NO_VALUE.
            flags: one per reading, as validator and filter left them.
            estimates: of the filter, for the same readings; without them, or without an innovation, the prediction is
                the reading before.

        Returns:
            Findings, in the order of the readings.
        """
        found: list[Anomaly] = []
        pace, spikes, flat, level, period = self._pace, self._surprise, self._flatline, self._level, self._period
        innovations = [None] * len(values) if estimates is None else estimates.innovations
        for now_ns, value, flag, innovation in zip(times_ns, values, flags, innovations):  # noqa: B905 as in the filter
            if value is None or (flag and flag & _UNUSED):
                continue
            if not OTHER_BOOT_NS <= now_ns - pace.last_ns <= pace.longest_ns:
                found += self._handle_step(now_ns, value)
                period = self._period
            pace.last_ns = now_ns
            surprise = value - self._last if innovation is None else innovation
            if self._to_learn_grain:
                self._learn_grain(value)
            self._last = value
            if spikes.watching or abs(surprise) > spikes.limit:
                found += self._test_surprise(now_ns, value, surprise)
            if flat.same and value != flat.value:
                found += flat.moves(now_ns, value)
            if now_ns < level.due_ns:
                level.sum += value
                level.readings += 1
            else:
                found += level.reach(now_ns, value, pace.step_ns)
            period.append(surprise)
            if len(period) == PERIOD:
                found += self._end_period(now_ns)
                period = self._period
            if self._classic is not None:
                found += self._classic.take(now_ns, value)
        return found

    def _handle_step(self, now_ns: int, value: float) -> list[Anomaly]:
        """Handle a stamp that does not follow at the usual step: the first reading, another boot, or a gap."""
        if not self._started:
            self._started, self._last = True, value
            self._pace.begin(now_ns)
        elif now_ns - self._pace.last_ns < OTHER_BOOT_NS:
            self._pace.begin(now_ns)
            self._surprise.forget()
            self._level.start_boot(now_ns)
            self._period = []
        else:
            self._surprise.note_gap()
            return self._pace.note_long_step(now_ns)
        return []

    def _test_surprise(self, now_ns: int, value: float, surprise: float) -> list[Anomaly]:
        """Test a surprise, or a reading after one. During a reported noise burst, spikes are not reported."""
        found = self._surprise.look(now_ns, value, surprise)
        if self._noise.lasts:
            return [anomaly for anomaly in found if anomaly.kind is not AnomalyKind.SURPRISE]
        return found

    def _end_period(self, now_ns: int) -> list[Anomaly]:
        """Update all statistics with the last PERIOD readings."""
        period, self._period = self._period, []
        start_ns = self._pace.close(len(period))
        energy = self._surprise.close(period, self._grain)
        self._level.plan(self._pace.step_ns)
        return [*self._noise.close(start_ns, now_ns, energy, period), *self._flatline.close(now_ns)]

    def _learn_grain(self, value: float) -> None:
        """Update the smallest change of the first readings."""
        change = abs(value - self._last)
        if change and (not self._grain or change < self._grain):
            self._grain = change
        self._to_learn_grain -= 1

    def state(self) -> tuple[float, ...]:
        """Complete state for `restore`: finite numbers; stamps are integers."""
        return (
            *(_FIXED, float(self._started), self._last, self._grain, self._to_learn_grain, len(self._period)),
            *(*self._surprise.state(), *self._level.state(), *self._flatline.state(), *self._noise.state()),
            *(*self._pace.state(), *self._period, *(() if self._classic is None else self._classic.state())),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Restore the state of a detector with the same settings.

        Raises:
            ValueError: it is no state of such a detector.
        """
        if (
            len(state) < _FIXED
            or state[0] != _FIXED
            or (self._classic is None and len(state) != _FIXED + int(state[5]))
        ):
            raise ValueError(f"{len(state)} numbers are no state of an anomaly detector")
        _, started, self._last, self._grain, to_learn, period = state[:_OWN]
        self._started, self._to_learn_grain = bool(started), int(to_learn)
        at = _OWN
        for part, size in (
            (self._surprise, surprise.STATE_SIZE),
            (self._level, level.STATE_SIZE),
            (self._flatline, Flatline.STATE_SIZE),
            (self._noise, Noise.STATE_SIZE),
            (self._pace, Pace.STATE_SIZE),
        ):
            part.restore(state[at : at + size])
            at += size
        self._period = list(state[at : at + int(period)])
        self._level.plan(self._pace.step_ns)
        if self._classic is not None:
            self._classic.restore(state[at + int(period) :])
