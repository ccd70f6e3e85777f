"""What one sensor has measured since the last batch was sealed. Not for more than one thread at a time.

Measurements wait until somebody wants to see what became of them (a segment or batch is due, or a person looks) and
then go through the stages as one block: a call costs more than the work on one reading. `OpenBatch._process` is
the road that every reading takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from itertools import groupby, islice
from math import isfinite
from operator import attrgetter, or_
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.reading import NOT_SENT, Features, Flag, Measurement, Quality, flags_of, quality_of, status_of
from edge_agent.stages.calibrate import Calibration, calibrate
from edge_agent.stages.deadband import Deadband, DeadbandSettings
from edge_agent.stages.derive import Derived, derive
from edge_agent.stages.features import features, features_table
from edge_agent.stages.validate import Limits, Validator
from edge_agent.wire.batch import Column, Group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_agent.stages.anomaly import AnomalySettings
    from edge_agent.stages.auto import AutoSettings
    from edge_agent.stages.kalman import KalmanSettings
    from edge_agent.stages.median import MedianSettings
    from edge_agent.watch import Watch

_NO_FLAG: Final = Flag(0)
_WHOLE: Final = 1.5 * 2.0**52
"""Adding and subtracting it rounds to whole numbers, half to even as `round`, in a fifth of the time: at this size a
double has no fraction. Holds for magnitudes up to 2**51; beyond, a double is that coarse by itself."""


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
        deadband: which readings are not worth sending.
        send_raw: whether the calibrated measurement travels beside the filtered value.
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
    deadband: DeadbandSettings = DeadbandSettings(0.0, 300 * NS_PER_S)  # noqa: RUF009 it is frozen
    send_raw: bool = True
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


class _Channel:
    """One quantity of one sensor: the state of its stages, and its part of the open batch."""

    def __init__(self, settings: ChannelSettings, counts: Counts, watch: Watch | None) -> None:
        self.quantity = settings.quantity
        self.derived = settings.derived
        self.last_value: float | None = None
        self.last_status = 0
        self.values: list[float | None] = []
        self.raws: list[float | None] = []
        self.statuses: list[int] = []
        self.window: Features | None = None
        self._settings = settings
        self._counts = counts
        self._validator = Validator(settings.limits)
        self._filter = settings.filter.build() if settings.filter is not None else None
        self._watch = watch
        self._deadband = Deadband(settings.deadband)

    def judge(
        self, times_ns: Sequence[int], measured: Sequence[float | None], odd: Sequence[Flag] | None
    ) -> tuple[list[Flag], list[float | None]]:
        """Validate and calibrate a block; `odd` is what was seen at the chip. Returns flags and true values."""
        flags = self._validator.run(times_ns, measured)
        if odd is not None:
            flags = [flag | seen for flag, seen in zip(flags, odd, strict=True)]
        raws = calibrate(self._settings.calibration, measured)
        if flags.count(_NO_FLAG) < len(flags):
            raws = [None if raw is None or not isfinite(raw) else raw for raw in raws]
        return flags, raws

    def take(self, times_ns: Sequence[int], flags: list[Flag], raws: list[float | None]) -> None:
        """Filter a block that was judged, and take it into the open batch."""
        estimates = None if self._filter is None else self._filter.run(times_ns, raws, flags)
        if self._watch is not None:
            self._watch.take(times_ns, raws, flags, estimates)
        filtered = raws if estimates is None else estimates.values
        values = rounded(filtered, self._settings.resolution)
        good = flags.count(_NO_FLAG)
        statuses = [0] * good if good == len(flags) else [status_of(flag) for flag in flags]
        self._counts.add(statuses, good)
        kept = self._deadband.run(times_ns, values, statuses)
        self.last_value, self.last_status = values[-1], statuses[-1]
        self.values += values
        self.raws += rounded(raws, self._settings.raw_resolution)
        self.statuses += self._without_suppressed(statuses, kept)

    def pad(self, rows: int) -> None:
        """Note that the sensor did not measure this quantity."""
        self.values += [None] * rows
        self.raws += [None] * rows
        self.statuses += [NOT_SENT] * rows

    def column(self, first: int) -> Column:
        """The open batch from row `first` on. All of it is not copied: `clear` leaves it to whoever has it."""
        values, raws, statuses = self.values, self.raws, self.statuses
        if first:
            values, raws, statuses = values[first:], raws[first:], statuses[first:]
        return Column(self.quantity, values, raws if self._settings.send_raw else None, statuses, self.window)

    def has_news(self, first: int) -> bool:
        """Whether any reading from row `first` on is worth sending."""
        return any(status != NOT_SENT for status in islice(self.statuses, first, None))

    def clear(self) -> None:
        """Begin a new batch."""
        self.values, self.raws, self.statuses, self.window = [], [], [], None

    def _without_suppressed(self, statuses: list[int], kept: list[bool]) -> list[int]:
        suppressed = kept.count(False)
        if not suppressed:
            return statuses
        self._counts.suppressed += suppressed
        return [status if keep else NOT_SENT for status, keep in zip(statuses, kept, strict=True)]


def rounded(values: Sequence[float | None], resolution: float | None) -> list[float | None]:
    """Round to multiples of the resolution, such that 0.01 gives exactly the doubles that decimals are read as."""
    if resolution is None:
        return list(values)
    if resolution < 1:
        steps = float(round(1 / resolution))
        try:  # None is rare, and asking each value costs more than the arithmetic
            return [(value * steps + _WHOLE - _WHOLE) / steps for value in values]  # type: ignore[operator]
        except TypeError:
            pass
        return [None if value is None else (value * steps + _WHOLE - _WHOLE) / steps for value in values]
    return [None if value is None else (value / resolution + _WHOLE - _WHOLE) * resolution for value in values]


class OpenBatch:
    """The open batch of one sensor: measurements that wait, the times of the others, and a column per channel.

    Args:
        name: id of the sensor.
        settings: of its channels.
        counts: where its readings are counted when they are processed.
        time_step_ns: stamps are rounded down to multiples of it.
        watches: of the channels that are watched, by quantity.
    """

    def __init__(
        self,
        name: str,
        settings: Sequence[ChannelSettings],
        counts: Counts,
        time_step_ns: int,
        watches: Mapping[str, Watch] = MappingProxyType({}),
    ) -> None:
        self.waiting: list[Measurement] = []
        self.channels = {each.quantity: _Channel(each, counts, watches.get(each.quantity)) for each in settings}
        self.width = len(self.channels)
        self._derived = [(each, each.derived) for each in self.channels.values() if each.derived is not None]
        self.times_ns: list[int] = []
        self.in_segments = 0
        self._name = name
        self._time_step_ns = time_step_ns

    def process(self) -> None:
        """Take the measurements that wait through the stages."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for quantities, block in groupby(waiting, attrgetter("quantities")):
                self._process(quantities, list(block))

    def _process(self, quantities: tuple[str, ...], block: list[Measurement]) -> None:
        """Take measurements, all of the same quantities, into the open batch."""
        step_ns = self._time_step_ns
        times_ns = [each.boot_ns // step_ns * step_ns for each in block]
        flags = [each.flags for each in block]
        odd = flags if any(flags) else None
        judged = {
            quantity: self.channels[quantity].judge(times_ns, measured, odd)
            for quantity, measured in zip(quantities, zip(*[each.values for each in block], strict=True), strict=True)
        }
        for channel, derived in self._derived:
            if judged.keys() >= set(derived.inputs):
                inputs = [judged[quantity] for quantity in derived.inputs]
                # What is odd about any of them is odd about what follows from them.
                odd = [reduce(or_, each) for each in zip(*[flags for flags, _ in inputs], strict=True)]
                values = derive(derived, [raws for _, raws in inputs])
                judged[channel.quantity] = channel.judge(times_ns, values, odd)
        for quantity, channel in self.channels.items():
            if quantity in judged:
                channel.take(times_ns, *judged[quantity])
            else:
                channel.pad(len(block))
        self.times_ns += times_ns

    def group(self, first: int) -> Group:
        """Processed rows from `first` on, without channels that have nothing to send."""
        columns = [each.column(first) for each in self.channels.values() if each.has_news(first)]
        return Group(self._name, self.times_ns[first:], tuple(columns))

    def clear(self) -> None:
        """Begin a new batch."""
        self.times_ns = []
        self.in_segments = 0
        for channel in self.channels.values():
            channel.clear()


def describe(batches: Iterable[OpenBatch]) -> None:
    """Set the window of every channel to the features of its rows, of as many channels at once as possible."""
    alike: dict[int, list[tuple[OpenBatch, _Channel]]] = {}
    for batch in batches:
        rows = len(batch.times_ns)
        for channel in batch.channels.values():
            if channel.statuses.count(0) == rows:
                alike.setdefault(rows, []).append((batch, channel))
            else:
                channel.window = features(batch.times_ns, channel.values, channel.statuses)
    for together in alike.values():
        stamps = {id(batch): np.array(batch.times_ns, dtype=np.int64) for batch, _ in together}
        times_ns = np.array([stamps[id(batch)] for batch, _ in together]).T
        table = np.array([channel.values for _, channel in together], dtype=np.float64).T
        for (_, channel), window in zip(together, features_table(times_ns, table), strict=True):
            channel.window = window
