"""The run report: what a run did, in numbers that add up. Public and stable: fields are only ever added."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.agent.snapshot import Snapshot
    from edge_agent.outbox.worker import StorePart


@dataclass(frozen=True, slots=True)
class SensorReport:
    """One sensor: its state, measurements taken, measurements that failed, and why it is not sampling."""

    state: str
    readings: int
    errors: int
    missed: int
    cause: str


@dataclass(frozen=True, slots=True)
class ReadingCounts:
    """sampled = good + estimated + suspect + bad; `suppressed` (by a deadband) and `dropped` are among the sampled.

    `reasons` counts readings by flag; one may bear several.
    """

    sampled: int
    good: int
    estimated: int
    suspect: int
    bad: int
    suppressed: int
    dropped: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """committed = confirmed + tombstoned + pending. `carried_over` of the committed were left by earlier runs.

    `published` counts PUBLISH packets, repeated ones too; `puback` the successful answers. `set_aside` of the
    pending ones are not taken by the broker for now; `set_aside_reason` is that of the latest, empty if none is.
    """

    committed: int
    published: int
    puback: int
    confirmed: int
    tombstoned: int
    pending: int
    carried_over: int
    set_aside: int
    set_aside_reason: str


@dataclass(frozen=True, slots=True)
class BacklogReport:
    """`records` that waited to be sent at the end, the time that they would take, and the measured `bytes_per_s`.

    `eta_s` and `bytes_per_s` are None if the rate is not known.
    """

    records: int
    eta_s: float | None
    bytes_per_s: float | None


@dataclass(frozen=True, slots=True)
class OutboxReport:
    """State of the outbox at the end.

    `state`: `durable`, or `volatile` if nothing could be stored, because of `failure`. `in_memory`: records that are in
    memory only. `lost_records`, `lost_readings`: those that were when the agent stopped. `salvaged`: records found in
    damaged databases in this run; `salvage_lost`: those that were not; `salvage_remaining`: to be found yet.
    """

    state: str
    failure: str
    in_memory: int
    lost_records: int
    lost_readings: int
    salvaged: int
    salvage_lost: int
    salvage_remaining: int


@dataclass(frozen=True, slots=True)
class ReceiversReport:
    """What receivers said. All 0 and empty with `ack = "puback"`.

    `unconfirmed`: records that the broker has and no receiver has confirmed. `unheard`: a sentence if none has ever
    confirmed anything. `ignored`: names of those that are not among the required ones. `ignored_messages`: messages
    that cannot be read, or lack a valid signature.
    """

    unconfirmed: int
    unheard: str
    ignored: tuple[str, ...]
    ignored_messages: int


@dataclass(frozen=True, slots=True)
class WearReport:
    """What is written to the device of the outbox.

    `outbox_written`: bytes by the outbox's own count of blocks, and `outbox_mib_per_day` at that rate. `device`: name
    of the device, empty if not known; `device_written` and `device_mib_per_day`: what all programs wrote to it.
    `durability_s`: interval at which open rows are secured, longer than configured `because` of something, or empty.
    """

    outbox_written: int
    outbox_mib_per_day: float | None
    device: str
    device_written: int | None
    device_mib_per_day: float | None
    durability_s: float
    because: str


@dataclass(frozen=True, slots=True)
class ByteCounts:
    """`wire`: payloads published. `outbox_written`: what /proc/self/io says, which may be off by a factor of five."""

    wire: int
    outbox_written: int


@dataclass(frozen=True, slots=True)
class ClockReport:
    """Quality of wall time at the end, and how often it stepped."""

    quality: str
    steps: int


@dataclass(frozen=True, slots=True)
class Report:
    """The file that `--report` writes. `anomalies` counts what was found, by kind."""

    node: str
    epoch: int
    seed: int | None
    simulated_s: float | None
    wall_s: float
    sensors: Mapping[str, SensorReport]
    readings: ReadingCounts
    records: RecordCounts
    bytes: ByteCounts
    alerts: int
    clock: ClockReport
    max_rss_bytes: int
    cpu_s: float
    anomalies: Mapping[str, int]
    outbox: OutboxReport
    backlog: BacklogReport
    receivers: ReceiversReport
    wear: WearReport

    def to_json(self) -> str:
        """JSON text, one key per line at the top."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Replace `path` in one step, so that a reader never sees half a report."""
        partial = path.with_name(path.name + ".part")
        partial.write_text(self.to_json(), encoding="utf-8")
        partial.replace(path)


def report_of(snapshot: Snapshot, seed: int | None) -> Report:
    """What a run did so far.

    Args:
        snapshot: of the agent.
        seed: of the simulation; None if nothing is simulated.
    """
    pipeline, store, uplink, process = snapshot.pipeline, snapshot.store, snapshot.uplink, snapshot.process
    tally = dataclasses.asdict(store.tally)
    return Report(
        node=snapshot.node,
        epoch=store.epoch,
        seed=seed,
        simulated_s=None if seed is None else snapshot.clock.running_ns / NS_PER_S,
        wall_s=process.real_ns / NS_PER_S,
        sensors={
            each.id: SensorReport(each.state.value, each.measurements, each.errors, each.missed, each.cause)
            for each in snapshot.sensors()
        },
        readings=ReadingCounts(**dataclasses.asdict(pipeline.counts)),
        records=RecordCounts(
            published=uplink.sent,
            puback=uplink.acknowledged,
            set_aside=store.set_aside,
            set_aside_reason=uplink.aside_reason,
            **tally,
        ),
        bytes=ByteCounts(uplink.bytes_sent, process.written_bytes),
        alerts=pipeline.alerts_fired,
        clock=ClockReport(snapshot.clock.quality.name.lower(), snapshot.clock.steps),
        max_rss_bytes=process.max_rss_bytes,
        cpu_s=process.cpu_s,
        anomalies=pipeline.anomalies,
        outbox=_outbox_report(store),
        backlog=BacklogReport(snapshot.backlog, snapshot.backlog_eta_s, uplink.bytes_per_s),
        receivers=ReceiversReport(
            uplink.unconfirmed, uplink.unheard, uplink.ignored_receivers, uplink.ignored_messages
        ),
        wear=_wear_report(snapshot, is_simulated=seed is not None),
    )


def _outbox_report(store: StorePart) -> OutboxReport:
    records, readings = store.lost_at_exit
    return OutboxReport(
        state="volatile" if store.volatile else "durable",
        failure=store.failure,
        in_memory=store.in_memory,
        lost_records=records,
        lost_readings=readings,
        salvaged=store.salvage.salvaged,
        salvage_lost=store.salvage.lost,
        salvage_remaining=store.salvage.remaining,
    )


def _wear_report(snapshot: Snapshot, *, is_simulated: bool) -> WearReport:
    """A device has no days of simulated time."""
    wear, device = snapshot.store.wear, snapshot.device
    return WearReport(
        outbox_written=wear.written_bytes,
        outbox_mib_per_day=_rounded(snapshot.outbox_mib_per_day),
        device=device.name,
        device_written=device.written_bytes,
        device_mib_per_day=None if is_simulated else _rounded(snapshot.device_mib_per_day),
        durability_s=wear.durability_ns / NS_PER_S,
        because=wear.because,
    )


def _rounded(mib: float | None) -> float | None:
    return None if mib is None else round(mib, 2)
