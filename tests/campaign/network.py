"""What can be wrong with the network and the broker, and a message on its way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from edge_agent.clock import NS_PER_S

CONNECT_NS: Final = 5 * NS_PER_S
HALF_OPEN_NS: Final = 60 * NS_PER_S
"""Twice the keep-alive period of the configuration."""
NO_SUBSCRIBER: Final = 0x10
HOPELESS: Final = frozenset({0x90, 0x95, 0x99})


class Door(Enum):
    """What happens to a new connection."""

    OPEN = "open"
    REFUSES = "refuses"
    BLACK_HOLE = "black hole"
    SILENT = "accepts and says nothing"


@dataclass(slots=True)
class Network:
    """What is wrong at present.

    Attributes:
        door: what happens to new connections.
        rtt_ns: time between a message and its answer.
        code: reason code of every PUBACK; 0: success.
        reader: whether the subscriber takes messages; if not, the broker keeps them.
        receive_maximum: what the broker tells of itself.
        largest: size of the largest payload that it takes.
    """

    door: Door = Door.OPEN
    rtt_ns: int = 20_000_000
    code: int = 0
    reader: bool = True
    receive_maximum: int = 20
    largest: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way.

    Attributes:
        identity: epoch and seq; None for a status.
        at_ns: when it was published, of the campaign's own time.
    """

    topic: str
    payload: bytes
    identity: tuple[int, int] | None
    at_ns: int
