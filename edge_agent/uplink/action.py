"""What the session wants done, and which topic a record takes. Pure; the worker carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from edge_agent.reading import Lane, Record


@dataclass(frozen=True, slots=True)
class Open:
    """Begin to connect."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Give the link up: it does not answer any more."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """The next records asked for begin at the oldest."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """HandOut the outbox for up to `limit` records."""

    limit: int


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a record on its lane."""

    lane: Lane
    record: Record


@dataclass(frozen=True, slots=True)
class Confirm:
    """The record has arrived."""

    record: Record


@dataclass(frozen=True, slots=True)
class Refuse:
    """The record can never be delivered."""

    record: Record
    reason: str


Action = Open | Drop | Rewind | HandOut | Send | Confirm | Refuse


class Way(Enum):
    """Which topic a record takes. The text is the topic's last level."""

    LIVE = "live"
    BACKLOG = "backlog"
    EVENT = "event"


def way_of(lane: Lane, record: Record) -> Way:
    """Batches and tombstones go by lane; events have a topic of their own."""
    return Way.EVENT if record.kind is RecordKind.EVENT else Way(lane.value)
