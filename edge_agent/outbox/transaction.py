"""Writes of one commit: deletions, new records, tombstones and states, in the order that needs the least space."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

from edge_agent.outbox.schema import INSERT_RECORD, INSERT_URGENT, REPLACE_STATE, used_bytes
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from edge_agent.outbox.boots import Boots
    from edge_agent.outbox.intake import Intake, Row
    from edge_agent.outbox.segments import Segments
    from edge_agent.outbox.tombstones import Loss, Tombstones

log = logging.getLogger(__name__)

_EVICT_TO: Final = 0.98
"""Share of the limit down to which records are dropped, so that dropping is not needed at every commit."""
_PIECE_BYTES: Final = 524_288
"""Bytes of bodies stored between two checks of the size; well below SPARE_BYTES."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a transaction.

    Attributes:
        committed, confirmed, tombstoned: numbers of records.
        proof: query that returns 1 if the transaction is durable and 0 if it is not, and its argument.
        last_rowid: highest rowid of the records that it stored.
    """

    committed: int
    confirmed: int
    tombstoned: int
    proof: tuple[str, int]
    last_rowid: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Records of this run, those found at its start included: committed = confirmed + tombstoned + pending."""

    committed: int
    confirmed: int
    tombstoned: int
    pending: int
    carried_over: int

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
        boots: all boots; new stamps belong to the current one.
        tombstones: drops records and writes tombstones.
        segments: secured rows of the open batch.
        max_bytes: largest size of the tables in the file.
        spared: rowids that must not be dropped, because their records are being sent.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        epoch: int,
        boots: Boots,
        tombstones: Tombstones,
        segments: Segments,
        *,
        max_bytes: int,
        spared: Collection[int],
    ) -> None:
        self._db = db
        self._epoch = epoch
        self._boots = boots
        self._tombstones = tombstones
        self._segments = segments
        self._max_bytes = max_bytes
        self._spared = spared

    def write(self, intake: Intake) -> Outcome:
        """Write the changes of the intake. Those that free space go first.

        Raises:
            sqlite3.Error: the caller must roll back.
        """
        db, losses = self._db, list(intake.losses)
        dropped_early = sum(loss.dropped.records for loss in losses)
        confirmed = tombstoned = 0
        proof = ("SELECT ?", 0)
        for rowid, reason in intake.finished.items():
            db.execute("DELETE FROM urgent WHERE rowid = ?", (rowid,))
            if reason is None:
                row = db.execute("DELETE FROM record WHERE rowid = ? RETURNING kind", (rowid,)).fetchone()
                if row is not None:
                    confirmed += row[0] != RecordKind.TOMBSTONE
                    proof = ("SELECT NOT EXISTS (SELECT 1 FROM record WHERE rowid = ?)", rowid)
            else:
                tombstoned += self._tombstones.drop(db, rowid, reason, losses)
        if intake.sealed:
            self._segments.mark_sealed(db)
        tombstoned += self._store(intake.rows, losses)
        last = self._tombstones.write(db, self._epoch, self._boots.current, losses) or (
            intake.rows[-1].rowid if intake.rows else None
        )
        if last is not None:
            proof = ("SELECT EXISTS (SELECT 1 FROM record WHERE rowid = ?)", last)
        if intake.anchor:
            self._boots.write(db)
        for name, body in intake.states.items():
            db.execute(REPLACE_STATE, (name, crc32(body), body))
        return Outcome(
            committed=dropped_early + sum(row.content.kind is not RecordKind.TOMBSTONE for row in intake.rows),
            confirmed=confirmed,
            tombstoned=dropped_early + tombstoned,
            proof=proof,
        )

    def _store(self, rows: list[Row], losses: list[Loss]) -> int:
        """Insert new records, and drop old ones if there is not enough space. Returns the number of dropped ones."""
        dropped = unchecked_bytes = 0
        for row in rows:
            content = row.content
            numbers = (row.rowid, self._epoch, row.seq, int(content.kind), self._boots.current)
            about = (content.readings, content.first_ns, content.last_ns, crc32(content.body), content.body)
            self._db.execute(INSERT_RECORD, numbers + about)
            if content.urgent:
                self._db.execute(INSERT_URGENT, (row.rowid,))
            unchecked_bytes += len(content.body)
            if unchecked_bytes > _PIECE_BYTES:
                dropped += make_room(self._db, self._max_bytes, self._spared, self._tombstones, losses)
                unchecked_bytes = 0
        return dropped + make_room(self._db, self._max_bytes, self._spared, self._tombstones, losses)


def make_room(
    db: sqlite3.Connection, max_bytes: int, spared: Collection[int], tombstones: Tombstones, losses: list[Loss]
) -> int:
    """Drop old records if the tables take more than `max_bytes`. Returns the number of dropped records."""
    if used_bytes(db) <= max_bytes:
        return 0
    dropped = tombstones.make_room(db, int(max_bytes * _EVICT_TO), spared, losses)
    if dropped:
        log.warning("the outbox is full: the oldest records were dropped records=%d", dropped)
    return dropped
