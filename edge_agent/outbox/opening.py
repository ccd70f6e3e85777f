"""What the first transaction of a run does: a new epoch, and records from what the last run had not sealed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from zlib import crc32

from edge_agent.outbox.schema import INSERT_RECORD
from edge_agent.outbox.tombstones import DAMAGED, Dropped, Grave
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Callable

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


def promote_segments(db: sqlite3.Connection, epoch: int, next_rowid: Callable[[], int], graves: list[Grave]) -> int:
    """Make records of stored segments; they keep the boot that their stamps belong to. Damaged ones go to `graves`.

    Returns:
        How many seqs of `epoch` that took.
    """
    rows = db.execute("DELETE FROM segment RETURNING rowid, boot, readings, first_ns, last_ns, crc, body").fetchall()
    for seq, (_rowid, boot, readings, first_ns, last_ns, crc, body) in enumerate(sorted(rows), start=1):
        if crc32(body) == crc:
            numbers = (next_rowid(), epoch, seq, int(RecordKind.BATCH), boot)
            db.execute(INSERT_RECORD, (*numbers, readings, first_ns, last_ns, crc, body))
        else:
            graves.append(Grave(epoch, boot, Dropped(seq, seq, 1, readings, first_ns, last_ns, DAMAGED)))
    if rows:
        log.info("unsealed readings of an interrupted run go on as records records=%d", len(rows))
    return len(rows)
