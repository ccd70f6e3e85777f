"""Actions that the session requests and the worker executes, and the topic of a record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.confirmation import Seqs


@dataclass(frozen=True, slots=True)
class Open:
    """Start to connect."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Abandon the link, because it does not answer any more."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """Make the outbox hand out again from the oldest record on."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """Request up to `limit` records from the outbox, at most `backlog` of them from the backlog lane."""

    limit: int
    backlog: int


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a record on the topic of its lane.

    Attributes:
        again: whether it was sent before and nobody has confirmed it: then it stands alone, because what it referred to
            may have been lost, too.
    """

    lane: Lane
    record: Record
    again: bool = False


@dataclass(frozen=True, slots=True)
class Confirm:
    """The record has arrived."""

    record: Record


@dataclass(frozen=True, slots=True)
class SetAside:
    """No link takes the record for now: do not hand it out before the next `Readmit`."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Readmit:
    """Hand out the records that were set aside again, after the next `Rewind`."""


@dataclass(frozen=True, slots=True)
class Teach:
    """Publish again what messages refer to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A receiver lacks these records: it is to learn which of them do not wait here."""

    missing: tuple[Seqs, ...]


Action = Open | Drop | Rewind | HandOut | Send | Confirm | SetAside | Readmit | Teach | Answer


class Way(Enum):
    """Topic of a record. The text is the last level of the topic."""

    LIVE = "live"
    BACKLOG = "backlog"
    EVENT = "event"


def way_of(lane: Lane, record: Record) -> Way:
    """Topic of a record: by lane for batches and tombstones; events have their own topic."""
    return Way.EVENT if record.kind is RecordKind.EVENT else Way(lane.value)
