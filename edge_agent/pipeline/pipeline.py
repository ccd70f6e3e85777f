"""Processing worker: its inbox, and the order of its work. `sensor_batch` runs the stages.

A batch is sealed when its oldest reading is `period_ns` old. Rows that are not sealed are secured in the store when the
oldest of them is `durability_ns` old, so that a power cut loses no more than that. Aligned batches end at whole
multiples of `period_ns` instead.
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
from edge_agent.pipeline.recorder import INBOX_FULL, Recorder, joined
from edge_agent.pipeline.rules import Rules, Surroundings
from edge_agent.pipeline.sensor_batch import SensorBatch
from edge_agent.pipeline.snapshot import PipelinePart, latest_of
from edge_agent.pipeline.taps import Taps
from edge_agent.pipeline.window import AlignedWindow
from edge_agent.reading import Measurement
from edge_agent.runtime import Inbox
from edge_agent.wire.batch import Tombstone

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
"""Names under which the store keeps saved states."""
SAVE_NS: Final = 3600 * NS_PER_S
"""Period at which states of stages are saved; each time writes about 3 KiB per channel to the card."""
_TIMELINE: Final = "timeline"
_NO_SURROUNDINGS: Final = Surroundings(lambda: 0, lambda: "", lambda: "")


class Pipeline:
    """The processing worker.

    Args:
        sensors: settings of every channel, by sensor id.
        settings: settings of batches.
        clock: source of time.
        store: puts a request into the inbox of the store; returns False if that is full.
        alerts: alert rules.
        surroundings: values for rules about the outbox, the link and the clock.
        taps: receivers of readings and events, in addition to the rules.

    Attributes:
        inbox: measurements and events that arrived.
        deliver: puts a measurement or event into the inbox, from any thread; returns False if that is full. What is
            refused gets a tombstone.
        counts: counts of readings.
        rules: the alert rules.
        findings: the anomalies found.
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
        self.inbox: Inbox[Measurement | Event] = Inbox(INBOX_LIMIT, self._refuse)
        self.deliver = self.inbox.put
        self.counts = Counts()
        self.rules = Rules(alerts, self._alert, surroundings)
        self.findings = Findings(self._event)
        self._batches = 0
        self._settings = settings
        self._durability_ns = settings.durability_ns
        self._most_cells = settings.max_cells
        self._clock = clock
        self._recorder = Recorder(store, clock, self.counts)
        self._taps = Taps([self.rules, *taps])
        self._watches = watches_of(sensors, self.findings)
        self._sensors = {
            name: SensorBatch(name, own, self.counts, settings.time_step_ns, self._taps, self._watches[name])
            for name, own in sensors.items()
        }
        self._prompt = [
            sensor for sensor in self._sensors.values() if self._taps.is_prompt(sensor.name, sensor.channels)
        ]
        self._window = AlignedWindow(clock, settings) if settings.align else None
        self._timeline_ns = 0
        self._open_cells = 0
        self._seal_due_ns: int | None = None
        self._secure_due_ns: int | None = None
        self._save_due_ns = clock.now_ns() + SAVE_NS
        self._refused: Tombstone | None = None
        self._refused_lock = threading.Lock()

    def step(self) -> int | None:
        """Process what arrived; seal and secure what is due."""
        first_ns = self._take_in()
        for sensor in self._prompt:
            sensor.process()
        if first_ns is not None:
            self._plan(first_ns)
        if self._refused is not None or self._recorder.losses:
            self._account_for_losses()
        now_ns = self._clock.now_ns()
        full = self._open_cells > self._most_cells
        if self._seal_due_ns is not None and (now_ns >= self._seal_due_ns or full):
            self.seal()
            if self._window is not None:
                self._window.advance()
                if self._window.is_awaited:
                    return now_ns  # perhaps its window is open now
        if self._secure_due_ns is not None and now_ns >= self._secure_due_ns:
            self._secure()
        return _earliest(_earliest(self._seal_due_ns, self._secure_due_ns), self.rules.look(now_ns))

    def limit_cells(self, most: int) -> bool:
        """Seal batches at so many readings, because larger ones are not taken. May be called from any thread.

        Returns:
            Whether this is less than before.
        """
        before, self._most_cells = self._most_cells, max(1, min(self._most_cells, most))
        return self._most_cells < before

    def secure_every(self, durability_ns: int) -> None:
        """Secure open rows when the oldest of them is so old, nanoseconds. May be called from any thread."""
        self._durability_ns = durability_ns

    def process(self) -> None:
        """Run all waiting measurements through the stages. Only for the thread that steps this worker."""
        for sensor in self._sensors.values():
            sensor.process()

    def seal(self) -> None:
        """Make a record of the open batch, if it has any readings."""
        self._seal_due_ns = None
        self._open_cells = 0
        self.process()
        filled = [sensor for sensor in self._sensors.values() if sensor.times_ns]
        self._batches += self._recorder.seal([sensor.sealed(describe=self._settings.features) for sensor in filled])
        if self._clock.now_ns() >= self._save_due_ns:
            self._save()

    def finish(self) -> None:
        """Seal, save and commit everything, at the end of a run."""
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
        """State and counts for the snapshot of the agent. Values are those of the last processed block."""
        return PipelinePart(
            counts=replace(self.counts, reasons=dict(self.counts.reasons)),
            batches=self._batches,
            latest=tuple(latest_of(sensor) for sensor in self._sensors.values()),
            alerts_fired=self.rules.fired,
            alerts_firing=tuple(self.rules.firing),
            anomalies=dict(self.findings.counts),
        )

    # ---- input

    def _refuse(self, item: Measurement | Event) -> None:
        """Note an item for which the inbox has no room. Called from the thread that delivers it."""
        records, readings = (0, len(item.values)) if isinstance(item, Measurement) else (1, 0)
        refused = Tombstone(0, 0, records, readings, INBOX_FULL, item.boot_ns, item.boot_ns)
        with self._refused_lock:
            self._refused = refused if self._refused is None else joined([self._refused, refused])

    def _take_in(self) -> int | None:
        """Queue the measurements that arrived at their sensors, handle the events. Returns the earliest stamp."""
        first_ns: int | None = None
        cells = 0
        sensors, subjects = self._sensors, self.rules.subjects
        for item in self._arrived():
            if not isinstance(item, Measurement):
                self._event(item)
                continue
            sensor, boot_ns, _, _, _ = item
            batch = sensors[sensor]
            batch.waiting.append(item)
            cells += batch.width
            if sensor in subjects:
                self.rules.measured(sensor)
            if first_ns is None or boot_ns < first_ns:
                first_ns = boot_ns
        self._open_cells += cells
        return first_ns

    def _arrived(self) -> list[Measurement | Event]:
        """Take items from the inbox, without measurements that must wait until their window is open."""
        items = self.inbox.take_all()
        if self._window is not None:
            items = self._window.admit(items)
            if self._window.is_awaited:
                self._seal_due_ns = self._window.due_ns
        return items

    def _plan(self, first_ns: int) -> None:
        """Move deadlines forward to those of a reading; that of a slow sensor may be older than all others."""
        seal_due_ns = first_ns + self._settings.period_ns if self._window is None else self._window.due_ns
        secure_due_ns = first_ns + self._durability_ns
        if self._seal_due_ns is None or seal_due_ns < self._seal_due_ns:
            self._seal_due_ns = seal_due_ns
        if self._secure_due_ns is None or secure_due_ns < self._secure_due_ns:
            self._secure_due_ns = secure_due_ns

    def _secure(self) -> None:
        """Secure rows of the open batch that are not in the store yet."""
        self._secure_due_ns = None
        self.process()
        unsecured = [sensor for sensor in self._sensors.values() if len(sensor.times_ns) > sensor.secured]
        if self._recorder.secure([sensor.unsecured() for sensor in unsecured]):
            for sensor in unsecured:
                sensor.mark_secured()

    def _account_for_losses(self) -> None:
        """Store tombstones for what the full inbox refused, and for records that the store refused."""
        with self._refused_lock:
            refused, self._refused = self._refused, None
        if refused is not None:
            self._recorder.lose(refused)
        self._recorder.account()

    # ---- events

    def _event(self, event: Event) -> None:
        if event.fix is not None:
            self.seal()  # a batch has one offset of wall time, and its rows would have two
        self._taps.heard(event)
        self._recorder.event(event)

    def _alert(self, event: Event) -> None:
        """Store an alert at once, together with the state of the rules, so that a restart does not send it again."""
        self._taps.heard(event)
        self._recorder.event(event, urgent=True)
        self._recorder.save(RULES, self.rules.remembered())
        self._recorder.commit()

    # ---- saved states

    def restore(self, saved: Iterable[bytes | None]) -> None:
        """Restore states that an earlier run saved, before the first step. Damaged ones are logged and ignored."""
        for body in saved:
            if body is None:
                continue
            try:
                memory = read_memory(body, self._clock)
            except ValueError as error:
                log.warning("what was remembered cannot be used, and is learned anew reason=%r", str(error))
                continue
            for state in memory.states:
                try:
                    self._restore(state, memory)
                except ValueError as error:
                    log.warning(
                        "what was remembered of %s cannot be used, and is learned anew stage=%s reason=%r",
                        state.owner,
                        state.stage,
                        str(error),
                    )

    def _restore(self, remembered: Remembered, memory: Memory) -> None:
        self.rules.restore([remembered], memory.shift_ns)
        if remembered.stage == _TIMELINE:
            # If the age is not known, stamps go back, and detectors handle that as another boot.
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
        """Save the states of all stages and rules."""
        self._save_due_ns = self._clock.now_ns() + SAVE_NS
        learned = [
            state
            for sensor in self._sensors.values()
            for channel in sensor.channels.values()
            for state in channel.remembered()
        ]
        if any(self._watches.values()):
            learned.append(Remembered("", _TIMELINE, (self._timeline_ns,)))
        self._recorder.save(STAGES, learned)
        self._recorder.save(RULES, self.rules.remembered())


def _earliest(due_ns: int | None, other_ns: int | None) -> int | None:
    if due_ns is None or other_ns is None:
        return other_ns if due_ns is None else due_ns
    return min(due_ns, other_ns)
