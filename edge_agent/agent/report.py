"""The run report: what a run did, in numbers that add up. Parts keep plain counters; the agent hands them over here."""

from __future__ import annotations

import dataclasses
import json
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SensorHealth:
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

    `published` counts PUBLISH packets, repeated ones too; `puback` the successful answers.
    """

    committed: int
    published: int
    puback: int
    confirmed: int
    tombstoned: int
    pending: int
    carried_over: int


@dataclass(frozen=True, slots=True)
class ByteCounts:
    """`wire`: payloads published. `outbox_written`: what this process made the kernel write to storage."""

    wire: int
    outbox_written: int


@dataclass(frozen=True, slots=True)
class ClockHealth:
    """Quality of wall time at the end, and how often it stepped."""

    quality: str
    steps: int


@dataclass(frozen=True, slots=True)
class Report:
    """The file that `--report` writes. Fields are only ever added. `anomalies` counts what was odd, by kind."""

    node: str
    epoch: int
    seed: int | None
    simulated_s: float | None
    wall_s: float
    sensors: Mapping[str, SensorHealth]
    readings: ReadingCounts
    records: RecordCounts
    bytes: ByteCounts
    alerts: int
    clock: ClockHealth
    max_rss_bytes: int
    cpu_s: float
    anomalies: Mapping[str, int]

    def to_json(self) -> str:
        """JSON text, one key per line at the top."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Replace `path` in one step, so that a reader never sees half a report."""
        partial = path.with_name(path.name + ".part")
        partial.write_text(self.to_json(), encoding="utf-8")
        partial.replace(path)


def process_usage() -> tuple[int, float]:
    """Peak resident bytes and CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def storage_bytes_written() -> int:
    """Bytes that this process has caused to be written to storage; 0 where the kernel does not tell."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    counters = dict(line.split(": ") for line in lines)
    return int(counters.get("write_bytes", 0))


def status_json(state: str, fields: Mapping[str, Any]) -> bytes:
    """The retained status message: one JSON object."""
    return json.dumps({"state": state, **fields}, separators=(",", ":"), ensure_ascii=False).encode()
