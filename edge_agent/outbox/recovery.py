"""Opens an outbox in any state: a damaged database is set aside, and its readable rows are copied to a new one.

A gateway that refused to start because of a damaged outbox would lose all later readings, which is worse.

The new database is built next to the damaged one and replaces it when it is complete, so that a power cut at any moment
does no harm.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from edge_agent.errors import Unavailable
from edge_agent.outbox.schema import REPLACE_STATE, StoreSettings, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

DATABASE: Final = "outbox.db"
_SALVAGED: Final = "salvage.db"
_PARTS: Final = ("", "-wal", "-shm")
_KEPT_ASIDE: Final = 2
"""Number of damaged databases that are kept for inspection; each takes space on the card."""
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ")
"""First parts of the names of SQLite errors that mean a damaged file, not a full disk or missing permissions."""
_TABLES: Final = (("boot", 5, None), ("epoch", 2, None), ("record", 10, 8), ("segment", 7, 5), ("urgent", 1, None))
"""Tables whose first column is the rowid; number of columns, and which of them is the checksum of the last one."""
_MOST_UNREADABLE: Final = 10_000
"""Number of consecutive unreadable rowids after which the rest of a table is not tried."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """Result of the salvage of a damaged outbox.

    Attributes:
        aside: path of the damaged database.
        reason: error that SQLite reported.
        records: number of records copied to the new database.
    """

    aside: Path
    reason: str
    records: int


def open_or_set_aside(directory: Path, settings: StoreSettings) -> tuple[sqlite3.Connection, Salvage | None]:
    """Open and check the outbox in `directory`. Also returns the result of a salvage, None if there was none.

    Raises:
        Unavailable: the directory cannot be used, another process uses it, or a newer edge-agent wrote it.
    """
    path = directory / DATABASE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _finish_interrupted(directory)
        try:
            return open_database(path, settings), None
        except sqlite3.DatabaseError as error:
            if not _means_damage(path, error):
                raise
            return _replace(path, settings, str(error))
    except OSError as error:
        raise Unavailable(f"{directory} cannot be used for the outbox: {error.strerror}; give a --state-dir") from None
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be opened: {error}; check permissions and free space") from None


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


def _means_damage(path: Path, error: sqlite3.DatabaseError) -> bool:
    """Whether the error means damaged content. Errors from quick_check are raised by us and have no SQLite name."""
    return path.exists() and getattr(error, "sqlite_errorname", _DAMAGED[0]).startswith(_DAMAGED)


def _replace(path: Path, settings: StoreSettings, reason: str) -> tuple[sqlite3.Connection, Salvage]:
    salvaged = path.with_name(_SALVAGED)
    with closing(open_database(salvaged, settings)) as fresh:
        records = _copy_readable(path, fresh)
    aside = _set_aside(path)
    salvaged.rename(path)
    log.error("the outbox was damaged; a new one took over reason=%r aside=%s salvaged=%d", reason, aside, records)
    return open_database(path, settings), Salvage(aside, reason, records)


def _finish_interrupted(directory: Path) -> None:
    """Handle a salvage that the last run did not finish: use it if the damaged file was moved, else delete it."""
    salvaged = directory / _SALVAGED
    if salvaged.exists() and not (directory / DATABASE).exists():
        salvaged.rename(directory / DATABASE)
    _remove(salvaged)


def _set_aside(path: Path) -> Path:
    """Rename the database with its journal, and delete the oldest of those set aside before. Returns the new path."""
    numbers = (file.stem.removeprefix("damaged-") for file in path.parent.glob("damaged-*.db"))
    earlier = sorted(int(number) for number in numbers if number.isdecimal())
    for number in earlier[: max(0, len(earlier) - _KEPT_ASIDE + 1)]:
        _remove(path.with_name(f"damaged-{number}.db"))
    aside = path.with_name(f"damaged-{earlier[-1] + 1 if earlier else 1}.db")
    # The database goes last: after a power cut before that, the next start finds it and repeats the salvage.
    for part in reversed(_PARTS):
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(aside.with_name(aside.name + part))
    return aside


def _remove(path: Path) -> None:
    for part in _PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)


def _copy_readable(damaged: Path, fresh: sqlite3.Connection) -> int:
    """Copy every readable row with an intact body. Returns the number of records without tombstones."""
    with closing(sqlite3.connect(damaged, isolation_level=None)) as source:
        source.execute("PRAGMA writable_schema=ON")  # without it, SQLite reads nothing of a truncated file
        fresh.execute("BEGIN IMMEDIATE")
        for table, columns, crc in _TABLES:
            insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * columns)})"  # noqa: S608 our own names
            for row in _readable_rows(source, table):
                if crc is not None and not (isinstance(row[-1], bytes) and crc32(row[-1]) == row[crc]):
                    continue
                with suppress(sqlite3.IntegrityError):  # a column has a wrong type
                    fresh.execute(insert, row)
        with suppress(sqlite3.Error):  # what was saved until the damage began
            for name, crc, body in source.execute("SELECT name, crc, body FROM state"):
                if isinstance(body, bytes) and crc32(body) == crc:
                    fresh.execute(REPLACE_STATE, (name, crc, body))
        (records,) = fresh.execute("SELECT count(*) FROM record WHERE kind != 2").fetchone()
        fresh.execute("COMMIT")
    return int(records)


def _readable_rows(source: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows from the first page on; at a damaged page, try rowid by rowid until a scan works again.

    After too many unreadable rowids, yield rows backwards from the last page.
    """
    scan = f"SELECT * FROM {table} WHERE rowid >= ? ORDER BY rowid"  # noqa: S608 our own names
    single = f"SELECT * FROM {table} WHERE rowid = ?"  # noqa: S608 our own names
    following, unreadable = 1, 0
    while unreadable < _MOST_UNREADABLE:
        try:
            for row in source.execute(scan, (following,)):
                yield row
                following, unreadable = row[0] + 1, 0
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") in {"SQLITE_NOTADB", "SQLITE_ERROR"}:
                return  # no database, or no such table: other rows cannot be read either
        else:
            return
        unreadable += 1
        # The scan reads one row ahead, so it failed before it returned the last good row.
        with suppress(sqlite3.Error):
            yield from source.execute(single, (following,))
        following += 1
    with suppress(sqlite3.Error):
        yield from source.execute(scan + " DESC", (following,))
