"""The outbox: records in commit order, counted so that the numbers always add up.

Rules:
- A record is handed out only after the commit that stored it.
- committed = confirmed + tombstoned + pending, at every moment, as of the last commit. A tombstone is not itself
  counted: it stands for the records that it tells of.
- What is dropped leaves a tombstone in the same transaction. Its seq is that of the last record it covers.
- New rows, removal of confirmed ones and dropping share one transaction, because each costs a flush of the card.
- (epoch, seq) is never used twice: every opening begins a new epoch.
- What is urgent is handed out before everything else. Its seq is where it belongs, so receivers see no gap for long.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from zlib import crc32

from edge_agent.errors import Unavailable
from edge_agent.outbox.boots import Boots
from edge_agent.outbox.intake import Content, Intake, Row
from edge_agent.outbox.opening import draw_epoch, promote_segments, stored_state, urgent_rowids
from edge_agent.outbox.recovery import open_or_set_aside
from edge_agent.outbox.segments import FileSegments, Segment
from edge_agent.outbox.tombstones import DAMAGED, Dropped, Loss, Tombstones
from edge_agent.outbox.transaction import Outcome, Tally, Transaction, make_room
from edge_agent.reading import Lane, Record, RecordKind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection
    from pathlib import Path

    from edge_agent.clock import Anchor
    from edge_agent.outbox.schema import StoreSettings
    from edge_agent.outbox.segments import Segments

__all__ = ["Content", "Dropped", "Outbox", "Tally"]

log = logging.getLogger(__name__)

MAX_WAITING_BYTES: Final = 64 * 1_048_576
"""Memory for records that cannot be stored because the disk fails; beyond it the oldest batches are dropped."""
_KINDS: Final = frozenset(RecordKind)


@dataclass(frozen=True, slots=True)
class Encode:
    """Makes bodies of records.

    Attributes:
        tombstone: of what tells of dropped records.
        segment: a batch, of rows that an interrupted run had secured; raises WireError if it cannot.
    """

    tombstone: Callable[[Dropped], bytes]
    segment: Callable[[bytes], bytes]


class Outbox:
    """Records on disk.

    Args:
        directory: holds `outbox.db`; made if missing.
        settings: how the database is kept.
        boot_id: name of the current boot.
        anchor: where wall time stands now.
        rng: draws the epoch.
        encode: makes bodies of records.
        max_waiting_bytes: what waits for a commit in memory may take; beyond it the oldest batches are dropped.

    Attributes:
        epoch: of every record added to this object.
        salvage: what became of a damaged outbox when this one was last opened; None if it was not damaged.

    Raises:
        Unavailable: the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        settings: StoreSettings,
        *,
        boot_id: str,
        anchor: Anchor,
        rng: random.Random,
        encode: Encode,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._max_waiting_bytes = max_waiting_bytes
        self._encode = encode
        self._tombstones = Tombstones(encode.tombstone, self._next_rowid)
        self._db, self.salvage = open_or_set_aside(directory, settings)
        self._segments: Segments = FileSegments(directory, rng, durable=settings.durable)
        self._intake = Intake()
        self._in_doubt: tuple[Intake, Outcome] | None = None
        self._handed_out: set[int] = set()
        self._urgent: set[int] = set()
        self._live_after = self._backlog_after = self._watermark = 0
        self._rowid = int(self._db.execute("SELECT coalesce(max(rowid), 0) FROM record").fetchone()[0])
        self._last_committed = self._rowid
        self._seq = 0
        self._tally = Tally(0, 0, 0, 0, 0)
        try:
            self._begin(boot_id, anchor, rng)
        except (sqlite3.Error, OSError) as error:
            self._db.close()
            raise Unavailable(f"{directory} cannot be written: {error}; check permissions and free space") from None

    @property
    def boot(self) -> int:
        """Number of the current boot."""
        return self._boots.current

    # ---- what comes in

    @property
    def dirty(self) -> bool:
        """Whether there is anything that a commit would make durable."""
        return bool(self._intake) or self._in_doubt is not None

    def add(self, content: Content) -> int:
        """Take a record in; the next commit stores it. Returns its seq."""
        self._seq += 1
        self._intake.add(Row(self._next_rowid(), self._seq, content))
        doubtful_bytes = self._in_doubt[0].size_bytes if self._in_doubt else 0
        self._intake.forgo(
            max(0, self._max_waiting_bytes - doubtful_bytes), self.epoch, self._boots.current, "store failing"
        )
        return self._seq

    def add_segment(self, content: Content) -> None:
        """Take in part of a batch that is not sealed yet, so that a power cut does not lose it."""
        self._intake.segments.append(content)

    def save_state(self, name: str, body: bytes) -> None:
        """Keep what a stage remembers, in place of what it saved before; the next commit stores it."""
        self._intake.states[name] = body

    def saved_state(self, name: str) -> bytes | None:
        """What was saved by an earlier run, or committed by this one; None if there is nothing, or it is damaged.

        Raises:
            sqlite3.Error: the store cannot be read.
        """
        return stored_state(self._db, name)

    def set_anchor(self, anchor: Anchor) -> None:
        """Note where wall time stands in this boot, unless what is known is better; the next commit stores it."""
        self._intake.anchor |= self._boots.set_anchor(anchor)

    # ---- what goes out

    def rewind(self) -> None:
        """Begin handing out again from the oldest record; what is stored by now is backlog."""
        self._handed_out.clear()
        self._backlog_after = 0
        self._live_after = self._watermark = self._last_committed

    def hand_out(self, limit: int) -> list[tuple[Lane, Record]]:
        """The next records to send, urgent ones first, then fresh ones; each is handed out once until `rewind`.

        Raises:
            sqlite3.Error: the store cannot be read; `reopen` may help.
        """
        urgent: list[Record] = []
        for rowid in sorted(self._urgent - self._handed_out)[:limit]:
            urgent += self._select(rowid - 1, rowid, 1)[0]
        ordinary = limit - len(urgent)
        live, self._live_after = self._select(self._live_after, 1 << 62, ordinary, self._urgent)
        ordinary -= len(live)
        backlog, self._backlog_after = self._select(self._backlog_after, self._watermark, ordinary, self._urgent)
        live = urgent + live
        self._handed_out.update(record.rowid for record in live + backlog)
        return [(Lane.LIVE, record) for record in live] + [(Lane.BACKLOG, record) for record in backlog]

    def confirm(self, record: Record) -> None:
        """It has arrived: the next commit removes it."""
        self._finish(record.rowid, None)

    def refuse(self, record: Record, reason: str) -> None:
        """It can never arrive; the next commit puts a tombstone in its place."""
        self._finish(record.rowid, reason)

    def commit(self) -> bool:
        """Make everything taken in since the last commit durable, in one transaction. Returns whether there was any.

        Raises:
            sqlite3.Error, OSError, Unavailable: everything is kept and tried again with the next commit.
        """
        if self._in_doubt is not None:
            self.reopen()
        if not self._intake:
            return False
        if self._intake.for_database:
            self._commit_database()
        self._secure_rows()
        return True

    def _commit_database(self) -> None:
        """Everything but segments, in one transaction."""
        intake = self._intake
        self._db.execute("BEGIN IMMEDIATE")
        try:
            outcome = self._transaction().write(intake)
            outcome = replace(outcome, last_rowid=self._rowid)
            self._in_doubt, self._intake = (intake, outcome), Intake(segments=intake.segments)
            intake.segments = []
            self._db.execute("COMMIT")
        except BaseException:
            self._tombstones.forget()
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._in_doubt = None
        self._book(intake, outcome)

    def _secure_rows(self) -> None:
        """Segments; after the transaction, for they belong to the batch that is open now."""
        segments = self._intake.segments
        while segments:
            rows = segments[0]
            self._segments.secure(Segment(self._boots.current, rows.readings, rows.first_ns, rows.last_ns, rows.body))
            del segments[0]

    def reopen(self) -> None:
        """Drop the connection and open it again: after a failed write, SQLite may keep failing on the old one.

        Raises:
            sqlite3.Error, Unavailable: it cannot be opened either.
        """
        self._db.close()
        self._db, self.salvage = open_or_set_aside(self._directory, self._settings)
        self._tombstones.forget()
        self._boots.write_all(self._db)
        self._db.execute("INSERT OR IGNORE INTO epoch VALUES (?, ?)", (self.epoch, self._boots.current))
        self._resolve_doubt()
        lost = self._tally.pending - self.count_pending()
        if lost > 0:
            log.error("stored records are lost records=%d", lost)
            self._tally = replace(
                self._tally, tombstoned=self._tally.tombstoned + lost, pending=self._tally.pending - lost
            )
            body = self._encode.tombstone(Dropped(0, 0, lost, 0, 0, 0, DAMAGED))
            self.add(Content(RecordKind.TOMBSTONE, 0, 0, 0, body))

    def tally(self) -> Tally:
        """Where the records of this run are, as of the last commit."""
        return self._tally

    def count_pending(self) -> int:
        """Records on disk: what `tally().pending` says, counted."""
        (rows,) = self._db.execute("SELECT count(*) FROM record WHERE kind != ?", (RecordKind.TOMBSTONE,)).fetchone()
        return int(rows)

    def close(self) -> None:
        """Commit what is left and close."""
        try:
            self.commit()
        finally:
            self._segments.close()
            self._db.close()

    # ---- inside

    def _next_rowid(self) -> int:
        """A place behind all others. SQLite would use that of a record again that was the last and is gone."""
        self._rowid += 1
        return self._rowid

    def _finish(self, rowid: int, reason: str | None) -> None:
        self._intake.finish({rowid: reason})
        self._handed_out.discard(rowid)

    def _select(self, after: int, upto: int, limit: int, passed_over: Collection[int] = ()) -> tuple[list[Record], int]:
        """Rows in (after, upto], oldest first, without finished ones; a damaged one is refused instead.

        Returns:
            Up to `limit` records, and the rowid of the last one looked at.
        """
        records: list[Record] = []
        query = (
            "SELECT rowid, epoch, seq, kind, boot, readings, crc, body FROM record"
            " WHERE rowid > ? AND rowid <= ? ORDER BY rowid"
        )
        doubtful = self._in_doubt[0].finished if self._in_doubt else {}
        # Closed at once, because a cursor left open keeps checkpoints from ending and the journal grows.
        with closing(self._db.execute(query, (after, upto))) as cursor:
            while len(records) < limit and (row := cursor.fetchone()) is not None:
                after, epoch, seq, kind, boot, readings, crc, body = row
                if after in self._intake.finished or after in doubtful or after in passed_over:
                    continue
                if kind not in _KINDS or not isinstance(body, bytes) or crc32(body) != crc:
                    log.error("a stored record is damaged and is replaced by a tombstone epoch=%s seq=%s", epoch, seq)
                    self._finish(after, DAMAGED)
                    continue
                anchor = self._boots.anchor(boot)
                records.append(
                    Record(after, epoch, seq, RecordKind(kind), boot, anchor.offset_ns, anchor.quality, readings, body)
                )
        return records, after

    def _transaction(self) -> Transaction:
        return Transaction(
            self._db,
            self.epoch,
            self._boots,
            self._tombstones,
            self._segments,
            max_bytes=self._settings.max_bytes,
            spared=self._handed_out,
        )

    def _book(self, intake: Intake, outcome: Outcome) -> None:
        """Count a transaction that holds."""
        if intake.sealed:
            self._segments.begin_anew()
        self._urgent.update(row.rowid for row in intake.rows if row.content.urgent)
        self._urgent.difference_update(intake.finished)
        self._tally = self._tally.after(outcome)
        self._last_committed = max(self._last_committed, outcome.last_rowid)

    def _resolve_doubt(self) -> None:
        """Find out whether a transaction whose end failed holds: the journal may have been complete already."""
        if self._in_doubt is None:
            return
        (intake, outcome), self._in_doubt = self._in_doubt, None
        query, rowid = outcome.proof
        (holds,) = self._db.execute(query, (rowid,)).fetchone()
        if holds:
            self._book(intake, outcome)
        else:
            # Some may be there all the same, if the database was damaged and salvaged meanwhile.
            places = [(row.rowid,) for row in intake.rows]
            self._db.executemany("DELETE FROM record WHERE rowid = ?", places)
            self._intake = intake.followed_by(self._intake)

    def _begin(self, boot_id: str, anchor: Anchor, rng: random.Random) -> None:
        """Begin an epoch, in one transaction, and make records of what an interrupted run had not sealed."""
        db, losses = self._db, list[Loss]()
        db.execute("BEGIN IMMEDIATE")
        # First, because a file at its limit takes nothing in before something has left.
        make_room(db, self._settings.max_bytes, (), self._tombstones, losses)
        self._boots = Boots(db, boot_id, anchor)
        self.epoch = draw_epoch(db, rng)
        db.execute("INSERT INTO epoch VALUES (?, ?)", (self.epoch, self._boots.current))
        self._seq, damaged = promote_segments(
            db, self._segments.take_all(db), epoch=self.epoch, next_rowid=self._next_rowid, encode=self._encode.segment
        )
        losses += damaged
        self._tombstones.write(db, losses, ())
        self._urgent = urgent_rowids(db)
        pending = self.count_pending()
        db.execute("COMMIT")
        self._last_committed = self._rowid
        dropped = sum(loss.dropped.records for loss in losses)
        self._tally = Tally(pending + dropped, 0, dropped, pending, pending + dropped)
