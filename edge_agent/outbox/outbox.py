"""Outbox: records in commit order, all of them accounted for.

Rules:
- A record is handed out only after the commit that stored it.
- committed = confirmed + tombstoned + pending, at every moment, as of the last commit. A tombstone is not counted
  itself: it stands for the records that it covers.
- Every dropped record gets a tombstone in the same transaction. A tombstone has a seq of its own.
- New rows, deletion of confirmed ones and dropping share one transaction, because each one costs a flush of the card.
- (epoch, seq) is never used twice: every opening starts a new epoch.
- Urgent records are handed out before all others. They take the next seq like all others, so a receiver sees gaps only
  for a short time.
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
"""Memory for records that wait because the disk fails; beyond it the oldest batches are dropped."""
_KINDS: Final = frozenset(RecordKind)


@dataclass(frozen=True, slots=True)
class Encode:
    """Functions that make bodies of records.

    Attributes:
        tombstone: makes that of a tombstone.
        segment: makes that of a batch from the body of a segment; raises WireError if it cannot.
    """

    tombstone: Callable[[Dropped], bytes]
    segment: Callable[[bytes], bytes]


class Outbox:
    """Records on disk.

    Args:
        directory: directory of `outbox.db`; made if missing.
        settings: settings of the database.
        boot_id: name of the current boot.
        anchor: current offset of wall time.
        rng: draws the epoch and what else tells this run from others; must not be seeded, but by tests.
        encode: makes bodies of records.
        epoch: epoch of all records added to this object; None: a new one. It must not be given to two runs.
        max_waiting_bytes: memory for records that wait for a commit; beyond it the oldest batches are dropped.

    Attributes:
        epoch: epoch of all records added to this object.
        salvage: result of the salvage at the last opening; None if the outbox was not damaged.

    Raises:
        Unavailable: the directory cannot be used, or the epoch was used before.
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
        epoch: int | None = None,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._max_waiting_bytes = max_waiting_bytes
        self._encode = encode
        self._tombstones = Tombstones(encode.tombstone, self._next_rowid, self._next_seq)
        self._db, self.salvage = open_or_set_aside(directory, settings)
        self._segments: Segments = FileSegments(directory, rng, durable=settings.durable, files=settings.files)
        self._intake = Intake()
        self._in_doubt: tuple[Intake, Outcome] | None = None
        self._handed_out: set[int] = set()
        self._urgent: set[int] = set()
        self._live_after = self._backlog_after = self._watermark = 0
        self._rowid = self._last_committed = self._seq = 0
        self._tally = Tally(0, 0, 0, 0, 0)
        try:
            self._rowid = int(self._db.execute("SELECT coalesce(max(rowid), 0) FROM record").fetchone()[0])
            self._last_committed = self._rowid
            self._begin(boot_id, anchor, rng, epoch)
        except Unavailable:
            self._db.close()
            raise
        except (sqlite3.Error, OSError) as error:
            self._db.close()
            raise Unavailable(f"{directory} cannot be written: {error}; check permissions and free space") from None

    @property
    def boot(self) -> int:
        """Number of the current boot."""
        return self._boots.current

    # ---- input

    @property
    def dirty(self) -> bool:
        """Whether there are changes that a power cut must not undo."""
        return self._intake.is_pressing or self._in_doubt is not None

    @property
    def has_confirmed(self) -> bool:
        """Whether there are confirmations that no commit has stored: a power cut makes these records go out again."""
        return bool(self._intake.finished)

    def add(self, content: Content) -> int:
        """Add a record; the next commit stores it. Returns its seq."""
        seq = self._next_seq()
        self._intake.add(Row(self._next_rowid(), seq, content))
        doubtful_bytes = self._in_doubt[0].size_bytes if self._in_doubt else 0
        self._intake.drop_oldest(
            max(0, self._max_waiting_bytes - doubtful_bytes), self.epoch, self._boots.current, "store failing"
        )
        return seq

    def add_segment(self, content: Content) -> None:
        """Add rows of a batch that is not sealed yet; the next commit stores them: a power cut does not lose them."""
        self._intake.segments.append(content)

    def save_state(self, name: str, body: bytes) -> None:
        """Save the state of stages under a name, in place of the one before; the next commit stores it."""
        self._intake.states[name] = body

    def saved_state(self, name: str) -> bytes | None:
        """State that was last committed under a name; None if there is none, or it is damaged.

        Raises:
            sqlite3.Error: the store cannot be read.
        """
        return stored_state(self._db, name)

    def set_anchor(self, anchor: Anchor) -> None:
        """Set the anchor of this boot, unless a better one is known; the next commit stores it."""
        self._intake.anchor |= self._boots.set_anchor(anchor)

    # ---- output

    def rewind(self) -> None:
        """Hand out again from the oldest record on; all records stored so far go to the backlog lane."""
        self._handed_out.clear()
        self._backlog_after = 0
        self._live_after = self._watermark = self._last_committed

    def hand_out(self, limit: int) -> list[tuple[Lane, Record]]:
        """Next records to send, at most `limit`: urgent, then live, then backlog. Each is handed out once per `rewind`.

        Raises:
            sqlite3.Error: the store cannot be read; `reopen` may help.
        """
        urgent: list[Record] = []
        for rowid in sorted(self._urgent - self._handed_out)[:limit]:
            urgent += self._select(rowid - 1, rowid, 1)[0]
        ordinary = limit - len(urgent)
        live, live_after = self._select(self._live_after, 1 << 62, ordinary, self._urgent)
        ordinary -= len(live)
        backlog, backlog_after = self._select(self._backlog_after, self._watermark, ordinary, self._urgent)
        # Not before all was read: a read that fails hands out nothing, and must skip nothing.
        self._live_after, self._backlog_after = live_after, backlog_after
        live = urgent + live
        rowids = [record.rowid for record in live + backlog]
        self._handed_out.update(rowids)
        self._tombstones.offered(rowids)
        return [(Lane.LIVE, record) for record in live] + [(Lane.BACKLOG, record) for record in backlog]

    def confirm(self, record: Record) -> None:
        """Mark a record as arrived; the next commit of other records deletes it, see `commit`."""
        self._finish(record.rowid, None)

    def refuse(self, record: Record, reason: str) -> None:
        """Mark a record as undeliverable; the next commit replaces it by a tombstone."""
        self._finish(record.rowid, reason)

    def commit(self, *, confirmed: bool = True) -> bool:
        """Make all changes since the last commit durable, in one transaction. Returns whether there were any.

        Args:
            confirmed: whether a few confirmations are worth a transaction; if not, they wait for the next one.

        Raises:
            sqlite3.Error, OSError, Unavailable: the changes are kept; the next commit tries them again.
        """
        if self._in_doubt is not None:
            self.reopen()
        for_database = self._intake.for_database or (confirmed and self.has_confirmed)
        if not for_database and not self._intake.segments:
            return False
        if for_database:
            self._commit_database()
        self._secure_rows()
        return True

    def _commit_database(self) -> None:
        """Commit all changes except segments, in one transaction."""
        intake = self._intake
        self._db.execute("BEGIN IMMEDIATE")
        try:
            outcome = self._transaction().write(intake)
            outcome = replace(outcome, last_rowid=self._rowid)
            self._in_doubt, self._intake = (intake, outcome), Intake(segments=intake.segments)
            intake.segments = []
            self._db.execute("COMMIT")
        except BaseException:
            if self._in_doubt is None:
                self._tombstones.settle(durable=False)
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._in_doubt = None
        self._tombstones.settle(durable=True)
        self._apply(intake, outcome)

    def _secure_rows(self) -> None:
        """Secure segments. After the transaction, because they belong to the batch that is open now."""
        segments = self._intake.segments
        while segments:
            rows = segments[0]
            self._segments.secure(Segment(self._boots.current, rows.readings, rows.first_ns, rows.last_ns, rows.body))
            del segments[0]

    def reopen(self) -> None:
        """Close the connection and open a new one: after a failed write, SQLite may keep failing on the old one.

        Raises:
            sqlite3.Error, Unavailable: it cannot be opened.
        """
        self._db.close()
        self._db, self.salvage = open_or_set_aside(self._directory, self._settings)
        self._boots.write_all(self._db)
        self._db.execute("INSERT OR IGNORE INTO epoch VALUES (?, ?)", (self.epoch, self._boots.current))
        self._resolve_doubt()
        lost = self._tally.pending - self.count_pending()
        if lost > 0:
            log.error("stored records are lost records=%d", lost)
            self._tally = replace(
                self._tally, tombstoned=self._tally.tombstoned + lost, pending=self._tally.pending - lost
            )
            body = self._encode.tombstone(Dropped(self.epoch, 0, 0, lost, 0, 0, 0, DAMAGED))
            self.add(Content(RecordKind.TOMBSTONE, 0, 0, 0, body))

    def tally(self) -> Tally:
        """Counts of the records of this run, as of the last commit."""
        return self._tally

    def count_pending(self) -> int:
        """Count the records on disk, without tombstones; equal to `tally().pending` unless records were lost."""
        (rows,) = self._db.execute("SELECT count(*) FROM record WHERE kind != ?", (RecordKind.TOMBSTONE,)).fetchone()
        return int(rows)

    def close(self) -> None:
        """Commit the remaining changes and close."""
        try:
            self.commit()
        finally:
            self._segments.close()
            self._db.close()

    # ---- internal

    def _next_rowid(self) -> int:
        """A rowid above all others. SQLite by itself would reuse the rowid of a deleted last record."""
        self._rowid += 1
        return self._rowid

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _finish(self, rowid: int, reason: str | None) -> None:
        self._intake.finish({rowid: reason})
        self._handed_out.discard(rowid)

    def _select(self, after: int, upto: int, limit: int, skipped: Collection[int] = ()) -> tuple[list[Record], int]:
        """Rows in (after, upto], oldest first, without finished and skipped ones; a damaged one is refused.

        Returns:
            Up to `limit` records, and the rowid of the last row read.
        """
        records: list[Record] = []
        if after >= min(upto, self._last_committed):
            return records, after  # there is nothing, and asking costs more than a segment
        query = (
            "SELECT rowid, epoch, seq, kind, boot, readings, crc, body FROM record"
            " WHERE rowid > ? AND rowid <= ? ORDER BY rowid"
        )
        doubtful = self._in_doubt[0].finished if self._in_doubt else {}
        # Closed at once: an open cursor prevents checkpoints from completing, and the journal grows.
        with closing(self._db.execute(query, (after, upto))) as cursor:
            while len(records) < limit and (row := cursor.fetchone()) is not None:
                after, epoch, seq, kind, boot, readings, crc, body = row
                if after in self._intake.finished or after in doubtful or after in skipped:
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

    def _apply(self, intake: Intake, outcome: Outcome) -> None:
        """Update counts and sets after a transaction that is durable."""
        if intake.sealed:
            self._segments.start_batch()
        self._urgent.update(row.rowid for row in intake.rows if row.content.urgent)
        self._urgent.difference_update(intake.finished)
        self._tally = self._tally.after(outcome)
        self._last_committed = max(self._last_committed, outcome.last_rowid)

    def _resolve_doubt(self) -> None:
        """Find out whether a transaction is durable although its COMMIT failed: the journal may have been complete."""
        if self._in_doubt is None:
            return
        (intake, outcome), self._in_doubt = self._in_doubt, None
        query, rowid = outcome.proof
        (durable,) = self._db.execute(query, (rowid,)).fetchone()
        if durable:
            self._tombstones.settle(durable=True)
            self._apply(intake, outcome)
        else:
            # Some rows may exist nevertheless, if the database was damaged and salvaged in between.
            rowids = [row.rowid for row in intake.rows] + self._tombstones.written
            self._db.executemany("DELETE FROM record WHERE rowid = ?", [(rowid,) for rowid in rowids])
            self._tombstones.settle(durable=False)
            self._intake = intake.followed_by(self._intake)

    def _begin(self, boot_id: str, anchor: Anchor, rng: random.Random, epoch: int | None) -> None:
        """Start an epoch and make records of the segments of an interrupted run, in one transaction."""
        db, losses = self._db, list[Loss]()
        db.execute("BEGIN IMMEDIATE")
        # First, because a file at its limit takes no new rows until some are deleted.
        make_room(db, self._settings.max_bytes, (), self._tombstones, losses)
        self._boots = Boots(db, boot_id, anchor)
        self.epoch = draw_epoch(db, rng, epoch)
        db.execute("INSERT INTO epoch VALUES (?, ?)", (self.epoch, self._boots.current))
        self._seq, damaged = promote_segments(
            db, self._segments.take_all(db), epoch=self.epoch, next_rowid=self._next_rowid, encode=self._encode.segment
        )
        losses += damaged
        self._tombstones.write(db, self.epoch, self._boots.current, losses)
        self._urgent = urgent_rowids(db)
        pending = self.count_pending()
        db.execute("COMMIT")
        self._tombstones.settle(durable=True)
        self._last_committed = self._rowid
        dropped = sum(loss.dropped.records for loss in losses)
        self._tally = Tally(pending + dropped, 0, dropped, pending, pending + dropped)
