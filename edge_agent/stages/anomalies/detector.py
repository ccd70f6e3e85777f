"""What is odd about one channel, with nothing to set: everything is measured against the channel's own history. Pure.

`surprise` (spikes and jumps) looks at each reading, `lasting` (flat lines, noise, gaps) at each minute's worth of 60,
`level` at five minutes; `findings` says what each kind means. A glance at the largest surprise is all that a minute of
ordinary readings takes.

Scores are -log10 of probabilities, so one threshold serves all kinds. Memory is constant: some 350 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import sub
from typing import TYPE_CHECKING, Final

from edge_agent.reading import Flag
from edge_agent.stages.anomalies import level, surprise
from edge_agent.stages.anomalies.anomaly import AnomalyKind
from edge_agent.stages.anomalies.classic import Classic
from edge_agent.stages.anomalies.lasting import Flatline, Noise, Pace
from edge_agent.stages.anomalies.level import Level
from edge_agent.stages.anomalies.surprise import Surprise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.stages.anomalies.anomaly import Anomaly
    from edge_agent.stages.filters.estimates import Estimates

THRESHOLD: Final = 5.0
_NO_FLAG: Final = Flag(0)
_UNUSED: Final = Flag.NO_VALUE | Flag.OUT_OF_RANGE
# Readings that are learned from at a time: a minute at 1 Hz, and as many as a batch has, so that few blocks are cut.
_MINUTE: Final = 60
# Readings from which the grain of a chip is learned, where nobody knows it.
_GRAIN_READINGS: Final = 240
_OWN: Final = 6
_FIXED: Final = _OWN + surprise.STATE_SIZE + level.STATE_SIZE + Flatline.STATE_SIZE + Noise.STATE_SIZE + Pace.STATE_SIZE


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """What is known of a channel before its first reading. Nothing need be.

    Attributes:
        threshold: score from which an anomaly is told, > 0; each more makes false alarms ten times rarer.
        resolution: smallest difference that the chip tells, canonical unit.
        z_score, jump_per_s: limits of the classic rules; None: a rule is not looked at. See `Classic`.
    """

    threshold: float = THRESHOLD
    resolution: float | None = None
    z_score: float | None = None
    jump_per_s: float | None = None

    def build(self) -> Detector:
        """A detector that has seen nothing yet."""
        return Detector(self)


class Detector:
    """Finds what is odd about one channel."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._surprise = Surprise(settings.threshold)
        self._level = Level(settings.threshold)
        self._flatline = Flatline(settings.threshold)
        self._noise = Noise(settings.threshold)
        self._pace = Pace(settings.threshold)
        self._classic: Classic | None = None
        if settings.z_score is not None or settings.jump_per_s is not None:
            self._classic = Classic(settings.z_score, settings.jump_per_s, settings.resolution or 0.0)
        self._minute: list[float] = []  # surprises of this one
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
        """Look at a block.

        Args:
            times_ns: nanoseconds since boot. Where they run back by more than a minute, another boot began: what was
                learned stays, but the hour of the day is not known any more.
            values: calibrated, canonical unit, not filtered; finite unless flagged NO_VALUE.
            flags: as validator and filter left them, one per reading.
            estimates: the filter's, of the same readings; None, or without innovations: a reading is expected to be
                as the one before.

        Returns:
            What was found, each rule's in order; at most a few in a minute.
        """
        usable = _usable(values, flags)
        if usable is None:
            measured: list[float] = values  # type: ignore[assignment]  # all have a value
            innovations = estimates.innovations if estimates is not None else None
        else:
            if not usable:
                return []
            times_ns = [times_ns[row] for row in usable]
            measured = [value for value in (values[row] for row in usable) if value is not None]
            innovations = [estimates.innovations[row] for row in usable] if estimates is not None else None
        if not self._started:
            self._started, self._last = True, measured[0]
            self._pace.begin(times_ns[0])
        elif self._pace.is_other_boot(times_ns[0]):
            self._begin_anew(times_ns[0])
        if innovations is None or innovations[0] is None:
            surprises = list(map(sub, measured, [self._last, *measured[:-1]]))
        else:
            surprises = innovations  # a filter estimates every usable reading or none
        if self._to_learn_grain:
            self._learn_grain(measured)
        self._last = measured[-1]
        found = self._run(times_ns, measured, surprises)
        if self._classic is not None:
            found += self._classic.run(times_ns, measured)
        return found

    def _run(self, times_ns: Sequence[int], values: Sequence[float], surprises: list[float]) -> list[Anomaly]:
        """Cut a block at long steps and at the end of each minute."""
        gap = self._pace.long_step(times_ns)
        if gap is None and len(times_ns) <= _MINUTE - len(self._minute):
            return self._piece(times_ns, values, surprises)
        found: list[Anomaly] = []
        at, rows = 0, len(times_ns)
        while at < rows:
            if gap == at:
                anomaly = self._pace.note_long_step(times_ns[at])
                if anomaly is not None:
                    found.append(anomaly)
                self._surprise.note_gap()
                end = at + 1
            else:
                end = min(rows if gap is None else gap, at + _MINUTE - len(self._minute))
            found += self._piece(times_ns[at:end], values[at:end], surprises[at:end])
            at = end
            # What is long may have been learned anew.
            gap = self._pace.long_step(times_ns[at:]) if at < rows else None
            gap = None if gap is None else gap + at
        return found

    def _piece(self, times_ns: Sequence[int], values: Sequence[float], surprises: list[float]) -> list[Anomaly]:
        """Look at readings, all of one minute and without a long step."""
        found = self._surprise.run(times_ns, values, surprises)
        if found and self._noise.since_ns >= 0:  # the noise was told of, and what it does is no news
            found = [each for each in found if each.kind is not AnomalyKind.SURPRISE]
        anomaly = self._flatline.run(times_ns, values)
        if anomaly is not None:
            found.append(anomaly)
        pace = self._pace
        found += self._level.run(times_ns, values, pace.step_ns)
        pace.last_ns = times_ns[-1]
        minute = self._minute
        minute += surprises
        if len(minute) == _MINUTE:
            now_ns = times_ns[-1]
            start_ns = pace.close(_MINUTE)
            energy = self._surprise.close(_MINUTE, self._grain)
            for each in (self._noise.close(start_ns, now_ns, energy, minute), self._flatline.close(now_ns)):
                if each is not None:
                    found.append(each)
            self._minute = []
        return found

    def _learn_grain(self, values: Sequence[float]) -> None:
        """Learn the smallest change of the first readings."""
        first = values[: self._to_learn_grain]
        changes = [abs(later - before) for before, later in zip([self._last, *first], first, strict=False)]
        least = min((change for change in changes if change > 0.0), default=0.0)
        if least and (not self._grain or least < self._grain):
            self._grain = least
        self._to_learn_grain -= len(first)

    def _begin_anew(self, now_ns: int) -> None:
        """Go on in another boot."""
        self._pace.begin(now_ns)
        self._surprise.forget()
        self._level.begin_anew(now_ns)
        self._minute = []

    def state(self) -> tuple[float, ...]:
        """Everything that `restore` needs to go on as if nothing had happened: finite numbers, the stamps whole."""
        return (
            *(_FIXED, float(self._started), self._last, self._grain, self._to_learn_grain, len(self._minute)),
            *(*self._surprise.state(), *self._level.state(), *self._flatline.state(), *self._noise.state()),
            *(*self._pace.state(), *self._minute, *(() if self._classic is None else self._classic.state())),
        )

    def restore(self, state: Sequence[float]) -> None:
        """Take over what a detector of the same settings remembered.

        Raises:
            ValueError: the state is none of a detector's.
        """
        if (
            len(state) < _FIXED
            or state[0] != _FIXED
            or (self._classic is None and len(state) != _FIXED + int(state[5]))
        ):
            raise ValueError(f"{len(state)} numbers are no state of an anomaly detector")
        _, started, self._last, self._grain, to_learn, minute = state[:_OWN]
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
        self._minute = list(state[at : at + int(minute)])
        if self._classic is not None:
            self._classic.restore(state[at + int(minute) :])


def _usable(values: Sequence[float | None], flags: Sequence[Flag]) -> list[int] | None:
    """Rows that have a value which is not bad; None for all of them."""
    if flags.count(_NO_FLAG) == len(flags):
        return None
    rows = [
        row
        for row, (value, flag) in enumerate(zip(values, flags, strict=True))
        if value is not None and not flag & _UNUSED
    ]
    return None if len(rows) == len(values) else rows
