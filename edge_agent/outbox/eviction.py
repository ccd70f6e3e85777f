"""What goes when the outbox is full: the oldest batches, the newest ones, or rows of the oldest, for each sensor.

A batch holds the rows of all sensors. Where their policies differ, or rows are thinned, the stored record is replaced
by one with fewer rows under the same identity, and a tombstone names the rows that are gone. A record that was handed
out stays as it is: somebody may have all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.errors import WireError
from edge_agent.outbox.part import told_by, with_rows, without_rows
from edge_agent.outbox.rows import StoredRow
from edge_agent.outbox.schema import INSERT_RECORD, checksum, used_bytes
from edge_agent.outbox.tombstones import FULL, REFUSED, Dropped, Loss, append_loss
from edge_agent.reading import RecordKind
from edge_agent.wire.parts import keep_rows, other_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping

    from edge_agent.outbox.epochs import Changes
    from edge_agent.outbox.intake import Content
    from edge_agent.outbox.part import Told
    from edge_agent.outbox.tombstones import Tombstones
    from edge_agent.wire.parts import Selection

_EVICT_TO: Final = 0.98
"""Share of the limit down to which records are dropped, so that dropping is not needed at every commit."""
_THIN_BYTES: Final = 65_536
"""Bytes below the limit down to which records are thinned: they take more time, so fewer at a time."""
_REFUSE_FROM, _REFUSE_UPTO = 0.98, 0.95
"""Shares of the limit from which on the newest are refused, and below which they are taken again."""
_LEVELS: Final = (4, 16, 64, 256, 1024)
"""Every n-th row that is kept, pass after pass over all records. Of 60 rows a second the last but two keep one."""
_AT_ONCE: Final = 16
_MOST_ROWS: Final = 256
"""Records that one transaction looks at for thinning; a Pi takes some milliseconds for each."""


class Evict(Enum):
    """What of a sensor goes when the outbox is full. The texts are those of the configuration."""

    OLDEST = "oldest"
    NEWEST = "newest"
    THIN = "thin"


@dataclass(frozen=True, slots=True)
class EvictPolicy:
    """What goes when the outbox is full.

    Attributes:
        default: for all sensors that are not named.
        sensors: by sensor id.
    """

    default: Evict = Evict.OLDEST
    sensors: Mapping[str, Evict] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, sensor: str) -> Evict:
        """That of one sensor."""
        return self.sensors.get(sensor, self.default)

    @property
    def common(self) -> Evict | None:
        """That of all sensors; None: they differ."""
        return self.default if set(self.sensors.values()) <= {self.default} else None


@dataclass(frozen=True, slots=True)
class Room:
    """What a transaction that makes room works on.

    Attributes:
        db: database, in a transaction.
        epoch: current epoch, of tombstones.
        max_bytes: largest size of the tables.
        handed_out: rowids of records that are being sent, which stay.
        sent: rowids of records that were sent and may have arrived, whose rows stay.
        tombstones: drops records.
        losses: gets what is dropped.
        changes: numbers of records that change.
        told: gets the rowids of tombstones that were written.
    """

    db: sqlite3.Connection
    epoch: int
    max_bytes: int
    handed_out: Collection[int]
    sent: Collection[int]
    tombstones: Tombstones
    losses: list[Loss]
    changes: Changes
    told: list[int] = field(default_factory=list)


class Eviction:
    """Applies a policy. It goes over the records again and again, each time where it was.

    Args:
        policy: what goes.
    """

    def __init__(self, policy: EvictPolicy) -> None:
        self._policy = policy
        self._newest = Evict.NEWEST in {policy.default, *policy.sensors.values()}
        self._is_full = False
        self._level = 0
        self._after = 0

    def make_room(self, room: Room) -> int:
        """Drop records, or rows of them, if the tables take too much. Returns the number of dropped records."""
        if used_bytes(room.db) <= room.max_bytes:
            return 0
        common, tombstones = self._policy.common, room.tombstones
        if common is Evict.OLDEST:
            return self._drop(room, int(room.max_bytes * _EVICT_TO))
        if common is Evict.NEWEST:
            everything = (room.handed_out, room.losses, room.changes)
            return tombstones.make_room(room.db, room.max_bytes, *everything, newest_first=True)
        dropped = self._thin(room, max(room.max_bytes - _THIN_BYTES, int(room.max_bytes * _EVICT_TO)))
        return dropped + self._drop(room, room.max_bytes)

    def taken(
        self, room: Room, rowid: int, epoch: int, boot: int, seq: int, content: Content
    ) -> tuple[int, bytes] | None:
        """Take a new record in, in full or without the sensors whose newest rows are refused while there is no room.

        Returns:
            Its readings and the body to store; None: nothing of it is taken, and its loss is noted.
        """
        readings, body = content.readings, content.body
        if not self._newest or content.kind is not RecordKind.BATCH or rowid in room.handed_out:
            return readings, body
        share = used_bytes(room.db) / room.max_bytes
        self._is_full = share >= (_REFUSE_UPTO if self._is_full else _REFUSE_FROM)
        if not self._is_full:
            return readings, body
        selection = None
        if self._policy.common is None:
            try:
                selection = keep_rows(body, lambda sensor: int(self._policy.of(sensor) is not Evict.NEWEST))
            except WireError:
                return readings, body
            if selection is None:
                return readings, body
        if selection is None or selection.rows is None:
            times = (content.first_ns, content.last_ns)
            append_loss(room.losses, Loss(boot, Dropped(epoch, seq, seq, 1, readings, *times, REFUSED)))
            return None
        told = _tell(room, _rows_lost(boot, epoch, seq, selection))
        return selection.readings, with_rows(selection.rows, selection.body, told)

    def _drop(self, room: Room, max_bytes: int) -> int:
        return room.tombstones.make_room(room.db, max_bytes, room.handed_out, room.losses, room.changes)

    def _thin(self, room: Room, target_bytes: int) -> int:
        """Replace records by ones with fewer rows, oldest first. Returns the number of those that were dropped."""
        dropped = looked = 0
        step_of = self._step_of()
        while used_bytes(room.db) > target_bytes and looked < _MOST_ROWS:
            query = "SELECT * FROM record WHERE kind = ? AND rowid > ? ORDER BY rowid LIMIT ?"
            found = room.db.execute(query, (int(RecordKind.BATCH), self._after, _AT_ONCE)).fetchall()
            looked += max(1, len(found))
            if not found:
                self._level, self._after = (self._level + 1) % len(_LEVELS), 0
                step_of = self._step_of()
            for row in map(StoredRow._make, found):
                self._after = row.rowid
                if row.rowid not in room.handed_out and row.rowid not in room.sent:
                    dropped += _rewrite(room, row, step_of)
        return dropped

    def _step_of(self) -> Callable[[str], int]:
        """Every which row of a sensor stays in this pass."""
        steps = {Evict.OLDEST: 0, Evict.THIN: _LEVELS[self._level], Evict.NEWEST: 1}
        return lambda sensor: steps[self._policy.of(sensor)]


def _rewrite(room: Room, row: StoredRow, step_of: Callable[[str], int]) -> int:
    """Replace a record by one with fewer rows. Returns 1 if nothing of it is left, else 0."""
    if not row.is_intact():
        return 0  # it is told as damaged when it is read
    rows, body = without_rows(row.body)
    try:
        selection = keep_rows(body, step_of, rows)
    except WireError:
        return 0
    if selection is None:
        return 0
    if selection.rows is None:
        return room.tombstones.drop(room.db, row.rowid, FULL, room.losses, room.changes)
    told = _told_anew(room, row, selection) or _tell(room, _rows_lost(row.boot, row.epoch, row.seq, selection))
    stored = with_rows(selection.rows, selection.body, told)
    about = (row.epoch, row.seq, row.kind, row.boot, selection.readings, row.first_ns, row.last_ns)
    # Deleted and inserted: an update leaves the record on its page, and pages that are half empty free nothing.
    room.db.execute("DELETE FROM record WHERE rowid = ?", (row.rowid,))
    room.db.execute(INSERT_RECORD, (row.rowid, *about, checksum(about, stored), stored))
    return 0


def _told_anew(room: Room, row: StoredRow, selection: Selection) -> Told | None:
    """Let the tombstone of the rows that went before tell of these too; None if there is none, or it was offered."""
    told = told_by(row.body)
    if told is None or selection.rows is None or told.epoch != room.epoch:
        return None
    if told.rowid in room.handed_out or told.rowid in room.sent:
        return None
    loss = _rows_lost(row.boot, row.epoch, row.seq, selection)
    loss = replace(loss, dropped=replace(loss.dropped, rows=other_rows(selection.rows)))
    grown = room.tombstones.grow(room.db, told, loss, room.changes)
    if grown is not None:
        room.told.append(grown.rowid)
    return grown


def _tell(room: Room, loss: Loss) -> Told:
    told = room.tombstones.tell(room.db, room.epoch, loss, room.changes)
    room.told.append(told.rowid)
    return told


def _rows_lost(boot: int, epoch: int, seq: int, selection: Selection) -> Loss:
    """The loss of rows of a record that goes on."""
    times = (selection.first_ns, selection.last_ns)
    return Loss(boot, Dropped(epoch, seq, seq, 0, selection.dropped_readings, *times, FULL, selection.dropped))
