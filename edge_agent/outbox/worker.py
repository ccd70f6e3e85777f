"""The store's worker: the only one that touches SQLite."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S, Anchor, Clock
from edge_agent.errors import Unavailable
from edge_agent.runtime import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.outbox.outbox import Content, Outbox, Tally
    from edge_agent.reading import Lane, Record

log = logging.getLogger(__name__)

INBOX_LIMIT: Final = 10_000
RETRY_NS: Final = 5 * NS_PER_S
"""How long after a failed commit the next is tried."""


@dataclass(frozen=True, slots=True)
class Store:
    """Take a record in."""

    content: Content


@dataclass(frozen=True, slots=True)
class StoreSegment:
    """Take in part of a batch that is not sealed yet."""

    content: Content


@dataclass(frozen=True, slots=True)
class SaveState:
    """Keep what a stage remembers, in place of what it saved before; made durable by the next commit."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Make everything durable now."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """The uplink has room for so many records."""

    limit: int


@dataclass(frozen=True, slots=True)
class Rewind:
    """The uplink begins anew: whatever was on its way is not."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The record reached the other end."""

    record: Record


@dataclass(frozen=True, slots=True)
class Refuse:
    """The record can never be accepted."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class SetAnchor:
    """Wall time stepped or became known."""

    anchor: Anchor


StoreInput = Store | StoreSegment | SaveState | Commit | HandOut | Rewind | Confirm | Refuse | SetAnchor


@dataclass(frozen=True, slots=True)
class StorePart:
    """What the store has done so far.

    Attributes:
        epoch: of new records.
        boot: number of the current boot.
        tally: where the records are, as of the last commit.
        failures: commits and reads that failed.
    """

    epoch: int
    boot: int
    tally: Tally
    failures: int


class StoreWorker:
    """Serialises everything that is done to the outbox.

    Commits when told to, and at the latest `durability_ns` after something arrived that needs one.

    Args:
        offer: called with the records that a `HandOut` asked for, possibly none.
        committed: called after each commit.
    """

    name = "store"

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        *,
        durability_ns: int,
        offer: Callable[[Sequence[tuple[Lane, Record]]], object],
        committed: Callable[[], object],
    ) -> None:
        self.inbox: Inbox[StoreInput] = Inbox(INBOX_LIMIT)
        self.outbox = outbox
        self.failures = 0
        self._clock = clock
        self._durability_ns = durability_ns
        self._offer = offer
        self._committed = committed
        self._commit_due_ns: int | None = None
        self._failing = False

    def snapshot(self) -> StorePart:
        """Its part of a snapshot."""
        return StorePart(self.outbox.epoch, self.outbox.boot, self.outbox.tally(), self.failures)

    def step(self) -> int | None:
        """Do what arrived, and commit if it is time to."""
        commit = False
        for message in self.inbox.take_all():
            commit = self._handle(message) or commit
        now_ns = self._clock.now_ns()
        if self._commit_due_ns is None and self.outbox.dirty:
            self._commit_due_ns = now_ns + self._durability_ns
        due = self._commit_due_ns is not None and now_ns >= self._commit_due_ns
        if due or (commit and not self._failing):
            self._try_to_commit(now_ns)
        return self._commit_due_ns

    def _handle(self, message: StoreInput) -> bool:
        """Returns whether to commit now."""
        match message:
            case Store(content):
                self.outbox.add(content)
            case StoreSegment(content):
                self.outbox.add_segment(content)
            case SaveState(name, body):
                self.outbox.save_state(name, body)
            case Commit():
                return True
            case HandOut(limit):
                self._offer(self._hand_out(limit))
            case Rewind():
                self.outbox.rewind()
            case Confirm(record):
                self.outbox.confirm(record)
            case Refuse(record, reason):
                self.outbox.refuse(record, reason)
            case SetAnchor(anchor):
                self.outbox.set_anchor(anchor)
        return False

    def _hand_out(self, limit: int) -> Sequence[tuple[Lane, Record]]:
        try:
            return self.outbox.hand_out(limit)
        except sqlite3.Error as error:
            self._fail(error, self._clock.now_ns())
            return ()

    def _try_to_commit(self, now_ns: int) -> None:
        try:
            if self._failing:
                self.outbox.reopen()
            wrote = self.outbox.commit()
        except (sqlite3.Error, OSError, Unavailable) as error:
            self._fail(error, now_ns)
            return
        self._commit_due_ns = None
        if self._failing:
            log.warning("the outbox works again")
        if wrote or self._failing:
            # After a failure even without news: what the uplink asked for meanwhile was not given.
            self._committed()
        self._failing = False

    def _fail(self, error: Exception, now_ns: int) -> None:
        """Say so once, and plan the next try."""
        self.failures += 1
        if not self._failing:
            log.error(
                "the outbox fails; readings are kept in memory and it is tried again every %d s reason=%r",
                RETRY_NS // NS_PER_S,
                str(error),
            )
            self._commit_due_ns = None
        self._failing = True
        if self._commit_due_ns is None or self._commit_due_ns <= now_ns:
            self._commit_due_ns = now_ns + RETRY_NS
