"""Stores a group of messages in SQLite: ledger and readings in one transaction, which is what makes it exactly once."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Final, Self

from edge_agent.errors import Unavailable
from edge_agent.receiver.arrival import Kept, Refused
from edge_agent.receiver.sinks.schema import open_database
from edge_agent.receiver.sinks.writing import Stored, Writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from edge_agent.receiver.arrival import Arrival

log = logging.getLogger(__name__)

_UNSTORABLE: Final = (OverflowError, ValueError, sqlite3.IntegrityError, sqlite3.DataError)
"""What one message may cause that another would not: numbers or texts that SQLite does not take."""


class SqliteSink:
    """The database of a receiver. One thread at a time may use it.

    Args:
        path: the file; it is made if it is not there.

    Raises:
        Unavailable: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = open_database(path, create=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def announcements(self) -> list[tuple[str, bytes]]:
        """Prefix and bytes of what was learned, oldest first."""
        return self.db.execute("SELECT prefix, packed FROM announcement ORDER BY id").fetchall()

    def kept(self) -> Iterator[tuple[str, Kept]]:
        """Messages that wait for an announcement, oldest first."""
        query = "SELECT prefix, number, announcement, payload FROM kept ORDER BY number"
        for prefix, *kept in self.db.execute(query).fetchall():
            yield prefix, Kept(*kept)

    def store(self, arrivals: Sequence[Arrival], now_ns: int) -> Stored:
        """Store a group of messages durably.

        If one of them cannot be stored, it is counted as refused, and the others are stored.

        Args:
            arrivals: what to store, in the order of arrival.
            now_ns: wall time, nanoseconds since 1970.

        Raises:
            Unavailable: the file cannot be written; nothing of the group that is not durable is confirmed by it.
        """
        try:
            return self._transaction(arrivals, now_ns)
        except _UNSTORABLE as error:
            if len(arrivals) > 1:
                stored = Stored()
                for arrival in arrivals:
                    stored.add(self.store((arrival,), now_ns))
                return stored
            log.warning("a message cannot be stored and is not confirmed: %s", error)
            stored = Stored()
            stored.refused[Refused.NOT_STORABLE] += 1
            return stored
        except sqlite3.Error as error:
            raise Unavailable(f"{self.path} cannot be written: {error}") from None

    def _transaction(self, arrivals: Sequence[Arrival], now_ns: int) -> Stored:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            stored = Writing(self.db, now_ns).write(arrivals)
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        return stored
