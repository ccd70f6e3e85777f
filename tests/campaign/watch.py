"""Watches an agent from outside, through its connections to the database and its sensors, and tells the history."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import apsw

from edge_agent.outbox.recovery import DATABASE
from tests.campaign.facts import Row
from tests.campaign.sqlite import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.agent.build import Source
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
        self._salvaging = False

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
        salvaging = any(connection.path.parent.glob("damaged-*.db"))
        first = id(connection) not in self._opened or (self._salvaging and not salvaging)
        self._salvaging = salvaging
        if not (first or rowids):
            return
        self._disk.quiet = True
        rows: list[Row] = []
        try:
            rows = _read(connection, "") if first else []
        except apsw.Error:  # no such table yet, or its bytes were damaged: try again at the next commit
            first = False
        else:
            self._opened.add(id(connection))
        try:
            rows = rows if first else _touched(connection, rowids)
        finally:
            self._disk.quiet = False
        self._history.commit(rows, rowids, opened=first, salvaging=salvaging)

    def look(self) -> bool:
        """Look at all rows, if a power cut would leave them: a COMMIT that failed may have been durable nevertheless.

        Returns:
            Whether it did.
        """
        if not self._connections or not self._disk.is_durable:
            return False
        self._opened.discard(id(self._connections[-1]))
        self.committed(self._connections[-1], set())
        return True

    def doubtful(self, rowids: set[int]) -> None:
        """See `Watch`."""
        self._history.doubtful |= rowids


def _read(connection: Connection, where: str) -> list[Row]:
    return [Row(*row) for row in connection.apsw.execute(_ROWS + where)]


def _touched(connection: Connection, rowids: set[int]) -> list[Row]:
    """Rows of these rowids, without those whose bytes were damaged."""
    rows = []
    for rowid in sorted(rowids):
        with suppress(apsw.Error):
            rows += _read(connection, f" WHERE rowid = {rowid}")
    return rows


def observed(source: Source, history: History) -> Source:
    """A source whose measurements are noted."""

    def make(deliver: Callable[[Any], bool]) -> Any:
        def noted(item: Any) -> bool:
            history.measured(item)
            return deliver(item)

        return source(noted)

    return make


class _Nobody:
    """Watches the database that a salvage builds, which is not the outbox yet."""

    def statement(self, _sql: str) -> None:
        """See `Watch`."""

    def committed(self, connection: Connection, rowids: set[int]) -> None:
        """See `Watch`."""

    def doubtful(self, rowids: set[int]) -> None:
        """See `Watch`."""
