"""Order in which records are handed out: urgent ones, then what is new (live), then what waited before (backlog)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.reading import Lane, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Select = Callable[[int, int, int, Collection[int]], tuple[list[Record], int]]
    """Gives records with after < rowid <= upto, at most `limit`, without some; and the rowid of the last row read."""

_LAST_ROWID = (1 << 63) - 1


class Lanes:
    """Cursors over the stored records, by rowid.

    Args:
        watermark: rowid up to which records are backlog.
        urgent: rowids of urgent records.

    Attributes:
        handed_out: rowids of the records that are being sent; each is handed out once per `rewind`.
    """

    def __init__(self, watermark: int = 0, urgent: Collection[int] = ()) -> None:
        self.handed_out: set[int] = set()
        self._urgent = set(urgent)
        self._watermark = self._live_after = watermark
        self._backlog_after = 0

    def rewind(self, watermark: int) -> None:
        """Hand out again from the oldest record on; those up to `watermark` are backlog."""
        self.handed_out.clear()
        self._backlog_after = 0
        self._live_after = self._watermark = watermark

    def add(self, urgent: Collection[int]) -> None:
        """Note records that were stored and are urgent."""
        self._urgent.update(urgent)

    def add_earlier(self, first_rowid: int, last_rowid: int, urgent: Collection[int]) -> None:
        """Note that records with rowids in this range came back; they are backlog."""
        self._backlog_after = min(self._backlog_after, first_rowid - 1)
        self._watermark = max(self._watermark, last_rowid)
        self._live_after = max(self._live_after, last_rowid)
        self._urgent.update(urgent)

    def finish(self, rowid: int) -> None:
        """Note that a record needs not be sent any more."""
        self.handed_out.discard(rowid)
        self._urgent.discard(rowid)

    def hand_out(self, limit: int, select: Select) -> list[tuple[Lane, Record]]:
        """Next records to send, at most `limit`. What `select` raises leaves everything as it was."""
        urgent: list[Record] = []
        for rowid in sorted(self._urgent - self.handed_out)[:limit]:
            urgent += select(rowid - 1, rowid, 1, ())[0]
        ordinary = limit - len(urgent)
        skipped = self._urgent | self.handed_out
        live, live_after = select(self._live_after, _LAST_ROWID, ordinary, skipped)
        ordinary -= len(live)
        backlog, backlog_after = select(self._backlog_after, self._watermark, ordinary, skipped)
        # Not before all was read: a read that fails hands out nothing, and must skip nothing.
        self._live_after, self._backlog_after = live_after, backlog_after
        live = urgent + live
        self.handed_out.update(record.rowid for record in live + backlog)
        return [(Lane.LIVE, record) for record in live] + [(Lane.BACKLOG, record) for record in backlog]
