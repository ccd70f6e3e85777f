"""Check of the records that wait, a few at a time, so that damage is found before they are to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.outbox.schema import used_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.outbox.store import Store

ROWS_AT_ONCE: Final = 64
_CHECKED_UPTO_BYTES: Final = 4 * 1_048_576
_COUNTED_UPTO: Final = 50_000
"""Rows up to which the numbers of records are compared with a count; a count of more takes too long."""


class Check:
    """One pass over all records that were stored when it began.

    Args:
        last_rowid: rowid of the last of them.

    Attributes:
        is_done: whether the numbers of records were compared with a count as well.
    """

    def __init__(self, last_rowid: int) -> None:
        self._is_read = False
        self.is_done = last_rowid == 0
        self._last = last_rowid
        self._after = 0
        self._rows = 0

    def is_read(self) -> bool:
        """Whether all were read."""
        return self._is_read

    @staticmethod
    def read_structure(store: Store) -> None:
        """Let SQLite check every page, if the file is so small that this takes no time.

        Raises:
            sqlite3.Error: it cannot be read.
            ValueError: it is damaged.
        """
        db = store.writable()
        if used_bytes(db) <= _CHECKED_UPTO_BYTES:
            (result,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if result != "ok":
                raise ValueError(result)

    @property
    def may_count(self) -> bool:
        """Whether there are so few records that counting them takes no time."""
        return self._rows <= _COUNTED_UPTO

    def damaged(self, store: Store) -> Iterable[int]:
        """Read some records. Returns the rowids of damaged ones.

        Raises:
            sqlite3.Error, OSError: they cannot be read.
            ValueError: they are not in order.
        """
        found, count = [], 0
        if not self._after:
            self.read_structure(store)
        with store.rows(self._after, self._last) as rows:
            for row in rows:
                if row.rowid <= self._after:
                    raise ValueError(f"rowid {row.rowid} follows {self._after}")
                self._after = row.rowid
                count += 1
                if not row.is_intact():
                    found.append(row.rowid)
                if count == ROWS_AT_ONCE:
                    break
            else:
                self._is_read = True
        self._rows += count
        return found
