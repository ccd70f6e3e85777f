"""Watches the databases of one agent through their connections, and tells the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import apsw

from edge_agent.outbox.recovery import DATABASE
from tests.campaign.facts import Row
from tests.campaign.sqlite import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.campaign.disk import Disk
    from tests.campaign.history import History

_ROWS: Final = "SELECT rowid, epoch, seq, kind, boot, readings, body FROM record"


class StoreWatch:
    """Opens databases for the agent, and tells the history of each commit of the outbox. Implements `Watch`.

    Args:
        vfs: name of the file access.
        disk: must not count what is read here.
        history: is told.
        call: called before each statement; may raise in its place.
    """

    def __init__(self, vfs: str, disk: Disk, history: History, call: Callable[[], object]) -> None:
        self._vfs = vfs
        self._disk = disk
        self._history = history
        self._call = call
        self._connections: list[Connection] = []
        self._opened: set[int] = set()

    def connect(self, path: Path, **_: object) -> Connection:
        """Takes the place of `sqlite3.connect`."""
        connection = Connection(path, self._vfs, self if path.name == DATABASE else _Nobody())
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Close what a process left open that is gone."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._opened.clear()

    def statement(self, _sql: str) -> None:
        """See `Watch`."""
        self._call()

    def committed(self, connection: Connection, rowids: set[int]) -> None:
        """See `Watch`. Reads the rows without asking the disk."""
        first = id(connection) not in self._opened
        if not (first or rowids):
            return
        self._disk.quiet = True
        try:
            select = _ROWS if first else f"{_ROWS} WHERE rowid IN ({','.join(map(str, sorted(rowids)))})"
            rows = [Row(*row) for row in connection.apsw.execute(select)]
        except apsw.Error:  # no such table yet, or its bytes were damaged
            return
        finally:
            self._disk.quiet = False
        self._opened.add(id(connection))
        self._history.commit(rows, rowids, opened=first)

    def doubtful(self, rowids: set[int]) -> None:
        """See `Watch`."""
        self._history.doubtful |= rowids


class _Nobody:
    """Watches the database that a salvage builds, which is not the outbox yet."""

    def statement(self, _sql: str) -> None:
        """See `Watch`."""

    def committed(self, connection: Connection, rowids: set[int]) -> None:
        """See `Watch`."""

    def doubtful(self, rowids: set[int]) -> None:
        """See `Watch`."""
