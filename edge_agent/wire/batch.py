"""The contents of a message. Pure.

A stored message is self-contained: it refers to no other, so each can be lost, repeated or reordered without damage to
the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.reading import NOT_SENT, RowRange, RowsOfBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.features import Features
    from edge_agent.reading import Event
    from edge_agent.wire.announcement import Announcement
    from edge_agent.wire.envelope import Envelope

__all__ = ["Batch", "Column", "Group", "Message", "RowRange", "RowsOfBatch", "StatusText", "Tombstone"]


class Column(NamedTuple):
    """One channel over the rows of its group. A tuple, because the pipeline makes one per channel and dump.

    Attributes:
        quantity: name, e.g. `temperature_c`.
        values: canonical unit, one per row; None where there is no number.
        raws: the values as measured, before calibration and filter, canonical unit; None: not sent.
        statuses: one per row, see `reading.status_of`; NOT_SENT: the cell is absent, and its value and raw are not
            sent. 0..65535 otherwise.
        features: of the readings in the rows, or of more readings than are sent; sent as float32.
        sigmas: standard deviation of the error of each value, one per row, None where there is none; sent in steps of
            4 %. None: not sent.
        describe: whether to send the features of these rows if `features` is None. Only for encoding.
    """

    quantity: str
    values: Sequence[float | None]
    raws: Sequence[float | None] | None
    statuses: Sequence[int]
    features: Features | None
    sigmas: Sequence[float | None] | None = None
    describe: bool = False

    def cells_sent(self) -> int:
        """Number of readings that are sent."""
        return len(self.statuses) - self.statuses.count(NOT_SENT)


class Group(NamedTuple):
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
    """A record of what was dropped, and why.

    Attributes:
        first_seq, last_seq: first and last record that was dropped; 0 if they had no seq. last_seq None: everything
            from first_seq on, of an epoch that has ended.
        records, readings: how many were dropped.
        reason: one word or sentence.
        first_ns, last_ns: time of the first and the last dropped reading, nanoseconds since boot.
        epoch: epoch of first_seq and last_seq; None: that of the envelope.
        rows: not empty: only these rows of the batch first_seq (= last_seq) were dropped; its other rows go on.
    """

    first_seq: int
    last_seq: int | None
    records: int
    readings: int
    reason: str
    first_ns: int
    last_ns: int
    epoch: int | None = None
    rows: tuple[RowRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is published.

    Attributes:
        envelope: identity and time.
        content: the record.
        announcement: one that the message carries as well; later messages may refer to it.
        rows: which rows of the batch it holds; None: all.
    """

    envelope: Envelope
    content: Batch | Event | Tombstone
    announcement: Announcement | None = None
    rows: RowsOfBatch | None = None


@dataclass(frozen=True, slots=True)
class StatusText:
    """A JSON object of the same topic tree (birth, heartbeat, last will, acknowledgement), as found."""

    fields: Mapping[str, object]
