"""What a connection of a receiver tells, and what can be asked of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Up:
    """The broker accepted the connection and the subscriptions.

    Attributes:
        has_session: whether it remembered us, and so kept what came in the meantime.
    """

    has_session: bool


@dataclass(frozen=True, slots=True)
class Down:
    """The connection ended, or could not be made.

    Attributes:
        reason: one sentence.
        wrong_version: whether the broker may not know MQTT 5.
    """

    reason: str
    wrong_version: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message came.

    Attributes:
        topic, payload: of the message.
        retained: whether the broker had kept it.
        token: what `Connection.acknowledge` takes; None: QoS 0, nothing is to be acknowledged.
    """

    topic: str
    payload: bytes
    retained: bool
    token: int | None


LinkEvent = Up | Down | Arrived


class Connection(Protocol):
    """One connection, from its first packet to its last."""

    def open(self) -> None:
        """Start to connect. Events follow; the last one is a `Down`."""

    def acknowledge(self, token: int) -> None:
        """Tell the broker that a message is durable here (PUBACK). Without effect after the end."""

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 1. Without effect after the end."""

    def close(self) -> None:
        """Disconnect; the broker keeps the session."""
