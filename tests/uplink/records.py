"""Records to send, as small as they can be."""

from __future__ import annotations

from edge_agent.clock import NS_PER_S, ClockQuality
from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.uplink.terms import Terms

ACK_TIMEOUT_NS = 60 * NS_PER_S
ROOMY = Terms()


def record(rowid: int, kind: RecordKind = RecordKind.BATCH) -> Record:
    """A record whose seq is its rowid."""
    return Record(rowid, 1, rowid, kind, 1, 0, ClockQuality.SYNCED, 10, b"")


def offer(*rowids: int) -> list[tuple[Lane, Record]]:
    """Batches from the backlog, as the outbox hands them out."""
    return [(Lane.BACKLOG, record(rowid)) for rowid in rowids]
