"""A database that fails once, and what must hold whatever failed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_agent.outbox.outbox import Outbox, Tally


class FailingOnce:
    """A connection whose next statement that begins with `verb` fails: before it is done, or after.

    With `skip`, so many of these statements succeed first.
    """

    def __init__(self, db: sqlite3.Connection, verb: str, *, after: bool = False, skip: int = 0) -> None:
        self._db, self._verb, self._after, self._skip = db, verb, after, skip

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """As the connection, but once."""
        if not self._verb or not sql.startswith(self._verb):
            return self._db.execute(sql, *args)
        if self._skip:
            self._skip -= 1
            return self._db.execute(sql, *args)
        self._verb = ""
        if self._after:
            self._db.execute(sql, *args)
        raise sqlite3.OperationalError("disk I/O error")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def fail_once(outbox: Outbox, verb: str, *, after: bool = False, skip: int = 0) -> None:
    outbox._store.db = FailingOnce(outbox._store.writable(), verb, after=after, skip=skip)  # type: ignore[assignment]


def check_sums(outbox: Outbox) -> Tally:
    tally = outbox.tally()
    assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending
    assert tally.pending == outbox.count_pending()
    return tally
