"""What a run finds at its start: saved states, urgent records, and segments of an interrupted run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from edge_agent.errors import WireError
from edge_agent.outbox.epochs import last_epoch, mark_of
from edge_agent.outbox.schema import INSERT_RECORD, checksum
from edge_agent.outbox.tombstones import DAMAGED, ROLLED_BACK, Dropped, Loss
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.outbox.epochs import Changes
    from edge_agent.outbox.segments import Segment, Segments
    from edge_agent.outbox.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Promoted:
    """A batch record made of segments."""

    epoch: int
    seq: int
    boot: int
    readings: int
    first_ns: int
    last_ns: int
    body: bytes


def urgent_rowids(db: sqlite3.Connection) -> set[int]:
    """Rowids of urgent records; deletes those whose record was dropped."""
    db.execute("DELETE FROM urgent WHERE NOT EXISTS (SELECT 1 FROM record WHERE record.rowid = urgent.rowid)")
    return {rowid for (rowid,) in db.execute("SELECT rowid FROM urgent").fetchall()}


def stored_state(db: sqlite3.Connection, name: str) -> bytes | None:
    """State that was saved under a name; None if there is none, or it is damaged."""
    row = db.execute("SELECT crc, body FROM state WHERE name = ?", (name,)).fetchone()
    if row is None or not isinstance(row[1], bytes) or crc32(row[1]) != row[0]:
        return None
    return row[1]


def promote_segments(
    segments: Iterable[Segment],
    *,
    fresh: Callable[[], tuple[int, int]],
    encode: Callable[[Sequence[bytes]], bytes],
) -> tuple[list[Promoted], list[Loss]]:
    """Make batch records of the segments of an interrupted run; their stamps keep their boot.

    Segments of one batch become one record, under the identity that the batch had reserved: the same segments again,
    after the database went back to an earlier state, are the same record again.

    Args:
        segments: oldest first.
        fresh: draws an identity (epoch, seq) for a segment without one, from a release before 0.2.
        encode: makes the body of a batch record from those of its segments; raises WireError if it cannot.

    Returns:
        The records, and the losses by damaged segments.
    """
    batches: dict[tuple[int, int], list[Segment]] = {}
    for segment in segments:
        batches.setdefault((segment.epoch, segment.seq) if segment.seq else fresh(), []).append(segment)
    records, losses = list[Promoted](), list[Loss]()
    for (epoch, seq), parts in batches.items():
        intact = [part for part in parts if part.intact]
        body = None
        try:
            body = encode([part.body for part in intact]) if intact else None
        except WireError as error:
            log.error("secured rows cannot be read: %s segments=%d", error, len(parts))  # noqa: TRY400 no mistake of ours
            intact = []
        if body is not None:
            records.append(Promoted(epoch, seq, parts[0].boot, *_span(intact), body))
        damaged = [part for part in parts if part not in intact]
        if damaged:
            seqs = (0, 0, 0) if intact else (seq, seq, 1)
            losses.append(Loss(parts[0].boot, Dropped(epoch, *seqs, *_span(damaged), DAMAGED)))
    return records, losses


def store_promoted(db: sqlite3.Connection, record: Promoted, rowid: int, changes: Changes) -> None:
    """Store a promoted record, inside a transaction."""
    about = (record.boot, record.readings, record.first_ns, record.last_ns)
    columns = (record.epoch, record.seq, int(RecordKind.BATCH), *about)
    db.execute(INSERT_RECORD, (rowid, *columns, checksum(columns, record.body), record.body))
    changes.stored(record.epoch, record.seq, RecordKind.BATCH)


def rolled_back(db: sqlite3.Connection, segments: Segments, store: Store, current: int, boot: int) -> list[Loss]:
    """What the segments or the journal prove to have been committed, though the database does not know of it.

    Args:
        db: database, in the transaction of the start.
        segments: as the interrupted run left them.
        store: its journal was looked at.
        current: epoch of this run.
        boot: number of the current boot.
    """
    proved = {epoch: mark for epoch, mark in segments.marks().items() if mark > mark_of(db, epoch)}
    if (store.lost_commits or segments.has_damage()) and (last := last_epoch(db, current)) is not None:
        proved.setdefault(last, 0)
    store.lost_commits = False
    losses = []
    for epoch, mark in proved.items():
        known = mark_of(db, epoch)
        lost = Dropped(epoch, known + 1, None, max(0, mark - known), 0, 0, 0, ROLLED_BACK)
        losses.append(Loss(boot, lost))
        log.error("records of an interrupted run may be lost epoch=%d seqs=%d and above", epoch, known + 1)
    return losses


def _span(segments: Sequence[Segment]) -> tuple[int, int, int]:
    """Number of readings, first and last stamp of segments."""
    readings = sum(segment.readings for segment in segments)
    return readings, min(each.first_ns for each in segments), max(each.last_ns for each in segments)
