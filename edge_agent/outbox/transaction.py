"""What one commit writes: deletions, new records, segments and tombstones, in an order that needs the least room."""

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
"""Dropping goes on to this share of the limit, so that it does not happen at every commit."""
_PIECE_BYTES: Final = 524_288
"""Bodies stored between two looks at how much room there is; well below what the file may exceed its limit by."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction did.

    Attributes:
        committed, confirmed, tombstoned: records.
        proof: a query that says 1 if the transaction holds and 0 if it does not, and its argument.
        last_rowid: no record that it stored has a higher place.
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
        """The numbers after a transaction that holds."""
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
        db: in a transaction.
        epoch: of new records.
        boots: to which new stamps belong.
        tombstones: for what is dropped.
        segments: for rows of the open batch.
        max_bytes: what the tables may take up in the file.
        spared: rowids of records that are on their way.
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
        """Carry out what the intake holds. Whatever frees room goes first.

        Raises:
            sqlite3.Error: it is to be rolled back.
        """
        db, losses = self._db, list(intake.losses)
        forgone = sum(loss.dropped.records for loss in losses)
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
        last = self._tombstones.write(db, losses, self._spared) or (intake.rows[-1].rowid if intake.rows else None)
        if last is not None:
            proof = ("SELECT EXISTS (SELECT 1 FROM record WHERE rowid = ?)", last)
        if intake.anchor:
            self._boots.write(db)
        for name, body in intake.states.items():
            db.execute(REPLACE_STATE, (name, crc32(body), body))
        return Outcome(
            committed=forgone + sum(row.content.kind is not RecordKind.TOMBSTONE for row in intake.rows),
            confirmed=confirmed,
            tombstoned=forgone + tombstoned,
            proof=proof,
        )

    def _store(self, rows: list[Row], losses: list[Loss]) -> int:
        """Insert new records, and drop old ones where they take more room than there is. Returns how many went."""
        dropped = unlooked = 0
        for row in rows:
            what = row.content
            numbers = (row.rowid, self._epoch, row.seq, int(what.kind), self._boots.current)
            about = (what.readings, what.first_ns, what.last_ns, crc32(what.body), what.body)
            self._db.execute(INSERT_RECORD, numbers + about)
            if what.urgent:
                self._db.execute(INSERT_URGENT, (row.rowid,))
            unlooked += len(what.body)
            if unlooked > _PIECE_BYTES:
                dropped += make_room(self._db, self._max_bytes, self._spared, self._tombstones, losses)
                unlooked = 0
        return dropped + make_room(self._db, self._max_bytes, self._spared, self._tombstones, losses)


def make_room(
    db: sqlite3.Connection, max_bytes: int, spared: Collection[int], tombstones: Tombstones, losses: list[Loss]
) -> int:
    """Drop old records if the tables take more than `max_bytes`. Returns how many."""
    if used_bytes(db) <= max_bytes:
        return 0
    dropped = tombstones.make_room(db, int(max_bytes * _EVICT_TO), spared, losses)
    if dropped:
        log.warning("the outbox is full: the oldest records were dropped records=%d", dropped)
    return dropped
