"""The processing worker: measurement → validate → calibrate → filter → round → deadband → batch → outbox.

The stages themselves are in `open_batch`. Here is when: a batch is sealed when its oldest reading is `batch_ns` old,
and what is not sealed yet is written to the outbox as a segment when its oldest part is `durability_ns` old, so that
a power cut costs no more than that. Aligned batches end at whole multiples of `batch_ns` instead.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.clock import NS_PER_S
from edge_agent.outbox.outbox import Content
from edge_agent.outbox.worker import Commit, SaveState, Store, StoreSegment
from edge_agent.pipeline.block import process_all
from edge_agent.pipeline.channel import ChannelSettings, Counts
from edge_agent.pipeline.findings import Findings, Watch
from edge_agent.pipeline.memory import Memory, Remembered, read_memory, write_memory
from edge_agent.pipeline.rules import Alerting, Surroundings
from edge_agent.pipeline.sensor_batch import OpenBatch
from edge_agent.pipeline.window import AlignedWindow
from edge_agent.reading import Event, Measurement, Quality, RecordKind, quality_of
from edge_agent.runtime import Inbox
from edge_agent.wire.batch import Batch, Group, Tombstone
from edge_agent.wire.encode import encode_batch, encode_event, encode_tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.reading import Taken
    from edge_agent.stages.alerts import AlertSettings

__all__ = ["ChannelSettings", "Counts", "Pipeline"]

log = logging.getLogger(__name__)

INBOX_LIMIT: Final = 10_000
MAX_OPEN_CELLS: Final = 50_000
"""A batch that has grown to so many cells is sealed early, which keeps messages far below every broker's limit."""
STAGES: Final = "stages"
ALERTS: Final = "alerts"
"""Names under which the store keeps what is remembered across a restart."""
REMEMBER_NS: Final = 3600 * NS_PER_S
"""How often what stages have learned is saved; each time costs the card about 3 KiB per channel."""
_TIMELINE: Final = "timeline"
_NOTHING_AROUND: Final = Surroundings(lambda: 0, lambda: "", lambda: "")


class Witness(Protocol):
    """Sees what becomes of every reading, and every event."""

    def saw(self, sensor: str, quantity: str, taken: Taken) -> None:
        """A block of a channel has been through all stages."""

    def heard(self, event: Event) -> None:
        """Something happened."""


class Pipeline:
    """The processing worker.

    Args:
        sensors: settings of every channel, by sensor id.
        clock: for deadlines.
        batch_ns, durability_ns: see the module.
        align: whether batches end at whole multiples of `batch_ns` instead.
        time_step_ns: stamps are rounded down to multiples of it.
        features: whether batches carry features.
        max_cells: at which size a batch is sealed early; None: MAX_OPEN_CELLS, which suits our own format.
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
        store: Callable[[Store | StoreSegment | SaveState | Commit], bool],
        max_cells: int | None = None,
        alerts: Sequence[AlertSettings] = (),
        around: Surroundings = _NOTHING_AROUND,
        witness: Witness | None = None,
        align: bool = False,
    ) -> None:
        self.inbox: Inbox[Measurement | Event] = Inbox(INBOX_LIMIT)
        self.counts = Counts()
        self.batches = 0
        self.alerting = Alerting(alerts, self._alert, around)
        self.findings = Findings(self._store_event)
        self.watches = _watches(sensors, self.findings)
        self._sensors = {
            name: OpenBatch(
                name,
                settings,
                self.counts,
                time_step_ns,
                watches=self.watches[name],
                show=self.alerting.saw if witness is None else self._show,
                looked_at=self.alerting.watches(name)
                if witness is None
                else frozenset(each.quantity for each in settings),
            )
            for name, settings in sensors.items()
        }
        self._prompt = [batch for name, batch in self._sensors.items() if self.alerting.watches(name)]
        self._witness = witness
        self._timeline_ns = 0
        self._remember_due_ns = clock.now_ns() + REMEMBER_NS
        self._clock = clock
        self._batch_ns = batch_ns
        self._window = AlignedWindow(clock, batch_ns, durability_ns // 2, time_step_ns) if align else None
        self._durability_ns = durability_ns
        self._time_step_ns = time_step_ns
        self._features = features
        self._max_cells = MAX_OPEN_CELLS if max_cells is None else max_cells
        self._open_cells = 0
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
        """Quantity, value and quality of the latest reading of each channel, for people to look at.

        Only for the thread that steps this worker.
        """
        batch = self._sensors[sensor]
        batch.process()
        return [(each.quantity, each.last_value, quality_of(each.last_status)) for each in batch.channels.values()]

    def restore(self, saved: Iterable[bytes | None]) -> None:
        """Before the first step: go on with what an earlier run learned and told. What is damaged is learned anew."""
        for body in saved:
            if body is None:
                continue
            try:
                memory = read_memory(body, self._clock)
                self.alerting.restore(memory.states, memory.shift_ns)
                for each in memory.states:
                    self._restore(each, memory)
            except ValueError as error:
                log.warning("what was remembered cannot be used, and is learned anew reason=%r", str(error))

    def _restore(self, remembered: Remembered, memory: Memory) -> None:
        if remembered.stage == _TIMELINE:
            # Where nobody knows how long it was, detectors find out by themselves that time began anew.
            self._timeline_ns = int(remembered.numbers[0]) + (memory.shift_ns if memory.is_dated else 0)
            for watches in self.watches.values():
                for watch in watches.values():
                    watch.shift_ns = self._timeline_ns
            return
        sensor, _, quantity = remembered.owner.partition(".")
        batch = self._sensors.get(sensor)
        channel = batch.channels.get(quantity) if batch is not None else None
        if channel is not None:
            channel.restore(remembered, memory.shift_ns)

    def step(self) -> int | None:
        """Take in what arrived; seal and secure what is due."""
        first_ns = self._take_in()
        for batch in self._prompt:
            batch.process()
        if first_ns is not None:
            self._plan(first_ns)
        self._account_for_refused()
        now_ns = self._clock.now_ns()
        if self._seal_due_ns is not None and (now_ns >= self._seal_due_ns or self._open_cells > self._max_cells):
            self.seal()
            if self._window is not None:
                self._window.go_on()
                if self._window.is_awaited:
                    return now_ns  # perhaps it is open now
        if self._commit_due_ns is not None and now_ns >= self._commit_due_ns:
            self._secure()
        dues = (self._seal_due_ns, self._commit_due_ns, self.alerting.look(now_ns))
        return min((due for due in dues if due is not None), default=None)

    def _take_in(self) -> int | None:
        """Hand out what arrived, measurements to wait for their turn. Returns the earliest stamp."""
        first_ns: int | None = None
        sensors, minded = self._sensors, self.alerting.minded
        for item in self._arrived():
            if isinstance(item, Measurement):
                name, at_ns = item.sensor, item.boot_ns
                batch = sensors[name]
                batch.waiting.append(item)
                self._open_cells += batch.width
                if name in minded:
                    self.alerting.measured(name)
                if first_ns is None or at_ns < first_ns:
                    first_ns = at_ns
            else:
                self.alerting.heard(item)
                self._store_event(item)
        return first_ns

    def seal(self) -> None:
        """Make a record of the open batch, if there is anything in it."""
        self._seal_due_ns = None
        self._open_cells = 0
        self._process()
        for batch in self._sensors.values():
            batch.smooth()
        filled = [batch for batch in self._sensors.values() if batch.times_ns]
        groups = [batch.sealed(describe=self._features) for batch in filled]
        for batch in filled:
            batch.clear()
        self._put(Store, groups)
        self.batches += bool(groups)
        if self._clock.now_ns() >= self._remember_due_ns:
            self._remember()

    def finish(self) -> None:
        """Seal and commit: nothing more will come."""
        self.step()
        self.seal()
        if self._window is not None:
            self._window.end()
            self.step()
            self.seal()
        self._remember()
        self._store(Commit())

    def _arrived(self) -> list[Measurement | Event]:
        """Take what arrived out of the inbox, but for what has to wait until its window is open."""
        items = self.inbox.take_all()
        if self._window is not None:
            items = self._window.admit(items)
            if self._window.is_awaited:
                self._seal_due_ns = self._window.due_ns
        return items

    def _plan(self, first_ns: int) -> None:
        """Bring deadlines forward to those of a reading; a slow sensor's may be older than what is here already."""
        seal_due_ns = first_ns + self._batch_ns if self._window is None else self._window.due_ns
        commit_due_ns = first_ns + self._durability_ns
        if self._seal_due_ns is None or seal_due_ns < self._seal_due_ns:
            self._seal_due_ns = seal_due_ns
        if self._commit_due_ns is None or commit_due_ns < self._commit_due_ns:
            self._commit_due_ns = commit_due_ns

    def _secure(self) -> None:
        """Write what is not in a batch or segment yet as a segment, and commit."""
        self._commit_due_ns = None
        self._process()
        groups = []
        for batch in self._sensors.values():
            if len(batch.times_ns) > batch.in_segments:
                groups.append(batch.group(batch.in_segments))
                batch.in_segments = len(batch.times_ns)
        self._put(StoreSegment, groups)
        self._store(Commit())

    def _process(self) -> None:
        """Take everything that waits through the stages."""
        process_all(tuple(self._sensors.values()), self._time_step_ns)

    def _put(self, message: type[Store | StoreSegment], groups: list[Group]) -> None:
        readings = sum(column.cells_sent() for group in groups for column in group.columns)
        if not readings:
            return
        first_ns = min(min(group.times_ns) for group in groups)
        last_ns = max(max(group.times_ns) for group in groups)
        content = Content(RecordKind.BATCH, readings, first_ns, last_ns, encode_batch(Batch(tuple(groups))))
        if not self._store(message(content)) and message is Store:
            self.counts.dropped += readings
            log.error("the store takes nothing in: a batch is lost readings=%d", readings)

    def _show(self, sensor: str, quantity: str, taken: Taken) -> None:
        self.alerting.saw(sensor, quantity, taken)
        if self._witness is not None:
            self._witness.saw(sensor, quantity, taken)

    def _store_event(self, event: Event, *, urgent: bool = False) -> None:
        if self._witness is not None:
            self._witness.heard(event)
        body = encode_event(event)
        self._store(Store(Content(RecordKind.EVENT, 0, event.boot_ns, event.boot_ns, body, urgent=urgent)))

    def _alert(self, event: Event) -> None:
        """Store an alert at once, and that it was told: after a restart it is not told again."""
        self._store_event(event, urgent=True)
        self._store(SaveState(ALERTS, write_memory(self._clock, self.alerting.remembered())))
        self._store(Commit())

    def _remember(self) -> None:
        """Save what stages have learned, and how long rules have been pending."""
        self._remember_due_ns = self._clock.now_ns() + REMEMBER_NS
        learned = [
            each
            for name, batch in self._sensors.items()
            for channel in batch.channels.values()
            for each in channel.remembered(name)
        ]
        if any(self.watches.values()):
            learned.append(Remembered("", _TIMELINE, (self._timeline_ns,)))
        for name, remembered in ((STAGES, learned), (ALERTS, self.alerting.remembered())):
            if remembered:
                self._store(SaveState(name, write_memory(self._clock, remembered)))

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


def _watches(sensors: Mapping[str, Sequence[ChannelSettings]], findings: Findings) -> dict[str, dict[str, Watch]]:
    """Those of all channels that are watched, by sensor and quantity; siblings know of each other."""
    watches = {
        name: {
            each.quantity: Watch(f"{name}.{each.quantity}", each.anomaly, findings.tell)
            for each in settings
            if each.anomaly is not None
        }
        for name, settings in sensors.items()
    }
    for name, settings in sensors.items():
        for each in settings:
            if each.sibling is not None and each.quantity in watches[name]:
                sensor, _, quantity = each.sibling.partition(".")
                if quantity in watches.get(sensor, {}):
                    watches[name][each.quantity].pair(watches[sensor][quantity])
    return watches
