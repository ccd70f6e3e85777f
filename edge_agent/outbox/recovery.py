"""Opens the database in any state: a damaged one is set aside, and an empty one takes its place at once.

A gateway that refused to start because of a damaged outbox would lose all later readings, which is worse. `salvage`
then moves the rows of the damaged file into the new one while the agent works.

The names of the files tell how far that is: `damaged-N.db` is still to be salvaged, `salvaged-N.db` has been.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.outbox.schema import open_database

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.outbox.schema import Files, StoreSettings

log = logging.getLogger(__name__)

DATABASE: Final = "outbox.db"
_ASIDE: Final = "damaged-"
_DONE: Final = "salvaged-"
_PARTS: Final = ("", "-wal", "-shm")
_KEPT: Final = 1
"""Number of salvaged files that are kept for inspection; each takes space on the card."""
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ")
"""First parts of the names of SQLite errors that mean a damaged file, not a full disk or missing permissions."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A database that was set aside.

    Attributes:
        aside: its new path.
        reason: error that SQLite reported.
    """

    aside: Path
    reason: str


def open_or_set_aside(
    directory: Path, settings: StoreSettings, damaged: str | None = None
) -> tuple[sqlite3.Connection, Damage | None]:
    """Open the outbox in `directory`. Also tells whether a damaged one was set aside.

    Args:
        directory: the directory.
        settings: settings of the database.
        damaged: the error that showed that it is damaged, although it can be opened; None if there was none.

    Raises:
        Unavailable: another process uses it, or a newer edge-agent wrote it.
        sqlite3.Error, OSError: the directory cannot be used.
    """
    path = directory / DATABASE
    if damaged is None:
        try:
            return open_database(path, settings), None
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            if not means_damage(error) or not path.exists():
                raise
            damaged = str(error)
    aside = _set_aside(path, settings.files)
    log.error("the outbox is damaged; a new one takes over reason=%r aside=%s", damaged, aside)
    return open_database(path, settings), Damage(aside, damaged)


def means_damage(error: Exception) -> bool:
    """Whether an error means damaged content: of SQLite, or because a column does not have the type that it must."""
    return isinstance(error, (TypeError, ValueError)) or (
        isinstance(error, sqlite3.DatabaseError) and str(getattr(error, "sqlite_errorname", "")).startswith(_DAMAGED)
    )


def next_to_salvage(directory: Path) -> Path | None:
    """Path of the damaged database that is to be salvaged next: the oldest; None if there is none."""
    numbers = _numbers(directory, _ASIDE)
    return directory / f"{_ASIDE}{numbers[0]}.db" if numbers else None


def asides(directory: Path) -> list[tuple[Path, bool]]:
    """Damaged databases, oldest first, each with whether something is to be found in it yet."""
    waiting = [(directory / f"{_ASIDE}{number}.db", True) for number in _numbers(directory, _ASIDE)]
    return [(directory / f"{_DONE}{number}.db", False) for number in _numbers(directory, _DONE)] + waiting


def mark_salvaged(path: Path, files: Files) -> None:
    """Rename a damaged database of which nothing more can be read, and delete earlier ones."""
    directory = path.parent
    for number in _numbers(directory, _DONE)[: -_KEPT + 1 or None]:
        remove(directory / f"{_DONE}{number}.db")
    _rename(path, directory / path.name.replace(_ASIDE, _DONE), files)


def give_up_salvaged(directory: Path) -> bool:
    """Delete the salvaged databases that were kept for inspection. Returns whether there were any."""
    numbers = _numbers(directory, _DONE)
    for number in numbers:
        remove(directory / f"{_DONE}{number}.db")
    return bool(numbers)


def number_of_aside(path: Path) -> int:
    """Number in the name of a damaged database."""
    return int(path.stem.removeprefix(_ASIDE))


def pending_in(directory: Path) -> int:
    """Number of records in a closed outbox, 0 if there is no outbox."""
    path = directory / DATABASE
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as database:
        try:
            (rows,) = database.execute("SELECT count(*) FROM record").fetchone()
        except sqlite3.Error:
            return 1  # unreadable, so not empty
    return int(rows)


def remove(path: Path) -> None:
    """Delete a database with its journal."""
    for part in _PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)


def next_aside(directory: Path) -> Path:
    """A new name for a database that is set aside."""
    numbers = _numbers(directory, _ASIDE) + _numbers(directory, _DONE)
    return directory / f"{_ASIDE}{max(numbers, default=0) + 1}.db"


def _set_aside(path: Path, files: Files) -> Path:
    """Rename the database with its journal. Returns the new path."""
    aside = next_aside(path.parent)
    _rename(path, aside, files)
    return aside


def _rename(path: Path, other: Path, files: Files) -> None:
    # The database goes last: after a power cut before that, the next start finds it and repeats this.
    for part in reversed(_PARTS):
        with suppress(FileNotFoundError):
            files.rename(path.with_name(path.name + part), other.with_name(other.name + part))
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _numbers(directory: Path, prefix: str) -> list[int]:
    """Numbers of the databases with such a name, ascending."""
    texts = (file.stem.removeprefix(prefix) for file in directory.glob(f"{prefix}*.db"))
    return sorted(int(text) for text in texts if text.isdecimal())
