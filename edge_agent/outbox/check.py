"""Check of the records that wait, a few at a time, so that damage is found before they are to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.outbox.store import Store

ROWS_AT_ONCE: Final = 64
_COUNTED_UPTO: Final = 50_000
"""Rows up to which the numbers of records are compared with a count; a count of more takes too long."""


class Check:
    """One pass over all records that were stored when it began.

    Args:
        last_rowid: rowid of the last of them.
    """

    def __init__(self, last_rowid: int) -> None:
        self._is_done = False
        self._last = last_rowid
        self._after = 0
        self._rows = 0

    def is_done(self) -> bool:
        """Whether all were read."""
        return self._is_done

    @property
    def may_count(self) -> bool:
        """Whether there are so few records that counting them takes no time."""
        return self._rows <= _COUNTED_UPTO

    def damaged(self, store: Store) -> Iterable[int]:
        """Read some records. Returns the rowids of damaged ones.

        Raises:
            sqlite3.Error, OSError: they cannot be read.
        """
        found, count = [], 0
        with store.rows(self._after, self._last) as rows:
            for row in rows:
                self._after = row.rowid
                count += 1
                if not row.is_intact():
                    found.append(row.rowid)
                if count == ROWS_AT_ONCE:
                    break
            else:
                self._is_done = True
        self._rows += count
        return found
