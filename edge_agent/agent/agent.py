"""The composition root: configuration → workers → threads, or one simulated timeline. Start, stop, drain.

Read this first. The path is put together in `Agent.__init__`, in its order: sources → pipeline → store → uplink.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Final

from edge_agent.agent.binding import bind_node
from edge_agent.agent.build import (
    alert_settings,
    batch_settings,
    broker_of,
    evict_policy,
    session_of,
    store_settings,
    wear_budget,
)
from edge_agent.agent.commands import CommandWorker
from edge_agent.agent.device import Device
from edge_agent.agent.dialect import announces, dialect_of
from edge_agent.agent.messages import BODIES, Messages
from edge_agent.agent.report import report_of
from edge_agent.agent.snapshot import ClockPart, Snapshot, process_part, storage_bytes_written
from edge_agent.clock import NS_PER_S, SystemClock, restated
from edge_agent.outbox.answers import Asked
from edge_agent.outbox.outbox import Outbox
from edge_agent.outbox.worker import Answer, Confirm, HandOut, Readmit, Rewind, SetAnchor, SetAside, StoreWorker
from edge_agent.pipeline.pipeline import RULES, STAGES, Pipeline
from edge_agent.pipeline.rules import Surroundings
from edge_agent.reading import Event, EventKind, RecordKind, TimeFix
from edge_agent.runtime import (
    ClockMonitor,
    Housekeeping,
    Inbox,
    Job,
    Pace,
    SimulatedHousekeeping,
    Threads,
    run_simulated,
)
from edge_agent.sampling.hanging import HangingWatch
from edge_agent.sampling.snapshot import bus_part
from edge_agent.sampling.worker import BusWorker
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.dialects.announcer import Announcer
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.session import LinkState
from edge_agent.uplink.worker import Offered, OutboxSide, PublishStatus, Stored, UplinkWorker

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_agent.agent.build import Source
    from edge_agent.agent.report import Report
    from edge_agent.clock import Anchor, AnchorSince, Clock, SimulatedClock
    from edge_agent.config import model
    from edge_agent.outbox.outbox import News
    from edge_agent.outbox.schema import StoreSettings
    from edge_agent.outbox.worker import StoreInput
    from edge_agent.pipeline.settings import ChannelSettings
    from edge_agent.pipeline.taps import Tap
    from edge_agent.reading import Record
    from edge_agent.runtime import ClockChange
    from edge_agent.uplink.dialect import Dialect
    from edge_agent.wire.announcement import Announcement

log = logging.getLogger(__name__)

DRAIN_S: Final = 5.0
"""How long the records that are on their way may take when we stop."""
MQTT_VERSIONS: Final = {"auto": (5, 4), "5": (5,), "3.1.1": (4,)}
"""Versions to try in turn, by `[uplink] protocol`; 4 is that of MQTT 3.1.1."""
_FITTING: Final = 0.7
"""Share of the readings that would just fit: batches have parts that do not become smaller with fewer rows."""
_STOP_S: Final = 3.0
"""How long a worker may take to finish its step when we stop."""


class Agent:
    """A gateway at work.

    Args:
        config: what to do.
        channels: settings of the channels of every sensor, by sensor id.
        sources: make the workers that deliver measurements.
        clock: real or simulated.
        rng: for waiting times.
        directory: of the outbox.
        store: how the outbox is kept; None: as configured.
        taps: who sees readings and events on their way.
        epoch: identity of this run; None: a new one. It must not be given to two runs.
        link: makes a connection to the broker; a simulated network passes another factory.
        network_clock: clock by which `drain` and `await_network` wait for the broker; None: that of the machine,
            because a real broker answers in real time also while the other time is simulated.
    """

    def __init__(
        self,
        config: model.Config,
        channels: Mapping[str, Sequence[ChannelSettings]],
        sources: Iterable[Source] = (),
        *,
        clock: Clock,
        rng: random.Random,
        directory: Path,
        store: StoreSettings | None = None,
        taps: Iterable[Tap] = (),
        epoch: int | None = None,
        link: Callable[..., Link] = Link,
        network_clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self._started_ns, self._real = clock.now_ns(), SystemClock()
        self._network_clock = network_clock or self._real
        self._real_started_ns, self._written_before = self._real.now_ns(), storage_bytes_written()
        self._messages = Messages(config, [(name, [each.quantity for each in own]) for name, own in channels.items()])
        self._announcer = Announcer(self._announcement) if announces(config) else None
        # Before the outbox is opened: a library that is missing is no reason to leave one open.
        broker, dialect = broker_of(config), self._dialect()
        self.outbox = Outbox(
            directory,
            store or store_settings(config),
            boot_id=clock.boot_id(),
            anchor=clock.anchor(),
            rng=random.SystemRandom(),  # a seed would give two runs one identity
            encode=BODIES,
            epoch=epoch,
            evict=evict_policy(config),
        )
        self._device = Device(directory)
        bind_node(self.outbox, config.gateway.id)
        self.store = StoreWorker(
            self.outbox,
            clock,
            durability_ns=round(config.outbox.durability_s * NS_PER_S),
            offer=lambda records: self.uplink.inbox.put(Offered(records)),
            committed=lambda: self.uplink.inbox.put(Stored()),
            tell=self._tell,
            budget=wear_budget(config),
            paced=self._secure_every,
        )
        self.pipeline = Pipeline(
            channels,
            batch_settings(config),
            clock=clock,
            store=self.store.inbox.put,
            alerts=alert_settings(config),
            surroundings=self._surroundings(),
            taps=taps,
        )
        self.sources = [source(self.pipeline.deliver) for source in sources]
        self.commands = CommandWorker(self._publish_status)
        self.uplink = UplinkWorker(
            broker=broker,
            dialect=dialect,
            session=session_of(config, rng),
            versions=MQTT_VERSIONS[config.uplink.protocol],
            outbox=_outbox_side(self.store.inbox),
            clock=clock,
            command=self.commands.inbox.put,
            too_large=self._shorten_batches,
            link=link,
        )
        self.monitor = ClockMonitor(clock, self._clock_changed)
        buses = [source for source in self.sources if isinstance(source, BusWorker)]
        self.hanging = HangingWatch(buses, clock, self.pipeline.deliver)
        self._housekeeping: Housekeeping | None = None
        self._patient = True
        self._resume()

    # ---- running

    def run_threads(self, stop: threading.Event, duration_s: float | None) -> None:
        """Work until `stop` or for `duration_s`, each worker in a thread, then drain and close."""
        self._housekeeping = Housekeeping(self._jobs())
        sources = Threads(self.sources, self.clock)
        rest = Threads([self.pipeline, self.store, self.uplink, self.commands, self.monitor, self.hanging], self.clock)
        rest.start()
        sources.start()
        self._housekeeping.start()
        end_ns = None if duration_s is None else self.clock.now_ns() + round(duration_s * NS_PER_S)
        self.clock.wait(stop, end_ns)
        self._housekeeping.stop()
        sources.stop(_STOP_S)
        rest.stop(_STOP_S)
        self.drain(DRAIN_S)

    def run_simulated(
        self, clock: SimulatedClock, pace: Pace, *, end_ns: int | None, stop: threading.Event, upkeep: bool = True
    ) -> None:
        """Work until `end_ns` or `stop` on a simulated clock, worker after worker. Does not drain.

        Args:
            clock: the one that the agent was made with.
            pace: how simulated time relates to real time.
            end_ns: clock time of the end; None: until `stop`.
            stop: ends the run.
            upkeep: whether heartbeats are sent and the clock is watched; a recording needs neither.
        """
        workers = [*self.sources, self.pipeline, self.store, self.uplink, self.commands]
        if upkeep:
            workers += [self.monitor, SimulatedHousekeeping(self._jobs(), clock)]

        def shown() -> None:
            self.pipeline.process()  # so that the display shows the latest values
            pace.shown()

        fresh = Pace(pace.speed, pace.wake, pace.settle, shown)
        run_simulated(workers, clock, fresh, end_ns=end_ns, stop=stop)

    def await_network(self, patience_s: float) -> None:
        """Wait, by the network's clock, for an answer of the broker if one is due; not again after it failed to come.

        For simulated time, which stands still meanwhile: otherwise an hour would pass before a PUBACK.
        """
        if len(self.uplink.inbox):
            self._patient = True
        elif self._patient and not self.uplink.session.idle:
            network = self._network_clock
            network.wait(self.uplink.inbox.arrival, network.now_ns() + round(patience_s * NS_PER_S))
            self._patient = len(self.uplink.inbox) > 0

    def drain(self, timeout_s: float) -> None:
        """Seal, commit, give what is on its way up to `timeout_s`, close. Workers must not run any more."""
        _attempt(self.pipeline.finish)
        network = self._network_clock
        deadline_ns = network.now_ns() + round(timeout_s * NS_PER_S)
        while True:
            _attempt(self.store.step)
            _attempt(self.uplink.step)
            if len(self.store.inbox):
                continue
            online = self.uplink.session.state in {LinkState.ONLINE, LinkState.CONNECTING}
            if not online or self.uplink.session.idle or network.now_ns() >= deadline_ns:
                break
            network.wait(self.uplink.inbox.arrival, deadline_ns)
        _attempt(self.uplink.stop)
        _attempt(self.store.close)

    # ---- what it is doing

    def snapshot(self) -> Snapshot:
        """What the agent is doing, one part per worker. May be called from any thread."""
        anchor, now_ns = self.clock.anchor(), self.clock.now_ns()
        return Snapshot(
            node=self.config.gateway.id,
            clock=ClockPart(now_ns, anchor.offset_ns, anchor.quality, self.monitor.steps, now_ns - self._started_ns),
            buses=tuple(bus_part(source, now_ns) for source in self.sources if isinstance(source, BusWorker)),
            pipeline=self.pipeline.snapshot(),
            store=self.store.snapshot(),
            uplink=self.uplink.snapshot(),
            process=process_part(self._real.now_ns() - self._real_started_ns, self._written_before),
            device=self._device.part(),
        )

    def report(self, seed: int | None = None) -> Report:
        """What the run did so far; `seed` is that of the simulation, None if nothing is simulated."""
        return report_of(self.snapshot(), seed)

    def _status(self, state: str, most_bytes: int) -> bytes:
        announcement = self._announcer.announcement if self._announcer is not None else None
        return self._messages.status(state, self.snapshot(), announcement, most_bytes)

    def _announcement(self) -> Announcement:
        return self._messages.announcement(self.outbox.epoch, self.outbox.boot, self.clock.anchor())

    # ---- inside

    def _dialect(self) -> Dialect:
        return dialect_of(
            self.config,
            encode=self._messages.record,
            status=self._status,
            wall_ns=lambda: self.clock.now_ns() + self.clock.anchor().offset_ns,
            announcer=self._announcer,
            divide=self._messages.parts,
        )

    def _surroundings(self) -> Surroundings:
        """What rules may be about beside readings."""
        return Surroundings(
            pending=lambda: self.outbox.tally().pending,
            uplink=lambda: self.uplink.session.state.value,
            clock=self._clock_quality,
        )

    def _clock_quality(self) -> str:
        return self.clock.anchor().quality.name.lower()

    def _shorten_batches(self, record: Record, share: float) -> None:
        """Seal batches earlier, because the broker does not take one of this size."""
        if record.kind is RecordKind.BATCH:
            cells = int(record.readings * share * _FITTING)
            if self.pipeline.limit_cells(cells):
                log.warning("batches are too large for the broker and are sealed earlier readings=%d", cells)

    def _secure_every(self, durability_ns: int) -> None:
        self.pipeline.secure_every(durability_ns)

    def _publish_status(self, occasion: Occasion) -> None:
        self.uplink.inbox.put(PublishStatus(occasion))

    def _resume(self) -> None:
        """Go on with what an earlier run learned."""
        self.pipeline.restore([self.outbox.saved_state(name) for name in (STAGES, RULES)])

    def _tell(self, news: News) -> None:
        """Make an event of what people have to know about the outbox."""
        kind = EventKind.OUTBOX_RESET if news.state == "reset" else EventKind.OUTBOX_STATE
        self.pipeline.deliver(Event(kind, self.clock.now_ns(), "outbox", news.state, news.cause))
        if news.state in {"volatile", "durable"}:
            self._publish_status(Occasion.HEARTBEAT)

    def _jobs(self) -> list[Job]:
        return [
            Job("heartbeat", self.config.uplink.heartbeat_s, lambda: self._publish_status(Occasion.HEARTBEAT)),
        ]

    def _clock_changed(self, change: ClockChange) -> None:
        """Wall time stepped or changed quality: stored records are restated, events restate those that have left."""
        quality = change.new.quality.name.lower()
        cause = f"wall time moved by {change.moved_ns} ns against boot time and is {quality}"
        log.warning("clock changed: %s", cause)
        fixes: list[TimeFix | None] = [None]
        if change.new.quality >= change.old.quality:
            pieces = restated(change.old, change.new, change.good_ns, change.now_ns)
            self.store.inbox.put_always(SetAnchor(tuple(pieces)))
            fixes = list(fixes_of(self.outbox.boot, change.old, pieces, change.now_ns))
        for fix in fixes:
            self.pipeline.deliver(Event(EventKind.TIME_FIX, change.now_ns, "clock", quality, cause, fix=fix))
        if self._housekeeping is not None:
            self._housekeeping.reschedule()


def fixes_of(boot: int, old: Anchor, pieces: Sequence[AnchorSince], now_ns: int) -> Iterator[TimeFix]:
    """What restates records that have left, piece by piece."""
    ends = [piece.since_ns - 1 for piece in pieces[1:]] + [now_ns]
    for piece, to_ns in zip(pieces, ends, strict=True):
        yield TimeFix(boot, piece.since_ns, to_ns, old.offset_ns, piece.anchor.offset_ns)


def _attempt(step: Callable[[], object]) -> None:
    """Do a step of the end. If it fails, the following ones are done all the same: the last of them is a commit."""
    try:
        step()
    except Exception:
        log.exception("a step of the end failed")


def _outbox_side(store: Inbox[StoreInput]) -> OutboxSide:
    """What the uplink does to records, as requests to the store.

    They are few, because few records are on their way, and the session would wait for ever for an answer to a lost one.
    """
    return OutboxSide(
        rewind=lambda: store.put_always(Rewind()),
        hand_out=lambda limit, backlog: store.put_always(HandOut(limit, backlog)),
        confirm=lambda record: store.put_always(Confirm(record)),
        set_aside=lambda record: store.put_always(SetAside(record)),
        readmit=lambda: store.put_always(Readmit()),
        answer=lambda missing: store.put(Answer(tuple(Asked(each.epoch, each.ranges) for each in missing))),
    )
