"""One quantity of one sensor: the state of its stages, and its part of the open batch.

`Channel.take` is the road of a block through the stages, `take_ready` the rest of it for what `block.process_all` has
done already.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import NS_PER_S
from edge_agent.features import describe_column
from edge_agent.pipeline.memory import Remembered
from edge_agent.pipeline.rounding import decimals_of, grid_of, rounded
from edge_agent.reading import NOT_SENT, Flag, Quality, Taken, flags_of, quality_of, status_of
from edge_agent.stages.calibrate import Calibration, calibrate
from edge_agent.stages.filters.auto import Auto
from edge_agent.stages.filters.estimates import Estimates
from edge_agent.stages.filters.smooth import smooth
from edge_agent.stages.reduce import ReduceSettings
from edge_agent.stages.validate import Limits, Validator
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.encode import encode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.pipeline.findings import Watch
    from edge_agent.stages.anomalies.detector import AnomalySettings
    from edge_agent.stages.derive import Derived
    from edge_agent.stages.filters.auto import AutoSettings, Odd
    from edge_agent.stages.filters.kalman import KalmanSettings
    from edge_agent.stages.filters.median import MedianSettings
    from edge_agent.wire.floats import Decimals

_NO_FLAG: Final = Flag(0)
_REFUSED: Final = frozenset({Quality.BAD, Quality.ESTIMATED})
_LEAD: Final = 32
"""Readings of the batch before from which the smoother begins, so that it knows where it comes from."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """How one quantity of one sensor is treated; numbers in its canonical unit.

    Attributes:
        quantity: which.
        limits: outside, a measured value is bad; faster changes than they allow are suspect.
        calibration: measured → true.
        filter: None sends what was measured.
        resolution: values are rounded to a multiple of it; None sends them as they are.
        raw_resolution: the same for measured values, whose steps are the chip's and may be coarser.
        reduce: which readings are not worth sending.
        smoothed: whether the filtered values are seen from the end of the batch when it is sealed.
        send_raw: whether the calibrated measurement travels beside the filtered value.
        send_sigma: whether the standard deviation of the filter's error does.
        derived: how it is computed from other quantities of the sensor; None if it is measured.
        anomaly: how it is watched; None: it is not.
        sibling: the channel that measures the same, as `sensor.quantity`; None if there is none.
    """

    quantity: str
    limits: Limits
    calibration: Calibration = field(default_factory=Calibration)
    filter: AutoSettings | KalmanSettings | MedianSettings | None = None
    resolution: float | None = None
    raw_resolution: float | None = None
    reduce: ReduceSettings = ReduceSettings(0.0, 300 * NS_PER_S)  # noqa: RUF009 it is frozen
    smoothed: bool = False
    send_raw: bool = True
    send_sigma: bool = False
    derived: Derived | None = None
    anomaly: AnomalySettings | None = None
    sibling: str | None = None


@dataclass(slots=True)
class Counts:
    """Readings by what became of them: sampled = good + estimated + suspect + bad; suppressed ones are among them."""

    sampled: int = 0
    good: int = 0
    estimated: int = 0
    suspect: int = 0
    bad: int = 0
    suppressed: int = 0
    dropped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """By flag, how many readings bear it; one may bear several."""

    def add(self, statuses: Sequence[int], good: int) -> None:
        """Count a block, of which `good` readings are known to be good."""
        self.sampled += len(statuses)
        self.good += good
        if good < len(statuses):  # which is rare
            qualities = [quality_of(status) for status in statuses]
            self.estimated += qualities.count(Quality.ESTIMATED)
            self.suspect += qualities.count(Quality.SUSPECT)
            self.bad += qualities.count(Quality.BAD)
            for status in statuses:
                for flag in flags_of(status) if status else ():
                    name = str(flag.name).lower()
                    self.reasons[name] = self.reasons.get(name, 0) + 1


class Ready(NamedTuple):
    """What was found beforehand of a block of one channel that has nothing odd about it, canonical unit.

    Attributes:
        last: the latest reading, as measured.
        raws: calibrated.
        shown_raws: the same, rounded.
        values: filtered and rounded; only the first `done` are.
        innovations: of as many; see `Estimates`.
        done: readings that are filtered.
        decimals: what is shown once more, for the encoder; None: not known.
        end, odd: where that leads the filter to, see `Auto.arrive`; empty: nowhere.
        sigmas: gives standard deviations, as far as they are known.
    """

    last: float
    raws: list[float | None]
    shown_raws: list[float | None]
    values: list[float | None]
    innovations: list[float | None]
    done: int
    decimals: Decimals | None = None
    end: Sequence[float] = ()
    odd: Sequence[Odd] = ()
    sigmas: Callable[[], list[float | None]] = list


class Channel:
    """One quantity of one sensor: the state of its stages, and its part of the open batch."""

    def __init__(self, settings: ChannelSettings, counts: Counts, watch: Watch | None) -> None:
        self.quantity = settings.quantity
        self.derived = settings.derived
        self.last_value: float | None = None
        self.last_status = 0
        self.values: list[float | None] = []
        self.raws: list[float | None] = []
        self.statuses: list[int] = []
        self._sigmas: list[float | None] = []
        self._settings = settings
        self._counts = counts
        self.validator = Validator(settings.limits)
        self.resolution, self.raw_resolution = settings.resolution, settings.raw_resolution
        self.decimals, self.raw_decimals = decimals_of(self.resolution), decimals_of(self.raw_resolution)
        grids = grid_of(self.resolution), grid_of(self.raw_resolution)
        self.grid = (grids[0][0], grids[1][0], grids[0][1], grids[1][1])
        self.line = (settings.calibration.gain, settings.calibration.offset)
        self._filter = settings.filter.build() if settings.filter is not None else None
        self._watch = watch
        self._decimals: Decimals | None = None  # of all of the open batch
        self._sends_sigma = settings.send_sigma and self._filter is not None
        self._reducer = settings.reduce.build()
        self._lead: deque[tuple[int, float | None]] = deque(maxlen=_LEAD)

    @property
    def auto(self) -> Auto | None:
        """Its filter, if it is automatic."""
        return self._filter if isinstance(self._filter, Auto) else None

    @property
    def is_linear(self) -> bool:
        """Whether it may go together with others: where all is well, all that is done to a reading is linear."""
        return self._settings.calibration.is_line and (self._filter is None or self.auto is not None)

    def judge(
        self, times_ns: Sequence[int], measured: Sequence[float | None], odd: Sequence[Flag] | None
    ) -> tuple[list[Flag], list[float | None]]:
        """Validate and calibrate a block; `odd` is what was seen at the chip. Returns flags and true values."""
        flags = self.validator.run(times_ns, measured)
        if odd is not None:
            flags = [flag | seen for flag, seen in zip(flags, odd, strict=True)]
        raws = calibrate(self._settings.calibration, measured)
        if flags.count(_NO_FLAG) < len(flags):
            raws = [None if raw is None or not isfinite(raw) else raw for raw in raws]
        return flags, raws

    def take(self, times_ns: Sequence[int], flags: list[Flag], raws: list[float | None]) -> Taken:
        """Filter a block that was judged, and take it into the open batch."""
        estimates = None if self._filter is None else self._filter.run(times_ns, raws, flags)
        values = rounded(raws if estimates is None else estimates.values, self.resolution)
        return self._keep(times_ns, flags, raws, estimates, values, rounded(raws, self.raw_resolution))

    def take_ready(self, times_ns: Sequence[int], ready: Ready, *, seen: bool) -> Taken:
        """Take a block into the open batch as far as it is ready, and filter what is left.

        Args:
            times_ns: stamps.
            ready: of the block.
            seen: whether somebody looks at all that is returned.
        """
        done, rows = ready.done, len(times_ns)
        self.validator.passed(times_ns[-1], ready.last)
        flags = [_NO_FLAG] * rows
        values, estimates = ready.values, None
        if self._filter is not None:
            if isinstance(self._filter, Auto) and done:
                self._filter.arrive(times_ns[done - 1], ready.end, ready.odd)
            sigmas: list[float | None] = [None] * done
            if seen or self._sends_sigma:
                sigmas = ready.sigmas()[:done]
            estimates = Estimates(values, sigmas, ready.innovations)
            if done < rows:
                odd = flags[done:]
                rest = self._filter.run(times_ns[done:], ready.raws[done:], odd)
                flags[done:] = odd
                values = values[:done] + rounded(rest.values, self.resolution)
                estimates = Estimates(values, sigmas + rest.sigmas, ready.innovations[:done] + rest.innovations)
        decimals = None if self.values else ready.decimals
        taken = self._keep(times_ns, flags, ready.raws, estimates, values, ready.shown_raws)
        self._decimals = decimals
        return taken

    def _keep(
        self,
        times_ns: Sequence[int],
        flags: list[Flag],
        raws: list[float | None],
        estimates: Estimates | None,
        values: list[float | None],
        shown_raws: Sequence[float | None],
    ) -> Taken:
        """Take a block that was filtered and rounded into the open batch."""
        self._decimals = None
        if self._watch is not None:
            self._watch.take(times_ns, raws, flags, estimates)
        good = flags.count(_NO_FLAG)
        statuses = [0] * good if good == len(flags) else [status_of(flag) for flag in flags]
        self._counts.add(statuses, good)
        self.last_value, self.last_status = values[-1], statuses[-1]
        self.values += values
        self.raws += shown_raws
        self.statuses += statuses
        sigmas = [None] * len(values) if estimates is None else estimates.sigmas
        if self._sends_sigma:
            self._sigmas += sigmas
        return Taken(times_ns, raws, values, sigmas, statuses)

    def remembered(self, sensor: str) -> list[Remembered]:
        """What its stages know that a restart should not have to learn again."""
        own = [] if self._watch is None else self._watch.remembered()
        if self._filter is not None:
            own.append(Remembered(f"{sensor}.{self.quantity}", self._filter_stage, self._filter.state()))
        return own

    def restore(self, remembered: Remembered, shift_ns: int) -> None:
        """Go on where an earlier run ended; what belongs to another kind of filter is left alone.

        Raises:
            ValueError: it is no state of the stage that it names.
        """
        if self._settings.filter is not None and remembered.stage == self._filter_stage:
            filter_ = self._settings.filter.build()  # so that a state of which half is good changes nothing
            filter_.restore(tuple(remembered.numbers), shift_ns)
            self._filter = filter_
        elif self._watch is not None:
            self._watch.restore(remembered)

    @property
    def _filter_stage(self) -> str:
        return type(self._filter).__name__.lower()

    def pad(self, rows: int) -> None:
        """Note that the sensor did not measure this quantity."""
        self._decimals = None
        self.values += [None] * rows
        self.raws += [None] * rows
        self.statuses += [NOT_SENT] * rows
        if self._sends_sigma:
            self._sigmas += [None] * rows

    def column(self, first: int, *, describe: bool = False) -> Column:
        """The open batch from row `first` on. All of it is not copied: `clear` leaves it to whoever has it."""
        values, raws, statuses = self.values, self.raws, self.statuses
        if first:
            values, raws, statuses = values[first:], raws[first:], statuses[first:]
        shown = raws if self._settings.send_raw else _evidence(raws, statuses)
        sigmas = self._sigmas[first:] if self._sends_sigma else None
        decimals = self._decimals if not first and self._settings.send_raw else None
        return Column(self.quantity, values, shown, statuses, None, sigmas, describe=describe, decimals=decimals)

    def smooth(self, times_ns: Sequence[int]) -> None:
        """Look at the values of the open batch again from its end, if that is wanted."""
        model = self._filter.model() if self._filter is not None and self._settings.smoothed else None
        if model is None:
            return
        self._decimals = None
        believed = [
            (now_ns, raw if status >= 0 and quality_of(status) not in _REFUSED else None)
            for now_ns, raw, status in zip(times_ns, self.raws, self.statuses, strict=True)
        ]
        moments = [*self._lead, *believed]
        stamps, readings = zip(*moments, strict=True)
        smoothed = rounded(smooth(model, stamps, readings)[len(self._lead) :], self.resolution)
        self.values = [
            value if other is None or status < 0 or quality_of(status) is Quality.BAD else other
            for value, other, status in zip(self.values, smoothed, self.statuses, strict=True)
        ]
        self._lead.extend(believed)

    def reduced(self, times_ns: Sequence[int], *, describe: bool) -> Column:
        """The whole open batch, without readings that are not worth sending, if that makes it smaller.

        Its features_of are of all readings; where all are sent, the encoder is asked for them.
        """
        whole = self.column(0, describe=describe)
        if self._reducer is None:
            return whole
        rows = [row for row, status in enumerate(self.statuses) if status != NOT_SENT]
        kept = self._reducer.run(
            [times_ns[row] for row in rows],
            [self.values[row] for row in rows],
            [self.statuses[row] for row in rows],
        )
        suppressed = kept.count(False)
        if not suppressed:
            return whole
        statuses = list(self.statuses)
        for row, keep in zip(rows, kept, strict=True):
            if not keep:
                statuses[row] = NOT_SENT
        window = describe_column(times_ns, self.values, self.statuses) if describe else None
        thinned = replace(whole, statuses=statuses, features=window, describe=False, decimals=None)
        # What is left out costs bits as well: where it was.
        if _size(times_ns, thinned) >= _size(times_ns, whole):
            return whole
        self._counts.suppressed += suppressed
        return thinned

    def clear(self) -> None:
        """Begin a new batch."""
        self.values, self.raws, self.statuses, self._sigmas = [], [], [], []
        self._decimals = None


def _evidence(raws: Sequence[float | None], statuses: Sequence[int]) -> list[float | None] | None:
    """Of each run of refused readings, the first and the last as they were measured; None if there is none."""
    refused = [status > 0 and quality_of(status) in _REFUSED for status in statuses]
    if True not in refused:
        return None
    edges = zip([False, *refused[:-1]], refused, [*refused[1:], False], strict=True)
    shown = [here and not (before and after) for before, here, after in edges]
    return [raw if show else None for raw, show in zip(raws, shown, strict=True)]


def _size(times_ns: Sequence[int], column: Column) -> int:
    """Bytes that a column takes in a message, with what is the same whichever it is."""
    return len(encode_batch(Batch((Group("", times_ns, (column,)),))))
