# ruff: noqa: D102 the names of rules and steps say what they do

from __future__ import annotations

import logging
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.clock import NS_PER_S, Anchor, AnchorSince, ClockQuality, SimulatedClock
from edge_agent.errors import Unavailable
from edge_agent.outbox.intake import MANY_FINISHED
from edge_agent.outbox.outbox import Encode, Outbox
from edge_agent.outbox.schema import StoreSettings
from edge_agent.outbox.worker import (
    CONFIRMED_NS,
    RETRY_NS,
    Commit,
    Confirm,
    HandOut,
    Readmit,
    Rewind,
    SetAnchor,
    SetAside,
    Store,
    StoreInput,
    StoreSegment,
    StoreWorker,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.outbox.outbox import Content
    from edge_agent.reading import Lane, Record


class BrokenDisk:
    """A connection to a disk on which nothing works."""

    def execute(self, _sql: str, *_args: Any) -> sqlite3.Cursor:
        raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        """Works even now."""


class FlakyOutbox(Outbox):
    """An outbox whose disk can be broken, and mended."""

    broken = False

    def break_disk(self) -> None:
        """From now on nothing can be written or read, and the file cannot be opened."""
        self.broken = True
        self._store.close()
        self._store.db = BrokenDisk()  # type: ignore[assignment]

    def reopen(self) -> None:
        if self.broken:
            raise Unavailable("no such disk")
        super().reopen()


class Bench:
    """A worker, its clock, and what it said."""

    def __init__(self, outbox: FlakyOutbox) -> None:
        self.outbox = outbox
        self.clock = SimulatedClock(0)
        self.offers: list[Sequence[tuple[Lane, Record]]] = []
        self.commits = 0
        self.worker = StoreWorker(
            outbox, self.clock, durability_ns=10 * NS_PER_S, offer=self.offers.append, committed=self._committed
        )

    def tell(self, *messages: StoreInput) -> int | None:
        for message in messages:
            self.worker.inbox.put(message)
        return self.worker.step()

    def wait(self, seconds: float) -> int | None:
        self.clock.advance_to(self.clock.now_ns() + round(seconds * NS_PER_S))
        return self.worker.step()

    def offered(self) -> list[int]:
        return [record.seq for _lane, record in self.offers[-1]]

    def _committed(self) -> None:
        self.commits += 1


@pytest.fixture
def bench(open_outbox: Callable[..., Outbox]) -> Iterator[Bench]:
    plain = open_outbox()
    plain.close()
    outbox = FlakyOutbox(
        plain._store.directory,
        StoreSettings(1 << 20),
        boot_id="boot-a",
        anchor=Anchor(1_000, ClockQuality.NONE, 0),
        rng=random.Random(2),
        encode=Encode(lambda dropped: dropped.reason.encode(), b"+".join),
        max_waiting_bytes=20_000,
    )
    yield Bench(outbox)
    outbox._store.close()


def test_commit_commits_at_once(bench: Bench, batch: Callable[..., Content]) -> None:
    assert bench.tell(Store(batch(1)), Commit()) is None
    assert (bench.commits, bench.outbox.tally().pending) == (1, 1)


def test_a_commit_of_nothing_is_none(bench: Bench) -> None:
    assert bench.tell(Commit()) is None
    assert bench.commits == 0


@pytest.mark.parametrize("what", ["record", "segment", "anchor"])
def test_everything_is_durable_after_the_promised_time(bench: Bench, batch: Callable[..., Content], what: str) -> None:
    bench.tell(Store(batch(1)), Commit())
    messages: dict[str, StoreInput] = {
        "record": Store(batch(2)),
        "segment": StoreSegment(batch(2)),
        "anchor": SetAnchor((AnchorSince(0, Anchor(5, ClockQuality.SYNCED, 0)),)),
    }
    start_ns = bench.clock.now_ns()
    assert bench.tell(messages[what]) == start_ns + 10 * NS_PER_S
    assert bench.wait(9.9) == start_ns + 10 * NS_PER_S
    assert bench.commits == 1
    assert bench.wait(0.1) is None
    assert bench.commits == 2
    assert not bench.outbox.dirty


def test_what_is_set_aside_is_counted_and_comes_again_after_it_was_readmitted(
    bench: Bench, batch: Callable[..., Content]
) -> None:
    bench.tell(Store(batch(1)), Store(batch(2)), Commit())
    bench.tell(HandOut(1))
    ((_lane, record),) = bench.offers[-1]
    bench.tell(SetAside(record), Rewind(), HandOut(2))
    assert [each.seq for _lane, each in bench.offers[-1]] == [2]
    assert bench.worker.snapshot().set_aside == 1
    assert bench.outbox.tally().pending == 2
    bench.tell(Readmit(), Rewind(), HandOut(2))
    assert [each.seq for _lane, each in bench.offers[-1]] == [1, 2]
    assert bench.worker.snapshot().set_aside == 0


def test_a_few_confirmations_wait_for_the_next_record(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.tell(Store(batch(1)), Store(batch(2)), Commit())
    bench.tell(HandOut(2))
    for _lane, record in bench.offers[-1]:
        bench.tell(Confirm(record))
    confirmed_due_ns = bench.clock.now_ns() + CONFIRMED_NS
    assert bench.wait(100) == confirmed_due_ns
    bench.tell(StoreSegment(batch(3)), Commit())
    bench.tell(Commit())
    assert bench.outbox.tally().confirmed == 0, "what secures rows is one write, and stays one"
    assert bench.commits == 2
    assert bench.tell(Store(batch(3)), Commit()) is None
    assert bench.outbox.tally().confirmed == 2
    assert bench.commits == 3


def test_confirmations_alone_are_committed_in_time(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.tell(Store(batch(1)), Commit())
    bench.tell(HandOut(1))
    due_ns = bench.clock.now_ns() + CONFIRMED_NS
    assert bench.tell(Confirm(bench.offers[-1][0][1])) == due_ns
    assert bench.wait(60) == due_ns
    bench.tell(StoreSegment(batch(2)), Commit())
    assert bench.wait(59.9) == due_ns
    assert (bench.commits, bench.outbox.tally().confirmed) == (2, 0)
    assert bench.wait(0.1) is None
    assert (bench.commits, bench.outbox.tally().confirmed) == (3, 1)
    assert not bench.outbox.has_confirmed


def test_many_confirmations_do_not_wait_for_a_record(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.tell(*[Store(batch(name, 10)) for name in range(MANY_FINISHED)], Commit())
    bench.tell(HandOut(MANY_FINISHED))
    *most, last = [Confirm(record) for _lane, record in bench.offers[-1]]
    start_ns = bench.clock.now_ns()
    assert bench.tell(*most) == start_ns + CONFIRMED_NS
    assert bench.tell(last) == start_ns + 10 * NS_PER_S
    assert bench.wait(10) is None
    assert bench.outbox.tally().confirmed == MANY_FINISHED


def test_confirmations_that_cannot_be_committed_are_tried_again(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.tell(Store(batch(1)), Commit())
    bench.tell(HandOut(1))
    bench.tell(Confirm(bench.offers[-1][0][1]))
    bench.outbox.break_disk()
    assert bench.wait(120) == bench.clock.now_ns() + RETRY_NS
    assert bench.wait(1) == bench.clock.now_ns() + RETRY_NS - NS_PER_S
    assert bench.worker.failures == 1
    bench.outbox.broken = False
    assert bench.wait(4) is None
    assert bench.outbox.tally().confirmed == 1


def test_closing_commits_confirmations(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.tell(Store(batch(1)), Commit())
    bench.tell(HandOut(1))
    bench.tell(Confirm(bench.offers[-1][0][1]))
    bench.outbox.close()
    assert bench.outbox.tally().confirmed == 1


def test_a_damaged_record_found_on_the_way_out_is_buried_in_time(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.tell(Store(batch(1)), Commit())
    bench.outbox._store.writable().execute("UPDATE record SET body = zeroblob(3)")
    assert bench.tell(HandOut(1)) is not None
    assert bench.offered() == []
    bench.wait(10)
    assert bench.outbox.tally().tombstoned == 1


def test_a_failing_disk_loses_nothing_and_is_told_once(
    bench: Bench, batch: Callable[..., Content], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bench.tell(Store(batch(1)), Commit())
    bench.outbox.break_disk()
    due_ns = bench.tell(Store(batch(2)), Commit())
    assert due_ns == bench.clock.now_ns() + RETRY_NS
    for name in range(3, 9):
        assert bench.tell(Store(batch(name)), Commit(), HandOut(4), Rewind()) is not None
        bench.tell(SetAnchor((AnchorSince(0, Anchor(name, ClockQuality.SYNCED, 0)),)))
        bench.wait(5)
    assert bench.worker.failures >= 6
    assert len(caplog.records) == 1
    bench.outbox.broken = False
    assert bench.wait(5) is None
    assert [record.message for record in caplog.records[1:]] == ["the outbox works again"]
    bench.tell(HandOut(100))
    assert sorted(bench.offered()) == list(range(1, 9))
    tally = bench.outbox.tally()
    assert (tally.committed, tally.pending, tally.tombstoned) == (8, 8, 0)


def test_retries_are_five_seconds_apart_whatever_arrives(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.outbox.break_disk()
    due_ns = bench.tell(Store(batch(1)), Commit())
    bench.wait(1)
    failures = bench.worker.failures
    assert bench.tell(Store(batch(2)), Commit()) == due_ns
    assert bench.worker.failures == failures
    assert bench.wait(4) == bench.clock.now_ns() + RETRY_NS
    assert bench.worker.failures == failures + 1


def test_a_failed_hand_out_offers_nothing_and_asks_for_help(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.tell(Store(batch(1)), Commit())
    bench.outbox.break_disk()
    assert bench.tell(HandOut(1)) == bench.clock.now_ns() + RETRY_NS
    assert bench.offered() == []
    bench.outbox.broken = False
    before = bench.commits
    assert bench.wait(5) is None
    assert bench.commits == before + 1, "the uplink hears that asking again is worth it"
    bench.tell(HandOut(1))
    assert bench.offered() == [1]


def test_a_disk_that_never_works_again_does_not_eat_the_memory(bench: Bench, batch: Callable[..., Content]) -> None:
    bench.outbox.break_disk()
    for name in range(1, 200):
        bench.tell(Store(batch(name, 500)), Commit())
        bench.wait(10)
        assert bench.outbox._intake.size_bytes <= 20_000
    assert len(bench.outbox._intake.losses) == 1
    bench.outbox.broken = False
    bench.wait(5)
    tally = bench.outbox.tally()
    assert tally.committed == 199
    assert tally.tombstoned > 150
    assert tally.pending == bench.outbox.count_pending() == 199 - tally.tombstoned
