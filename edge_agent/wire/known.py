"""What messages may refer to: announcements, and earlier batches. Pure.

A message without a reference is self-contained, as all are that the pipeline makes. A message that refers to an
announcement can be read only by a receiver that has it. A message that refers to a batch needs that batch, so a sender
refers only to batches that the receiver has confirmed: no lost message then makes a later one unreadable.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.errors import WireError
from edge_agent.wire.announcement import announcement_in_text
from edge_agent.wire.batch import Batch, StatusText

if TYPE_CHECKING:
    from edge_agent.wire.announcement import Announcement
    from edge_agent.wire.batch import Message
    from edge_agent.wire.envelope import Envelope

MOST_BATCHES: Final = 64
"""Batches that are remembered per node and epoch."""
MOST_CHANNELS: Final = 1 << 18
"""Channels that are remembered of all announcements together; of all batches four times as many."""
_EXACT_END: Final = float(1 << 53)


class Reference(NamedTuple):
    """A batch of the same node and epoch that the receiver has confirmed, and its seq."""

    seq: int
    batch: Batch


class Latest:
    """The last stamp and the last number of each channel of a batch, which later batches may be relative to.

    Attributes:
        stamp_ns: nanoseconds since boot; None if the batch has no rows.
        empty: whether no channel has a number.
        size: how much memory it takes, in numbers.
    """

    def __init__(self, batch: Batch | None) -> None:
        groups = batch.groups if batch is not None else ()
        stamped = [group.times_ns[-1] for group in groups if len(group.times_ns)]
        self.stamp_ns: int | None = stamped[0] if stamped else None
        self._numbers: dict[tuple[str, str], float] = {}
        for group in groups:
            for column in group.columns:
                number = next((value for value in reversed(column.values) if value is not None), None)
                if number is not None and isfinite(number):
                    self._numbers[group.sensor, column.quantity] = number
        self.empty = not self._numbers
        self.size = 1 + len(self._numbers)

    def integer(self, sensor: str, quantity: str, scale: int) -> int:
        """Last number of a channel, scaled by 10**scale; 0 if there is none, or it is not exact."""
        scaled = self._numbers.get((sensor, quantity), 0.0) * 10.0**scale
        return round(scaled) if abs(scaled) < _EXACT_END else 0


class Known:
    """Announcements and batches that a receiver has read. The oldest are forgotten, so that memory stays bounded.

    Attributes:
        announcements: by id.
        batches: ends of the last batches of each node and epoch, by node, epoch and seq.
    """

    def __init__(self) -> None:
        self.announcements: dict[int, Announcement] = {}
        self.batches: dict[tuple[str, int, int], Latest] = {}
        self._channels = self._numbers = 0
        self._recent: dict[tuple[str, int], deque[int]] = {}

    def learn(self, item: Message | StatusText) -> None:
        """Remember the announcement and the end of the batch in a message, or the announcement in a status."""
        if isinstance(item, StatusText):
            with suppress(WireError):  # another program may use this key for something else
                self.add(announcement_in_text(item.fields.get("announcement")))
            return
        if item.announcement is not None:
            self.add(item.announcement)
        if isinstance(item.content, Batch):
            self.add_batch(item.envelope, item.content)

    def add(self, announcement: Announcement) -> None:
        """Remember an announcement."""
        self._forget(announcement.id)
        self.announcements[announcement.id] = announcement
        self._channels += announcement.channels + 1
        while self._channels > MOST_CHANNELS:
            self._forget(next(iter(self.announcements)))

    def add_batch(self, envelope: Envelope, batch: Batch) -> None:
        """Remember the end of a batch."""
        sender = envelope.node, envelope.epoch
        recent = self._recent.pop(sender, None) or deque()
        self._recent[sender] = recent  # the sender that was silent longest comes first
        if envelope.seq not in recent:
            recent.append(envelope.seq)
        self._forget_batch(*sender, envelope.seq)
        latest = self.batches[*sender, envelope.seq] = Latest(batch)
        self._numbers += latest.size
        if len(recent) > MOST_BATCHES:
            self._forget_batch(*sender, recent.popleft())
        while self._numbers > 4 * MOST_CHANNELS:
            silent = next(iter(self._recent))
            for seq in self._recent.pop(silent):
                self._forget_batch(*silent, seq)

    def _forget(self, number: int) -> None:
        forgotten = self.announcements.pop(number, None)
        if forgotten is not None:
            self._channels -= forgotten.channels + 1

    def _forget_batch(self, node: str, epoch: int, seq: int) -> None:
        forgotten = self.batches.pop((node, epoch, seq), None)
        if forgotten is not None:
            self._numbers -= forgotten.size
