"""The composition root: configuration → objects → threads, or one simulated timeline. Start, stop, drain.

Read this first. The path is put together in `Agent.__init__`, in its order: bus workers → pipeline → store → uplink.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from edge_agent.agent.build import alert_settings, broker_of
from edge_agent.agent.dialect import dialect_of, most_cells
from edge_agent.agent.report import (
    ByteCounts,
    ClockHealth,
    ReadingCounts,
    RecordCounts,
    Report,
    SensorHealth,
    process_usage,
    status_json,
    storage_bytes_written,
)
from edge_agent.clock import NS_PER_S, Anchor, SystemClock
from edge_agent.outbox.outbox import Dropped, Outbox
from edge_agent.outbox.worker import Arrived, HandOut, Rewind, SetAnchor, StoreWorker, Undeliverable
from edge_agent.pipeline.pipeline import ALERTS, STAGES, Pipeline
from edge_agent.pipeline.rules import Surroundings
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Event, EventKind, Record
from edge_agent.runtime import ClockWatch, Housekeeping, Job, SimulatedHousekeeping, Threads, Worker, run_simulated
from edge_agent.sampling.worker import BusWorker
from edge_agent.uplink.dialects.announcer import Announcer
from edge_agent.uplink.session import LinkState, Session
from edge_agent.uplink.worker import Offered, OutboxSide, PublishStatus, Stored, UplinkWorker
from edge_agent.version import __version__
from edge_agent.wire.announcement import make_announcement
from edge_agent.wire.batch import Tombstone
from edge_agent.wire.encode import encode_message, encode_tombstone
from edge_agent.wire.envelope import Envelope

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_agent.clock import Clock, SimulatedClock
    from edge_agent.config import model
    from edge_agent.pipeline.pipeline import ChannelSettings, Witness
    from edge_agent.sampling.worker import SampledBus
    from edge_agent.wire.announcement import Announcement
from edge_agent.runtime import Pace

log = logging.getLogger(__name__)

DRAIN_S: Final = 5.0
"""How long the records that are on their way may take when we stop."""
_STOP_S: Final = 3.0
"""How long a worker may take to finish its step when we stop."""


class Agent:
    """A gateway at work.

    Args:
        config: what to do.
        settings: channels of every sensor.
        clock: real or simulated.
        rng: for epochs and waiting times.
        directory: of the outbox.
        seed: for the report; None if nothing is simulated.
        witness: sees what becomes of every reading.
    """

    def __init__(
        self,
        config: model.Config,
        *,
        settings: Mapping[str, Sequence[ChannelSettings]],
        clock: Clock,
        rng: random.Random,
        directory: Path,
        seed: int | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self._seed = seed
        self._started_ns, self._real = clock.now_ns(), SystemClock()
        self._real_started_ns = self._real.now_ns()
        self._written_before = storage_bytes_written()
        self._time_step_ns = max(1, round(config.batch.time_resolution_s * NS_PER_S))
        broker = broker_of(config)

        self._channels = [(name, [channel.quantity for channel in own]) for name, own in settings.items()]
        announced = config.batch.names == "announced" and config.uplink.format == "batch"
        self._announcer = Announcer(self._announcement) if announced else None
        # Before the outbox is opened: what cannot be spoken is no reason to leave one open.
        dialect = dialect_of(
            config, encode=self._encode, status=self._status, wall_ns=self._wall_ns, announcer=self._announcer
        )
        self.outbox = Outbox(
            directory,
            max_bytes=round(config.outbox.max_mib * 1_048_576),
            boot_id=clock.boot_id(),
            anchor=clock.anchor(),
            rng=rng,
            encode_tombstone=_encode_dropped,
        )
        self.store = StoreWorker(
            self.outbox,
            clock,
            durability_ns=round(config.outbox.durability_s * NS_PER_S),
            offer=lambda records: self.uplink.inbox.put(Offered(records)),
            committed=lambda: self.uplink.inbox.put(Stored()),
        )
        self.pipeline = Pipeline(
            settings,
            clock=clock,
            batch_ns=round(config.batch.period_s * NS_PER_S),
            align=config.batch.align,
            durability_ns=round(config.outbox.durability_s * NS_PER_S),
            time_step_ns=self._time_step_ns,
            features=config.batch.features,
            store=self.store.inbox.put,
            max_cells=most_cells(config.uplink.format),
            alerts=alert_settings(config),
            around=Surroundings(
                pending=lambda: self.outbox.tally().pending,
                uplink=lambda: self.uplink.session.state.value,
                clock=lambda: clock.anchor().quality.name.lower(),  # noqa: PLW0108 it changes
            ),
            witness=witness,
        )
        self.pipeline.restore([self.outbox.saved_state(name) for name in (STAGES, ALERTS)])
        self.uplink = UplinkWorker(
            broker=broker,
            dialect=dialect,
            versions={"auto": (5, 4), "5": (5,), "3.1.1": (4,)}[config.uplink.protocol],
            session=Session(
                window=config.uplink.window, ack_timeout_ns=2 * config.uplink.keepalive_s * NS_PER_S, rng=rng
            ),
            outbox=OutboxSide(
                restart=lambda: self.store.inbox.put(Rewind()),
                ask=lambda limit: self.store.inbox.put(HandOut(limit)),
                settle=lambda record: self.store.inbox.put(Arrived(record)),
                bury=lambda record, reason: self.store.inbox.put(Undeliverable(record, reason)),
            ),
            clock=clock,
        )
        self.watch = ClockWatch(clock, self._clock_changed)
        self.sources: list[Worker] = []
        self.bus_workers: list[BusWorker] = []
        self._housekeeping: Housekeeping | None = None
        self._patient = True
        if self.outbox.salvage is not None:
            salvage = self.outbox.salvage
            cause = f"{salvage.reason}; {salvage.records} records go on, the rest is in {salvage.aside}"
            self.pipeline.deliver(Event(EventKind.OUTBOX_RESET, clock.now_ns(), "outbox", "reset", cause))

    def sample(self, buses: Sequence[SampledBus], rng: random.Random) -> None:
        """Add a worker for each bus."""
        self.bus_workers = [BusWorker(bus, clock=self.clock, rng=rng, deliver=self.pipeline.deliver) for bus in buses]
        self.sources += self.bus_workers

    # ---- running

    def run_threads(self, stop: threading.Event, duration_s: float | None) -> None:
        """Work until `stop` or for `duration_s`, each worker in a thread, then drain and close."""
        self._housekeeping = Housekeeping(self._jobs())
        sources = Threads(self.sources, self.clock)
        rest = Threads([self.pipeline, self.store, self.uplink, self.watch], self.clock)
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
        workers = [*self.sources, self.pipeline, self.store, self.uplink]
        if upkeep:
            workers += [self.watch, SimulatedHousekeeping(self._jobs(), clock)]
        run_simulated(workers, clock, pace, end_ns=end_ns, stop=stop)

    def await_network(self, patience_s: float) -> None:
        """Wait, in real time, for an answer of the broker if one is due; not again after it failed to come.

        For simulated time, which stands still meanwhile: otherwise an hour would pass before a PUBACK.
        """
        if len(self.uplink.inbox):
            self._patient = True
        elif self._patient and not self.uplink.session.idle:
            self._real.wait(self.uplink.inbox.arrival, self._real.now_ns() + round(patience_s * NS_PER_S))
            self._patient = len(self.uplink.inbox) > 0

    def drain(self, timeout_s: float) -> None:
        """Seal, commit, give what is on its way up to `timeout_s`, close. Workers must not run any more."""
        self.pipeline.finish()
        deadline_ns = self._real.now_ns() + round(timeout_s * NS_PER_S)
        while True:
            self.store.step()
            self.uplink.step()
            if len(self.store.inbox):
                continue
            online = self.uplink.session.state in {LinkState.ONLINE, LinkState.CONNECTING}
            if not online or self.uplink.session.idle or self._real.now_ns() >= deadline_ns:
                break
            self._real.wait(self.uplink.inbox.arrival, deadline_ns)
        self.uplink.stop()
        try:
            self.outbox.close()
        except Exception:  # whatever is wrong with the disk, the rest is closed already
            log.exception("the last commit failed")

    # ---- telling

    def report(self) -> Report:
        """What the run did so far."""
        counts, tally, session = self.pipeline.counts, self.outbox.tally(), self.uplink.session
        max_rss_bytes, cpu_s = process_usage()
        simulated_s = (self.clock.now_ns() - self._started_ns) / NS_PER_S
        return Report(
            node=self.config.gateway.id,
            epoch=self.outbox.epoch,
            seed=self._seed,
            simulated_s=None if self._seed is None else simulated_s,
            wall_s=(self._real.now_ns() - self._real_started_ns) / NS_PER_S,
            sensors={
                sensor.id: SensorHealth(
                    sensor.state.value, sensor.measurements, sensor.errors, sensor.missed, sensor.cause
                )
                for worker in self.bus_workers
                for sensor in worker.sensors
            },
            readings=ReadingCounts(**asdict(counts)),
            records=RecordCounts(published=session.sent, puback=session.acknowledged_count, **asdict(tally)),
            bytes=ByteCounts(self.uplink.bytes_sent, storage_bytes_written() - self._written_before),
            alerts=self.pipeline.alerting.fired,
            clock=ClockHealth(self.clock.anchor().quality.name.lower(), self.watch.steps),
            max_rss_bytes=max_rss_bytes,
            cpu_s=cpu_s,
            anomalies=dict(self.pipeline.findings.counts),
        )

    def _status(self, state: str) -> bytes:
        """Birth and heartbeat say everything; the last will and a farewell only who is gone."""
        who = {"node": self.config.gateway.id, "epoch": self.outbox.epoch}
        if state != "online":
            return status_json(state, who)
        tally, anchor = self.outbox.tally(), self.clock.anchor()
        announcement = self._announcer.announcement if self._announcer is not None else None
        states = {sensor.id: sensor.state.value for worker in self.bus_workers for sensor in worker.sensors}
        return status_json(
            state,
            {
                **who,
                "version": __version__,
                "site": self.config.gateway.site,
                "location": self.config.gateway.location,
                "t_ns": self._wall_ns(),
                "t_quality": anchor.quality.name.lower(),
                **({"announcement": announcement.to_text()} if announcement is not None else {}),
                "records": asdict(tally),
                "alerts": self.pipeline.alerting.firing,
                "sensors": {
                    sensor.id: {
                        "driver": sensor.driver.name,
                        "title": sensor.driver.title,
                        "location": sensor.location,
                        "bus": sensor.bus,
                        "address": sensor.address,
                        "period_s": sensor.period_s,
                        "state": states.get(sensor.id, "replayed"),
                        "quantities": {name: QUANTITIES[name].unit for name in sensor.channels},
                        "calibration": {
                            name: {
                                "certificate": each.certificate,
                                "on": each.calibrated_on,
                                "due": each.calibration_due,
                            }
                            for name, each in sensor.channels.items()
                            if each.certificate or each.calibrated_on or each.calibration_due
                        },
                    }
                    for sensor in self.config.sensors
                },
            },
        )

    # ---- inside

    def _jobs(self) -> list[Job]:
        return [
            Job("heartbeat", self.config.uplink.heartbeat_s, lambda: self.uplink.inbox.put(PublishStatus())),
            Job("anchor", 3600.0, lambda: self.store.inbox.put(SetAnchor(self.clock.anchor()))),
        ]

    def _clock_changed(self, moved_ns: int) -> None:
        """Wall time stepped or changed quality: stored records are restated, the others told of."""
        anchor = self.clock.anchor()
        self.store.inbox.put(SetAnchor(anchor))
        cause = f"wall time moved by {moved_ns} ns against boot time and is {anchor.quality.name.lower()}"
        log.warning("clock changed: %s", cause)
        self.pipeline.deliver(
            Event(EventKind.TIME_FIX, self.clock.now_ns(), "clock", anchor.quality.name.lower(), cause)
        )
        if self._housekeeping is not None:
            self._housekeeping.reschedule()

    def _wall_ns(self) -> int:
        """UNIX time as far as it is known."""
        return self.clock.now_ns() + self.clock.anchor().offset_ns

    def _encode(self, record: Record) -> bytes:
        """The message of a record, with its wall time by the best that is known now."""
        anchor = Anchor(record.offset_ns, record.time_quality, 0)
        return encode_message(record.kind, self._envelope(record.epoch, record.seq, record.boot, anchor), record.body)

    def _announcement(self) -> Announcement:
        """What holds for the batches of this run."""
        envelope = self._envelope(self.outbox.epoch, 0, self.outbox.boot, self.clock.anchor())
        return make_announcement(envelope, self._time_step_ns, self._channels)

    def _envelope(self, epoch: int, seq: int, boot: int, anchor: Anchor) -> Envelope:
        step_ns = self._time_step_ns  # finer than the stamps themselves means nothing
        return Envelope(
            node=self.config.gateway.id,
            epoch=epoch,
            seq=seq,
            boot=boot,
            offset_ns=(anchor.offset_ns + step_ns // 2) // step_ns * step_ns,
            time_quality=anchor.quality,
        )


def _encode_dropped(dropped: Dropped) -> bytes:
    return encode_tombstone(
        Tombstone(
            first_seq=dropped.first_seq,
            last_seq=dropped.last_seq,
            records=dropped.records,
            readings=dropped.readings,
            reason=dropped.reason,
            first_ns=dropped.first_ns,
            last_ns=dropped.last_ns,
        )
    )
