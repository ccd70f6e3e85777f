"""Single facts of a history: rows of the database, anchors of the clock, readings, and rules that did not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.clock import Anchor, ClockQuality
from edge_agent.reading import NOT_SENT, RecordKind
from edge_agent.wire.batch import Batch
from edge_agent.wire.codec import decode_message, encode_message
from edge_agent.wire.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.wire.batch import Message

Identity = tuple[int, int]
"""Epoch and seq."""
ReadingKey = tuple[int, str, str, int]
"""Boot, sensor, quantity, nanoseconds since boot."""
SETTLED_NS: Final = 90_000_000_000
"""Time after which a record must be sent with a changed anchor."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that did not hold."""

    at_s: float
    rule: str
    what: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table `record`."""

    rowid: int
    epoch: int
    seq: int
    kind: int
    boot: int
    readings: int
    body: bytes

    @property
    def identity(self) -> Identity:
        """Epoch and seq."""
        return self.epoch, self.seq

    def message(self) -> Message:
        """What it holds."""
        envelope = Envelope("g", self.epoch, self.seq, self.boot, 0, ClockQuality.NONE)
        return decode_message(encode_message(RecordKind(self.kind), envelope, self.body))


@dataclass(slots=True)
class Held:
    """An anchor that the clock had, from `at_ns` until `ended_ns`; None: it still has it."""

    anchor: Anchor
    at_ns: int
    ended_ns: int | None = None

    def is_settled(self, now_ns: int) -> bool:
        """Whether it was there long enough to be noticed and stored, so that no earlier one may be used at `now_ns`."""
        lasted_ns = (now_ns if self.ended_ns is None else self.ended_ns) - self.at_ns
        return lasted_ns >= SETTLED_NS and now_ns >= self.at_ns + SETTLED_NS


class Look(Protocol):
    """Reads the database."""

    def __call__(self) -> bool: ...  # noqa: D102 see the class


def keys_of(message: Message) -> Iterator[ReadingKey]:
    """The readings in a batch."""
    if not isinstance(message.content, Batch):
        return
    boot = message.envelope.boot
    for group in message.content.groups:
        for column in group.columns:
            for at_ns, status in zip(group.times_ns, column.statuses, strict=True):
                if status != NOT_SENT:
                    yield boot, group.sensor, column.quantity, at_ns
