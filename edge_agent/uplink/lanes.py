"""Records that were handed out and not sent yet: live ones first, and a share for the backlog. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.reading import Lane
from edge_agent.uplink.action import way_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from edge_agent.reading import Record
    from edge_agent.uplink.action import Way

Held = tuple[Lane, "Record"]


class Lanes:
    """Held records.

    Args:
        backlog_share: share of the bytes that the backlog gets while live records wait too, 0..0.9.
    """

    def __init__(self, backlog_share: float) -> None:
        self._lanes: dict[Lane, list[Record]] = {Lane.LIVE: [], Lane.BACKLOG: []}
        self._earned = backlog_share / (1 - backlog_share)  # bytes of the backlog for each byte of live records
        self._credit_bytes = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def live(self) -> int:
        """Number of live records."""
        return len(self._lanes[Lane.LIVE])

    def rowids(self) -> set[int]:
        """Rowids of all held records."""
        return {record.rowid for lane in self._lanes.values() for record in lane}

    def add(self, held: Iterable[Held]) -> None:
        """Add records, in the order in which they are to be sent."""
        for lane, record in held:
            self._lanes[lane].append(record)

    def clear(self) -> None:
        """Forget all."""
        for lane in self._lanes.values():
            lane.clear()
        self._credit_bytes = 0.0

    def drop(self, ways: Collection[Way]) -> None:
        """Forget the records of some topics."""
        for lane, records in self._lanes.items():
            records[:] = [record for record in records if way_of(lane, record) not in ways]

    def find(self, rowids: Collection[int]) -> Held | None:
        """Return the first held record among these."""
        found = ((lane, each) for lane, records in self._lanes.items() for each in records if each.rowid in rowids)
        return next(found, None)

    def next(
        self, skipped: Collection[int], size_bytes: Callable[[Record], int], *, with_backlog: bool = True
    ) -> Held | None:
        """Return the record to send next, without removing it; None if there is none.

        Args:
            skipped: rowids of records that are not sent now.
            size_bytes: size of the message of a record.
            with_backlog: whether it may be one of the backlog.
        """
        firsts = {
            lane: next((each for each in records if each.rowid not in skipped), None)
            for lane, records in self._lanes.items()
        }
        live, backlog = firsts[Lane.LIVE], firsts[Lane.BACKLOG]
        if not with_backlog:
            backlog = None
        if live is None:
            return None if backlog is None else (Lane.BACKLOG, backlog)
        if backlog is not None and 0 < size_bytes(backlog) <= self._credit_bytes:
            return Lane.BACKLOG, backlog
        return Lane.LIVE, live

    def take(self, lane: Lane, record: Record, size_bytes: int) -> None:
        """Remove a record that is sent now."""
        self._lanes[lane].remove(record)
        if lane is Lane.LIVE and self._lanes[Lane.BACKLOG]:
            self._credit_bytes += size_bytes * self._earned
        elif lane is Lane.BACKLOG:
            self._credit_bytes -= size_bytes
        if not self._lanes[Lane.LIVE]:
            self._credit_bytes = 0.0  # the backlog goes ahead without any
