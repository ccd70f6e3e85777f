"""Salvages the damaged databases of a directory, one after the other, inside the transactions of the outbox."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.outbox.epochs import Changes, Epoch
from edge_agent.outbox.opening import stored_state
from edge_agent.outbox.recovery import mark_salvaged, next_to_salvage, number_of_aside
from edge_agent.outbox.rows import read_small_tables
from edge_agent.outbox.salvage import (
    STATE,
    Progress,
    Salvage,
    expected_in,
    expected_of,
    save_progress,
)
from edge_agent.outbox.schema import INSERT_RECORD, INSERT_URGENT
from edge_agent.outbox.transaction import Outcome, Returned
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_agent.outbox.boots import Boots
    from edge_agent.outbox.epochs import Epochs
    from edge_agent.outbox.rows import StoredRow
    from edge_agent.outbox.schema import Files
    from edge_agent.outbox.tombstones import Tombstones

log = logging.getLogger(__name__)

ROWS_AT_ONCE: Final = 64
_INSERT: Final = INSERT_RECORD.replace("INSERT", "INSERT OR IGNORE")
_INSERT_STATE: Final = "INSERT OR IGNORE INTO state VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class SalvagePart:
    """State of the salvage.

    Attributes:
        name: name of the damaged file; empty if nothing is being salvaged.
        salvaged: batches and events that were found in damaged files in this run.
        lost: those that could not be found; tombstones tell of them.
        remaining: those that are still to be found.
    """

    name: str
    salvaged: int
    lost: int
    remaining: int


class Salvaging:
    """The salvage of one directory.

    Args:
        directory: the directory.
        files: calls of the file system.

    Attributes:
        confirmed: rowids of records that were confirmed before they were found.
    """

    def __init__(self, directory: Path, files: Files) -> None:
        self.confirmed: set[int] = set()
        self._directory = directory
        self._files = files
        self._salvage: Salvage | None = None
        self._urgent: frozenset[int] = frozenset()
        self._salvaged = self._lost = 0

    @property
    def is_active(self) -> bool:
        """Whether there is something to salvage."""
        return self._salvage is not None

    def part(self) -> SalvagePart:
        """State for the snapshot."""
        salvage = self._salvage
        name, remaining = ("", 0) if salvage is None else (salvage.progress.name, salvage.progress.remaining())
        return SalvagePart(name, self._salvaged, self._lost, remaining)

    def resume(self, db: sqlite3.Connection, epochs: Epochs, boots: Boots, live: Sequence[Epoch] | None) -> int:
        """Begin with the next damaged database, or go on where the stored progress says. Inside a transaction.

        Args:
            db: the new database.
            epochs: gets the epochs of the damaged database.
            boots: gets its boots.
            live: what is known of its epochs, if it was damaged while this agent used it.

        Returns:
            Number of batches and events that are to be found.
        """
        self.close()
        path = next_to_salvage(self._directory)
        progress = _stored_progress(db)
        if path is not None and progress is not None and progress.finished and progress.name == path.name:
            mark_salvaged(path, self._files)
            path = next_to_salvage(self._directory)
        if path is None:
            return 0
        try:
            if progress is None or progress.name != path.name:
                progress = self._begin(db, path, boots, live)
            self._salvage = Salvage(path, progress)
        except OSError as error:
            log.error("a damaged outbox cannot be read and is left alone path=%s reason=%r", path, str(error))  # noqa: TRY400
            return 0
        self._urgent = frozenset(progress.urgent)
        epochs.hold(db, [Epoch(each.epoch, each.boot, each.mark) for each in progress.epochs])
        return progress.remaining()

    def _begin(self, db: sqlite3.Connection, path: Path, boots: Boots, live: Sequence[Epoch] | None) -> Progress:
        small = read_small_tables(path)
        boots.learn(small.boots, small.anchors)
        boots.write_all(db)
        db.executemany(_INSERT_STATE, [row for row in small.states if row[0] != STATE])
        expected = expected_of(small) if live is None else expected_in(live)
        progress = Progress(path.name, epochs=expected, urgent=small.urgent)
        save_progress(db, progress)
        return progress

    def write(
        self,
        db: sqlite3.Connection,
        epochs: Epochs,
        tombstones: Tombstones,
        identity: tuple[int, int],
        next_rowid: Callable[[], int],
    ) -> Outcome:
        """Move some rows, inside a transaction; at the end, store tombstones of what is missing.

        Args:
            db: the new database.
            epochs: numbers of records.
            tombstones: writes tombstones.
            identity: current epoch and boot.
            next_rowid: draws a rowid above all others.
        """
        salvage, changes = self._active(), Changes()
        rows = salvage.take(ROWS_AT_ONCE)
        confirmed = repeated = last_rowid = 0
        urgent: list[int] = []
        for row in rows:
            if row.rowid in self.confirmed:
                confirmed += row.kind != RecordKind.TOMBSTONE
                continue
            stored = self._insert(db, row, epochs, next_rowid)
            if stored is None:
                repeated += row.kind != RecordKind.TOMBSTONE
                continue
            changes.stored(row.epoch, row.seq, row.kind)
            if row.rowid in self._urgent:
                db.execute(INSERT_URGENT, (stored,))
                urgent.append(stored)
            if stored != row.rowid:
                last_rowid = stored
        lost = remaining = 0
        if salvage.progress.finished:
            losses, remaining = salvage.losses(), salvage.progress.remaining()
            lost = sum(loss.dropped.records for loss in losses)
            last_rowid = tombstones.write(db, *identity, losses, changes) or last_rowid
        proof = save_progress(db, salvage.progress)
        epochs.write(db, changes)
        return Outcome(
            committed=salvage.unexpected - repeated + lost - remaining,
            confirmed=confirmed,
            tombstoned=lost,
            changes=changes,
            proof=("SELECT EXISTS (SELECT 1 FROM state WHERE name = 'salvage' AND body = ?)", proof),
            returned=Returned(rows[0].rowid, rows[-1].rowid, tuple(urgent)) if rows else None,
            found=sum(row.kind != RecordKind.TOMBSTONE for row in rows),
            is_salvage=True,
            last_rowid=last_rowid,
        )

    def applied(self, outcome: Outcome) -> str | None:
        """Note that a transaction of `write` is durable. Returns a sentence at the end of a salvage."""
        self._salvaged += outcome.found
        self._lost += outcome.tombstoned
        salvage = self._salvage
        if salvage is None or not salvage.progress.finished:
            return None
        found = sum(each.found for each in salvage.progress.epochs)
        path = salvage.path
        self.close()
        self.confirmed.clear()
        mark_salvaged(path, self._files)
        log.warning("a damaged outbox was salvaged path=%s records=%d lost=%d", path, found, outcome.tombstoned)
        return f"{found} records of the damaged outbox go on, {outcome.tombstoned} are lost"

    def rowids_below(self) -> int:
        """A number above the rowids of the damaged database, for those of new records; 0 if there is none."""
        return 0 if self._salvage is None else number_of_aside(self._salvage.path) << 40

    def close(self) -> None:
        """Close the damaged file."""
        if self._salvage is not None:
            self._salvage.close()
            self._salvage = None

    def _active(self) -> Salvage:
        if self._salvage is None:
            raise RuntimeError("nothing to salvage")
        return self._salvage

    @staticmethod
    def _insert(db: sqlite3.Connection, row: StoredRow, epochs: Epochs, next_rowid: Callable[[], int]) -> int | None:
        """Insert a row. Returns its rowid; None if it is there already."""
        if not epochs.is_open(row.epoch):
            epochs.hold(db, [Epoch(row.epoch, row.boot)])
        if db.execute(_INSERT, row).rowcount:
            return row.rowid
        query = "SELECT epoch = ? AND seq = ? FROM record WHERE rowid = ?"
        (is_same,) = db.execute(query, (row.epoch, row.seq, row.rowid)).fetchone()
        if is_same:
            return None
        rowid = next_rowid()
        db.execute(_INSERT, (rowid, *row[1:]))
        return rowid


def _stored_progress(db: sqlite3.Connection) -> Progress | None:
    body = stored_state(db, STATE)
    if body is None:
        return None
    try:
        return Progress.from_bytes(body)
    except (json.JSONDecodeError, TypeError, KeyError, ValueError):
        return None
