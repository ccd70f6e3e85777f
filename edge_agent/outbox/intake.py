"""What the next commit makes durable. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.outbox.tombstones import Dropped, Loss, append_loss
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW_BYTES: Final = 200
"""What a waiting record costs in memory beside its body, roughly."""
_FORGO_TO: Final = 0.9
"""Dropping goes on to this share of the limit, so that it does not happen at every record."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be stored: encoded, with what must be known of it without decoding.

    Attributes:
        kind: what the body holds.
        readings: how many readings.
        first_ns, last_ns: boot time of the first and last of them.
        body: encoded.
        urgent: whether it leaves before all that is not.
    """

    kind: RecordKind
    readings: int
    first_ns: int
    last_ns: int
    body: bytes
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A record with its place and number."""

    rowid: int
    seq: int
    content: Content


@dataclass(slots=True)
class Intake:
    """What is not durable yet.

    Attributes:
        rows: new records, oldest first.
        segments: parts of the batch that is not sealed yet.
        sealed: whether the segments stored so far are in a batch now.
        finished: rowids that the uplink is done with: None if it arrived, else why it never can.
        losses: records that were dropped before they were ever stored.
        anchor: whether the current boot's anchor is news.
        states: what stages remember, by name.
        size_bytes: memory that `rows` take.
    """

    rows: list[Row] = field(default_factory=list)
    segments: list[Content] = field(default_factory=list)
    sealed: bool = False
    finished: dict[int, str | None] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    anchor: bool = False
    states: dict[str, bytes] = field(default_factory=dict)
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return self.for_database or bool(self.segments)

    @property
    def for_database(self) -> bool:
        """Whether there is anything but segments."""
        news = self.rows or self.sealed or self.finished or self.losses or self.anchor or self.states
        return bool(news)

    def add(self, row: Row) -> None:
        """Take a record in. A batch holds all that the segments before it held."""
        self.rows.append(row)
        self.size_bytes += len(row.content.body) + ROW_BYTES
        if row.content.kind is RecordKind.BATCH:
            self.segments.clear()
            self.sealed = True

    def finish(self, finished: Mapping[int, str | None]) -> None:
        """Note what became of records. One that arrived has arrived, whatever else is said of it."""
        for rowid, reason in finished.items():
            if reason is None or rowid not in self.finished:
                self.finished[rowid] = reason

    def forgo(self, limit_bytes: int, epoch: int, boot: int, reason: str) -> None:
        """Give up the oldest batches, and when there are no more the oldest events, until the rest fits."""
        if self.size_bytes <= limit_bytes:
            return
        given_up: list[Row] = []
        for kind in (RecordKind.BATCH, RecordKind.EVENT):
            for row in self.rows:
                if self.size_bytes <= limit_bytes * _FORGO_TO:
                    break
                if row.content.kind is kind:
                    given_up.append(row)
                    self.size_bytes -= len(row.content.body) + ROW_BYTES
        gone = {row.rowid for row in given_up}
        self.rows = [row for row in self.rows if row.rowid not in gone]
        for row in given_up:
            what = row.content
            dropped = Dropped(row.seq, row.seq, 1, what.readings, what.first_ns, what.last_ns, reason)
            append_loss(self.losses, Loss(epoch, boot, dropped))

    def followed_by(self, later: Intake) -> Intake:
        """Both as one."""
        both = Intake(
            rows=self.rows + later.rows,
            segments=later.segments if later.sealed else self.segments + later.segments,
            sealed=self.sealed or later.sealed,
            finished=dict(self.finished),
            losses=self.losses + later.losses,
            anchor=self.anchor or later.anchor,
            states=self.states | later.states,
            size_bytes=self.size_bytes + later.size_bytes,
        )
        both.finish(later.finished)
        return both
