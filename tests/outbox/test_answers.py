"""Receivers ask for what does not wait here: tombstones say so, and nothing is said of what may still come."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SimulatedClock
from edge_agent.outbox import answers
from edge_agent.outbox.answers import ANSWERED_NS, GONE, MOST_ANSWERS, MOST_REQUESTS, UNKNOWN, Asked, _Pieces
from edge_agent.outbox.intake import PIECE_BYTES
from edge_agent.outbox.worker import Answer, Commit, Store, StoreWorker
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from edge_agent.outbox.outbox import Content, Outbox
    from edge_agent.reading import Record

END = 1 << 53


def confirm(outbox: Outbox, *seqs: int) -> None:
    """Let records arrive, and let the outbox delete them."""
    outbox.rewind()
    for _lane, record in outbox.hand_out(1000):
        if record.seq in seqs:
            outbox.confirm(record)
    outbox.commit()


def ask(outbox: Outbox, *asked: tuple[int, list[tuple[int, int]]], now_ns: int = 0) -> list[str]:
    """Ask for ranges of epochs. Returns the tombstones that follow."""
    before = {record.rowid for record in tombstones(outbox)}
    outbox.ask(tuple(Asked(epoch, tuple(ranges)) for epoch, ranges in asked))
    while outbox.answer(now_ns):
        pass
    outbox.commit()
    return [record.body.decode() for record in tombstones(outbox) if record.rowid not in before]


def tombstones(outbox: Outbox) -> list[Record]:
    outbox.rewind()
    return [record for _lane, record in outbox.hand_out(10_000) if record.kind is RecordKind.TOMBSTONE]


def filled(open_outbox: Callable[..., Outbox], batch: Callable[..., Content], records: int = 9) -> Outbox:
    outbox = open_outbox()
    for number in range(records):
        outbox.add(batch(number))
    outbox.commit()
    return outbox


def test_what_does_not_wait_is_told_and_what_waits_is_not(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = filled(open_outbox, batch)
    confirm(outbox, 1, 2, 5, 9)
    counted = outbox.tally()
    epoch = outbox.epoch
    assert ask(outbox, (epoch, [(1, 5), (5, 9)])) == [
        f"{epoch} 1 2 2 0 {GONE}",
        f"{epoch} 5 5 1 0 {GONE}",
        f"{epoch} 9 9 1 0 {GONE}",
    ]
    assert outbox.tally() == counted, "an answer is no loss of this outbox"
    assert [each.seq for each in tombstones(outbox)] == [10, 11, 12]


def test_of_the_current_epoch_nothing_is_told_that_may_still_come(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.add_segment(batch(0))  # the open batch has seq 1
    outbox.add(batch(1, kind=RecordKind.EVENT))
    outbox.commit()
    confirm(outbox, 2)
    outbox.add(batch(2, kind=RecordKind.EVENT))  # seq 3 is not committed
    epoch = outbox.epoch
    assert ask(outbox, (epoch, [(0, END)])) == [f"{epoch} 2 2 1 0 {GONE}"]


def test_of_a_transaction_that_failed_nothing_is_told(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = filled(open_outbox, batch, 3)
    confirm(outbox, 1, 2, 3)
    outbox._tombstones._spare.append(2)  # a tombstone drew it that was not stored, and the next one will have it
    outbox.ask((Asked(outbox.epoch, ((1, 3),)),))
    while outbox.answer(0):
        pass
    assert [(each.dropped.first_seq, each.dropped.last_seq) for each in outbox._intake.answers] == [(1, 1), (3, 3)]


def test_an_earlier_epoch_is_known_up_to_its_mark_and_others_are_not(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    first = filled(open_outbox, batch, 4)
    confirm(first, 1, 2, 4)
    first.close()
    second = open_outbox(rng=random.Random(2))
    assert ask(second, (first.epoch, [(1, 6)]), (77, [(1, END - 1)])) == [
        f"{first.epoch} 1 2 2 0 {GONE}",
        f"{first.epoch} 4 4 1 0 {GONE}",
        f"{first.epoch} 5 6 0 0 {UNKNOWN}",
        f"77 1 {END - 1} 0 0 {UNKNOWN}",
    ]


def test_an_answer_is_told_once_though_many_records_are_stored_with_it(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.ask((Asked(7, ((1, 2),)),))
    for number in range(4):
        outbox.add(batch(number, size=PIECE_BYTES // 2))
    assert not outbox.answer(0)
    outbox.commit()
    assert [each.body.decode() for each in tombstones(outbox)] == [f"7 1 2 0 0 {UNKNOWN}"]
    assert not outbox.dirty


def test_the_same_is_answered_once_a_minute_however_it_is_asked_for(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = filled(open_outbox, batch, 4)
    confirm(outbox, 1, 2, 3, 4)
    epoch = outbox.epoch
    assert ask(outbox, (epoch, [(2, 3)])) == [f"{epoch} 2 3 2 0 {GONE}"]
    assert ask(outbox, (epoch, [(1, 4)]), now_ns=ANSWERED_NS - 1) == [
        f"{epoch} 1 1 1 0 {GONE}",
        f"{epoch} 4 4 1 0 {GONE}",
    ]
    assert ask(outbox, (epoch, [(1, 4)]), now_ns=ANSWERED_NS) == [f"{epoch} 2 3 2 0 {GONE}"]


def test_hostile_requests_cause_few_tombstones_and_take_little_memory(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = filled(open_outbox, batch, 40)
    odd = [(number, number) for number in range(1, 8000, 2)]
    told = ask(outbox, *((epoch, odd) for epoch in range(100, 120)))
    assert told == [f"100 {number} {number} 0 0 {UNKNOWN}" for number in range(1, 2 * MOST_ANSWERS, 2)]
    assert ask(outbox, (200, [(1, 1)]), now_ns=ANSWERED_NS - 1) == [], "another request has the same minute"
    assert ask(outbox, (200, [(1, 1)]), now_ns=ANSWERED_NS) == [f"200 1 1 0 0 {UNKNOWN}"]
    for number in range(50):
        outbox.ask((Asked(300 + number, ((1, 1),)),))
    assert len(outbox._answers._waiting) == MOST_REQUESTS


def test_where_many_tombstones_wait_none_is_added(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.outbox.outbox.MOST_WAITING", 2)
    outbox = filled(open_outbox, batch, 1)
    assert len(ask(outbox, (7, [(1, 1), (3, 3)]))) == 2
    assert ask(outbox, (8, [(1, 1)])) == []


def test_a_damaged_store_ends_the_answer(open_outbox: Callable[..., Outbox], batch: Callable[..., Content]) -> None:
    outbox = filled(open_outbox, batch, 3)
    outbox.ask((Asked(7, ((1, 1),)),))
    outbox.reopen()
    assert not outbox.answer(0)
    assert outbox._intake.answers == []


def test_the_worker_reads_a_slice_per_step_and_commits_the_answer(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ROWS_AT_ONCE", 4)
    clock, outbox = SimulatedClock(0), open_outbox()
    worker = StoreWorker(outbox, clock, durability_ns=10, offer=lambda _: None, committed=lambda: None)
    for number in range(10):
        worker.inbox.put(Store(batch(number)))
    worker.inbox.put(Commit())
    worker.step()
    while outbox.check():
        pass
    worker.inbox.put(Answer((Asked(outbox.epoch, ((3, 10),)), Asked(5, ((1, 2),)))))
    steps = 0
    while not outbox._intake.answers:
        due_ns = worker.step()
        steps += 1
        assert due_ns is not None
        clock.advance_to(due_ns)
    assert steps == 3
    worker.step()
    assert [record.body.decode() for record in tombstones(outbox)] == [f"5 1 2 0 0 {UNKNOWN}"]


RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair))))


@given(RANGES, RANGES)
def test_pieces_are_what_was_asked_for_without_what_was_found(
    asked: list[tuple[int, int]], found: list[tuple[int, int]]
) -> None:
    pieces = _Pieces([Asked(1, tuple(asked)), Asked(2, ((1, 40),))])
    left = {seq for first, last in asked for seq in range(max(1, first), last + 1)}
    for first, last in found:
        pieces.remove(1, first, last)
        left -= set(range(first, last + 1))
    ranges = pieces.by_epoch[1]
    assert {seq for first, last in ranges for seq in range(first, last + 1)} == left
    assert ranges == sorted(ranges)
    assert len(pieces) == len(ranges) + 1


def test_pieces_are_bounded_and_the_highest_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_PIECES", 5)
    pieces = _Pieces([Asked(1, ((1, 100),))])
    for seq in range(10, 90, 10):
        pieces.remove(1, seq, seq)
        assert len(pieces) <= 5
    assert pieces.by_epoch[1] == [(1, 9), (11, 19), (21, 29), (31, 39), (41, 49)]
