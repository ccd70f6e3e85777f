"""Which form each batch takes on a link: standing alone, standing alone and teaching, or by announcement.

What is stored always stands alone. A batch leaves by announcement only if the broker has acknowledged, on this link and
topic, a batch that teaches the announcement. It thereby stands in the queue of every subscriber of that topic, before
all that need it: MQTT keeps the order within a topic. So a receiver that was away while the channels changed can read
what waited for it, even if it hears no status message; and a status message may keep its QoS of 0, which leaves all of
the broker's Receive Maximum to records.
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
"""Of the batches on a topic, so many begin with one that teaches: for whoever came later, and missed the status."""
_NEAR_STEPS: Final = 64
"""An offset that differs by less costs each message one byte, which is no reason for another announcement."""


@dataclass(slots=True)
class _Topic:
    """What was said on one topic of this link.

    Attributes:
        since: batches since the last one that taught.
        pending: rowid of the one that teaches and is on its way.
        taught: whether one has arrived.
    """

    since: int
    pending: int | None = None
    taught: bool = False


class Announcer:
    """Says once what never changes.

    Args:
        facts: what would be announced now.

    Attributes:
        announcement: what batches go by on this link; None: nothing can be announced, and each stands alone.
    """

    def __init__(self, facts: Callable[[], Announcement]) -> None:
        self.announcement: Announcement | None = None
        self._facts = facts
        self._topics: dict[str, _Topic] = {}
        self._wary = False

    def begin(self) -> None:
        """A link has come up: nobody there was told anything."""
        # The link may have broken because the teaching message was too large for it.
        self._wary = any(topic.pending is not None for topic in self._topics.values())
        self._announce(self._now())

    def refresh(self) -> None:
        """Announce anew if the clock has moved, which would make every message say so."""
        said = self.announcement
        now = None if said is None else self._now()
        if said is None or now is None:
            return
        moved = abs(now.offset_ns - said.offset_ns) >= _NEAR_STEPS * said.time_step_ns
        if moved or now.time_quality is not said.time_quality:
            self._announce(now)

    def message(self, topic: str, record: Record, alone: bytes) -> bytes:
        """The form in which a record leaves.

        Args:
            topic: where it goes.
            record: what leaves.
            alone: its message as it stands alone.
        """
        if record.kind is not RecordKind.BATCH or self.announcement is None:
            return alone
        state = self._topics.setdefault(topic, _Topic(0 if self._wary else TEACH_EVERY))
        state.since += 1
        if state.since >= TEACH_EVERY and state.pending is None:
            try:
                taught = teaching(alone, self.announcement)
            except WireError:  # it is as large as a message may be
                return alone
            state.since, state.pending = 0, record.rowid
            return taught
        return (state.taught and by_announcement(alone, self.announcement)) or alone

    def answered(self, record: Record, *, taken: bool) -> None:
        """The broker took the message of a record, or did not. After one that taught and was refused, others wait."""
        for state in self._topics.values():
            if state.pending == record.rowid:
                state.pending = None
                state.taught |= taken

    def _announce(self, announcement: Announcement | None) -> None:
        self._topics.clear()
        self.announcement = announcement

    def _now(self) -> Announcement | None:
        try:
            return self._facts()
        except WireError as error:
            log.warning("each message stands alone, because an announcement would be too large: %s", error)
            return None
