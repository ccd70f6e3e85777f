"""The files of the outbox: the database, open for as much as it allows, its journal, and the reserve."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.outbox import journal
from edge_agent.outbox.meter import JournalMeter
from edge_agent.outbox.pages import Found, PageFile, header_problem
from edge_agent.outbox.recovery import DATABASE, Damage, give_up_salvaged, means_damage, next_aside, open_or_set_aside
from edge_agent.outbox.reserve import Reserve
from edge_agent.outbox.rows import Small, StoredRow, read_small_tables
from edge_agent.outbox.schema import COLUMNS, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.outbox.schema import StoreSettings

_SELECT: Final = "SELECT * FROM record WHERE rowid > ? AND rowid <= ? ORDER BY rowid"
DELETED: Final = "the file was deleted or replaced"


log = logging.getLogger(__name__)


def reason_of(error: Exception) -> str:
    """What an error of the disk says, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def is_full(error: Exception) -> bool:
    """Whether an error of SQLite means that the disk, or the largest size of the file, is reached."""
    return getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"


class Store:
    """The files in one directory.

    Args:
        directory: the directory.
        settings: settings of the database.

    Attributes:
        db: the open database; None if it cannot be opened.
        damage: the last database that was set aside; None if there was none.
        meter: counts what commits write.
        lost_commits: whether the journal showed, at the first opening, that durable commits are lost.
    """

    def __init__(self, directory: Path, settings: StoreSettings) -> None:
        self.directory = directory
        self.db: sqlite3.Connection | None = None
        self.damage: Damage | None = None
        self.lost_commits = False
        self._path = directory / DATABASE
        self._journal = directory / f"{DATABASE}-wal"
        self.meter = JournalMeter(self._journal, PAGE_BYTES)
        self._settings = settings
        self._reserve = Reserve(directory, settings.reserve_bytes)
        self._damaged: str | None = None
        self._identity: tuple[int, int] | None = None
        self._is_first = True

    def open(self) -> sqlite3.Connection:
        """Open the database again; one that is damaged is set aside, and `damage` tells so.

        Raises:
            sqlite3.Error, OSError: it cannot be opened; `rows` may still be able to read it.
            Unavailable: another process uses it, or a newer edge-agent wrote it.
        """
        gone = self._rescue() if self.db is not None and self.is_gone() else None
        self.close()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._is_first:
            self.lost_commits = journal.lost_commits(self._journal, PAGE_BYTES)
        if self._settings.durable:
            journal.rewrite(self._journal, self._settings.files)
        if self._damaged is None and (problem := header_problem(self._path)):
            self._damaged = problem
        self.db, damage = open_or_set_aside(self.directory, self._settings, self._damaged)
        self._damaged, self._is_first = None, False
        self.meter.note_commit()
        self.damage = gone or damage or self.damage
        status = self._path.stat()
        self._identity = status.st_dev, status.st_ino
        return self.db

    def close(self) -> None:
        """Close the database."""
        if self.db is not None:
            self.db.close()
            self.db = None

    def writable(self) -> sqlite3.Connection:
        """The open database.

        Raises:
            sqlite3.OperationalError: it is not open.
        """
        if self.db is None:
            raise sqlite3.OperationalError("the database is not open")
        return self.db

    def note(self, error: Exception) -> None:
        """Note an error: one that means damage makes the next `open` set the database aside."""
        if means_damage(error):
            self._damaged = str(error)

    @property
    def is_damaged(self) -> bool:
        """Whether the next `open` sets the database aside."""
        return self._damaged is not None

    def is_gone(self) -> bool:
        """Whether the file that is open is no longer the one in the directory."""
        try:
            status = self._path.stat()
        except OSError:
            return True
        return self._identity is not None and (status.st_dev, status.st_ino) != self._identity

    def _rescue(self) -> Damage | None:
        """Copy a database that was deleted while it is open, so that it can be salvaged; None if that fails."""
        aside = next_aside(self.directory)
        with suppress(OSError):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                status, name = link.stat(), str(link.readlink()).removesuffix(" (deleted)")
                if (status.st_dev, status.st_ino) == self._identity:
                    shutil.copyfile(link, aside)
                elif name == str(self._journal):
                    shutil.copyfile(link, aside.with_name(f"{aside.name}-wal"))
        return Damage(aside, DELETED) if aside.exists() else None

    def read_small_tables(self) -> Small | None:
        """The small tables, read without SQLite; None if there is no file that can be read."""
        try:
            return read_small_tables(self._path)
        except OSError:
            return None

    def make_room(self) -> bool:
        """Free space on a full disk: give up databases kept for inspection, then the reserve. Tells whether it did."""
        if give_up_salvaged(self.directory):
            log.warning("the disk is full: the damaged database that was kept for inspection is deleted")
            return True
        if self._reserve.give_up():
            log.warning("the disk is full: the reserve is given up, so that records can be deleted and replaced")
            return True
        return False

    def take_reserve(self) -> None:
        """Allocate the reserve again, if the disk has space."""
        self._reserve.take()

    @contextmanager
    def rows(self, after: int, upto: int) -> Iterator[Iterator[StoredRow]]:
        """Rows of records with after < rowid <= upto, oldest first, by SQLite or, where that cannot, from the file.

        Raises:
            sqlite3.Error, OSError: they cannot be read.
        """
        if self.db is not None:
            # Closed at once: an open cursor prevents checkpoints from completing, and the journal grows.
            with closing(self.db.execute(_SELECT, (after, upto))) as cursor:
                yield map(StoredRow._make, cursor)
        elif self._path.exists():
            with PageFile(self._path, PAGE_BYTES) as file:
                yield (
                    StoredRow(item.rowid, *item.values[1:])
                    for item in file.rows("record", COLUMNS, after + 1)
                    if isinstance(item, Found) and len(item.values) == COLUMNS and item.rowid <= upto
                )
        else:
            yield iter(())
