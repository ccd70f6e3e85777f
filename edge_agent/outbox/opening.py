"""First transaction of a run: draws a new epoch, and makes records of the segments that the last run left."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from zlib import crc32

from edge_agent.errors import Unavailable, WireError
from edge_agent.outbox.boots import IDENTITY_BITS
from edge_agent.outbox.schema import INSERT_RECORD
from edge_agent.outbox.tombstones import DAMAGED, Dropped, Loss
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Callable, Iterable

    from edge_agent.outbox.segments import Segment

log = logging.getLogger(__name__)


def urgent_rowids(db: sqlite3.Connection) -> set[int]:
    """Rowids of urgent records; deletes those whose record was dropped."""
    db.execute("DELETE FROM urgent WHERE rowid NOT IN (SELECT rowid FROM record)")
    return {rowid for (rowid,) in db.execute("SELECT rowid FROM urgent").fetchall()}


def stored_state(db: sqlite3.Connection, name: str) -> bytes | None:
    """State that was saved under a name; None if there is none, or it is damaged."""
    row = db.execute("SELECT crc, body FROM state WHERE name = ?", (name,)).fetchone()
    if row is None or not isinstance(row[1], bytes) or crc32(row[1]) != row[0]:
        return None
    return row[1]


def draw_epoch(db: sqlite3.Connection, rng: random.Random, wanted: int | None) -> int:
    """Draw an epoch of 53 bits that this outbox has never used, or check the one that is wanted.

    Raises:
        Unavailable: the wanted one was used before: its records would pass for those of another run.
    """
    used = {epoch for (epoch,) in db.execute("SELECT epoch FROM epoch").fetchall()}
    if wanted in used:
        raise Unavailable(f"this outbox has records of epoch {wanted} already; give another --epoch, or none")
    epoch = wanted
    while epoch is None or epoch in used:
        epoch = rng.getrandbits(IDENTITY_BITS)
    return epoch


def promote_segments(
    db: sqlite3.Connection,
    segments: Iterable[Segment],
    *,
    epoch: int,
    next_rowid: Callable[[], int],
    encode: Callable[[bytes], bytes],
) -> tuple[int, list[Loss]]:
    """Make batch records of the segments of an interrupted run; their stamps keep their boot.

    Args:
        db: database, in a transaction.
        segments: oldest first.
        epoch: epoch of the records; their seqs begin with 1.
        next_rowid: draws the rowid of each record.
        encode: makes the body of a batch record from that of a segment; raises WireError if it cannot.

    Returns:
        Number of seqs used, and the losses by damaged segments.
    """
    seq, losses = 0, list[Loss]()
    for seq, segment in enumerate(segments, start=1):
        about = (segment.readings, segment.first_ns, segment.last_ns)
        try:
            body = encode(segment.body) if segment.intact else None
        except WireError as error:
            log.error("secured rows cannot be read: %s readings=%d", error, segment.readings)  # noqa: TRY400 no mistake of ours
            body = None
        if body is None:
            losses.append(Loss(segment.boot, Dropped(epoch, seq, seq, 1, *about, DAMAGED)))
        else:
            numbers = (next_rowid(), epoch, seq, int(RecordKind.BATCH), segment.boot)
            db.execute(INSERT_RECORD, (*numbers, *about, crc32(body), body))
    if seq:
        log.info("unsealed readings of an interrupted run go on as records records=%d", seq)
    return seq, losses
