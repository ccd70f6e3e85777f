"""What the uplink has to know of a dialect: topics, will, births, commands, and the message of a record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Command
    from edge_agent.uplink.mqtt import Will


class Occasion(Enum):
    """When something is published that is no record."""

    BIRTH = "birth"
    """The link has just come up, or somebody asked for a birth; comes before any record."""
    HEARTBEAT = "heartbeat"
    FAREWELL = "farewell"
    """The link will be closed on purpose."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that is no record: birth, status, death. Published with QoS 0: its loss is harmless."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """The message of one record, published with QoS 1: its PUBACK is the record's.

    Attributes:
        topic, payload: what, and where.
        content_type, user_properties: what MQTT 5 says beside it.
        before: what has to leave ahead of it.
    """

    topic: str
    payload: bytes
    content_type: str
    user_properties: Sequence[tuple[str, str]]
    before: Sequence[Notice] = ()


class Dialect(Protocol):
    """Builds publications; sends nothing. Called from the uplink's thread only.

    Attributes:
        command_topic: topic on which commands arrive; None if the dialect knows none.
    """

    @property
    def command_topic(self) -> str | None: ...  # noqa: D102 see the class

    def will(self) -> Will:
        """The will of a new connection; called once for each."""

    def notices(self, occasion: Occasion) -> Sequence[Notice]:
        """What is to be published now that is no record."""

    def publication(self, lane: Lane, record: Record) -> Publication:
        """The message of a record. Raises whatever if it cannot be made; then the record is undeliverable."""

    def answered(self, record: Record, *, taken: bool) -> None:
        """The broker took a record's publication; or it did not leave, was refused, or there was nobody to have it."""

    def heard(self, payload: bytes) -> Sequence[Command]:
        """The commands in a message that arrived on `command_topic`; none if it holds none that is known."""
