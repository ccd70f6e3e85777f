"""A connection of apsw that looks like `sqlite3.Connection`, as far as edge-agent and sqlite-utils use one.

The errors are those of the standard module, with `sqlite_errorcode` and `sqlite_errorname`. There is no implicit
transaction: edge-agent opens with `isolation_level=None`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

import apsw
from apsw.ext import query_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_NAMES: Final = cast("dict[int, str]", apsw.mapping_result_codes | apsw.mapping_extended_result_codes)
_CLASSES: Final[dict[int, type[Exception]]] = {
    apsw.SQLITE_INTERNAL: sqlite3.InternalError,
    apsw.SQLITE_NOTFOUND: sqlite3.InternalError,
    apsw.SQLITE_NOMEM: MemoryError,
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_TOOBIG: sqlite3.DataError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_MISMATCH: sqlite3.IntegrityError,
    apsw.SQLITE_MISUSE: sqlite3.InterfaceError,
    apsw.SQLITE_RANGE: sqlite3.InterfaceError,
}
"""Classes of `_pysqlite_seterror` in CPython; every other result is an OperationalError."""


class Watch(Protocol):
    """What is told of a connection."""

    def statement(self, sql: str) -> None:
        """A statement is about to be executed; may raise sqlite3.Error in its place."""

    def committed(self, connection: Connection, rowids: set[int]) -> None:
        """A transaction that changed these rows of the table `record` was reported as durable."""

    def doubtful(self, rowids: set[int]) -> None:
        """A COMMIT that changed these rows failed: the transaction may be durable or not."""


def translated(error: apsw.Error) -> Exception:
    """The error that the standard module would raise."""
    code = int(getattr(error, "extendedresult", 0) or getattr(error, "result", 0) or apsw.SQLITE_ERROR)
    made = _CLASSES.get(code & 0xFF, sqlite3.OperationalError)(str(error) or _NAMES.get(code, "error"))
    if isinstance(made, sqlite3.Error):
        made.sqlite_errorcode, made.sqlite_errorname = code, _NAMES.get(code, _NAMES.get(code & 0xFF, "SQLITE_ERROR"))
    return made


class Cursor:
    """A cursor like that of `sqlite3`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        try:
            self._cursor = connection.apsw.cursor()
        except apsw.ConnectionClosedError:
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.") from None
        self._sql = ""

    @property
    def rowcount(self) -> int:
        """Rows that the last statement changed."""
        return self.connection.apsw.changes()

    @property
    def lastrowid(self) -> int:
        """Rowid of the last insert."""
        return self.connection.apsw.last_insert_rowid()

    @property
    def description(self) -> tuple[tuple[Any, ...], ...] | None:
        """Names of the columns."""
        columns = query_info(self.connection.apsw, self._sql).description
        return tuple((name, None, None, None, None, None, None) for name, _type in columns) or None

    def execute(self, sql: str, bindings: Any = ()) -> Self:
        """Execute a statement up to its first row."""
        self._sql = sql
        self.connection.run(lambda: self._cursor.execute(sql, bindings or None), sql)
        return self

    def executemany(self, sql: str, rows: Iterable[Any]) -> Self:
        """Execute a statement once per row."""
        self.connection.run(lambda: self._cursor.executemany(sql, rows), sql)
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        try:
            return self._cursor.fetchone()
        except apsw.Error as error:
            raise translated(error) from None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All following rows."""
        try:
            return self._cursor.fetchall()
        except apsw.Error as error:
            raise translated(error) from None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def close(self) -> None:
        """Forget the following rows."""
        self._cursor.close(True)


class Connection:
    """A connection like that of `sqlite3`.

    Args:
        path: of the database.
        vfs: name of the file access.
        watch: is told of statements and transactions.
    """

    isolation_level = None
    row_factory = None

    def __init__(self, path: Path | str, vfs: str, watch: Watch) -> None:
        self.path = Path(path)
        self._watch = watch
        self._touched: set[int] = set()
        try:
            self.apsw = apsw.Connection(str(path), vfs=vfs)
        except apsw.Error as error:
            raise translated(error) from None
        self.apsw.set_update_hook(self._updated)
        self.in_doubt = False

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.apsw.in_transaction

    def _updated(self, _kind: int, _database: str, table: str, rowid: int) -> None:
        if table == "record":
            self._touched.add(rowid)

    def run(self, act: Callable[[], object], sql: str) -> None:
        """Do something that may end a transaction, and tell of it."""
        self._watch.statement(sql)
        try:
            act()
        except apsw.Error as error:
            if sql == "COMMIT" and self._touched:
                self._watch.doubtful(self._touched)
                self._touched = set()
            raise translated(error) from None
        if sql == "ROLLBACK":
            self._touched = set()
        elif sql == "COMMIT" or (self._touched and not self.apsw.in_transaction):
            touched, self._touched = self._touched, set()
            self._watch.committed(self, touched)

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self)

    def execute(self, sql: str, bindings: Any = ()) -> Cursor:
        """See `Cursor.execute`."""
        return Cursor(self).execute(sql, bindings)

    def executemany(self, sql: str, rows: Iterable[Any]) -> Cursor:
        """See `Cursor.executemany`."""
        return Cursor(self).executemany(sql, rows)

    def commit(self) -> None:
        """End the transaction, if there is one."""
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if there is one."""
        if self.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """Close; what fails while closing does not matter, as in the standard module."""
        try:
            self.apsw.close()
        except apsw.Error:
            self.apsw.close(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()
