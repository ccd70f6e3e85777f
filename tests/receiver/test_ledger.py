"""Range sets and the account of one epoch, against plain sets."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.receiver import ledger as ledger_module
from edge_agent.receiver.digest import Digest
from edge_agent.receiver.ledger import MOST_PARTS, Ledger, LedgerRefusal
from edge_agent.receiver.ranges import ALL, END, Ranges, row_ranges, rows_dropped, rows_held
from edge_agent.wire.batch import RowRange, RowsOfBatch

SPAN = st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def numbers(ranges: Ranges) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(st.lists(SPAN, max_size=15), st.lists(SPAN, max_size=5), SPAN)
def test_ranges_are_a_set(spans: list[tuple[int, int]], others: list[tuple[int, int]], window: tuple[int, int]) -> None:
    ranges, other = Ranges(spans), Ranges(others)
    plain = {number for first, last in spans for number in range(first, last + 1)}
    assert numbers(ranges) == plain
    assert ranges.size() == len(plain)
    assert all((number in ranges) == (number in plain) for number in range(75))
    pairs = list(ranges)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(pairs)), "none touch"
    gaps = {number for first, last in ranges.gaps(*window) for number in range(first, last + 1)}
    assert gaps == set(range(window[0], window[1] + 1)) - plain
    assert numbers(ranges.union(other)) == plain | numbers(other)
    assert numbers(ranges.common(other)) == plain & numbers(other)
    assert Ranges.from_text(ranges.to_text()) == ranges
    assert all(ranges.touches(number) == bool({number - 1, number, number + 1} & plain) for number in range(75))


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 40))
def test_rows_are_bits(first: int, step: int, count: int) -> None:
    rows = RowsOfBatch(1000, first, step, count)
    mask = rows_held(rows)
    assert [row for row in range(1000) if mask >> row & 1] == list(rows.numbers())
    assert rows_dropped([RowRange(first, rows.last, step)]) == mask
    assert {row for low, high in row_ranges(mask) for row in range(low, high + 1)} == set(rows.numbers())


def test_a_million_rows_take_no_time() -> None:
    mask = rows_held(RowsOfBatch(1 << 20, 1, 2, 1 << 19))
    assert mask.bit_count() == 1 << 19
    assert mask & 1 == 0


def test_an_event_is_new_once() -> None:
    ledger = Ledger()
    assert [ledger.deliver(1), ledger.deliver(1)] == [ALL, 0]


def test_what_is_gone_is_answered_and_what_comes_is_stored() -> None:
    ledger = Ledger()
    ledger.drop(1, 5)
    assert ledger.upto() == 5
    assert ledger.deliver(3, 4) == ALL
    assert ledger.dropped() == Ranges([(1, 2), (4, 5)])
    assert ledger.have == Ranges([(3, 3)])


def test_an_open_end_reaches_the_mark_and_beyond() -> None:
    ledger = Ledger()
    ledger.deliver(1)
    ledger.drop(2, None)
    assert ledger.upto() == 1
    ledger.mark = 50
    assert (ledger.upto(), ledger.missing()) == (50, [])
    assert list(ledger.gone) == [(2, END)]
    ledger.deliver(60)
    assert (ledger.upto(), ledger.ranges_beyond()) == (60, [])


def test_rows_that_were_dropped_before_anything_came() -> None:
    ledger = Ledger()
    ledger.drop(7, 7, [RowRange(0, 8, 2)])
    assert ledger.missing() == [(1, 7)]
    assert ledger.deliver(7, 5, RowsOfBatch(10, 1, 2, 5)) == 0b1010101010
    assert ledger.missing() == [(1, 6)]
    assert ledger.have == Ranges()
    assert ledger.deliver(7, 10) == 0b0101010101
    assert (ledger.have, ledger.parts) == (Ranges([(7, 7)]), {})


def test_rows_of_a_stored_record_are_not_dropped() -> None:
    ledger = Ledger()
    ledger.deliver(1, 3)
    ledger.drop(1, 1, [RowRange(0, 2)])
    assert (ledger.parts, ledger.have) == ({}, Ranges([(1, 1)]))


@pytest.mark.parametrize(("rows", "total"), [(RowsOfBatch(9, 0, 1, 1), 1), (None, 9), (None, 0)])
def test_a_contradiction_is_refused_and_changes_nothing(rows: RowsOfBatch | None, total: int) -> None:
    ledger = Ledger()
    ledger.deliver(1, 2, RowsOfBatch(8, 0, 1, 2))
    with pytest.raises(LedgerRefusal, match="different numbers"):
        ledger.deliver(1, total, rows)
    with pytest.raises(LedgerRefusal, match="does not have"):
        ledger.drop(1, 1, [RowRange(3, 8)])
    assert ledger.parts[1].missing() == [(2, 7)]


def test_memory_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_RANGES", 5)
    ledger = Ledger()
    for seq in range(0, 10, 2):
        ledger.deliver(seq)
        ledger.drop(100 + seq, 100 + seq)
    with pytest.raises(LedgerRefusal):
        ledger.deliver(20)
    with pytest.raises(LedgerRefusal):
        ledger.drop(200, 210)
    ledger.deliver(3)
    ledger.drop(103, 103)
    assert (len(ledger.have), len(ledger.gone)) == (4, 4)


def test_parts_are_bounded_in_number_and_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_PARTS", 3)
    monkeypatch.setattr(ledger_module, "MOST_PART_ROWS", 100)
    ledger = Ledger()
    ledger.deliver(1, 1, RowsOfBatch(60, 0, 1, 1))
    with pytest.raises(LedgerRefusal):
        ledger.deliver(2, 1, RowsOfBatch(60, 0, 1, 1))
    with pytest.raises(LedgerRefusal):
        ledger.drop(2, 2, [RowRange(59, 59)])
    ledger.deliver(3, 1, RowsOfBatch(2, 0, 1, 1))
    ledger.deliver(4, 1, RowsOfBatch(2, 0, 1, 1))
    with pytest.raises(LedgerRefusal):
        ledger.deliver(5, 1, RowsOfBatch(2, 0, 1, 1))
    assert sorted(ledger.parts) == [1, 3, 4]
    assert ledger.highest == 4


def test_a_digest_is_the_sum_of_what_the_page_says() -> None:
    identity = bytes.fromhex("00000000000000010000000002")  # seq 1, row 0, two readings
    assert Digest().plus(1, [(0, 2)]) == Digest(1, 2, zlib.crc32(identity)) == Digest(1, 2, 707_195_915)
    both = Digest().plus(1, [(0, 2), (1, 1), (2, 0)])
    assert both == Digest().plus(1, [(1, 1)]).plus(1, [(0, 2)])
    assert (both.rows, both.readings) == (2, 3)


def test_thinned_batches_never_fill_the_ledger() -> None:
    ledger = Ledger()
    for seq in range(1, 5 * MOST_PARTS, 2):
        assert ledger.deliver(seq, 15, RowsOfBatch(60, 0, 4, 15)).bit_count() == 15
        ledger.drop(seq, seq, [RowRange(rest, 56 + rest, 4) for rest in (1, 2, 3)])
        ledger.deliver(seq + 1)  # the tombstone
    assert not ledger.missing()
    assert ledger.upto() == ledger.highest
    assert len(ledger.parts) <= MOST_PARTS
    assert ledger.deliver(ledger.highest - 1, 60) == int("1110" * 15, 2), "a whole copy that comes late is still used"
