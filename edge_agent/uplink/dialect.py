"""Interface of a dialect: topics, will, births, commands, and the message of a record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Heard
    from edge_agent.uplink.mqtt import Will


class Occasion(Enum):
    """Reason to publish messages that are no records."""

    BIRTH = "birth"
    """The link is up, before any record is sent; or a host requested a birth."""
    HEARTBEAT = "heartbeat"
    """The period of status messages has passed."""
    TEACH = "teach"
    """A receiver lacks what messages refer to."""
    FAREWELL = "farewell"
    """The agent is about to close the link."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that is no record: birth, status or death. Published with QoS 0, because its loss is harmless."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """The message of one record. Published with QoS 1: its PUBACK confirms the record.

    Attributes:
        topic, payload: topic and content of the message.
        content_type, user_properties: properties of the message in MQTT 5.
        before: notices that must be published before it.
        refers: whether it can be read only with an announcement.
    """

    topic: str
    payload: bytes
    content_type: str
    user_properties: Sequence[tuple[str, str]]
    before: Sequence[Notice] = ()
    refers: bool = False


class Dialect(Protocol):
    """Builds publications; sends nothing. Called from the uplink's thread only.

    Attributes:
        topics: filters of the topics on which commands and confirmations arrive.
        ignored: number of messages there that cannot be read, or lack a valid signature.
    """

    @property
    def topics(self) -> Sequence[str]: ...  # noqa: D102 see the class

    @property
    def ignored(self) -> int: ...  # noqa: D102 see the class

    def will(self) -> Will:
        """Build the will of a new connection; called once per connection."""

    def notices(self, occasion: Occasion, most_bytes: int) -> Sequence[Notice]:
        """Build the notices for an occasion.

        Args:
            occasion: the occasion.
            most_bytes: largest size of a packet, on this link. Notices are made smaller if they can be; those that
                are still larger are not sent. Also holds for what comes before records.
        """

    def publication(self, lane: Lane, record: Record, *, alone: bool = False) -> Publication:
        """Build the message of a record. Any exception makes the record undeliverable.

        Args:
            lane: lane of the record.
            record: the record.
            alone: whether the message must not refer to others.
        """

    def parts(self, lane: Lane, record: Record, most_bytes: int) -> Sequence[Publication]:
        """Build messages that hold some of the rows of a batch each, and together all of them.

        Args:
            lane: lane of the record.
            record: the record.
            most_bytes: largest payload.

        Returns:
            The messages; none if the record or the format cannot be divided, or not into so small ones.
        """

    def answered(self, record: Record, *, taken: bool) -> None:
        """Handle the result of a publication.

        Args:
            record: the record that was published.
            taken: True if the broker acknowledged it with success; False if it was not sent, was refused, or had no
                subscriber.
        """

    def heard(self, topic: str, payload: bytes) -> Sequence[Heard]:
        """Parse a message that arrived on one of `topics`: return what it says, without what is not known."""
