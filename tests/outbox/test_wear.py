from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.outbox.meter import BLOCK_BYTES, JournalMeter
from edge_agent.outbox.schema import PAGE_BYTES, StoreSettings, open_database
from edge_agent.outbox.segments import FIRST_BLOCKS, FileSegments, Segment
from edge_agent.outbox.wear import DAY_NS, LOOK_NS, Budget, Wear, Written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.outbox.outbox import Content, Outbox

S = NS_PER_S


def run(wear: Wear, *, hours: int, batch_bytes: int, block_bytes: int = BLOCK_BYTES) -> float:
    """Work as an agent does, a batch a minute. Returns MiB a day in the second half."""
    now, secured, written = 0, 0, Written()
    half, since = Written(), 0
    while now < hours * 3600 * S:
        now += S
        database = written.database_bytes + (batch_bytes if now % (60 * S) == 0 else 0)
        is_due = now - secured >= wear.durability_ns and now % (60 * S)
        segments = written.segments + bool(is_due)
        written = Written(database, written.segment_bytes + (block_bytes if is_due else 0), segments)
        secured = now if is_due or now % (60 * S) == 0 else secured
        if now % (60 * S) == 0:
            wear.look(written, now)
        if now == hours * 1800 * S:
            half, since = written, now
    return (written.total_bytes - half.total_bytes) * DAY_NS / (now - since) / 1_048_576


def budget(mib: float | None) -> Budget:
    return Budget(None if mib is None else mib * 1_048_576, 10 * S, 60 * S)


def test_without_a_budget_nothing_changes() -> None:
    wear = Wear(budget(None), 0)
    assert run(wear, hours=6, batch_bytes=12_288) > 40
    assert (wear.durability_ns, wear.because) == (10 * S, "")


@pytest.mark.parametrize("mib", [25.0, 30.0, 40.0])
def test_rows_are_secured_as_often_as_the_budget_allows(mib: float) -> None:
    wear = Wear(budget(mib), 0)
    spent = run(wear, hours=12, batch_bytes=12_288)
    assert spent <= 1.1 * mib
    assert 10 * S < wear.durability_ns < 60 * S
    assert wear.because == "max_mib_per_day would be exceeded"


def test_a_budget_that_suffices_leaves_the_interval() -> None:
    wear = Wear(budget(60), 0)
    run(wear, hours=6, batch_bytes=12_288)
    assert (wear.durability_ns, wear.because) == (10 * S, "")


def test_a_budget_that_never_suffices_ends_at_the_period_and_says_so() -> None:
    wear = Wear(budget(1), 0)
    run(wear, hours=6, batch_bytes=12_288)
    assert wear.durability_ns == 60 * S
    assert wear.because == "max_mib_per_day is exceeded even if open rows are never secured"


def test_it_comes_back_when_less_is_written() -> None:
    wear = Wear(budget(60), 0)
    wear.look(Written(20_000_000, 4096, 1), LOOK_NS)
    assert wear.durability_ns == 60 * S
    now, written = LOOK_NS, Written(20_000_000, 4096, 1)
    while wear.because and now < 60 * DAY_NS:
        now += LOOK_NS
        written = Written(written.database_bytes, written.segment_bytes + 4096, written.segments + 1)
        wear.look(written, now)
    assert (wear.durability_ns, wear.because) == (10 * S, "")


def test_segments_are_counted_by_block(tmp_path: Path) -> None:
    segments = FileSegments(tmp_path, random.Random(1), durable=False)
    segments.secure(Segment(1, 10, 0, 9, bytes(700)))
    grown = FIRST_BLOCKS * BLOCK_BYTES
    assert (segments.secured, segments.written_bytes) == (1, grown + BLOCK_BYTES)
    segments.secure(Segment(1, 10, 0, 9, bytes(5000)))
    assert (segments.secured, segments.written_bytes) == (2, grown + 3 * BLOCK_BYTES)
    segments.close()


def test_commits_are_counted_by_block_of_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    db = open_database(path, StoreSettings(1 << 20, journal_pages=64, durable=False))
    meter = JournalMeter(tmp_path / "some.db-wal", PAGE_BYTES)
    meter.note_commit()
    assert meter.written_bytes == 0, "what was there before is not counted"
    state = "INSERT INTO state VALUES (?, 0, ?)"
    db.execute(state, ("a", bytes(100)))
    meter.note_commit()
    one = meter.written_bytes
    assert one in {BLOCK_BYTES * blocks for blocks in (1, 2)}, "a leaf and an index of 1 KiB"
    meter.note_commit()
    assert meter.written_bytes == one
    db.execute(state, ("b", bytes(100_000)))
    meter.note_commit()
    assert 100_000 < meter.written_bytes - one < 130_000
    for number in range(200):  # the journal is emptied into the database several times
        db.execute("UPDATE state SET crc = ? WHERE name = 'a'", (number,))
        meter.note_commit()
    assert 200 * BLOCK_BYTES <= meter.written_bytes - one - 100_000 < 200 * 2 * BLOCK_BYTES + 8 * 130_000
    db.close()


def test_the_outbox_counts_what_it_writes(open_outbox: Callable[..., Outbox], batch: Callable[..., Content]) -> None:
    outbox = open_outbox()
    begin = outbox.written()
    outbox.add_segment(batch(1))
    outbox.commit()
    secured = outbox.written()
    assert secured.segments == begin.segments + 1
    outbox.add(batch(1))
    outbox.commit()
    after = outbox.written()
    assert after.segments == secured.segments
    assert BLOCK_BYTES <= after.database_bytes - secured.database_bytes <= 6 * BLOCK_BYTES
