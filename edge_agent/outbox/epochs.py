"""Epochs with their numbers of records, stored in the transactions that change them, so that nobody has to count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable
from edge_agent.outbox.boots import IDENTITY_BITS
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Collection, Iterable

_KEPT_CLOSED: Final = 10_000
"""Epochs without records that are remembered, so that none is used twice."""
_INSERT: Final = "INSERT OR IGNORE INTO epoch SELECT ?, ?, 1 + coalesce(max(ordinal), 0), ?, 0, 0 FROM epoch"
_COUNT: Final = "SELECT epoch, boot, max(seq), sum(kind != 2), count(*) FROM record GROUP BY epoch"
_UPDATE: Final = "UPDATE epoch SET mark = ?, pending = ?, waiting = ? WHERE epoch = ?"


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch of which records wait, or the current one.

    Attributes:
        epoch: its number.
        boot: number of the boot in which it began.
        mark: highest seq that was committed in it; 0 if there is none.
        pending: batches and events of it that wait.
        waiting: all records of it that wait, tombstones too.
    """

    epoch: int
    boot: int
    mark: int = 0
    pending: int = 0
    waiting: int = 0


class Changes:
    """Changes of the numbers of records by one transaction."""

    def __init__(self) -> None:
        self.pending: Counter[int] = Counter()
        self.waiting: Counter[int] = Counter()
        self.marks: dict[int, int] = {}

    def stored(self, epoch: int, seq: int, kind: int) -> None:
        """Count a record that was stored."""
        self.waiting[epoch] += 1
        self.pending[epoch] += kind != RecordKind.TOMBSTONE
        self.marks[epoch] = max(seq, self.marks.get(epoch, 0))

    def deleted(self, epoch: int, kind: int) -> None:
        """Count a record that was deleted."""
        self.waiting[epoch] -= 1
        self.pending[epoch] -= kind != RecordKind.TOMBSTONE


class Epochs:
    """All epochs of which records wait, and the current one, oldest first.

    Args:
        current: number of the current epoch.
        boot: number of the current boot.
    """

    def __init__(self, current: int, boot: int) -> None:
        self._current = current
        self._open = {current: Epoch(current, boot)}
        self._held: set[int] = set()

    def open(self) -> tuple[Epoch, ...]:
        """Epochs of which records wait, oldest first, and the current one at the end."""
        return tuple(self._open.values())

    def is_open(self, epoch: int) -> bool:
        """Whether an epoch is known and open."""
        return epoch in self._open

    def mark(self) -> int:
        """Highest seq committed in the current epoch."""
        return self._open[self._current].mark

    def pending(self) -> int:
        """Batches and events that wait in all epochs."""
        return sum(epoch.pending for epoch in self._open.values())

    def load(self, db: sqlite3.Connection) -> None:
        """Read the open epochs; the current one is stored if it is new. Inside a transaction."""
        current = self._open[self._current]
        db.execute(_INSERT, (current.epoch, current.boot, current.mark))
        rows = db.execute(
            "SELECT epoch, boot, mark, pending, waiting FROM epoch WHERE waiting > 0 AND epoch != ?1"
            " OR epoch = ?1 ORDER BY epoch = ?1, ordinal",
            (self._current,),
        )
        self._open = {row[0]: Epoch(*row) for row in rows.fetchall()}
        db.execute(
            "DELETE FROM epoch WHERE waiting = 0 AND ordinal <= (SELECT max(ordinal) FROM epoch) - ?", (_KEPT_CLOSED,)
        )

    def correct(self, db: sqlite3.Connection) -> int:
        """Count the records anew. Returns by how many batches and events the numbers were wrong.

        They can be, where damage changed the epoch of a record without making the file unreadable.
        """
        before = self.pending()
        counted = {row[0]: row for row in db.execute(_COUNT).fetchall()}
        for epoch, row in counted.items():
            if epoch not in self._open:
                self.hold(db, [Epoch(epoch, row[1], row[2])])
        for number, known in list(self._open.items()):
            _, _, _, pending, waiting = counted.get(number, (0, 0, 0, 0, 0))
            if (known.pending, known.waiting) != (pending, waiting):
                self._open[number] = replace(known, pending=pending, waiting=waiting)
                db.execute(_UPDATE, (known.mark, pending, waiting, number))
        return before - self.pending()

    def write(self, db: sqlite3.Connection, changes: Changes) -> None:
        """Store the numbers as they are after `changes`."""
        for epoch in self._after(changes).values():
            if epoch != self._open.get(epoch.epoch):
                db.execute(_UPDATE, (epoch.mark, epoch.pending, epoch.waiting, epoch.epoch))

    def apply(self, changes: Changes) -> None:
        """Take over changes whose transaction is durable."""
        self._open = {
            number: epoch
            for number, epoch in self._after(changes).items()
            if epoch.waiting > 0 or number in self._held or number == self._current
        }

    def hold(self, db: sqlite3.Connection, epochs: Iterable[Epoch]) -> None:
        """Keep epochs open, of which records may come back; stored if they are new. Inside a transaction."""
        current = self._open.pop(self._current)
        for epoch in epochs:
            self._held.add(epoch.epoch)
            db.execute(_INSERT, (epoch.epoch, epoch.boot, epoch.mark))
            self._open.setdefault(epoch.epoch, epoch)
        self._open[self._current] = current

    def release(self) -> None:
        """No more records come back."""
        self._held.clear()
        self.apply(Changes())

    def _after(self, changes: Changes) -> dict[int, Epoch]:
        after = dict(self._open)
        for number, by in changes.waiting.items():
            epoch = after.get(number)
            if epoch is not None:
                mark = max(epoch.mark, changes.marks.get(number, 0))
                pending = epoch.pending + changes.pending[number]
                after[number] = replace(epoch, mark=mark, pending=pending, waiting=epoch.waiting + by)
        return after


def draw_epoch(rng: random.Random, wanted: int | None, used: Collection[int]) -> int:
    """Draw an epoch of 53 bits that this outbox has not used, or check the one that is wanted.

    Raises:
        Unavailable: the wanted one was used before: its records would pass for those of another run.
    """
    if wanted in used:
        raise Unavailable(f"this outbox has records of epoch {wanted} already; give another --epoch, or none")
    epoch = wanted
    while epoch is None or epoch in used:
        epoch = rng.getrandbits(IDENTITY_BITS)
    return epoch


def mark_of(db: sqlite3.Connection, epoch: int) -> int:
    """Highest seq that was committed in an epoch; 0 if the database does not know it."""
    row = db.execute("SELECT mark FROM epoch WHERE epoch = ?", (epoch,)).fetchone()
    return 0 if row is None else int(row[0])


def last_epoch(db: sqlite3.Connection, current: int) -> int | None:
    """Number of the epoch before the current one; None if there was none."""
    query = "SELECT epoch FROM epoch WHERE epoch != ? ORDER BY ordinal DESC LIMIT 1"
    row = db.execute(query, (current,)).fetchone()
    return None if row is None else int(row[0])


def used_epochs(db: sqlite3.Connection) -> set[int]:
    """Numbers of all epochs that are remembered."""
    return {epoch for (epoch,) in db.execute("SELECT epoch FROM epoch").fetchall()}
