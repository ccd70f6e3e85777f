"""Changes that wait in memory for the next commit. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.outbox.tombstones import Dropped, Loss, append_loss
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ROW_BYTES: Final = 200
"""Approximate memory of a waiting record besides its body."""
MANY_FINISHED: Final = 64
"""Confirmations that do not wait: after a power cut, so many records may be sent again."""
PIECE_BYTES: Final = 131_072
"""Bytes of records that one transaction stores."""
_DROP_TO: Final = 0.9
"""Share of the limit down to which records are dropped, so that dropping is not needed at every record."""


@dataclass(frozen=True, slots=True)
class Content:
    """An encoded record, with the fields that are needed without decoding it.

    Attributes:
        kind: kind of the record.
        readings: number of readings in it.
        first_ns, last_ns: stamps of the first and the last of them, nanoseconds since boot.
        body: the encoded record.
        urgent: whether it is handed out before all records that are not urgent.
    """

    kind: RecordKind
    readings: int
    first_ns: int
    last_ns: int
    body: bytes
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A record with its rowid and its seq."""

    rowid: int
    seq: int
    content: Content


@dataclass(slots=True)
class Intake:
    """Changes that are not durable yet.

    Attributes:
        rows: new records, oldest first.
        segments: parts of the batch that is not sealed yet.
        sealed: whether a batch among `rows` holds the readings of all segments secured before.
        finished: rowids of confirmed records (None) and of refused ones (the reason).
        losses: records that were dropped before they were stored.
        answers: what receivers asked for and does not wait here; told like losses, and counted nowhere.
        anchor: whether the anchor of the current boot has changed.
        states: saved states of stages, by name.
        size_bytes: memory that `rows` take.
    """

    rows: list[Row] = field(default_factory=list)
    segments: list[Content] = field(default_factory=list)
    sealed: bool = False
    finished: dict[int, str | None] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    answers: list[Loss] = field(default_factory=list)
    anchor: bool = False
    states: dict[str, bytes] = field(default_factory=dict)
    size_bytes: int = 0

    @property
    def for_database(self) -> bool:
        """Whether there is anything besides segments and a few confirmations."""
        changes = self.rows or self.sealed or self.losses or self.answers or self.anchor or self.states
        return bool(changes) or len(self.finished) >= MANY_FINISHED or any(self.finished.values())

    @property
    def is_pressing(self) -> bool:
        """Whether there is anything besides a few confirmations, which can wait for the next record."""
        return self.for_database or bool(self.segments)

    def add(self, row: Row) -> None:
        """Add a record. A batch replaces the segments before it, because it holds their readings."""
        self.rows.append(row)
        self.size_bytes += len(row.content.body) + ROW_BYTES
        if row.content.kind is RecordKind.BATCH:
            self.segments.clear()
            self.sealed = True

    def finish(self, finished: Mapping[int, str | None]) -> None:
        """Mark records as confirmed (None) or refused (the reason). A confirmed record stays confirmed."""
        for rowid, reason in finished.items():
            if reason is None or rowid not in self.finished:
                self.finished[rowid] = reason

    def remove(self, rowid: int) -> bool:
        """Remove a record that has arrived before it was stored. Returns whether it was here."""
        for index, row in enumerate(self.rows):
            if row.rowid == rowid:
                self.size_bytes -= len(row.content.body) + ROW_BYTES
                del self.rows[index]
                return True
        return False

    def cut(self) -> Intake:
        """Keep what one transaction should hold, and return the rest.

        A transaction is kept small, because the journal grows with it. The rest holds the losses and the mark of the
        sealed batch: tombstones follow the records, and segments are sealed with their batch.
        """
        size_bytes = index = 0
        for index, row in enumerate(self.rows):
            if index and size_bytes + len(row.content.body) + ROW_BYTES > PIECE_BYTES:
                break
            size_bytes += len(row.content.body) + ROW_BYTES
        else:
            return Intake()
        later = Intake(
            rows=self.rows[index:],
            segments=self.segments,
            sealed=self.sealed,
            losses=self.losses,
            answers=self.answers,
            size_bytes=self.size_bytes - size_bytes,
        )
        self.rows, self.segments, self.losses, self.answers = self.rows[:index], [], [], []
        self.sealed, self.size_bytes = False, size_bytes
        return later

    def drop_oldest(self, limit_bytes: int, epoch: int, boot: int, reason: str, spared: Collection[int] = ()) -> None:
        """Drop the oldest batches, then the oldest events, until the rest fits into `limit_bytes`; note the losses.

        Args:
            limit_bytes: memory for records.
            epoch: epoch of these records.
            boot: boot of their stamps.
            reason: text for people.
            spared: rowids that must not be dropped, because their records are being sent.
        """
        if self.size_bytes <= limit_bytes:
            return
        dropped_rows: list[Row] = []
        for kind in (RecordKind.BATCH, RecordKind.EVENT):
            for row in self.rows:
                if self.size_bytes <= limit_bytes * _DROP_TO:
                    break
                if row.content.kind is kind and row.rowid not in spared:
                    dropped_rows.append(row)
                    self.size_bytes -= len(row.content.body) + ROW_BYTES
        dropped_rowids = {row.rowid for row in dropped_rows}
        self.rows = [row for row in self.rows if row.rowid not in dropped_rowids]
        for row in dropped_rows:
            content = row.content
            dropped = Dropped(epoch, row.seq, row.seq, 1, content.readings, content.first_ns, content.last_ns, reason)
            append_loss(self.losses, Loss(boot, dropped))

    def followed_by(self, later: Intake) -> Intake:
        """Join these changes and later ones."""
        both = Intake(
            rows=self.rows + later.rows,
            segments=later.segments if later.sealed else self.segments + later.segments,
            sealed=self.sealed or later.sealed,
            finished=dict(self.finished),
            losses=self.losses + later.losses,
            answers=self.answers + later.answers,
            anchor=self.anchor or later.anchor,
            states=self.states | later.states,
            size_bytes=self.size_bytes + later.size_bytes,
        )
        both.finish(later.finished)
        return both
