"""A snapshot: what a running agent is doing, one frozen object made of one part per worker.

Report, status message and terminal picture read only this.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.outbox.wear import DAY_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.agent.device import DevicePart
    from edge_agent.clock import ClockQuality
    from edge_agent.outbox.worker import StorePart
    from edge_agent.pipeline.snapshot import PipelinePart
    from edge_agent.sampling.snapshot import BusPart, SensorPart
    from edge_agent.uplink.worker import UplinkPart

_SETTLED_NS: Final = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class ClockPart:
    """Time as the agent knows it.

    Attributes:
        boot_ns: nanoseconds since boot.
        offset_ns: wall (UNIX, UTC) minus boot time.
        quality: how far to trust it.
        steps: how often wall time has stepped since the start.
        running_ns: time since the start; simulated time where time is simulated.
    """

    boot_ns: int
    offset_ns: int
    quality: ClockQuality
    steps: int
    running_ns: int

    @property
    def wall_ns(self) -> int:
        """UNIX time, nanoseconds."""
        return self.boot_ns + self.offset_ns


@dataclass(frozen=True, slots=True)
class ProcessPart:
    """What the process has used since the agent was made.

    Attributes:
        real_ns: real time.
        max_rss_bytes: peak resident memory, since the process was started.
        cpu_s: user and system time, since the process was started.
        written_bytes: what the kernel was made to write to storage; 0 where it does not say.
    """

    real_ns: int
    max_rss_bytes: int
    cpu_s: float
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a running agent is doing. May be taken and read in any thread.

    Attributes:
        node: id of the gateway.
        clock, buses, pipeline, store, uplink, process, device: one part each.
    """

    node: str
    clock: ClockPart
    buses: tuple[BusPart, ...]
    pipeline: PipelinePart
    store: StorePart
    uplink: UplinkPart
    process: ProcessPart
    device: DevicePart

    @property
    def outbox_mib_per_day(self) -> float | None:
        """What the outbox writes by its own count, at the rate since the start; None: not yet known."""
        return _per_day(self.store.wear.written_bytes, self.clock.running_ns)

    @property
    def device_mib_per_day(self) -> float | None:
        """What everyone writes to its device, at the rate since the start; None: not known."""
        return _per_day(self.device.written_bytes, self.process.real_ns)

    @property
    def backlog(self) -> int:
        """Number of records that wait to be sent, without those that are set aside."""
        return max(0, self.store.tally.pending - self.store.set_aside)

    @property
    def backlog_eta_s(self) -> float | None:
        """Time until they have been sent at the current rate, seconds; None if the rate is not known."""
        rate = self.uplink.records_per_s
        return None if rate is None else self.backlog / rate

    def sensors(self) -> Iterator[SensorPart]:
        """The sensors of all buses."""
        for bus in self.buses:
            yield from bus.sensors


def _per_day(octets: int | None, elapsed_ns: int) -> float | None:
    """Mebibytes a day; None before a minute is over, because the start writes more."""
    if octets is None or elapsed_ns < _SETTLED_NS:
        return None
    return octets / 1_048_576 * DAY_NS / elapsed_ns


def process_part(real_ns: int, written_before: int) -> ProcessPart:
    """What this process has used.

    Args:
        real_ns: real time since the agent was made.
        written_before: what `storage_bytes_written` said then.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = usage.ru_utime + usage.ru_stime
    return ProcessPart(real_ns, usage.ru_maxrss * 1024, cpu_s, storage_bytes_written() - written_before)


def storage_bytes_written() -> int:
    """Bytes that this process has caused to be written to storage; 0 where the kernel does not say."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    counters = dict(line.split(": ") for line in lines)
    return int(counters.get("write_bytes", 0))
