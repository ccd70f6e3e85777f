"""Worker of the store: the only one that uses SQLite."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S, AnchorSince, Clock
from edge_agent.errors import Unavailable
from edge_agent.outbox.store import reason_of
from edge_agent.outbox.wear import Budget, Wear, WearPart
from edge_agent.runtime import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.outbox.answers import Asked
    from edge_agent.outbox.epochs import Epoch
    from edge_agent.outbox.outbox import Content, News, Outbox, Tally
    from edge_agent.outbox.salvaging import SalvagePart
    from edge_agent.reading import Lane, Record

log = logging.getLogger(__name__)

INBOX_LIMIT: Final = 10_000
CONFIRMED_NS: Final = 120 * NS_PER_S
"""Longest time that a few confirmations wait for the commit of another record, nanoseconds: a flush of the card less
per batch. A power cut in between sends these records again, and a receiver knows them by their seq."""
RETRY_NS: Final = 5 * NS_PER_S
"""Time between a failed commit and the next attempt, nanoseconds."""
_LOOK_NS: Final = 60 * NS_PER_S
"""Time between two looks whether the files are still there, nanoseconds."""
_PAUSE_NS: Final = NS_PER_S // 20
"""Time between two steps of a salvage, a check or an answer, nanoseconds, so that other work goes on."""


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
class Answer:
    """A receiver lacks these records: tell it by tombstones which of them do not wait here."""

    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class SetAnchor:
    """Wall time is restated: which anchor holds from when on, ascending."""

    anchors: tuple[AnchorSince, ...]


Serve = HandOut | Rewind | Confirm | SetAside | Readmit | Answer
StoreInput = Store | StoreSegment | SaveState | Commit | SetAnchor | Serve


@dataclass(frozen=True, slots=True)
class StorePart:
    """State and counts of the store.

    Attributes:
        epoch: epoch of new records.
        boot: number of the current boot.
        tally: counts of records, as of the last commit.
        failures: number of failed commits and reads.
        failure: why nothing can be stored; empty if the last attempt succeeded.
        volatile: whether records are sent although they are in memory only.
        in_memory: number of records that are in memory only.
        last_seq: highest seq taken in.
        epochs: epochs of which records wait, oldest first, and the current one at the end.
        salvage: state of the salvage.
        lost_at_exit: records and readings that were in memory only when the agent stopped.
        wear: what it writes.
        set_aside: number of pending records that no link takes for now.
    """

    epoch: int
    boot: int
    tally: Tally
    failures: int
    failure: str
    volatile: bool
    in_memory: int
    last_seq: int
    epochs: tuple[Epoch, ...]
    salvage: SalvagePart
    lost_at_exit: tuple[int, int]
    set_aside: int
    wear: WearPart


class StoreWorker:
    """Executes all requests to the outbox, one after the other.

    Commits on request, and at the latest `durability_ns` after a change that needs a commit. A few confirmations wait
    longer, see CONFIRMED_NS.

    Args:
        outbox: the outbox.
        clock: source of time for deadlines.
        durability_ns: longest time between a change and its commit, nanoseconds.
        offer: called with the records that a `HandOut` requested, possibly none.
        committed: called after each commit, and when records in memory can be handed out.
        tell: called with what people have to know.
        budget: what may be written; None: anything.
        paced: called with the new interval at which open rows are to be secured, nanoseconds.
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
        tell: Callable[[News], object] = lambda _news: None,
        budget: Budget | None = None,
        paced: Callable[[int], object] = lambda _durability_ns: None,
    ) -> None:
        self.inbox: Inbox[StoreInput] = Inbox(INBOX_LIMIT)
        self.outbox = outbox
        self.failures = 0
        self._clock = clock
        self._durability_ns = durability_ns
        self._offer = offer
        self._committed = committed
        self._tell = tell
        self._wear = Wear(budget or Budget(None, durability_ns, durability_ns), clock.now_ns())
        self._paced = paced
        self._is_paced = False
        self._look_due_ns = clock.now_ns() + _LOOK_NS
        self._lost_at_exit = (0, 0)
        self._commit_due_ns: int | None = None
        self._confirmed_due_ns: int | None = None
        self._failing = bool(outbox.failure)
        if self._failing:
            self.failures = 1
            self._commit_due_ns = clock.now_ns() + RETRY_NS

    def snapshot(self) -> StorePart:
        """State and counts for the snapshot of the agent."""
        outbox = self.outbox
        return StorePart(
            epoch=outbox.epoch,
            boot=outbox.boot,
            tally=outbox.tally(),
            failures=self.failures,
            failure=outbox.failure,
            volatile=outbox.volatile,
            in_memory=outbox.in_memory()[0],
            last_seq=outbox.last_seq,
            epochs=outbox.epochs(),
            salvage=outbox.salvage_part(),
            lost_at_exit=self._lost_at_exit,
            set_aside=outbox.set_aside_count,
            wear=WearPart(outbox.written().total_bytes, self._wear.durability_ns, self._wear.because),
        )

    def step(self) -> int | None:
        """Execute the requests that arrived, and commit if it is time."""
        commit = False
        for message in self.inbox.take_all():
            commit = self._handle(message) or commit
        now_ns = self._clock.now_ns()
        answer_due_ns = self._answer(now_ns)
        if self._commit_due_ns is None and self.outbox.dirty:
            self._commit_due_ns = now_ns + self._durability_ns
        if self._confirmed_due_ns is None and self.outbox.has_confirmed:
            self._confirmed_due_ns = now_ns + max(self._durability_ns, CONFIRMED_NS)
        due = self._commit_due_ns is not None and now_ns >= self._commit_due_ns
        confirmed = self._confirmed_due_ns is not None and now_ns >= self._confirmed_due_ns
        if due or ((commit or confirmed) and not self._failing):
            self._try_to_commit(now_ns, confirmed=confirmed)
        elif self._failing and commit and self.outbox.volatile:
            self._committed()
        salvage_due_ns = self._salvage(now_ns)
        while self.outbox.news:
            self._tell(self.outbox.news.pop(0))
        dues = (self._commit_due_ns, None if self._failing else self._confirmed_due_ns, salvage_due_ns, answer_due_ns)
        return min([due for due in dues if due is not None], default=None)

    def close(self) -> None:
        """Commit what remains, and close; what cannot be stored is lost, and said."""
        try:
            self.outbox.close()
        except (sqlite3.Error, OSError, Unavailable) as error:
            self.outbox.failure = reason_of(error)
            self._lost_at_exit = records, readings = self.outbox.in_memory()
            if records:
                log.error(  # noqa: TRY400 one sentence
                    "records are lost, because they were in memory only records=%d readings=%d reason=%r",
                    records,
                    readings,
                    reason_of(error),
                )

    def _answer(self, now_ns: int) -> int | None:
        """Work on the answer to a receiver. Returns when to go on."""
        try:
            return now_ns + _PAUSE_NS if not self._failing and self.outbox.answer(now_ns) else None
        except sqlite3.Error as error:
            self._fail(error, now_ns)
            return None

    def _salvage(self, now_ns: int) -> int | None:
        """Move some records of a damaged database, and look after the files. Returns when to go on."""
        if self._failing:
            return None
        try:
            if now_ns >= self._look_due_ns:
                self._look_due_ns = now_ns + _LOOK_NS
                self.outbox.check_files()
            if not self.outbox.salvage_part().name:
                return now_ns + _PAUSE_NS if self.outbox.check() else None
            if self.outbox.salvage():
                self._committed()
                return now_ns + _PAUSE_NS
        except (sqlite3.Error, OSError, Unavailable) as error:
            self._fail(error, now_ns)
            return None
        self._committed()
        return now_ns + NS_PER_S if self.outbox.salvage_part().name else None

    def _handle(self, message: StoreInput) -> bool:
        """Execute a request. Returns whether to commit now."""
        match message:
            case Store(content):
                self.outbox.add(content)
            case StoreSegment(content):
                self.outbox.add_segment(content)
            case SaveState(name, body):
                self.outbox.save_state(name, body)
            case SetAnchor(anchors):
                self.outbox.set_anchor(*anchors)
            case Commit():
                return True
            case _:
                self._serve_uplink(message)
        return False

    def _serve_uplink(self, message: Serve) -> None:
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
            case Answer(asked):
                self.outbox.ask(asked)

    def _hand_out(self, limit: int, backlog: int | None) -> Sequence[tuple[Lane, Record]]:
        try:
            return self.outbox.hand_out(limit, backlog)
        except (sqlite3.Error, OSError) as error:
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
        if self._wear.look(self.outbox.written(), now_ns):
            self._pace()
        if wrote or self._failing:
            # After a failure also without changes: requests of the uplink during the failure returned no records.
            self._committed()
        self._failing = False

    def _pace(self) -> None:
        """Tell the new interval at which open rows are secured, and log it when it begins or ends to be longer."""
        wear = self._wear
        self._paced(wear.durability_ns)
        if bool(wear.because) != self._is_paced:
            self._is_paced = bool(wear.because)
            log.warning(
                "open rows are secured every %.0f s, so much may be lost with the power reason=%r",
                wear.durability_ns / NS_PER_S,
                wear.because or "max_mib_per_day allows it",
            )

    def _fail(self, error: Exception, now_ns: int) -> None:
        """Count a failure, log the first one, and set the time of the next attempt."""
        self.failures += 1
        self.outbox.failure = reason_of(error)
        if self._failing:
            if self._commit_due_ns is not None and now_ns >= self._commit_due_ns:
                self.outbox.work_in_memory()  # not at the first failure: the next attempt may succeed
                self._committed()
                self._commit_due_ns = now_ns + RETRY_NS
            return
        self._failing = True
        if self.outbox.is_damaged:
            self._commit_due_ns = now_ns  # a new one takes over at once
            return
        self._commit_due_ns = now_ns + RETRY_NS
        log.error(
            "the outbox fails; readings are kept in memory and it is tried again every %d s reason=%r",
            RETRY_NS // NS_PER_S,
            reason_of(error),
        )
