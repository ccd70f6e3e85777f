"""Worker of the store: the only one that uses SQLite."""

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
CONFIRMED_NS: Final = 120 * NS_PER_S
"""Longest time that a few confirmations wait for the commit of another record, nanoseconds: a flush of the card less
per batch. A power cut in between sends these records again, and a receiver knows them by their seq."""
RETRY_NS: Final = 5 * NS_PER_S
"""Time between a failed commit and the next attempt, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Store:
    """Add a record."""

    content: Content


@dataclass(frozen=True, slots=True)
class StoreSegment:
    """Add a part of a batch that is not sealed yet."""

    content: Content


@dataclass(frozen=True, slots=True)
class SaveState:
    """Save the state of stages under a name, in place of the one before; the next commit makes it durable."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit now."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """Hand out up to `limit` records, at most `backlog` of them from the backlog lane; None: as many as there are."""

    limit: int
    backlog: int | None = None


@dataclass(frozen=True, slots=True)
class Rewind:
    """Hand out again from the oldest record on; sent after the link was lost."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The record has arrived."""

    record: Record


@dataclass(frozen=True, slots=True)
class SetAside:
    """No link takes the record for now: skip it until `Readmit`."""

    record: Record


@dataclass(frozen=True, slots=True)
class Readmit:
    """Hand out again what was set aside, after the next `Rewind`."""


@dataclass(frozen=True, slots=True)
class SetAnchor:
    """The anchor of wall time has changed."""

    anchor: Anchor


StoreInput = Store | StoreSegment | SaveState | Commit | HandOut | Rewind | Confirm | SetAside | Readmit | SetAnchor


@dataclass(frozen=True, slots=True)
class StorePart:
    """State and counts of the store.

    Attributes:
        epoch: epoch of new records.
        boot: number of the current boot.
        tally: counts of records, as of the last commit.
        failures: number of failed commits and reads.
        set_aside: number of pending records that no link takes for now.
    """

    epoch: int
    boot: int
    tally: Tally
    failures: int
    set_aside: int = 0


class StoreWorker:
    """Executes all requests to the outbox, one after the other.

    Commits on request, and at the latest `durability_ns` after a change that needs a commit. A few confirmations wait
    longer, see CONFIRMED_NS.

    Args:
        outbox: the outbox.
        clock: source of time for deadlines.
        durability_ns: longest time between a change and its commit, nanoseconds.
        offer: called with the records that a `HandOut` requested, possibly none.
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
        self._confirmed_due_ns: int | None = None
        self._failing = False

    def snapshot(self) -> StorePart:
        """State and counts for the snapshot of the agent."""
        outbox = self.outbox
        return StorePart(outbox.epoch, outbox.boot, outbox.tally(), self.failures, outbox.set_aside_count)

    def step(self) -> int | None:
        """Execute the requests that arrived, and commit if it is time."""
        commit = False
        for message in self.inbox.take_all():
            commit = self._handle(message) or commit
        now_ns = self._clock.now_ns()
        if self._commit_due_ns is None and self.outbox.dirty:
            self._commit_due_ns = now_ns + self._durability_ns
        if self._confirmed_due_ns is None and self.outbox.has_confirmed:
            self._confirmed_due_ns = now_ns + max(self._durability_ns, CONFIRMED_NS)
        due = self._commit_due_ns is not None and now_ns >= self._commit_due_ns
        confirmed = self._confirmed_due_ns is not None and now_ns >= self._confirmed_due_ns
        if due or ((commit or confirmed) and not self._failing):
            self._try_to_commit(now_ns, confirmed=confirmed)
        dues = (self._commit_due_ns, None if self._failing else self._confirmed_due_ns)
        return min([due for due in dues if due is not None], default=None)

    def _handle(self, message: StoreInput) -> bool:
        """Execute a request. Returns whether to commit now."""
        match message:
            case Store(content):
                self.outbox.add(content)
            case StoreSegment(content):
                self.outbox.add_segment(content)
            case SaveState(name, body):
                self.outbox.save_state(name, body)
            case SetAnchor(anchor):
                self.outbox.set_anchor(anchor)
            case Commit():
                return True
            case _:
                self._serve_uplink(message)
        return False

    def _serve_uplink(self, message: HandOut | Rewind | Confirm | SetAside | Readmit) -> None:
        match message:
            case HandOut(limit, backlog):
                self._offer(self._hand_out(limit, backlog))
            case Rewind():
                self.outbox.rewind()
            case Confirm(record):
                self.outbox.confirm(record)
            case SetAside(record):
                self.outbox.set_aside(record)
            case Readmit():
                self.outbox.readmit()

    def _hand_out(self, limit: int, backlog: int | None) -> Sequence[tuple[Lane, Record]]:
        try:
            return self.outbox.hand_out(limit, backlog)
        except sqlite3.Error as error:
            self._fail(error, self._clock.now_ns())
            return ()

    def _try_to_commit(self, now_ns: int, *, confirmed: bool) -> None:
        try:
            if self._failing:
                self.outbox.reopen()
            wrote = self.outbox.commit(confirmed=confirmed)
        except (sqlite3.Error, OSError, Unavailable) as error:
            self._fail(error, now_ns)
            return
        self._commit_due_ns = None
        if not self.outbox.has_confirmed:
            self._confirmed_due_ns = None
        if self._failing:
            log.warning("the outbox works again")
        if wrote or self._failing:
            # After a failure also without changes: requests of the uplink during the failure returned no records.
            self._committed()
        self._failing = False

    def _fail(self, error: Exception, now_ns: int) -> None:
        """Count a failure, log the first one, and set the time of the next attempt."""
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
