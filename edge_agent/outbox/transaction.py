"""Writes of one commit: deletions, new records, tombstones and states, in the order that needs the least space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

from edge_agent.outbox.schema import INSERT_RECORD, INSERT_URGENT, REPLACE_STATE, checksum
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from edge_agent.outbox.boots import Boots
    from edge_agent.outbox.epochs import Changes, Epochs
    from edge_agent.outbox.eviction import Eviction, Room
    from edge_agent.outbox.intake import Intake, Row
    from edge_agent.outbox.segments import Segments
    from edge_agent.outbox.tombstones import Loss, Tombstones

_PIECE_BYTES: Final = 65_536
"""Bytes of bodies stored between two checks of the size; well below SPARE_BYTES."""


@dataclass(frozen=True, slots=True)
class Returned:
    """Records that came back from a damaged database: first and last rowid, and which of them are urgent."""

    first_rowid: int
    last_rowid: int
    urgent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a transaction.

    Attributes:
        committed, confirmed, tombstoned: numbers of records.
        evicted: those of the tombstoned ones that made room for others.
        thinned: records of which some rows were dropped.
        changes: changes of the numbers of records, by epoch.
        proof: query that returns 1 if the transaction is durable and 0 if it is not, and its argument.
        last_rowid: highest rowid of the new records that it stored; 0 if there are none.
        absent: rowids of confirmed records that were not there.
        returned, found: records that came back from a damaged database, and their number without tombstones.
    """

    committed: int
    confirmed: int
    tombstoned: int
    changes: Changes
    proof: tuple[str, int | bytes]
    last_rowid: int = 0
    absent: tuple[int, ...] = ()
    returned: Returned | None = None
    found: int = 0
    evicted: int = 0
    thinned: int = 0
    is_salvage: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """Records of this run, those found at its start included: committed = confirmed + tombstoned + pending."""

    committed: int
    confirmed: int
    tombstoned: int
    pending: int
    carried_over: int

    def with_carried_over(self, pending: int, dropped: int) -> Tally:
        """Numbers when so many records of earlier runs were found, in place of those found before."""
        more = pending + dropped - self.carried_over
        return Tally(
            committed=self.committed + more,
            confirmed=self.confirmed,
            tombstoned=self.tombstoned + dropped,
            pending=self.pending + more - dropped,
            carried_over=pending + dropped,
        )

    def after(self, outcome: Outcome) -> Tally:
        """Numbers after a transaction that is durable."""
        return Tally(
            committed=self.committed + outcome.committed,
            confirmed=self.confirmed + outcome.confirmed,
            tombstoned=self.tombstoned + outcome.tombstoned,
            pending=self.pending + outcome.committed - outcome.confirmed - outcome.tombstoned,
            carried_over=self.carried_over,
        )


class Transaction:
    """One commit, between its BEGIN and its COMMIT.

    Args:
        db: database, in a transaction.
        epoch: epoch of new records.
        epochs: numbers of records, by epoch.
        boots: all boots; new stamps belong to the current one.
        tombstones: drops records and writes tombstones.
        segments: secured rows of the open batch.
        eviction: makes room.
        room: what it works on.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        epoch: int,
        epochs: Epochs,
        boots: Boots,
        tombstones: Tombstones,
        segments: Segments,
        eviction: Eviction,
        room: Room,
    ) -> None:
        self._db = db
        self._epoch = epoch
        self._epochs = epochs
        self._changes = room.changes
        self._absent: list[int] = []
        self._boots = boots
        self._tombstones = tombstones
        self._segments = segments
        self._eviction = eviction
        self._room = room

    def write(self, intake: Intake) -> Outcome:
        """Write the changes of the intake. Those that free space go first.

        Raises:
            sqlite3.Error: the caller must roll back.
        """
        db, losses, changes = self._db, self._room.losses, self._changes
        losses += intake.losses
        dropped_early = sum(loss.dropped.records for loss in losses)
        confirmed, tombstoned, proof = self._finish(intake.finished, losses)
        if intake.sealed:
            self._segments.mark_sealed(db)
        evicted = self._store(intake.rows)
        thinned = len(self._room.told)
        stored = self._tombstones.write(db, self._epoch, self._boots.current, losses + intake.answers, changes) or max(
            [*self._room.told, *(row.rowid for row in intake.rows[-1:])], default=None
        )
        if stored is not None:
            proof = ("SELECT EXISTS (SELECT 1 FROM record WHERE rowid = ?)", stored)
        if intake.anchor:
            self._boots.write(db)
        for name, body in intake.states.items():
            db.execute(REPLACE_STATE, (name, crc32(body), body))
        self._epochs.write(db, changes)
        return Outcome(
            committed=dropped_early + sum(row.content.kind is not RecordKind.TOMBSTONE for row in intake.rows),
            confirmed=confirmed,
            tombstoned=dropped_early + tombstoned + evicted,
            evicted=evicted,
            thinned=thinned,
            changes=changes,
            proof=proof,
            last_rowid=stored or 0,
            absent=tuple(self._absent),
        )

    def _finish(self, finished: Mapping[int, str | None], losses: list[Loss]) -> tuple[int, int, tuple[str, int]]:
        """Delete confirmed records and drop refused ones. Returns their numbers, and a proof that this is durable."""
        db, changes = self._db, self._changes
        confirmed = tombstoned = 0
        proof = ("SELECT ?", 0)
        for rowid, reason in finished.items():
            db.execute("DELETE FROM urgent WHERE rowid = ?", (rowid,))
            if reason is not None:
                tombstoned += self._tombstones.drop(db, rowid, reason, losses, changes)
                continue
            row = db.execute("DELETE FROM record WHERE rowid = ? RETURNING epoch, kind", (rowid,)).fetchone()
            if row is None:
                self._absent.append(rowid)
            else:
                changes.deleted(*row)
                confirmed += row[1] != RecordKind.TOMBSTONE
                proof = ("SELECT NOT EXISTS (SELECT 1 FROM record WHERE rowid = ?)", rowid)
        return confirmed, tombstoned, proof

    def _store(self, rows: list[Row]) -> int:
        """Insert new records, and drop some if there is not enough space. Returns the number of dropped ones."""
        dropped = unchecked_bytes = 0
        for row in rows:
            content = row.content
            taken = self._eviction.taken(self._room, row.rowid, self._epoch, self._boots.current, row.seq, content)
            if taken is None:
                dropped += 1
                continue
            readings, body = taken
            about = (readings, content.first_ns, content.last_ns)
            columns = (self._epoch, row.seq, int(content.kind), self._boots.current, *about)
            self._db.execute(INSERT_RECORD, (row.rowid, *columns, checksum(columns, body), body))
            self._changes.stored(self._epoch, row.seq, content.kind)
            if content.urgent:
                self._db.execute(INSERT_URGENT, (row.rowid,))
            unchecked_bytes += len(body)
            if unchecked_bytes > _PIECE_BYTES:
                dropped += self._eviction.make_room(self._room)
                unchecked_bytes = 0
        return dropped + self._eviction.make_room(self._room)
