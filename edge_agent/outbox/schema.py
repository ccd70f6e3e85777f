"""Tables of the outbox, and opening of a database such that a commit survives power loss.

`synchronous=FULL` with WAL: NORMAL loses all commits since the last checkpoint at a power cut.
`locking_mode=EXCLUSIVE`: no -shm file, and no second agent on the same directory.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from zlib import crc32

from edge_agent.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 3
TABLES: Final = ("boot", "epoch", "record", "segment", "urgent", "state", "anchor")
INSERT_RECORD: Final = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS: Final = 10
"""Columns of a record: rowid, epoch, seq, kind, boot, readings, first_ns, last_ns, crc, body."""
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
_RESERVE_BYTES: Final = 1_048_576
_SEGMENTS_BYTES: Final = 131_072
"""Size of the file of segments, where batches are of usual size."""
_MOST_PAGES: Final = 1_073_741_823
"""SQLite's own limit."""

_HEAD: Final = struct.Struct("<qqqqqqq")
_OF_ALL_COLUMNS: Final = 1 << 32
"""Bit of a checksum that covers all columns. That of releases before 0.2 covers the body only."""

Connect = Callable[..., sqlite3.Connection]
"""Type of `sqlite3.connect`; tests with failing disks pass another function."""


class Files(Protocol):
    """Calls of the file system beside those of SQLite; tests with failing disks pass others."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        """As `os.open`."""

    def pwrite(self, fd: int, octets: memoryview, at: int) -> int:
        """As `os.pwrite`."""

    def close(self, fd: int) -> None:
        """As `os.close`."""

    def unlink(self, path: Path) -> None:
        """As `os.unlink`."""

    def rename(self, path: Path, other: Path) -> None:
        """As `os.rename`."""

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

    def rename(self, path: Path, other: Path) -> None:
        """See `Files`."""
        path.rename(other)

    def read_bytes(self, path: Path) -> bytes:
        """See `Files`."""
        return path.read_bytes()


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of the database.

    Attributes:
        max_bytes: largest size of the tables in the file; beyond it the oldest batches are dropped.
        journal_pages: size of the journal from which on it is emptied, in pages.
        reserve_bytes: size of the file that is given up first when the disk is full; 0: none.
        durable: whether a commit waits until the disk has stored it; False only for a store that is deleted afterwards.
        connect: opens the file.
        files: calls of the file system beside those of SQLite.
    """

    max_bytes: int
    journal_pages: int = JOURNAL_PAGES
    reserve_bytes: int = 0
    durable: bool = True
    connect: Connect = sqlite3.connect
    files: Files = field(default_factory=SystemFiles)


def settings_within(total_bytes: int, *, durable: bool = True) -> StoreSettings:
    """Settings with which all files of an outbox together take at most `total_bytes`.

    Beside the tables there are the journal, which a transaction may let grow to twice the size from which on it is
    emptied, the file of segments, and the reserve. Databases that were set aside because of damage are not counted.
    """
    journal_pages = max(32, min(JOURNAL_PAGES, total_bytes // 8 // PAGE_BYTES))
    reserve_bytes = min(_RESERVE_BYTES, total_bytes // 8)
    others = 2 * journal_pages * PAGE_BYTES + _SEGMENTS_BYTES + (reserve_bytes if durable else 0)
    return StoreSettings(
        max(total_bytes - others, total_bytes // 4), journal_pages, reserve_bytes if durable else 0, durable
    )


_PRAGMAS: Final = (
    f"PRAGMA page_size={PAGE_BYTES}",
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-512",
)


def open_database(path: Path, settings: StoreSettings) -> sqlite3.Connection:
    """Open the database, migrate the schema, and limit the size of the file. What waits in it is not read.

    The connection may be passed to another thread, but only one thread may use it at a time.

    Raises:
        Unavailable: another process holds it, or a newer edge-agent wrote it.
        sqlite3.DatabaseError: it is damaged.
    """
    connection = settings.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        own = (
            f"PRAGMA wal_autocheckpoint={settings.journal_pages}",
            f"PRAGMA journal_size_limit={settings.journal_pages * PAGE_BYTES * 2}",
            f"PRAGMA synchronous={'FULL' if settings.durable else 'OFF'}",
        )
        for pragma in (*_PRAGMAS, *own):
            connection.execute(pragma).fetchall()
        connection.execute("BEGIN IMMEDIATE").connection.execute("ROLLBACK")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION and _is_newer(connection):
            raise Unavailable(f"{path} was written by a newer edge-agent (schema {version}); upgrade this one")  # noqa: TRY301 closed below
        if version < VERSION:
            _migrate(connection)
        elif version > VERSION:  # a damaged number
            connection.execute(f"PRAGMA user_version={VERSION}")
        # Not stored in the file, so set at each opening. At this limit deletes still work, unlike on a full disk.
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        most = min(_MOST_PAGES, (settings.max_bytes + SPARE_BYTES) // page_bytes)
        connection.execute(f"PRAGMA max_page_count={most}").fetchall()
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


def checksum(columns: tuple[int, int, int, int, int, int, int], body: bytes) -> int:
    """Checksum of a record: epoch, seq, kind, boot, readings, first and last stamp, and its body."""
    return _OF_ALL_COLUMNS | crc32(body, crc32(_HEAD.pack(*columns)))


def is_intact(columns: tuple[Any, ...], crc: Any, body: Any) -> bool:
    """Whether the columns of a record are those that its checksum was made of; see `checksum`."""
    if not isinstance(body, bytes) or not isinstance(crc, int):
        return False
    try:
        return crc == (checksum(columns, body) if crc & _OF_ALL_COLUMNS else crc32(body))
    except struct.error:  # a column is no integer
        return False


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes that the tables take in the file: all pages without the free ones. Also correct inside a transaction."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_bytes)


def _is_newer(connection: sqlite3.Connection) -> bool:
    """Whether a migration was applied that this program does not know: the number in the header may be damaged."""
    (count,) = connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()
    return int(count) > VERSION


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

    @migrations()
    def numbers_of_epochs(db: Any) -> None:
        # So that no start has to count: order of the epochs, highest seq, and records that wait (`Epoch`).
        for column in ("ordinal", "mark", "pending", "waiting"):
            db["epoch"].add_column(column, int, not_null_default=0)
        # Later anchors of a boot: each holds for the stamps from `since_ns` on.
        db["anchor"].create(
            {
                "rowid": int,
                "boot": int,
                "since_ns": int,
                "offset_ns": int,
                "quality": int,
                "max_error_ns": int,
            },
            pk="rowid",
            not_null={"boot", "since_ns", "offset_ns", "quality", "max_error_ns"},
            strict=True,
        )
        connection.execute("INSERT OR IGNORE INTO epoch (epoch, boot) SELECT epoch, boot FROM record")
        connection.execute(
            "UPDATE epoch SET ordinal = first, mark = last, pending = batches_and_events, waiting = all_kinds FROM"
            " (SELECT epoch AS its, min(rowid) AS first, max(seq) AS last, sum(kind != 2) AS batches_and_events,"
            " count(*) AS all_kinds FROM record GROUP BY epoch) WHERE its = epoch"
        )

    database = Database(connection, execute_plugins=False)
    migrations.apply(database)
    connection.execute(f"PRAGMA user_version={VERSION}")
