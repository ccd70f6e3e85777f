"""Form of each batch on a link: self-contained, self-contained with the announcement (teaching), or by announcement.

Stored batches are always self-contained. A batch is sent by announcement only after the broker has acknowledged, on
this link and topic, a batch that contains the announcement. That batch is then in the queue of every subscriber of the
topic, before all batches that need it, because MQTT keeps the order within a topic. So a receiver that was offline
while the channels changed can read its queue without any status message. Status messages can therefore have QoS 0,
which leaves all of the broker's Receive Maximum to records.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.errors import WireError
from edge_agent.reading import RecordKind
from edge_agent.wire.announced import by_announcement, teaching

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.reading import Record
    from edge_agent.wire.announcement import Announcement

log = logging.getLogger(__name__)

TEACH_EVERY: Final = 64
"""One batch of this many on a topic is teaching, for subscribers that came later and missed the status."""
_NEAR_STEPS: Final = 64
"""A smaller difference of the offset, in time steps, costs one byte per message: no reason for a new announcement."""


@dataclass(slots=True)
class _Topic:
    """State of one topic of this link.

    Attributes:
        since: number of batches since the last teaching one.
        pending: rowid of the teaching batch that is not acknowledged yet; None if there is none.
        taught: whether a teaching batch was acknowledged.
    """

    since: int
    pending: int | None = None
    taught: bool = False


class Announcer:
    """Chooses the form of each batch on a link.

    Args:
        facts: makes the announcement of the current channels and clock; raises WireError if it is too large.

    Attributes:
        announcement: announcement in use on this link; None: every batch is self-contained.
    """

    def __init__(self, facts: Callable[[], Announcement]) -> None:
        self.announcement: Announcement | None = None
        self._facts = facts
        self._topics: dict[str, _Topic] = {}
        self._delay_teaching = False

    def begin(self) -> None:
        """Start a new link: no announcement was sent on it yet."""
        # The last link may have broken because the teaching message was too large; do not begin with one then.
        self._delay_teaching = any(topic.pending is not None for topic in self._topics.values())
        self._announce(self._now())

    def refresh(self) -> None:
        """Announce again if the clock has changed, because otherwise every message would have to state the change."""
        announced = self.announcement
        current = None if announced is None else self._now()
        if announced is None or current is None:
            return
        moved = abs(current.offset_ns - announced.offset_ns) >= _NEAR_STEPS * announced.time_step_ns
        if moved or current.time_quality is not announced.time_quality:
            self._announce(current)

    def message(self, topic: str, record: Record, alone: bytes) -> bytes:
        """Return the message of a record in the form in which it is sent.

        Args:
            topic: topic of the message.
            record: the record.
            alone: its self-contained message.
        """
        if record.kind is not RecordKind.BATCH or self.announcement is None:
            return alone
        state = self._topics.setdefault(topic, _Topic(0 if self._delay_teaching else TEACH_EVERY))
        state.since += 1
        if state.since >= TEACH_EVERY and state.pending is None:
            try:
                taught = teaching(alone, self.announcement)
            except WireError:  # with the announcement, the message is too large
                return alone
            state.since, state.pending = 0, record.rowid
            return taught
        return (state.taught and by_announcement(alone, self.announcement)) or alone

    def answered(self, record: Record, *, taken: bool) -> None:
        """Handle the result of a publication; if a teaching batch was refused, the next one comes after TEACH_EVERY."""
        for state in self._topics.values():
            if state.pending == record.rowid:
                state.pending = None
                state.taught |= taken

    def teach(self) -> None:
        """Let the next batch on each topic be a teaching one, because a receiver lacks the announcement."""
        for state in self._topics.values():
            state.since = TEACH_EVERY

    def _announce(self, announcement: Announcement | None) -> None:
        self._topics.clear()
        self.announcement = announcement

    def _now(self) -> Announcement | None:
        try:
            return self._facts()
        except WireError as error:
            log.warning("each message stands alone, because an announcement would be too large: %s", error)
            return None
