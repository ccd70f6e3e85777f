"""The order of the stages: measurement → validate → calibrate → filter → round → deadband → batch → outbox.

`_Channel.process` is the road that every reading takes. The worker around it gathers what comes out into batches:
a batch is sealed when its oldest reading is `batch_ns` old, and what is not sealed yet is written to the outbox as a
segment when its oldest part is `durability_ns` old, so that a power cut costs no more than that.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S, Inbox
from edge_agent.outbox.outbox import Content
from edge_agent.outbox.worker import Commit, Store, StoreSegment
from edge_agent.reading import NOT_SENT, Event, Features, Flag, Measurement, Quality, RecordKind, quality_of, status_of
from edge_agent.stages.calibrate import Calibration, calibrate
from edge_agent.stages.deadband import Deadband, DeadbandSettings
from edge_agent.stages.features import features, features_table
from edge_agent.stages.kalman import Kalman, KalmanSettings
from edge_agent.stages.validate import Limits, Validator
from edge_agent.wire.batch import Batch, Column, Group, Tombstone
from edge_agent.wire.codec import encode_batch, encode_event, encode_tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.clock import Clock

log = logging.getLogger(__name__)

INBOX_LIMIT: Final = 10_000
_NO_FLAG: Final = Flag(0)
MAX_OPEN_CELLS: Final = 50_000
"""A batch that has grown to so many cells is sealed early, which keeps messages far below every broker's limit."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """How one quantity of one sensor is treated; numbers in its canonical unit.

    Attributes:
        quantity: which.
        limits: outside, a measured value is bad; faster changes than they allow are suspect.
        calibration: measured → true.
        filter: None sends what was measured.
        resolution: values are rounded to a multiple of it; None sends them as they are.
        deadband: which readings are not worth sending.
        send_raw: whether the calibrated measurement travels beside the filtered value.
    """

    quantity: str
    limits: Limits
    calibration: Calibration = field(default_factory=Calibration)
    filter: KalmanSettings | None = None
    resolution: float | None = None
    deadband: DeadbandSettings = DeadbandSettings(0.0, 300 * NS_PER_S)  # noqa: RUF009 it is frozen
    send_raw: bool = True


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


class _Channel:
    """One quantity of one sensor: the state of its stages, and its part of the open batch."""

    def __init__(self, settings: ChannelSettings, counts: Counts) -> None:
        self.quantity = settings.quantity
        self.last_value: float | None = None
        self.last_status = 0
        self.values: list[float | None] = []
        self.raws: list[float | None] = []
        self.statuses: list[int] = []
        self._settings = settings
        self._counts = counts
        self._validator = Validator(settings.limits)
        self._kalman = Kalman(settings.filter) if settings.filter is not None else None
        self._deadband = Deadband(settings.deadband)

    def process(self, times_ns: Sequence[int], measured: Sequence[float | None]) -> None:
        """Take a block of measurements through the stages into the open batch."""
        flags = self._validator.run(times_ns, measured)
        raws = calibrate(self._settings.calibration, measured)
        values = raws if self._kalman is None else self._kalman.run(times_ns, raws, flags)
        values = _rounded(values, self._settings.resolution)
        statuses = [0 if flag is _NO_FLAG else status_of(flag) for flag in flags]
        kept = self._deadband.run(times_ns, values, statuses)
        self._count(statuses, kept)
        self.last_value, self.last_status = values[-1], statuses[-1]
        self.values += values
        self.raws += _rounded(raws, self._settings.resolution)
        self.statuses += [status if keep else NOT_SENT for status, keep in zip(statuses, kept, strict=True)]

    def column(self, first: int, window: Features | None) -> Column:
        """The open batch from row `first` on."""
        return Column(
            quantity=self.quantity,
            values=self.values[first:],
            raws=self.raws[first:] if self._settings.send_raw else None,
            statuses=self.statuses[first:],
            features=window,
        )

    def clear(self) -> None:
        """Begin a new batch."""
        self.values, self.raws, self.statuses = [], [], []

    def _count(self, statuses: list[int], kept: list[bool]) -> None:
        counts = self._counts
        counts.sampled += len(statuses)
        good = statuses.count(0)
        counts.good += good
        if good < len(statuses):  # which is rare
            qualities = [quality_of(status) for status in statuses]
            counts.estimated += qualities.count(Quality.ESTIMATED)
            counts.suspect += qualities.count(Quality.SUSPECT)
            counts.bad += qualities.count(Quality.BAD)
        counts.suppressed += kept.count(False)


def _rounded(values: Sequence[float | None], resolution: float | None) -> list[float | None]:
    """Round to multiples of the resolution, such that 0.01 gives exactly the doubles that decimals are read as."""
    if resolution is None:
        return list(values)
    if resolution < 1:
        steps = round(1 / resolution)
        return [None if value is None else round(value * steps) / steps for value in values]
    return [None if value is None else round(value / resolution) * resolution for value in values]


class _Sensor:
    """The open batch of one sensor: its times, and a column per channel."""

    def __init__(self, settings: Sequence[ChannelSettings], counts: Counts) -> None:
        self.channels = {each.quantity: _Channel(each, counts) for each in settings}
        self.times_ns: list[int] = []
        self.in_segments = 0

    def process(self, quantities: tuple[str, ...], block: Sequence[Measurement], time_step_ns: int) -> None:
        """Take measurements, all of the same quantities, into the open batch."""
        times_ns = [each.boot_ns // time_step_ns * time_step_ns for each in block]
        for index, quantity in enumerate(quantities):
            self.channels[quantity].process(times_ns, [each.values[index] for each in block])
        if len(quantities) < len(self.channels):
            for quantity in self.channels.keys() - set(quantities):
                self._pad(self.channels[quantity], len(block))
        self.times_ns += times_ns

    def group(self, name: str, first: int, *, with_features: bool) -> Group:
        """The open batch from row `first` on, without channels that have nothing to send."""
        channels = [each for each in self.channels.values() if any(s != NOT_SENT for s in each.statuses[first:])]
        windows = self._windows(channels, first) if with_features else [None] * len(channels)
        columns = [each.column(first, window) for each, window in zip(channels, windows, strict=True)]
        return Group(name, self.times_ns[first:], tuple(columns))

    def _windows(self, channels: Sequence[_Channel], first: int) -> Sequence[Features | None]:
        """Features of each channel, of all of them at once where no reading is missing or bad."""
        times_ns = self.times_ns[first:]
        if channels and all(each.statuses.count(0) == len(each.statuses) for each in channels):
            return features_table(times_ns, list(zip(*(each.values[first:] for each in channels), strict=True)))
        return [features(times_ns, each.values[first:], each.statuses[first:]) for each in channels]

    def clear(self) -> None:
        """Begin a new batch."""
        self.times_ns = []
        self.in_segments = 0
        for channel in self.channels.values():
            channel.clear()

    @staticmethod
    def _pad(channel: _Channel, rows: int) -> None:
        channel.values += [None] * rows
        channel.raws += [None] * rows
        channel.statuses += [NOT_SENT] * rows


class Pipeline:
    """The processing worker.

    Args:
        sensors: settings of every channel, by sensor id.
        clock: for deadlines.
        batch_ns, durability_ns: see the module.
        time_step_ns: stamps are rounded down to multiples of it.
        features: whether batches carry features.
        store: puts a message into the store's inbox; returns False if it has no room.
    """

    name = "pipeline"

    def __init__(
        self,
        sensors: Mapping[str, Sequence[ChannelSettings]],
        *,
        clock: Clock,
        batch_ns: int,
        durability_ns: int,
        time_step_ns: int,
        features: bool,
        store: Callable[[Store | StoreSegment | Commit], bool],
    ) -> None:
        self.inbox: Inbox[Measurement | Event] = Inbox(INBOX_LIMIT)
        self.counts = Counts()
        self.batches = 0
        self._sensors = {name: _Sensor(settings, self.counts) for name, settings in sensors.items()}
        self._clock = clock
        self._batch_ns = batch_ns
        self._durability_ns = durability_ns
        self._time_step_ns = time_step_ns
        self._features = features
        self._store = store
        self._seal_due_ns: int | None = None
        self._commit_due_ns: int | None = None
        self._refused: list[Measurement] = []
        self._refused_lock = threading.Lock()

    def deliver(self, item: Measurement | Event) -> bool:
        """Take a measurement or event in, from any thread. What there is no room for is accounted for later."""
        if self.inbox.put(item):
            return True
        if isinstance(item, Measurement):
            with self._refused_lock:
                self._refused.append(item)
        return False

    def latest(self, sensor: str) -> list[tuple[str, float | None, Quality]]:
        """Quantity, value and quality of the latest reading of each channel, for people to look at."""
        channels = self._sensors[sensor].channels.values()
        return [(each.quantity, each.last_value, quality_of(each.last_status)) for each in channels]

    def step(self) -> int | None:
        """Process what arrived; seal and secure what is due."""
        arrived: dict[tuple[str, tuple[str, ...]], list[Measurement]] = defaultdict(list)
        for item in self.inbox.take_all():
            if isinstance(item, Measurement):
                arrived[item.sensor, item.quantities].append(item)
            else:
                self._store_event(item)
        for (name, quantities), block in arrived.items():
            self._sensors[name].process(quantities, block, self._time_step_ns)
            self._plan(min(each.boot_ns for each in block))
        self._account_for_refused()
        now_ns = self._clock.now_ns()
        if self._seal_due_ns is not None and (now_ns >= self._seal_due_ns or self._open_cells() > MAX_OPEN_CELLS):
            self.seal()
        if self._commit_due_ns is not None and now_ns >= self._commit_due_ns:
            self._secure()
        return min((due for due in (self._seal_due_ns, self._commit_due_ns) if due is not None), default=None)

    def seal(self) -> None:
        """Make a record of the open batch, if there is anything in it."""
        self._seal_due_ns = None
        groups = [
            sensor.group(name, 0, with_features=self._features)
            for name, sensor in self._sensors.items()
            if sensor.times_ns
        ]
        self._put(Store, groups)
        self.batches += bool(groups)
        for sensor in self._sensors.values():
            sensor.clear()

    def finish(self) -> None:
        """Seal and commit: nothing more will come."""
        self.step()
        self.seal()
        self._store(Commit())

    def _plan(self, first_ns: int) -> None:
        if self._seal_due_ns is None:
            self._seal_due_ns = first_ns + self._batch_ns
        if self._commit_due_ns is None:
            self._commit_due_ns = first_ns + self._durability_ns

    def _secure(self) -> None:
        """Write what is not in a batch or segment yet as a segment, and commit."""
        self._commit_due_ns = None
        groups = []
        for name, sensor in self._sensors.items():
            if len(sensor.times_ns) > sensor.in_segments:
                groups.append(sensor.group(name, sensor.in_segments, with_features=False))
                sensor.in_segments = len(sensor.times_ns)
        self._put(StoreSegment, groups)
        self._store(Commit())

    def _put(self, message: type[Store | StoreSegment], groups: list[Group]) -> None:
        readings = sum(
            len(column.statuses) - list(column.statuses).count(NOT_SENT) for group in groups for column in group.columns
        )
        if not readings:
            return
        times_ns = [time_ns for group in groups for time_ns in group.times_ns]
        body = encode_batch(Batch(tuple(groups)))
        content = Content(RecordKind.BATCH, readings, min(times_ns), max(times_ns), body)
        if not self._store(message(content)) and message is Store:
            self.counts.dropped += readings
            log.error("the store takes nothing in: a batch is lost readings=%d", readings)

    def _store_event(self, event: Event) -> None:
        self._store(Store(Content(RecordKind.EVENT, 0, event.boot_ns, event.boot_ns, encode_event(event))))

    def _account_for_refused(self) -> None:
        """Leave a tombstone for measurements that found the inbox full."""
        if not self._refused:
            return
        with self._refused_lock:
            refused, self._refused = self._refused, []
        first_ns, last_ns = refused[0].boot_ns, refused[-1].boot_ns
        readings = sum(len(each.values) for each in refused)
        self.counts.dropped += readings
        log.error("processing fell behind: measurements were dropped readings=%d", readings)
        body = encode_tombstone(Tombstone(0, 0, 0, readings, "processing fell behind", first_ns, last_ns))
        self._store(Store(Content(RecordKind.TOMBSTONE, readings, first_ns, last_ns, body)))

    def _open_cells(self) -> int:
        return sum(len(sensor.times_ns) * len(sensor.channels) for sensor in self._sensors.values())
