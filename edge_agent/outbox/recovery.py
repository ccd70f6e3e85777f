"""Opening an outbox whatever state it is in: a damaged one is set aside, what can be read of it is kept.

A gateway that refuses to start because of its buffer loses everything from then on, which is worse.
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from edge_agent.errors import Unavailable
from edge_agent.outbox.schema import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

DATABASE: Final = "outbox.db"
_KEPT_ASIDE: Final = 2
"""How many damaged databases are kept for a person to look at; the card has to hold them all."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """What became of a damaged outbox.

    Attributes:
        aside: where it is now.
        reason: what was wrong.
        records: how many records were read from it and go on.
    """

    aside: Path
    reason: str
    records: int


def open_or_set_aside(directory: Path, max_bytes: int) -> tuple[sqlite3.Connection, Salvage | None]:
    """Open the outbox in `directory`. After an unclean end it is checked first.

    Raises:
        Unavailable: the directory cannot be written, or another process uses it.
    """
    path = directory / DATABASE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unclean = _size(path.with_name(f"{DATABASE}-wal")) > 0
    except OSError as error:
        raise Unavailable(f"{directory} cannot be used for the outbox: {error.strerror}; give a --state-dir") from None
    try:
        connection = open_database(path, max_bytes)
        if unclean:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                connection.close()
                raise sqlite3.DatabaseError(said)  # noqa: TRY301 joins the errors that SQLite raises by itself
    except sqlite3.OperationalError as error:
        if not _exists_but_damaged(path, error):
            raise Unavailable(f"{path} cannot be opened: {error}; check permissions and free space") from None
        return _start_anew(path, max_bytes, str(error))
    except sqlite3.DatabaseError as error:
        return _start_anew(path, max_bytes, str(error))
    return connection, None


def pending_in(directory: Path) -> int:
    """How many records a closed outbox still holds; 0 if there is none."""
    path = directory / DATABASE
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        (rows,) = connection.execute("SELECT count(*) FROM record").fetchone()
    except sqlite3.Error:
        return 1  # whatever it is, it is not nothing
    finally:
        connection.close()
    return int(rows)


def _exists_but_damaged(path: Path, error: sqlite3.OperationalError) -> bool:
    return _size(path) > 0 and error.sqlite_errorname in {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR"}


def _start_anew(path: Path, max_bytes: int, reason: str) -> tuple[sqlite3.Connection, Salvage]:
    aside = _set_aside(path)
    connection = open_database(path, max_bytes)
    records = _copy_readable(aside, connection)
    log.error("the outbox was damaged; a new one took over reason=%r aside=%s salvaged=%d", reason, aside, records)
    return connection, Salvage(aside, reason, records)


def _set_aside(path: Path) -> Path:
    """Rename the database with its journal, and forget the oldest of those set aside before."""
    earlier = sorted(path.parent.glob("damaged-*.db"), key=lambda each: int(each.stem.removeprefix("damaged-")))
    number = int(earlier[-1].stem.removeprefix("damaged-")) + 1 if earlier else 1
    for old in earlier[: max(0, len(earlier) - _KEPT_ASIDE + 1)]:
        for part in ("", "-wal", "-shm"):
            old.with_name(old.name + part).unlink(missing_ok=True)
    aside = path.with_name(f"damaged-{number}.db")
    for part in ("", "-wal", "-shm"):
        source = path.with_name(path.name + part)
        if source.exists():
            source.rename(aside.with_name(aside.name + part))
    return aside


def _copy_readable(damaged: Path, connection: sqlite3.Connection) -> int:
    """Copy every row that can be read and whose body is whole. Returns how many records."""
    copied = 0
    try:
        source = sqlite3.connect(damaged, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        for table, columns, crc_column in (("boot", 5, None), ("epoch", 2, None), ("record", 10, 8), ("segment", 7, 5)):
            for row in _readable_rows(source, table):
                if crc_column is None or crc32(row[-1]) == row[crc_column]:
                    marks = ", ".join("?" * columns)
                    connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 our own names
                    copied += table == "record"
        connection.execute("COMMIT")
        source.close()
    except sqlite3.Error as error:
        log.warning("salvage ended early reason=%r", str(error))
        if connection.in_transaction:
            connection.execute("COMMIT")
    return copied


def _readable_rows(source: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Rows from the first page on up to the damage, then from the last page back to it."""
    highest: int | None = None
    for order in ("ASC", "DESC"):
        try:
            for row in source.execute(f"SELECT * FROM {table} ORDER BY rowid {order}"):  # noqa: S608 our own names
                if order == "DESC" and highest is not None and row[0] <= highest:
                    return
                if order == "ASC":
                    highest = row[0]
                yield row
        except sqlite3.Error:
            continue
        else:
            return


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


__all__ = ["Salvage", "Unavailable", "open_or_set_aside"]
