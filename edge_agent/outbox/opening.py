"""What the first transaction of a run does: a new epoch, and records from what the last run had not sealed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from zlib import crc32

from edge_agent.errors import WireError
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
    """Places of the records that leave first; those that were dropped meanwhile are forgotten."""
    db.execute("DELETE FROM urgent WHERE rowid NOT IN (SELECT rowid FROM record)")
    return {rowid for (rowid,) in db.execute("SELECT rowid FROM urgent").fetchall()}


def stored_state(db: sqlite3.Connection, name: str) -> bytes | None:
    """What was saved under a name; None if there is nothing, or it is damaged."""
    row = db.execute("SELECT crc, body FROM state WHERE name = ?", (name,)).fetchone()
    if row is None or not isinstance(row[1], bytes) or crc32(row[1]) != row[0]:
        return None
    return row[1]


def draw_epoch(db: sqlite3.Connection, rng: random.Random) -> int:
    """An epoch that this outbox has never used; 32 bits, to be short in every message."""
    used = {epoch for (epoch,) in db.execute("SELECT epoch FROM epoch").fetchall()}
    epoch = rng.getrandbits(32)
    while epoch in used:
        epoch = rng.getrandbits(32)
    return epoch


def promote_segments(
    db: sqlite3.Connection,
    segments: Iterable[Segment],
    *,
    epoch: int,
    next_rowid: Callable[[], int],
    encode: Callable[[bytes], bytes],
) -> tuple[int, list[Loss]]:
    """Make records of what an interrupted run had secured; their stamps keep their boot.

    Args:
        db: in a transaction.
        segments: oldest first.
        epoch: of the records; their seqs begin with 1.
        next_rowid: draws places.
        encode: makes the body of a batch record from that of a segment; raises WireError if it cannot.

    Returns:
        How many seqs that took, and the segments that are damaged.
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
            losses.append(Loss(epoch, segment.boot, Dropped(seq, seq, 1, *about, DAMAGED)))
        else:
            numbers = (next_rowid(), epoch, seq, int(RecordKind.BATCH), segment.boot)
            db.execute(INSERT_RECORD, (*numbers, *about, crc32(body), body))
    if seq:
        log.info("unsealed readings of an interrupted run go on as records records=%d", seq)
    return seq, losses
