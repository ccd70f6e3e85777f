"""Order in which records are handed out: urgent ones, then what is new (live), then what waited before (backlog)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.reading import Lane, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Select = Callable[[int, int, int, Collection[int]], tuple[list[Record], int]]
    """Gives records with after < rowid <= upto, at most `limit`, without some; and the rowid of the last row read."""

MAX_ASIDE: Final = 65_536
"""Records that are skipped at a time: about 4 MB of memory. More are offered again after each `rewind`."""
_LAST_ROWID = (1 << 63) - 1


class Lanes:
    """Cursors over the stored records, by rowid.

    Args:
        watermark: rowid up to which records are backlog.
        urgent: rowids of urgent records.

    Attributes:
        handed_out: rowids of the records that are being sent; each is handed out once per `rewind`.
        sent: rowids of the records that were handed out in this run and have not arrived for certain.
        aside: rowids of records that no link takes for now; they are skipped.
    """

    def __init__(self, watermark: int = 0, urgent: Collection[int] = ()) -> None:
        self.handed_out: set[int] = set()
        self.sent: set[int] = set()
        self.aside: set[int] = set()
        self._nothing_upto = 0  # no record up to this rowid is to be handed out, before the next `readmit`
        self._urgent = set(urgent)
        self._watermark = self._live_after = watermark
        self._backlog_after = 0

    def rewind(self, watermark: int) -> None:
        """Hand out again from the oldest record on; those up to `watermark` are backlog."""
        self.handed_out.clear()
        self._backlog_after = self._nothing_upto if self.aside else 0
        self._live_after = self._watermark = watermark

    def add(self, urgent: Collection[int]) -> None:
        """Note records that were stored and are urgent."""
        self._urgent.update(urgent)

    def add_earlier(self, first_rowid: int, last_rowid: int, urgent: Collection[int]) -> None:
        """Note that records with rowids in this range came back; they are backlog."""
        self._backlog_after = min(self._backlog_after, first_rowid - 1)
        self._nothing_upto = min(self._nothing_upto, first_rowid - 1)
        self._watermark = max(self._watermark, last_rowid)
        self._live_after = max(self._live_after, last_rowid)
        self._urgent.update(urgent)

    def finish(self, rowid: int) -> None:
        """Note that a record needs not be sent any more."""
        self.handed_out.discard(rowid)
        self.sent.discard(rowid)
        self.aside.discard(rowid)
        self._urgent.discard(rowid)

    def set_aside(self, rowid: int) -> None:
        """Skip a record until `readmit`."""
        if len(self.aside) < MAX_ASIDE:
            self.aside.add(rowid)
            self.handed_out.discard(rowid)

    def readmit(self) -> None:
        """Hand out the records that were set aside again, after the next `rewind`."""
        self.aside.clear()
        self._nothing_upto = 0

    def hand_out(self, limit: int, backlog_limit: int | None, select: Select) -> list[tuple[Lane, Record]]:
        """Next records to send. What `select` raises leaves everything as it was.

        Args:
            limit: largest number of records.
            backlog_limit: largest number of records of the backlog among them; None: no limit of their own.
            select: reads records.
        """
        urgent: list[Record] = []
        for rowid in sorted(self._urgent - self.handed_out - self.aside)[:limit]:
            urgent += select(rowid - 1, rowid, 1, ())[0]
        ordinary = limit - len(urgent)
        skipped = self._urgent | self.handed_out
        live, live_after = select(self._live_after, _LAST_ROWID, ordinary, skipped)
        ordinary = min(ordinary - len(live), limit if backlog_limit is None else backlog_limit)
        backlog, backlog_after = select(self._backlog_after, self._watermark, ordinary, skipped)
        # Not before all was read: a read that fails hands out nothing, and must skip nothing.
        if self._backlog_after == self._nothing_upto:
            self._nothing_upto = backlog[0].rowid - 1 if backlog else backlog_after
        self._live_after, self._backlog_after = live_after, backlog_after
        live = urgent + live
        rowids = [record.rowid for record in live + backlog]
        self.handed_out.update(rowids)
        self.sent.update(rowids)
        return [(Lane.LIVE, record) for record in live] + [(Lane.BACKLOG, record) for record in backlog]
