"""The nouns that flow along the path. Pure.

measurement (all quantities of one sensor at one moment) → column block (one channel over a while, estimated and
judged) → record (what is stored and sent).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.clock import ClockQuality


class Quality(IntEnum):
    """How far a reading can be trusted. The numbers travel on the wire."""

    GOOD = 0
    ESTIMATED = 1
    """The value was computed, not measured: the filter's prediction stands in for a refused measurement."""
    SUSPECT = 2
    """Measured and shown, but something about it is odd; the flags say what."""
    BAD = 3
    """Not to be used. There may be no value at all."""


class Flag(IntFlag):
    """Why a reading is not good. The bits travel on the wire."""

    NO_VALUE = 1
    """The chip gave no number (channel skipped, power-on value, not finite)."""
    OUT_OF_RANGE = 2
    """Outside what the chip can measure or what the configuration allows."""
    TOO_FAST = 4
    """Changed faster than the configuration allows."""
    OUTLIER = 8
    """Further from the filter's prediction than noise explains."""
    TIME_BACKWARDS = 16
    """Stamped earlier than the reading before it."""
    UNSETTLED = 32
    """Among the first since the chip was started, when some chips are not themselves yet."""
    STUCK = 64
    """The same to the last bit for so long that the chip's own noise should have shown: it may convert no more."""


NOT_SENT: Final = -1
"""Status of a cell whose reading the deadband suppressed, or that the sensor did not measure."""


def status_of(flags: Flag) -> int:
    """Fold flags and the quality that follows from them into the one small integer that is stored per cell.

    Returns:
        `flags << 2 | quality`: 0 for a good reading.
    """
    if flags & (Flag.NO_VALUE | Flag.OUT_OF_RANGE):
        return flags << 2 | Quality.BAD
    if flags & Flag.OUTLIER:
        return flags << 2 | Quality.ESTIMATED
    return flags << 2 | (Quality.SUSPECT if flags else Quality.GOOD)


def quality_of(status: int) -> Quality:
    """The quality in a cell's status."""
    return Quality(status & 3)


def flags_of(status: int) -> Flag:
    """The flags in a cell's status."""
    return Flag(status >> 2)


class Measurement(NamedTuple):
    """All quantities of one sensor at one moment.

    Attributes:
        sensor: id of the sensor.
        boot_ns: moment of the conversion, nanoseconds since boot.
        quantities: names, e.g. `("temperature_c", "humidity_pct")`.
        values: in the canonical unit of each quantity; None where the chip gave no number.
        flags: what is odd about all of them.
    """

    sensor: str
    boot_ns: int
    quantities: tuple[str, ...]
    values: tuple[float | None, ...]
    flags: Flag = Flag(0)


class ChannelBlock(NamedTuple):
    """A block of one channel that has been through all stages: one entry per reading, canonical unit.

    Attributes:
        times_ns: nanoseconds since boot.
        raws: calibrated.
        values: filtered and rounded.
        sigmas: standard deviations of the errors of the values; None where there is no estimate.
        statuses: see `status_of`.
    """

    times_ns: Sequence[int]
    raws: Sequence[float | None]
    values: Sequence[float | None]
    sigmas: Sequence[float | None]
    statuses: Sequence[int]


class EventKind(Enum):
    """What an event tells. The text travels on the wire."""

    SENSOR_STATE = "sensor-state"
    BUS_STATE = "bus-state"
    TIME_FIX = "time-fix"
    OUTBOX_RESET = "outbox-reset"
    OUTBOX_STATE = "outbox-state"
    ALERT = "alert"
    ANOMALY = "anomaly"


@dataclass(frozen=True, slots=True)
class TimeFix:
    """The wall time of stamps is restated: for these stamps, wall minus boot time is `new_offset_ns`.

    Attributes:
        boot: number of the boot that the stamps belong to; 0..2**63-1.
        from_ns, to_ns: first and last stamp that it holds for, nanoseconds since boot; from_ns <= to_ns.
        old_offset_ns: what was said before of the last of these stamps.
        new_offset_ns: what holds now. It replaces what was said before, and is never added to it.
    """

    boot: int
    from_ns: int
    to_ns: int
    old_offset_ns: int
    new_offset_ns: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once, for a person or a rule to act on.

    Attributes:
        kind: what it tells.
        boot_ns: when.
        subject: what it is about: a sensor id, a channel as `sensor.quantity`, the name of a bus or an alert, `clock`,
            `outbox`.
        state: what the subject is now, one word; an alert is `firing` or `resolved`.
        cause: one sentence with evidence and, where there is one, the fix.
        errno: the kernel's reason, where it gave one.
        severity: of an alert: `info`, `warning`, `critical`.
        fix: of a time-fix: the numbers.
    """

    kind: EventKind
    boot_ns: int
    subject: str
    state: str
    cause: str
    errno: int | None = None
    severity: str | None = None
    fix: TimeFix | None = None


class RecordKind(IntEnum):
    """What a record holds. The numbers travel on the wire."""

    BATCH = 0
    EVENT = 1
    TOMBSTONE = 2


class RowRange(NamedTuple):
    """Rows `first`, `first + step` and so on, up to `last`; counted as in `RowsOfBatch`."""

    first: int
    last: int
    step: int = 1

    def numbers(self) -> range:
        """These rows."""
        return range(self.first, self.last + 1, self.step)


@dataclass(frozen=True, slots=True)
class RowsOfBatch:
    """Which rows of a batch a message holds. Rows are counted from 0 over the groups in their order.

    Attributes:
        total: rows of the whole batch, all groups together; 1..MAX_CELLS.
        first: the first row that the message holds.
        step: 1, or more in a thinned copy: the message holds every `step`-th row from `first` on.
        count: how many rows that are; 1 or more.
        more: further rows that the message holds, ascending, all of them after those.
    """

    total: int
    first: int
    step: int
    count: int
    more: tuple[RowRange, ...] = ()

    @property
    def last(self) -> int:
        """The last row before `more`."""
        return self.first + (self.count - 1) * self.step

    @property
    def size(self) -> int:
        """Number of rows that the message holds."""
        return self.count + sum(len(each.numbers()) for each in self.more)

    def numbers(self) -> Sequence[int]:
        """The rows that the message holds."""
        own = range(self.first, self.last + 1, self.step)
        return own if not self.more else [*own, *(row for each in self.more for row in each.numbers())]


@dataclass(frozen=True, slots=True)
class Record:
    """A batch, event or tombstone as it leaves the outbox, identified by (node, epoch, seq).

    Attributes:
        rowid: its place in the outbox, ascending in commit order.
        epoch, seq: identity; seq ascends within the epoch.
        kind: what the body holds.
        boot: number of the boot that its stamps belong to.
        offset_ns: wall minus boot time of that boot, by the best anchor known when it was handed out.
        time_quality: quality of that anchor.
        readings: how many readings it holds or, for a tombstone, tells of.
        body: encoded content, without the envelope.
        rows: which rows of its batch the body holds; None: all.
    """

    rowid: int
    epoch: int
    seq: int
    kind: RecordKind
    boot: int
    offset_ns: int
    time_quality: ClockQuality
    readings: int
    body: bytes
    rows: RowsOfBatch | None = None


class Lane(Enum):
    """Which way a record travels: what is fresh overtakes what has waited. The text is the topic's last level."""

    LIVE = "live"
    BACKLOG = "backlog"
