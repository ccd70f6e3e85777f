"""What comes out of one MQTT message, on its way into the store. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.receiver.status import Status
    from edge_agent.wire.announcement import Announcement
    from edge_agent.wire.batch import Message


class Refused(Enum):
    """Why a message was not stored. It is counted and never confirmed. The texts are public."""

    TOO_LARGE = "too large"
    UNKNOWN_VERSION = "unknown version or format"
    DAMAGED = "damaged"
    REFERS = "refers to an earlier batch"
    NO_ANNOUNCEMENT = "its announcement did not come"
    NO_STATUS = "not a status message"
    UNKNOWN_TOPIC = "unknown topic"
    NO_ROOM = "contradicts the ledger, or no room in it"
    NOT_STORABLE = "cannot be stored"
    OVERFLOW = "came faster than it could be stored"


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch that goes by an announcement which is not known yet.

    Attributes:
        number: its number among those that are kept, which never repeats.
        announcement: id of what is missing.
        payload: the message.
    """

    number: int
    announcement: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Arrival:
    """One thing to be done in the next transaction.

    Attributes:
        prefix: topic without its last level; acknowledgements go below it.
        content: a record, a status, a message to keep, or why there is nothing.
        retained: whether the broker had kept the message for us.
        kept: number of the kept message that this was until now; it is kept no longer.
    """

    prefix: str
    content: Message | Status | Kept | Refused
    retained: bool = False
    kept: int | None = None

    @property
    def taught(self) -> Announcement | None:
        """The announcement that it carries."""
        return None if isinstance(self.content, Kept | Refused) else self.content.announcement
