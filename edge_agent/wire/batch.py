"""What one message holds. Pure.

As it is stored, a message is self-contained: nothing in it refers to another, so any one can be lost, repeated or
reordered without damage to the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.reading import NOT_SENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.features import Features
    from edge_agent.reading import Event
    from edge_agent.wire.announcement import Announcement
    from edge_agent.wire.envelope import Envelope
    from edge_agent.wire.floats import Decimals


@dataclass(frozen=True, slots=True)
class Column:
    """One channel over the rows of its group.

    Attributes:
        quantity: name, e.g. `temperature_c`.
        values: canonical unit, one per row; None where there is no number.
        raws: the values as measured, before calibration and filter, canonical unit; None: not sent.
        statuses: one per row, see `reading.status_of`; NOT_SENT: the cell is absent, and its value and raw do
            not travel. 0..65535 otherwise.
        features: of the window that the rows cover; they travel as float32.
        sigmas: standard deviation of the error of each value, one per row, None where there is none; they travel in
            steps of 4 %. None: not sent.
        describe: without `features`, those of the rows that are here are to travel. Only for encoding.
        decimals: values and raws once more, where every cell is good and it is known what they are; saves the encoder
            finding out. Only for encoding.
    """

    quantity: str
    values: Sequence[float | None]
    raws: Sequence[float | None] | None
    statuses: Sequence[int]
    features: Features | None
    sigmas: Sequence[float | None] | None = None
    describe: bool = False
    decimals: Decimals | None = field(default=None, compare=False, repr=False)

    def cells_sent(self) -> int:
        """How many readings it has."""
        absent = 0 if self.decimals is not None else self.statuses.count(NOT_SENT)
        return len(self.statuses) - absent


@dataclass(frozen=True, slots=True)
class Group:
    """Channels of one sensor that were measured at the same moments.

    Attributes:
        sensor: id of the sensor.
        times_ns: nanoseconds since boot, one per row, int64; need not ascend.
        columns: each with as many cells as there are rows.
    """

    sensor: str
    times_ns: Sequence[int]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """The self-contained unit of sending."""

    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What was dropped, and why.

    Attributes:
        first_seq, last_seq: first and last record that is gone, of the epoch in the envelope.
        records, readings: how many are gone.
        reason: one word or sentence.
        first_ns, last_ns: from when to when the lost readings were taken, nanoseconds since boot.
    """

    first_seq: int
    last_seq: int
    records: int
    readings: int
    reason: str
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is published.

    Attributes:
        envelope: identity and time.
        content: what it tells.
        announcement: one that it teaches beside that; later messages may go by it.
    """

    envelope: Envelope
    content: Batch | Event | Tombstone
    announcement: Announcement | None = None


@dataclass(frozen=True, slots=True)
class StatusText:
    """A JSON object of the same topic tree (birth, heartbeat, last will, acknowledgement), as found."""

    fields: Mapping[str, object]
