"""Tables of the outbox, and opening of a database such that a commit survives power loss.

`synchronous=FULL` with WAL: NORMAL loses all commits since the last checkpoint at a power cut.
`locking_mode=EXCLUSIVE`: no -shm file, and no second agent on the same directory.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 2
TABLES: Final = ("boot", "epoch", "record", "segment", "urgent", "state")
INSERT_RECORD: Final = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_URGENT: Final = "INSERT OR IGNORE INTO urgent VALUES (?)"
REPLACE_STATE: Final = (
    "INSERT INTO state VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET crc = excluded.crc, body = excluded.body"
)
"""An update, because INSERT OR REPLACE writes the index too: one page more in every commit."""

PAGE_BYTES: Final = 1024
"""Page size of new files; existing files keep theirs.

Measured with WAL and FULL on ext4 (write_bytes of /proc/self/io per batch of 700 bytes, stored in the transaction
that deletes the one before): 12355 with pages of 4096 bytes, 6190 with 1024, 6252 with 512. With five segments, each
with its own commit, before every batch: 57620, 32988, 35973.
"""
JOURNAL_PAGES: Final = 256
"""Size of the journal in pages. A commit that overwrites it takes less time and fewer writes than one that makes it
grow, and this one is full after half an hour."""
SPARE_BYTES: Final = 4 * 1_048_576
"""Room below the hard limit of the file, so that storing and dropping in one transaction never meets it."""
_MOST_PAGES: Final = 1_073_741_823
"""SQLite's own limit."""

Connect = Callable[..., sqlite3.Connection]
"""Type of `sqlite3.connect`; tests with failing disks pass another function."""


class Files(Protocol):
    """Calls of the file system for files that SQLite does not write; tests with failing disks pass others."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        """As `os.open`."""

    def pwrite(self, fd: int, octets: memoryview, at: int) -> int:
        """As `os.pwrite`."""

    def close(self, fd: int) -> None:
        """As `os.close`."""

    def unlink(self, path: Path) -> None:
        """As `os.unlink`."""

    def read_bytes(self, path: Path) -> bytes:
        """As `Path.read_bytes`."""


class SystemFiles:
    """The calls of the kernel. Implements `Files`."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        """See `Files`."""
        return os.open(path, flags, mode)

    def pwrite(self, fd: int, octets: memoryview, at: int) -> int:
        """See `Files`."""
        return os.pwrite(fd, octets, at)

    def close(self, fd: int) -> None:
        """See `Files`."""
        os.close(fd)

    def unlink(self, path: Path) -> None:
        """See `Files`."""
        path.unlink()

    def read_bytes(self, path: Path) -> bytes:
        """See `Files`."""
        return path.read_bytes()


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of the database.

    Attributes:
        max_bytes: largest size of the tables in the file; beyond it the oldest batches are dropped.
        durable: whether a commit waits until the disk has stored it; False only for a store that is deleted afterwards.
        connect: opens the file.
        files: calls of the file system for the other files.
    """

    max_bytes: int
    durable: bool = True
    connect: Connect = sqlite3.connect
    files: Files = field(default_factory=SystemFiles)


_PRAGMAS: Final = (
    f"PRAGMA page_size={PAGE_BYTES}",
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    f"PRAGMA wal_autocheckpoint={JOURNAL_PAGES}",
    f"PRAGMA journal_size_limit={JOURNAL_PAGES * PAGE_BYTES * 2}",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-512",
)


def open_database(path: Path, settings: StoreSettings) -> sqlite3.Connection:
    """Open the database, migrate the schema, check that every page can be read, and limit the size of the file.

    The connection may be passed to another thread, but only one thread may use it at a time.

    Raises:
        Unavailable: another process holds it, or a newer edge-agent wrote it.
        sqlite3.DatabaseError: it is damaged.
    """
    connection = settings.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        for pragma in (*_PRAGMAS, f"PRAGMA synchronous={'FULL' if settings.durable else 'OFF'}"):
            connection.execute(pragma).fetchall()
        connection.execute("BEGIN IMMEDIATE").connection.execute("ROLLBACK")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise Unavailable(f"{path} was written by a newer edge-agent (schema {version}); upgrade this one")  # noqa: TRY301 closed below
        if version < VERSION:
            _migrate(connection)
        # Not stored in the file, so set at each opening. At this limit deletes still work, unlike on a full disk.
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        most = min(_MOST_PAGES, (settings.max_bytes + SPARE_BYTES) // page_bytes)
        connection.execute(f"PRAGMA max_page_count={most}").fetchall()
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            raise sqlite3.DatabaseError(result)  # noqa: TRY301 joins the errors that SQLite raises by itself
        for table in TABLES:
            connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608 our own names
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            raise Unavailable(f"another edge-agent is using {path}; stop it, or give this one a --state-dir") from None
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes that the tables take in the file: all pages without the free ones. Also correct inside a transaction."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_bytes)


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply missing migrations. sqlite-utils takes 10 MiB of memory, so it is imported only when it is needed."""
    from sqlite_utils import Database, Migrations  # noqa: PLC0415 see above

    migrations = Migrations("edge-agent")

    @migrations()
    def records(db: Any) -> None:
        db["record"].create(
            {
                "rowid": int,
                "epoch": int,
                "seq": int,
                "kind": int,
                "boot": int,
                "readings": int,
                "first_ns": int,
                "last_ns": int,
                "crc": int,
                "body": bytes,
            },
            pk="rowid",
            not_null={"epoch", "seq", "kind", "boot", "readings", "first_ns", "last_ns", "crc", "body"},
            strict=True,
        )
        # Segments of releases before 0.2: rows of a batch that was not sealed. The next start makes records of them.
        db["segment"].create(
            {
                "rowid": int,
                "boot": int,
                "readings": int,
                "first_ns": int,
                "last_ns": int,
                "crc": int,
                "body": bytes,
            },
            pk="rowid",
            not_null={"boot", "readings", "first_ns", "last_ns", "crc", "body"},
            strict=True,
        )
        db["epoch"].create({"epoch": int, "boot": int}, pk="epoch", not_null={"boot"}, strict=True)
        db["boot"].create(
            {"boot": int, "boot_id": str, "offset_ns": int, "quality": int, "max_error_ns": int},
            pk="boot",
            not_null={"boot_id", "offset_ns", "quality", "max_error_ns"},
            strict=True,
        )

    @migrations()
    def urgent_records_and_states(db: Any) -> None:
        # Rowids of urgent records. A table of its own, so that other records need no space for it.
        db["urgent"].create({"rowid": int}, pk="rowid", strict=True)
        # Saved states by name, so that a restart does not lose what stages have learned.
        db["state"].create({"name": str, "crc": int, "body": bytes}, pk="name", not_null={"crc", "body"}, strict=True)

    database = Database(connection, execute_plugins=False)
    migrations.apply(database)
    connection.execute(f"PRAGMA user_version={VERSION}")
