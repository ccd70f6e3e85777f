"""The processing worker: its inbox, and the order of what it does. The stages themselves are in `sensor_batch`.

A batch is sealed when its oldest reading is `period_ns` old. What is not sealed yet is secured in the store when its
oldest part is `durability_ns` old, so that a power cut costs no more than that. Aligned batches end at whole multiples
of `period_ns` instead.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.pipeline.counts import Counts
from edge_agent.pipeline.findings import Findings, watches_of
from edge_agent.pipeline.memory import Remembered, read_memory
from edge_agent.pipeline.recorder import INBOX_FULL, Recorder
from edge_agent.pipeline.rules import Rules, Surroundings
from edge_agent.pipeline.sensor_batch import SensorBatch
from edge_agent.pipeline.snapshot import PipelinePart, latest_of
from edge_agent.pipeline.taps import Taps
from edge_agent.pipeline.window import AlignedWindow
from edge_agent.reading import Measurement
from edge_agent.runtime import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.pipeline.memory import Memory
    from edge_agent.pipeline.recorder import StoreRequest
    from edge_agent.pipeline.settings import BatchSettings, ChannelSettings
    from edge_agent.pipeline.taps import Tap
    from edge_agent.reading import Event
    from edge_agent.stages.alerts import AlertSettings

log = logging.getLogger(__name__)

INBOX_LIMIT: Final = 10_000
STAGES: Final = "stages"
RULES: Final = "alerts"
"""Names under which the store keeps what is saved for a restart."""
SAVE_NS: Final = 3600 * NS_PER_S
"""How often what stages have learned is saved; each time costs the card about 3 KiB per channel."""
_TIMELINE: Final = "timeline"
_NO_SURROUNDINGS: Final = Surroundings(lambda: 0, lambda: "", lambda: "")


class Pipeline:
    """The processing worker.

    Args:
        sensors: settings of every channel, by sensor id.
        settings: when batches end, and what they hold.
        clock: for deadlines.
        store: puts a request into the store's inbox; returns False if it has no room.
        alerts: rules.
        surroundings: what rules may be about that does not come along the path.
        taps: who sees readings and events on their way, beside the rules.
    """

    name = "pipeline"

    def __init__(
        self,
        sensors: Mapping[str, Sequence[ChannelSettings]],
        settings: BatchSettings,
        *,
        clock: Clock,
        store: Callable[[StoreRequest], bool],
        alerts: Sequence[AlertSettings] = (),
        surroundings: Surroundings = _NO_SURROUNDINGS,
        taps: Iterable[Tap] = (),
    ) -> None:
        self.inbox: Inbox[Measurement | Event] = Inbox(INBOX_LIMIT)
        self.counts = Counts()
        self.rules = Rules(alerts, self._alert, surroundings)
        self.findings = Findings(self._event)
        self._batches = 0
        self._settings = settings
        self._clock = clock
        self._recorder = Recorder(store, clock, self.counts)
        self._taps = Taps([self.rules, *taps])
        self._watches = watches_of(sensors, self.findings)
        self._sensors = {
            name: SensorBatch(name, own, self.counts, settings.time_step_ns, self._taps, self._watches[name])
            for name, own in sensors.items()
        }
        self._prompt = [each for each in self._sensors.values() if self._taps.is_prompt(each.name, each.channels)]
        self._window = AlignedWindow(clock, settings) if settings.align else None
        self._timeline_ns = 0
        self._open_cells = 0
        self._seal_due_ns: int | None = None
        self._secure_due_ns: int | None = None
        self._save_due_ns = clock.now_ns() + SAVE_NS
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

    def step(self) -> int | None:
        """Take in what arrived; seal and secure what is due."""
        first_ns = self._take_in()
        for sensor in self._prompt:
            sensor.process()
        if first_ns is not None:
            self._plan(first_ns)
        self._account_for_refused()
        now_ns = self._clock.now_ns()
        full = self._open_cells > self._settings.max_cells
        if self._seal_due_ns is not None and (now_ns >= self._seal_due_ns or full):
            self.seal()
            if self._window is not None:
                self._window.go_on()
                if self._window.is_awaited:
                    return now_ns  # perhaps it is open now
        if self._secure_due_ns is not None and now_ns >= self._secure_due_ns:
            self._secure()
        dues = (self._seal_due_ns, self._secure_due_ns, self.rules.look(now_ns))
        return min([due for due in dues if due is not None], default=None)

    def process(self) -> None:
        """Take everything that waits through the stages. Only for the thread that steps this worker."""
        for sensor in self._sensors.values():
            sensor.process()

    def seal(self) -> None:
        """Make a record of the open batch, if there is anything in it."""
        self._seal_due_ns = None
        self._open_cells = 0
        self.process()
        filled = [sensor for sensor in self._sensors.values() if sensor.times_ns]
        self._batches += self._recorder.seal([each.sealed(describe=self._settings.features) for each in filled])
        if self._clock.now_ns() >= self._save_due_ns:
            self._save()

    def finish(self) -> None:
        """Seal and commit: nothing more will come."""
        self.step()
        self.seal()
        if self._window is not None:
            self._window.end()
            self.step()
            self.seal()
        self._save()
        self._recorder.account()
        self._recorder.commit()

    def snapshot(self) -> PipelinePart:
        """Its part of a snapshot. Values are those of the last block that went through the stages."""
        return PipelinePart(
            counts=replace(self.counts, reasons=dict(self.counts.reasons)),
            batches=self._batches,
            latest=tuple(latest_of(sensor) for sensor in self._sensors.values()),
            alerts_fired=self.rules.fired,
            alerts_firing=tuple(self.rules.firing),
            anomalies=dict(self.findings.counts),
        )

    # ---- what arrives

    def _take_in(self) -> int | None:
        """Hand out what arrived, measurements to wait for their turn. Returns the earliest stamp."""
        first_ns: int | None = None
        sensors, rules = self._sensors, self.rules
        for item in self._arrived():
            if not isinstance(item, Measurement):
                self._event(item)
                continue
            sensor, boot_ns = item.sensor, item.boot_ns
            batch = sensors[sensor]
            batch.waiting.append(item)
            self._open_cells += batch.width
            if sensor in rules.subjects:
                rules.measured(sensor)
            if first_ns is None or boot_ns < first_ns:
                first_ns = boot_ns
        return first_ns

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
        seal_due_ns = first_ns + self._settings.period_ns if self._window is None else self._window.due_ns
        secure_due_ns = first_ns + self._settings.durability_ns
        if self._seal_due_ns is None or seal_due_ns < self._seal_due_ns:
            self._seal_due_ns = seal_due_ns
        if self._secure_due_ns is None or secure_due_ns < self._secure_due_ns:
            self._secure_due_ns = secure_due_ns

    def _secure(self) -> None:
        """Secure what is neither in a batch nor in the store yet."""
        self._secure_due_ns = None
        self.process()
        behind = [sensor for sensor in self._sensors.values() if len(sensor.times_ns) > sensor.secured]
        self._recorder.secure([sensor.take_unsecured() for sensor in behind])

    def _account_for_refused(self) -> None:
        """Leave a tombstone for measurements that found the inbox full, and for what the store refused."""
        if self._refused:
            with self._refused_lock:
                refused, self._refused = self._refused, []
            readings = sum(len(measurement.values) for measurement in refused)
            self._recorder.lose(readings, refused[0].boot_ns, refused[-1].boot_ns, INBOX_FULL)
        self._recorder.account()

    # ---- events

    def _event(self, event: Event) -> None:
        self._taps.heard(event)
        self._recorder.event(event)

    def _alert(self, event: Event) -> None:
        """Store an alert at once, and that it was sent: after a restart it is not sent again."""
        self._taps.heard(event)
        self._recorder.event(event, urgent=True)
        self._recorder.save(RULES, self.rules.remembered())
        self._recorder.commit()

    # ---- what a restart need not learn again

    def restore(self, saved: Iterable[bytes | None]) -> None:
        """Before the first step: go on with what an earlier run learned. What is damaged is learned anew."""
        for body in saved:
            if body is None:
                continue
            try:
                memory = read_memory(body, self._clock)
                self.rules.restore(memory.states, memory.shift_ns)
                for state in memory.states:
                    self._restore(state, memory)
            except ValueError as error:
                log.warning("what was remembered cannot be used, and is learned anew reason=%r", str(error))

    def _restore(self, remembered: Remembered, memory: Memory) -> None:
        if remembered.stage == _TIMELINE:
            # Where nobody knows how long it was, detectors find out by themselves that time began anew.
            self._timeline_ns = int(remembered.numbers[0]) + (memory.shift_ns if memory.is_dated else 0)
            for watches in self._watches.values():
                for watch in watches.values():
                    watch.shift_ns = self._timeline_ns
            return
        sensor, _, quantity = remembered.owner.partition(".")
        batch = self._sensors.get(sensor)
        channel = batch.channels.get(quantity) if batch is not None else None
        if channel is not None:
            channel.restore(remembered, memory.shift_ns)

    def _save(self) -> None:
        """Save what stages have learned, and how long rules have been pending."""
        self._save_due_ns = self._clock.now_ns() + SAVE_NS
        learned = [
            state
            for name, sensor in self._sensors.items()
            for channel in sensor.channels.values()
            for state in channel.remembered(name)
        ]
        if any(self._watches.values()):
            learned.append(Remembered("", _TIMELINE, (self._timeline_ns,)))
        self._recorder.save(STAGES, learned)
        self._recorder.save(RULES, self.rules.remembered())
