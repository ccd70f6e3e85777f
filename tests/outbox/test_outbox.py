from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import Anchor, AnchorSince, ClockQuality
from edge_agent.outbox.boots import number_of
from edge_agent.outbox.outbox import Content, Dropped, Outbox, Tally
from edge_agent.outbox.recovery import DATABASE
from edge_agent.reading import Lane, Record, RecordKind
from tests.outbox.failing import check_sums, fail_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


def told_of(record: Record) -> tuple[int, int, int, str]:
    _epoch, first, last, records, _readings, reason = record.body.decode().split(" ", 5)
    return int(first), int(last), int(records), reason


def covered(records: Iterable[Record]) -> list[int]:
    """Seqs that tombstones tell of; none twice, and none of a record that is there."""
    tombstones = [told_of(record) for record in records if record.kind is RecordKind.TOMBSTONE]
    seqs = [seq for first, last, _count, _reason in tombstones for seq in range(first, last + 1)]
    assert sum(count for _first, _last, count, _reason in tombstones) == len(seqs) == len(set(seqs))
    assert not set(seqs) & {record.seq for record in records}, "a tombstone has a seq of its own"
    return sorted(seqs)


def test_what_waits_is_not_handed_out(open_outbox: Callable[..., Outbox], batch: Callable[..., Content]) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    assert outbox.hand_out(5) == []
    outbox.commit()
    assert [record.seq for _lane, record in outbox.hand_out(5)] == [1]
    assert outbox.hand_out(5) == []


def test_a_second_late_confirmation_counts_nothing(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.commit()
    ((_lane, record),) = outbox.hand_out(1)
    for _ in range(2):
        outbox.confirm(record)
        outbox.commit()
    outbox.refuse(record, "late")
    outbox.commit()
    assert check_sums(outbox) == Tally(committed=1, confirmed=1, tombstoned=0, pending=0, carried_over=0)


def test_a_full_outbox_drops_its_oldest_batches_and_keeps_events(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    outbox = open_outbox(max_bytes=256 * 1024)
    outbox.add(batch(1, kind=RecordKind.EVENT))
    for name in range(2, 1000):
        outbox.add(batch(name, 2100))
        if name % 7 == 0:
            outbox.commit()
    outbox.commit()
    tally = check_sums(outbox)
    assert tally.tombstoned > 800
    assert (tmp_path / "state" / DATABASE).stat().st_size < 330 * 1024, "the file stays near its limit"
    records = [record for _lane, record in outbox.hand_out(10_000)]
    assert next(record.seq for record in records if record.kind is RecordKind.EVENT) == 1
    assert {told_of(record)[3] for record in records if record.kind is RecordKind.TOMBSTONE} == {"outbox full"}
    dropped, seqs = covered(records), [record.seq for record in records]
    assert len(dropped) == tally.tombstoned
    assert sorted(dropped + seqs) == list(range(1, 1000 + len(seqs) - tally.pending)), "every number is accounted for"
    batches = [record.seq for record in records if record.kind is RecordKind.BATCH]
    assert max(dropped) < min(batches)


def test_what_is_on_its_way_is_not_dropped(open_outbox: Callable[..., Outbox], batch: Callable[..., Content]) -> None:
    outbox = open_outbox(max_bytes=64 * 1024)
    for name in range(1, 6):
        outbox.add(batch(name, 2000))
    outbox.commit()
    on_its_way = [record for _lane, record in outbox.hand_out(3)]
    for name in range(6, 100):
        outbox.add(batch(name, 2000))
        outbox.commit()
    outbox.rewind()
    left = [record.seq for _lane, record in outbox.hand_out(1000)]
    assert left[:3] == [record.seq for record in on_its_way]
    assert 4 not in left
    check_sums(outbox)


def test_only_events_go_when_there_are_no_batches(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox(max_bytes=64 * 1024)
    for name in range(1, 300):
        outbox.add(batch(name, 500, RecordKind.EVENT))
        outbox.commit()
    assert check_sums(outbox).tombstoned > 0
    records = [record for _lane, record in outbox.hand_out(1000)]
    assert len(covered(records)) == outbox.tally().tombstoned
    assert covered(records)[-1] < min(record.seq for record in records if record.kind is RecordKind.EVENT)


def test_tombstones_of_two_boots_are_not_merged(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    """Their stamps count from different moments."""
    first = open_outbox()
    first.add_segment(batch(1))
    first.close()
    second = open_outbox(boot_id="boot-b")
    second.add(batch(2))
    second.commit()
    for _lane, record in second.hand_out(5):
        second.refuse(record, "no")
    second.commit()
    told = [(record.boot, *told_of(record)[:3]) for _lane, record in second.hand_out(5)]
    assert told == [(number_of("boot-a"), 1, 1, 1), (number_of("boot-b"), 1, 1, 1)]


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_that_may_have_held_is_counted_and_stored_once(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], after: bool
) -> None:
    """The journal may be complete when the flush of it fails; then it holds when the file is opened again."""
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.commit()
    ((_lane, record),) = outbox.hand_out(1)
    outbox.confirm(record)
    outbox.add(batch(2))
    outbox.add_segment(batch(3))
    fail_once(outbox, "COMMIT", after=after)
    with pytest.raises(sqlite3.OperationalError):
        outbox.commit()
    outbox.add(batch(4))
    outbox.commit()
    assert check_sums(outbox) == Tally(committed=3, confirmed=1, tombstoned=0, pending=2, carried_over=0)
    assert outbox._store.writable().execute("SELECT count(*) FROM segment").fetchone() == (0,)
    assert [record.seq for _lane, record in outbox.hand_out(9)] == [2, 3]


def test_more_than_memory_may_hold_becomes_a_tombstone(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox(max_waiting_bytes=20_000)
    outbox.add(batch(1, kind=RecordKind.EVENT))
    for name in range(2, 101):
        outbox.add(batch(name, 800))
        assert outbox._intake.size_bytes <= 20_000
    outbox.commit()
    tally = check_sums(outbox)
    assert (tally.committed, tally.pending) == (100, 100 - tally.tombstoned)
    offered = [record for _lane, record in outbox.hand_out(200)]
    assert offered[0].kind is RecordKind.EVENT
    assert told_of(offered[-1]) == (2, tally.tombstoned + 1, tally.tombstoned, "store failing")


def test_a_damaged_body_becomes_a_tombstone(open_outbox: Callable[..., Outbox], batch: Callable[..., Content]) -> None:
    outbox = open_outbox()
    for name in range(1, 5):
        outbox.add(batch(name))
    outbox.commit()
    outbox._store.writable().execute("UPDATE record SET body = zeroblob(10) WHERE seq = 2")
    assert [record.seq for _lane, record in outbox.hand_out(3)] == [1, 3, 4]
    assert outbox.dirty
    outbox.commit()
    ((_lane, record),) = outbox.hand_out(3)
    assert told_of(record) == (2, 2, 1, "damaged in the store")
    assert check_sums(outbox).tombstoned == 1


def test_a_damaged_tombstone_is_told_again(open_outbox: Callable[..., Outbox], batch: Callable[..., Content]) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.commit()
    outbox.refuse(outbox.hand_out(1)[0][1], "no")
    outbox.commit()
    outbox._store.writable().execute("UPDATE record SET body = zeroblob(10)")
    assert outbox.hand_out(1) == []
    outbox.commit()
    assert told_of(outbox.hand_out(1)[0][1]) == (2, 2, 1, "damaged in the store")
    assert check_sums(outbox).tombstoned == 1


@pytest.mark.parametrize("damage", ["kind = 77", "boot = 99"])
def test_a_damaged_row_does_not_stop_the_others(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], damage: str
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.add(batch(2))
    outbox.commit()
    outbox._store.writable().execute(f"UPDATE record SET {damage} WHERE seq = 1")  # noqa: S608 a test's own words
    assert outbox.hand_out(5)[-1][1].seq == 2
    outbox.commit()


def test_a_worse_anchor_never_replaces_a_better_one(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox(anchor=Anchor(1, ClockQuality.NONE, 0))
    outbox.add(batch(1))
    outbox.set_anchor(AnchorSince(0, Anchor(2, ClockQuality.SYNCED, 0)))
    outbox.set_anchor(AnchorSince(0, Anchor(3, ClockQuality.HOLDOVER, 0)))
    outbox.commit()
    assert outbox.hand_out(1)[0][1].offset_ns == 2
    outbox.close()
    outbox = open_outbox(anchor=Anchor(4, ClockQuality.NONE, 0))
    assert outbox.hand_out(1)[0][1].offset_ns == 2, "the same boot, after a restart"
    outbox.set_anchor(AnchorSince(0, Anchor(5, ClockQuality.SYNCED, 0)))
    outbox.rewind()
    assert outbox.hand_out(1)[0][1].offset_ns == 5


def test_records_keep_the_anchor_of_their_boot(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    for name, boot in enumerate(["a", "b", "a", "c", "a"], start=1):
        outbox = open_outbox(boot_id=boot, anchor=Anchor({"a": 10, "b": 20, "c": 30}[boot], ClockQuality.SYNCED, 0))
        outbox.add(batch(name))
        outbox.close()
    outbox = open_outbox(boot_id="b", anchor=Anchor(20, ClockQuality.NONE, 0))
    offered = [(record.boot, record.offset_ns) for _lane, record in outbox.hand_out(9)]
    expected = [("a", 10), ("b", 20), ("a", 10), ("c", 30), ("a", 10)]
    assert offered == [(number_of(boot), offset_ns) for boot, offset_ns in expected]


def test_dropped_is_still_found_where_others_look_for_it() -> None:
    assert Dropped(5, 1, 2, 2, 20, 0, 9, "why").records == 2


def test_what_was_settled_late_is_not_handed_out_again(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    for name in range(1, 4):
        outbox.add(batch(name))
    outbox.commit()
    one, two, _three = [record for _lane, record in outbox.hand_out(3)]
    outbox.rewind()
    outbox.confirm(one)
    outbox.refuse(two, "no")
    assert [(lane, record.seq) for lane, record in outbox.hand_out(3)] == [(Lane.BACKLOG, 3)]


@pytest.mark.parametrize("skip", [0, 1])
def test_a_read_that_fails_half_way_hands_out_nothing_and_skips_nothing(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], skip: int
) -> None:
    outbox = open_outbox()
    for name in (1, 2):
        outbox.add(batch(name))
    outbox.commit()
    outbox.rewind()
    outbox.add(batch(3))
    outbox.commit()
    fail_once(outbox, "SELECT * FROM record", skip=skip)
    with pytest.raises(sqlite3.OperationalError):
        outbox.hand_out(9)
    assert [(lane, record.seq) for lane, record in outbox.hand_out(9)] == [
        (Lane.LIVE, 3),
        (Lane.BACKLOG, 1),
        (Lane.BACKLOG, 2),
    ]


def test_a_rewind_lets_what_was_on_its_way_be_dropped(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox(max_bytes=64 * 1024)
    for name in range(1, 6):
        outbox.add(batch(name, 2000))
    outbox.commit()
    late = outbox.hand_out(1)[0][1]
    outbox.rewind()
    for name in range(6, 100):
        outbox.add(batch(name, 2000))
        outbox.commit()
    assert outbox.hand_out(1)[0][1].seq > 1
    before = outbox.tally()
    outbox.confirm(late)
    outbox.commit()
    assert check_sums(outbox) == before, "it was counted as dropped already"


def refuse_next(outbox: Outbox) -> None:
    """Make the next commit need a tombstone."""
    outbox.refuse(outbox.hand_out(1)[0][1], "no")


def test_a_tombstone_of_an_earlier_run_has_the_epoch_of_this_one(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    before = open_outbox()
    before.add(batch(1))
    before.close()
    outbox = open_outbox(boot_id="boot-b")
    outbox.add(batch(2))
    refuse_next(outbox)
    outbox.commit()
    (two, tombstone) = [record for _lane, record in outbox.hand_out(9)]
    assert (two.epoch, two.seq) == (outbox.epoch, 1)
    assert (tombstone.epoch, tombstone.seq) == (outbox.epoch, 2)
    assert tombstone.body == b"%d 1 1 1 10 no" % before.epoch
    assert tombstone.boot == before.boot, "its stamps are of that boot"


def test_a_tombstone_grows_under_its_number_until_it_is_offered(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    for name in range(1, 6):
        outbox.add(batch(name))
    outbox.commit()
    one, two, three, four, five = [record for _lane, record in outbox.hand_out(5)]
    for record in (one, two):
        outbox.refuse(record, "no")
        outbox.commit()
    outbox.rewind()
    (*_rest, tombstone) = [record for _lane, record in outbox.hand_out(9)]
    assert (tombstone.seq, told_of(tombstone)) == (6, (1, 2, 2, "no"))
    outbox.rewind()
    for record in (three, four):
        outbox.refuse(record, "no")
        outbox.commit()
    _five, same, another = sorted([record for _lane, record in outbox.hand_out(9)], key=lambda record: record.seq)
    assert same.body == tombstone.body, "once offered, it never changes"
    assert (another.seq, told_of(another)) == (7, (3, 4, 2, "no"))
    outbox.refuse(five, "no")
    outbox.commit()
    assert [(record.seq, told_of(record)[:2]) for _lane, record in outbox.hand_out(9)] == [(8, (5, 5))]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["INSERT", "COMMIT"])
def test_a_number_that_a_failed_commit_drew_is_used_by_the_next(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], verb: str, after: bool
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.commit()
    refuse_next(outbox)
    fail_once(outbox, verb, after=after)
    with pytest.raises(sqlite3.OperationalError):
        outbox.commit()
    assert outbox.add(batch(3)) == 3
    outbox.commit()
    assert sorted((record.seq, record.kind) for _lane, record in outbox.hand_out(9)) == [
        (2, RecordKind.TOMBSTONE),
        (3, RecordKind.BATCH),
    ]
    assert check_sums(outbox).tombstoned == 1


def test_a_number_that_nothing_needs_any_more_is_told_as_unused(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.commit()
    record = outbox.hand_out(1)[0][1]
    outbox.refuse(record, "no")
    fail_once(outbox, "COMMIT")
    with pytest.raises(sqlite3.OperationalError):
        outbox.commit()
    outbox.confirm(record)  # its acknowledgement came late
    outbox.add(batch(3))
    outbox.commit()
    assert check_sums(outbox) == Tally(committed=2, confirmed=1, tombstoned=0, pending=1, carried_over=0)
    offered = {record.seq: record for _lane, record in outbox.hand_out(9)}
    assert told_of(offered[2]) == (0, 0, 0, "this number was not used")
    assert offered[3].kind is RecordKind.BATCH


@pytest.mark.parametrize("doubt", [False, True])
def test_a_number_that_was_used_is_not_used_again_after_a_later_failure(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], doubt: bool
) -> None:
    outbox = open_outbox()
    for name in (1, 2):
        outbox.add(batch(name))
    outbox.commit()
    one, two = [record for _lane, record in outbox.hand_out(2)]
    outbox.refuse(one, "no")
    if doubt:
        fail_once(outbox, "COMMIT", after=True)
        with pytest.raises(sqlite3.OperationalError):
            outbox.commit()
    outbox.commit()
    assert [record.seq for _lane, record in outbox.hand_out(9)] == [3]
    outbox.refuse(two, "no")
    fail_once(outbox, "COMMIT")
    with pytest.raises(sqlite3.OperationalError):
        outbox.commit()
    outbox.commit()
    assert [record.seq for _lane, record in outbox.hand_out(9)] == [4]
    assert outbox._store.writable().execute("SELECT seq FROM record ORDER BY seq").fetchall() == [(3,), (4,)]


def test_what_is_set_aside_is_skipped_until_it_is_readmitted_and_nothing_is_lost(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.add(replace(batch(1), urgent=True))
    for name in range(2, 6):
        outbox.add(batch(name))
    outbox.commit()
    for _lane, record in outbox.hand_out(3):
        outbox.set_aside(record)
    outbox.rewind()
    assert [record.seq for _lane, record in outbox.hand_out(9)] == [4, 5]
    outbox.add(batch(6))
    outbox.commit()
    assert [record.seq for _lane, record in outbox.hand_out(9)] == [6]
    assert (outbox.set_aside_count, outbox.tally().pending) == (3, 6)
    outbox.readmit()
    outbox.rewind()
    assert [record.seq for _lane, record in outbox.hand_out(9)] == [1, 2, 3, 4, 5, 6]
    assert outbox.set_aside_count == 0


def test_what_is_set_aside_is_dropped_like_all_others_and_then_not_counted_any_more(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox(max_bytes=64 * 1024)
    outbox.add(batch(1, 2100))
    outbox.commit()
    ((_lane, record),) = outbox.hand_out(1)
    outbox.set_aside(record)
    for name in range(2, 100):
        outbox.add(batch(name, 2100))
    outbox.commit()
    outbox.hand_out(1)
    assert outbox.set_aside_count == 0
    check_sums(outbox)


def test_thousands_of_records_that_are_set_aside_are_not_read_at_each_link(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox(max_bytes=16 << 20)
    for name in range(3000):
        outbox.add(batch(name))
    outbox.commit()
    outbox.rewind()
    for _lane, record in outbox.hand_out(2999):
        outbox.set_aside(record)
    outbox.rewind()
    outbox.hand_out(1)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    outbox._store.writable().set_progress_handler(count, 1)
    outbox.rewind()
    assert [record.seq for _lane, record in outbox.hand_out(16)] == [3000]
    assert steps < 100


def test_urgent_records_that_are_set_aside_do_not_take_the_place_of_others(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    for name in range(1, 4):
        outbox.add(replace(batch(name), urgent=True))
    outbox.commit()
    for _lane, record in outbox.hand_out(2):
        outbox.set_aside(record)
    outbox.rewind()
    assert [record.seq for _lane, record in outbox.hand_out(1)] == [3]
