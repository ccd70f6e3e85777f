"""Outbox: records in commit order, all of them accounted for.

Rules:
- A record is handed out only after the commit that stored it. Only while the store takes nothing in, records are handed
  out from memory, and the outbox says that it is volatile.
- committed = confirmed + tombstoned + pending, at every moment, as of the last commit. A tombstone is not counted
  itself: it stands for the records that it covers.
- Every dropped record gets a tombstone in the same transaction. A tombstone has a seq of its own.
- New rows, deletion of confirmed ones and dropping share one transaction, because each one costs a flush of the card.
- (epoch, seq) is never used twice: every opening starts a new epoch.
- After a failed flush, nothing that is read back is durable until it was written again.
- Urgent records are handed out before all others. They take the next seq like all others, so a receiver sees gaps only
  for a short time.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable
from edge_agent.outbox.answers import MOST_WAITING, Answers, Asked, Present
from edge_agent.outbox.boots import Boots
from edge_agent.outbox.check import Check
from edge_agent.outbox.epochs import Changes, Epoch, Epochs, draw_epoch, used_epochs
from edge_agent.outbox.eviction import Eviction, EvictPolicy, Room
from edge_agent.outbox.intake import Content, Intake, Row
from edge_agent.outbox.lanes import Lanes
from edge_agent.outbox.opening import promote_segments, rolled_back, store_promoted, stored_state, urgent_rowids
from edge_agent.outbox.salvage import expected_of
from edge_agent.outbox.salvaging import SalvagePart, Salvaging
from edge_agent.outbox.schema import used_bytes
from edge_agent.outbox.segments import FileSegments, Segment
from edge_agent.outbox.store import Store, is_full, reason_of
from edge_agent.outbox.tombstones import DAMAGED, Dropped, Loss, Tombstones
from edge_agent.outbox.transaction import Outcome, Tally, Transaction
from edge_agent.outbox.wear import Written
from edge_agent.reading import Lane, Record, RecordKind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from edge_agent.clock import Anchor, AnchorSince
    from edge_agent.outbox.schema import StoreSettings
    from edge_agent.outbox.segments import Segments

__all__ = ["Content", "Dropped", "Outbox", "Tally"]

log = logging.getLogger(__name__)

MAX_WAITING_BYTES: Final = 16 * 1_048_576
"""Memory for records that wait because the disk fails; beyond it the oldest batches are dropped."""
_OLDEST: Final = EvictPolicy()
_SALVAGE_UP_TO: Final = 0.9
"""Share of the limit of the tables up to which a salvage fills them."""


@dataclass(frozen=True, slots=True)
class News:
    """Something about the outbox that people have to know.

    Attributes:
        state: `reset`, `salvaged`, `rolled-back`, `volatile`, `durable`.
        cause: one sentence.
    """

    state: str
    cause: str


@dataclass(frozen=True, slots=True)
class Encode:
    """Functions that make bodies of records.

    Attributes:
        tombstone: makes that of a tombstone.
        segments: makes that of a batch from the bodies of its segments; raises WireError if it cannot.
    """

    tombstone: Callable[[Dropped], bytes]
    segments: Callable[[Sequence[bytes]], bytes]


class Outbox:
    """Records on disk.

    A disk that cannot be used does not keep it from working: it then holds records in memory, up to a limit, and stores
    them when the disk works again.

    Args:
        directory: directory of `outbox.db`; made if missing.
        settings: settings of the database.
        boot_id: name of the current boot.
        anchor: current offset of wall time.
        rng: draws the epoch and what else tells this run from others; must not be seeded, but by tests.
        encode: makes bodies of records.
        epoch: epoch of all records added to this object; None: a new one. It must not be given to two runs.
        max_waiting_bytes: memory for records that wait for a commit; beyond it the oldest batches are dropped.
        evict: what goes when the tables reach their largest size.

    Attributes:
        epoch: epoch of all records added to this object.
        failure: why nothing can be stored; empty if the last attempt succeeded.
        news: what people have to know; whoever tells it removes it.
        volatile: whether records are handed out although they are in memory only.

    Raises:
        Unavailable: another process uses the directory, a newer edge-agent wrote it, or the epoch was used before.
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
        evict: EvictPolicy = _OLDEST,
    ) -> None:
        self._settings = settings
        self._max_waiting_bytes = max_waiting_bytes
        self._encode = encode
        self._rng = rng
        self._wanted_epoch = epoch
        self._tombstones = Tombstones(encode.tombstone, self._next_rowid, self._next_seq)
        self._segments: Segments = FileSegments(directory, rng, durable=settings.durable, files=settings.files)
        self._store = Store(directory, settings)
        self._boots = Boots(boot_id, anchor)
        self._eviction = Eviction(evict)
        self._intake = Intake()
        self._in_doubt: tuple[Intake, Outcome] | None = None
        self._lanes = Lanes()
        self._rowid = self._last_committed = self._seq = 0
        self._open_seq = 0  # seq that the open batch has reserved
        self._tally = Tally(0, 0, 0, 0, 0)
        self._begun = self._is_full = False
        self._aside_changed = False  # records that were set aside may have been dropped
        self._salvaging = Salvaging(directory, settings.files)
        self._check = Check(0)
        self._answers = Answers()
        self.news: list[News] = []
        self.failure = ""
        self.volatile = False
        self.epoch = draw_epoch(rng, epoch, ())
        self._epochs = Epochs(self.epoch, self._boots.current)
        try:
            self.reopen()
        except (sqlite3.Error, OSError) as error:
            self._begin_in_memory(reason_of(error))
        except Unavailable:
            self._salvaging.close()
            self._store.close()
            raise

    @property
    def boot(self) -> int:
        """Number of the current boot."""
        return self._boots.current

    @property
    def last_seq(self) -> int:
        """Highest seq that was drawn in the current epoch."""
        return self._seq

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
        if content.kind is RecordKind.BATCH and self._open_seq:
            seq, self._open_seq = self._open_seq, 0
        else:
            seq = self._next_seq()
        self._intake.add(Row(self._next_rowid(), seq, content))
        doubtful_bytes = self._in_doubt[0].size_bytes if self._in_doubt else 0
        self._intake.drop_oldest(
            max(0, self._max_waiting_bytes - doubtful_bytes),
            self.epoch,
            self._boots.current,
            "store failing",
            self._lanes.handed_out,
        )
        return seq

    def add_segment(self, content: Content) -> None:
        """Add rows of a batch that is not sealed yet; the next commit stores them: a power cut does not lose them.

        The first one reserves the seq of the batch.
        """
        self._open_seq = self._open_seq or self._next_seq()
        self._intake.segments.append(content)

    def save_state(self, name: str, body: bytes) -> None:
        """Save the state of stages under a name, in place of the one before; the next commit stores it."""
        self._intake.states[name] = body

    def saved_state(self, name: str) -> bytes | None:
        """State that was last committed under a name; None if there is none, or it cannot be read."""
        if self._store.db is None:
            return None
        try:
            return stored_state(self._store.db, name)
        except sqlite3.Error as error:
            self._store.note(error)
            return None

    def set_anchor(self, *anchors: AnchorSince) -> None:
        """Restate the wall time of this boot, unless a better anchor than the last one is known.

        The next commit stores it.

        Args:
            anchors: which anchor holds from when on, ascending.
        """
        self._intake.anchor |= self._boots.set_anchor(*anchors)

    # ---- output

    def rewind(self) -> None:
        """Hand out again from the oldest record on; all records stored so far go to the backlog lane."""
        self._lanes.rewind(self._last_committed)

    def hand_out(self, limit: int, backlog_limit: int | None = None) -> list[tuple[Lane, Record]]:
        """Next records to send: urgent, then live, then backlog. Each is handed out once per `rewind`.

        Args:
            limit: largest number of records.
            backlog_limit: largest number of records of the backlog among them; None: no limit of their own.

        Raises:
            sqlite3.Error, OSError: the store cannot be read; `reopen` may help.
        """
        try:
            self._forget_dropped()
            records = self._lanes.hand_out(limit, backlog_limit, self._select)
        except sqlite3.Error as error:
            self._store.note(error)
            raise
        self._tombstones.offered([record.rowid for _lane, record in records])
        if self.volatile:
            records += self._hand_out_of_memory(limit - len(records))
        return records

    def confirm(self, record: Record) -> None:
        """Mark a record as arrived; the next commit of other records deletes it, see `commit`."""
        if self._intake.remove(record.rowid):
            self._tally = replace(self._tally, committed=self._tally.committed + 1, confirmed=self._tally.confirmed + 1)
            self._lanes.finish(record.rowid)
        else:
            self._finish(record.rowid, None)

    def refuse(self, record: Record, reason: str) -> None:
        """Mark a record as undeliverable; the next commit replaces it by a tombstone."""
        self._finish(record.rowid, reason)

    def set_aside(self, record: Record) -> None:
        """Skip a record until `readmit`, because no link takes it. It stays pending, and is dropped like any other."""
        self._lanes.set_aside(record.rowid)

    def readmit(self) -> None:
        """Hand out the records that were set aside again, after the next `rewind`."""
        self._lanes.readmit()

    @property
    def set_aside_count(self) -> int:
        """Number of records that are set aside."""
        return len(self._lanes.aside)

    # ---- commit

    def commit(self, *, confirmed: bool = True) -> bool:
        """Make all changes since the last commit durable. Returns whether there were any.

        Args:
            confirmed: whether a few confirmations are worth a transaction; if not, they wait for the next one.

        Raises:
            sqlite3.Error, OSError, Unavailable: the changes are kept; the next commit tries them again.
        """
        if self._in_doubt is not None or not self._begun:
            self.reopen()
        for_database = self._intake.for_database or (confirmed and self.has_confirmed)
        if not for_database and not self._intake.segments:
            return False
        while for_database:
            later = self._intake.cut()
            try:
                self._commit_database()
            finally:
                self._intake = self._intake.followed_by(later)
            for_database = bool(later.rows)
        self._secure_rows()
        self._note_success()
        return True

    def _commit_database(self) -> None:
        """Commit all changes except segments, in one transaction; again as long as room can be made on a full disk."""
        while True:
            try:
                if self._in_doubt is not None:
                    self.reopen()
                self._write_intake()
            except sqlite3.Error as error:
                self._store.note(error)
                if not is_full(error) or not self._store.make_room():
                    raise
            else:
                return

    def _write_intake(self) -> None:
        """Commit the intake in one transaction."""
        intake = self._intake

        def write(db: sqlite3.Connection) -> Outcome:
            outcome = self._transaction(db).write(intake)
            self._intake = Intake(segments=intake.segments)
            intake.segments = []
            return outcome

        self._transact(intake, write)

    def _transact(self, intake: Intake, write: Callable[[sqlite3.Connection], Outcome]) -> None:
        """Commit one transaction. If its COMMIT fails, `reopen` finds out whether it is durable."""
        db = self._store.writable()
        db.execute("BEGIN IMMEDIATE")
        try:
            outcome = write(db)
            self._in_doubt = (intake, outcome)
            db.execute("COMMIT")
        except BaseException:
            if self._in_doubt is None:
                self._tombstones.settle(durable=False)
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        self._in_doubt = None
        self._store.meter.note_commit()
        self._tombstones.settle(durable=True)
        self._epochs.apply(outcome.changes)
        self._apply(intake, outcome)

    def _secure_rows(self) -> None:
        """Secure segments. After the transaction, because they belong to the batch that is open now."""
        segments, mark = self._intake.segments, self._epochs.mark()
        while segments:
            rows = segments[0]
            about = (self._boots.current, rows.readings, rows.first_ns, rows.last_ns, rows.body)
            self._segments.secure(Segment(*about, self.epoch, self._open_seq, mark))
            del segments[0]

    def reopen(self) -> None:
        """Close the connection and open a new one: after a failed write, SQLite may keep failing on the old one.

        Raises:
            sqlite3.Error, OSError, Unavailable: it cannot be opened.
        """
        is_new = False
        self._answers.cancel()  # records may come back from a damaged database
        while True:
            db = self._store.open()
            try:
                if self._begun:
                    self._continue(db)
                else:
                    self._begin(db)
            except (sqlite3.Error, TypeError, ValueError) as error:
                if not self._begun:
                    self._tombstones.settle(durable=False)
                self._store.note(error)
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                if self._store.is_damaged and not is_new:
                    is_new = True  # set aside by the next attempt
                elif not is_full(error) or not self._store.make_room():
                    raise error if isinstance(error, sqlite3.Error) else sqlite3.DatabaseError(str(error)) from error
            else:
                self._store.take_reserve()
                if not self._intake.is_pressing:
                    self._note_success()
                return

    def _note_success(self) -> None:
        """Note that changes can be stored."""
        if self.volatile:
            self.news.append(News("durable", "records are stored again"))
        self.failure, self.volatile = "", False

    def salvage(self) -> bool:
        """Move some records of a damaged database into this one. Returns whether more is to be done now.

        Raises:
            sqlite3.Error, OSError, Unavailable: the next commit tries it again.
        """
        if not self._salvaging.is_active or self._in_doubt is not None or self.failure or not self._begun:
            return False
        if used_bytes(self._store.writable()) > self._settings.max_bytes * _SALVAGE_UP_TO:
            return False  # when some records were delivered, there is room for others

        def write(db: sqlite3.Connection) -> Outcome:
            identity = (self.epoch, self._boots.current)
            return self._salvaging.write(db, self._epochs, self._tombstones, identity, self._next_rowid)

        try:
            self._transact(Intake(), write)
        except (sqlite3.Error, OSError) as error:
            self._store.note(error)
            self.reopen()  # the salvage goes on where the stored progress says
            raise
        return self._salvaging.is_active

    def check(self) -> bool:
        """Read some of the records that waited at the start, so that damage is found in time. Returns whether to go on.

        Raises:
            sqlite3.Error, OSError: they cannot be read; the next commit opens the store again.
        """
        if self._check.is_done or not self._begun or self.failure or self._in_doubt is not None:
            return False
        try:
            if not self._check.is_read():
                for rowid in self._check.damaged(self._store):
                    self._finish(rowid, DAMAGED)
                return True
            if self._salvaging.is_active or any(self._intake.finished.values()):
                return False  # numbers are compared when what is damaged is deleted
            if self._check.may_count:
                self._correct_numbers()
            self._check.is_done = True
        except (sqlite3.Error, TypeError, ValueError) as error:
            self._store.note(error)
            raise error if isinstance(error, sqlite3.Error) else sqlite3.DatabaseError(str(error)) from error
        return False

    def ask(self, asked: tuple[Asked, ...]) -> None:
        """Take in what a receiver lacks: `answer` tells what of it does not wait here. It may be ignored."""
        told = sum(epoch.waiting - epoch.pending for epoch in self._epochs.open())
        if self._begun and not self._salvaging.is_active and told < MOST_WAITING:
            self._answers.ask(asked)

    def answer(self, now_ns: int) -> bool:
        """Work on the answer to a receiver; the next commit stores its tombstones. Returns whether to go on.

        Args:
            now_ns: now, nanoseconds since boot.

        Raises:
            sqlite3.Error: the records cannot be read; the next commit opens the store again.
        """
        if self.failure or self._in_doubt is not None or self._salvaging.is_active:
            self._answers.cancel()
        if not self._answers.is_active:
            return False
        try:
            self._intake.answers += self._answers.step(self._store.writable(), now_ns, self._present)
        except sqlite3.Error as error:
            self._store.note(error)
            raise
        return self._answers.is_active

    def _present(self) -> Present:
        """What holds when an answer begins. A batch that is open, and what failed, may have seqs below the mark."""
        seqs = [self._open_seq, *(row.seq for row in self._intake.rows), *self._tombstones.unsettled()]
        lost = [(each.dropped.first_seq, each.dropped.last_seq or 0) for each in self._intake.losses]
        unsettled = (*((seq, seq) for seq in seqs), *lost)
        return Present(self.epoch, self._boots.current, self._last_committed, unsettled)

    def _correct_numbers(self) -> None:
        """Compare the numbers of records with a count."""
        wrong = self._epochs.correct(self._store.writable())
        if wrong > 0:
            self._intake.losses.append(Loss(self.boot, Dropped(self.epoch, 0, 0, wrong, 0, 0, 0, DAMAGED)))
        self._tally = replace(self._tally, committed=self._tally.committed - wrong, pending=self._tally.pending - wrong)

    @property
    def is_damaged(self) -> bool:
        """Whether an error showed that the database is damaged: the next `reopen` sets it aside."""
        return self._store.is_damaged

    def salvage_part(self) -> SalvagePart:
        """State of the salvage."""
        return self._salvaging.part()

    def check_files(self) -> None:
        """Look whether the files are still there; a database that was deleted is written again.

        Raises:
            sqlite3.Error, OSError, Unavailable: it cannot be written.
        """
        if self._store.db is not None and self._store.is_gone():
            log.error("the file of the outbox was deleted or replaced; what it held is written again")
            self.reopen()
        self._store.take_reserve()

    def work_in_memory(self) -> None:
        """Hand out records from memory too, until a commit succeeds."""
        if not self.volatile:
            self.volatile = True
            self.news.append(News("volatile", f"records are in memory only, because of: {self.failure}"))

    def in_memory(self) -> tuple[int, int]:
        """Number of records that are in memory only, and of readings in them."""
        rows = self._intake.rows
        return len(rows), sum(row.content.readings for row in rows)

    def written(self) -> Written:
        """What was written since the start, by our own count of blocks."""
        return Written(self._store.meter.written_bytes, self._segments.written_bytes, self._segments.secured)

    def tally(self) -> Tally:
        """Counts of the records of this run, as of the last commit."""
        return self._tally

    def epochs(self) -> tuple[Epoch, ...]:
        """Epochs of which records wait, oldest first, and the current one at the end."""
        return self._epochs.open()

    def count_pending(self) -> int:
        """Count the records on disk, without tombstones; equal to `tally().pending` unless records were lost."""
        query = "SELECT count(*) FROM record WHERE kind != ?"
        (rows,) = self._store.writable().execute(query, (RecordKind.TOMBSTONE,)).fetchone()
        return int(rows)

    def close(self) -> None:
        """Commit the remaining changes and close.

        Raises:
            sqlite3.Error, OSError, Unavailable: what is in memory is lost.
        """
        try:
            self.commit()
        finally:
            self._salvaging.close()
            self._segments.close()
            self._store.close()

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
        self._lanes.handed_out.discard(rowid)
        self._lanes.sent.discard(rowid)
        self._lanes.aside.discard(rowid)

    def _forget_dropped(self) -> None:
        """Count only records as set aside that are still there."""
        if self._aside_changed and self._store.db is not None:
            query = "SELECT 1 FROM record WHERE rowid = ?"
            gone = [rowid for rowid in self._lanes.aside if not self._store.db.execute(query, (rowid,)).fetchone()]
            self._lanes.aside.difference_update(gone)
            self._aside_changed = False

    def _select(self, after: int, upto: int, limit: int, skipped: Collection[int] = ()) -> tuple[list[Record], int]:
        """Rows in (after, upto], oldest first, without finished and skipped ones; a damaged one is refused.

        Returns:
            Up to `limit` records, and the rowid of the last row read.
        """
        records: list[Record] = []
        upto = min(upto, self._stored_upto())
        if after >= upto:
            return records, after  # there is nothing, and asking costs more than a segment
        doubtful = self._in_doubt[0].finished if self._in_doubt else {}
        with self._store.rows(after, upto) as rows:
            while len(records) < limit and (row := next(rows, None)) is not None:
                after = row.rowid
                if after in skipped or after in self._lanes.aside:
                    continue
                if after in self._intake.finished or after in doubtful:
                    continue
                if not row.is_intact():
                    log.error(
                        "a stored record is damaged and is replaced by a tombstone epoch=%s seq=%s", row.epoch, row.seq
                    )
                    self._finish(after, DAMAGED)
                    continue
                anchor = self._boots.anchor(row.boot, row.first_ns)
                records.append(row.record(anchor))
        return records, after

    def _stored_upto(self) -> int:
        """Rowid below those of all records that are not stored: cursors must not pass these."""
        waiting = (self._in_doubt[0].rows if self._in_doubt else []) or self._intake.rows
        return min(self._last_committed, waiting[0].rowid - 1) if waiting else self._last_committed

    def _hand_out_of_memory(self, limit: int) -> list[tuple[Lane, Record]]:
        """Records that no commit has stored, oldest first, urgent ones first."""
        handed_out, aside = self._lanes.handed_out, self._lanes.aside
        waiting = (self._in_doubt[0].rows if self._in_doubt else []) + self._intake.rows
        skipped = handed_out | aside | self._intake.finished.keys()
        rows = [row for row in waiting if row.rowid not in skipped]
        records = []
        for row in sorted(rows, key=lambda row: not row.content.urgent)[: max(0, limit)]:
            handed_out.add(row.rowid)
            content = row.content
            anchor = self._boots.anchor(self._boots.current, content.first_ns)
            time = (self._boots.current, anchor.offset_ns, anchor.quality)
            record = Record(row.rowid, self.epoch, row.seq, content.kind, *time, content.readings, content.body)
            records.append((Lane.LIVE, record))
        return records

    def _transaction(self, db: sqlite3.Connection) -> Transaction:
        room = self._room(db, self._lanes.handed_out, [], Changes())
        parts = (self._epochs, self._boots, self._tombstones, self._segments)
        return Transaction(db, self.epoch, *parts, self._eviction, room)

    def _room(self, db: sqlite3.Connection, handed_out: Collection[int], losses: list[Loss], changes: Changes) -> Room:
        return Room(
            db, self.epoch, self._settings.max_bytes, handed_out, self._lanes.sent, self._tombstones, losses, changes
        )

    def _apply(self, intake: Intake, outcome: Outcome) -> None:
        """Update counts and sets after a transaction that is durable; those of the epochs are up to date already."""
        if intake.sealed:
            self._segments.start_batch()
        self._lanes.add([row.rowid for row in intake.rows if row.content.urgent])
        for rowid in intake.finished:
            self._lanes.finish(rowid)
        self._tally = self._tally.after(outcome)
        self._aside_changed |= outcome.tombstoned > 0
        is_full = outcome.evicted + outcome.thinned > 0
        if is_full and not self._is_full:
            log.warning("the outbox is full: records or rows are dropped as configured, and tombstones tell of them")
        self._is_full = is_full or (self._is_full and not outcome.confirmed)
        self._last_committed = max(self._last_committed, outcome.last_rowid)
        if self._salvaging.is_active:
            self._salvaging.confirmed.update(outcome.absent)
        if outcome.returned is not None:
            self._lanes.add_earlier(outcome.returned.first_rowid, outcome.returned.last_rowid, outcome.returned.urgent)
        if outcome.is_salvage and (sentence := self._salvaging.applied(outcome)) is not None:
            self._epochs.release()
            self.news.append(News("salvaged", sentence))

    def _resolve_doubt(self, db: sqlite3.Connection) -> None:
        """Find out whether a transaction is durable although its COMMIT failed: the journal may have been complete.

        `Store.open` has written the journal again, so what is read now is on the disk.
        """
        if self._in_doubt is None:
            return
        (intake, outcome), self._in_doubt = self._in_doubt, None
        query, rowid = outcome.proof
        (durable,) = db.execute(query, (rowid,)).fetchone()
        if durable:
            self._tombstones.settle(durable=True)
            self._apply(intake, outcome)
        else:
            self._tombstones.settle(durable=False)
            self._intake = intake.followed_by(self._intake)

    def _begin(self, db: sqlite3.Connection) -> None:
        """Start the epoch and make records of the segments of an interrupted run, in one transaction."""
        db.execute("BEGIN IMMEDIATE")
        losses, changes = list[Loss](), Changes()
        used = used_epochs(db)
        if not self.volatile:
            self.epoch = draw_epoch(self._rng, self._wanted_epoch, used)
        self._boots.load(db)
        self._epochs = Epochs(self.epoch, self._boots.current)
        self._epochs.load(db)
        remaining = self._salvage_next(db, self._epochs, None)
        # First, because a file at its limit takes no new rows until some are deleted.
        self._eviction.make_room(self._room(db, (), losses, changes))
        losses += self._rolled_back(db)
        promoted, damaged = promote_segments(
            self._segments.take_all(db), fresh=lambda: (self.epoch, self._next_seq()), encode=self._encode.segments
        )
        self._epochs.hold(db, [Epoch(record.epoch, record.boot) for record in promoted])
        for record in promoted:
            store_promoted(db, record, self._next_rowid(), changes)
        self._tombstones.write(db, self.epoch, self._boots.current, losses + damaged, changes)
        self._epochs.write(db, changes)
        urgent = urgent_rowids(db)
        db.execute("COMMIT")
        self._tombstones.settle(durable=True)
        self._begun = True
        self._segments.discard_damaged()
        self._check = Check(self._rowid)
        self._epochs.apply(changes)
        self._last_committed = self._rowid
        if self.volatile:
            self._lanes.add(urgent)
        else:
            self._lanes = Lanes(0, urgent)
        dropped = sum(loss.dropped.records for loss in losses + damaged)
        self._tally = self._tally.with_carried_over(self._epochs.pending() + remaining, dropped)

    def _begin_in_memory(self, failure: str) -> None:
        """Start without a store: records are kept in memory, and those that can be read are sent."""
        self.failure = failure
        self.work_in_memory()
        # Above all that may be in the database, which perhaps cannot be read before it works again.
        self._rowid = self._last_committed = (1 << 60) + (self._rng.getrandbits(40) << 16)
        self._lanes = Lanes(self._rowid)
        found = self._store.read_small_tables()
        if found is not None:
            self._boots.learn(found.boots, found.anchors)
            self._tally = self._tally.with_carried_over(sum(each.pending for each in expected_of(found)), 0)
        log.error(
            "the outbox in %s takes nothing in, records are kept in memory only reason=%r; check the disk, its free"
            " space and permissions, or give a --state-dir",
            self._store.directory,
            failure,
        )

    def _rolled_back(self, db: sqlite3.Connection) -> list[Loss]:
        """What is proved to have been committed, though the database does not know of it."""
        losses = rolled_back(db, self._segments, self._store, self.epoch, self._boots.current)
        for lost in [loss.dropped for loss in losses]:
            cause = f"records of epoch {lost.epoch} above seq {lost.first_seq - 1} may be lost"
            self.news.append(News("rolled-back", cause))
        return losses

    def _continue(self, db: sqlite3.Connection) -> None:
        """Go on in a database that was opened again, or that took the place of a damaged one."""
        epochs = Epochs(self.epoch, self._boots.current)
        db.execute("BEGIN IMMEDIATE")
        self._boots.write_all(db)
        epochs.load(db)
        self._salvage_next(db, epochs, self._epochs.open())
        db.execute("COMMIT")
        self._resolve_doubt(db)
        # Not before all is done: what is known without the transaction in doubt is needed for another attempt.
        self._epochs = epochs

    def _salvage_next(self, db: sqlite3.Connection, epochs: Epochs, live: Sequence[Epoch] | None) -> int:
        """Begin or continue a salvage, if there is a damaged database. Returns what is to be found in it."""
        if (damage := self._store.damage) is not None:
            self.news.append(News("reset", f"{damage.reason}; what can be read of {damage.aside} goes on"))
        else:
            live = None
        self._store.damage = None
        remaining = self._salvaging.resume(db, epochs, self._boots, live)
        last = int(db.execute("SELECT coalesce(max(rowid), 0) FROM record").fetchone()[0])
        # Above all rowids that the damaged database can have.
        self._rowid = max(self._rowid, last, self._salvaging.rowids_below())
        return remaining
