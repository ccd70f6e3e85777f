"""Parts and thinned copies of a batch hold each row once, and say which."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.reading import NOT_SENT, RecordKind
from edge_agent.wire.batch import Batch, Column, Group, RowRange, RowsOfBatch, Tombstone
from edge_agent.wire.codec import (
    Reference,
    by_announcement,
    decode_batch,
    decode_message,
    encode_batch,
    encode_message,
    encode_tombstone,
    keep_rows,
    split_batch,
    teaching,
    thin_batch,
)
from tests.wire.samples import ANNOUNCEMENT, ENVELOPE, FULL, PLAIN, TIME_FIX, encoded
from tests.wire.strategies import batches

BODY = encode_batch(PLAIN)
Cells = dict[int, tuple[Any, ...]]


def cells_of(batch: Batch, rows: RowsOfBatch | None = None) -> Cells:
    """What stands in each row, by its number in the original batch."""
    found = [
        (
            group.sensor,
            stamp,
            *(
                (column.quantity, column.values[row], column.statuses[row], column.raws and column.raws[row])
                for column in group.columns
            ),
            *(column.sigmas and column.sigmas[row] for column in group.columns),
        )
        for group in batch.groups
        for row, stamp in enumerate(group.times_ns)
    ]
    return dict(zip(rows.numbers() if rows else range(len(found)), found, strict=True))


@given(batches(), st.integers(60, 400), st.integers(1, 5))
def test_parts_hold_every_row_once_and_are_as_small_as_asked(batch: Batch, most: int, step: int) -> None:
    body = encode_batch(batch)
    count = sum(len(group.times_ns) for group in batch.groups)
    if not count:
        with pytest.raises(WireError, match="without rows"):
            split_batch(body, most)
        return
    whole = cells_of(decode_batch(body))
    thin, thinned = thin_batch(body, step)
    kept = cells_of(decode_batch(thinned), thin)
    assert kept == {row: whole[row] for row in range(0, count, step)}
    for rows, start in ((None, body), (thin, thinned)):
        try:
            parts = split_batch(start, most, rows)
        except WireError as error:
            if "one row" not in str(error):
                raise
            continue
        assert all(len(part) <= most for _, part in parts)
        again: Cells = {}
        for of_part, part in parts:
            assert of_part.total == count
            cells = cells_of(decode_batch(part), of_part)
            assert not cells.keys() & again.keys()
            again |= cells
        assert again == (whole if rows is None else kept)


def test_a_part_travels_with_the_rows_it_holds_and_stands_alone() -> None:
    for rows, part in split_batch(BODY, 50):
        message = encode_message(RecordKind.BATCH, ENVELOPE, part, rows=rows)
        read = decode_message(message)
        assert read.rows == rows
        assert by_announcement(message, ANNOUNCEMENT) is None
        taught = decode_message(teaching(message, ANNOUNCEMENT))
        assert taught == replace(read, announcement=ANNOUNCEMENT)


def test_only_the_body_of_a_batch_that_stands_alone_is_divided() -> None:
    for body in (BODY + b"\x00", encode_batch(PLAIN, reference=Reference(41, PLAIN)), encode_batch(Batch(())), b"\x91"):
        with pytest.raises(WireError):
            split_batch(body, 1 << 20)
    with pytest.raises(WireError, match="rows, not 3"):
        thin_batch(BODY, 2, RowsOfBatch(9, 0, 1, 3))


def test_features_of_the_whole_batch_go_with_the_first_part() -> None:
    parts = [decode_batch(part) for _, part in split_batch(BODY, 50)]
    told = [column.features for part in parts for group in part.groups for column in group.columns if column.features]
    assert told == [column.features for group in PLAIN.groups for column in group.columns if column.features]


@given(batches(), st.sampled_from([0, 1, 2, 3, 8]), st.sampled_from([0, 1, 2, 16]), st.integers(1, 4))
def test_each_sensor_keeps_its_rows_and_the_others_are_named(batch: Batch, first: int, other: int, again: int) -> None:
    count = sum(len(group.times_ns) for group in batch.groups)
    if not count:
        return
    whole, name = cells_of(batch), next(group.sensor for group in batch.groups if group.times_ns)
    steps = {name: first}
    selection = keep_rows(encode_batch(batch), lambda sensor: steps.get(sensor, other))
    gone: set[int] = set()
    for factor in (1, 4 * again):
        if selection is None:
            return
        gone |= {row for dropped in selection.dropped for row in dropped.numbers()}
        if selection.rows is None:
            assert gone == set(whole)
            return
        sent = encode_message(RecordKind.BATCH, ENVELOPE, selection.body, rows=selection.rows)
        message = decode_message(sent)
        assert isinstance(message.content, Batch)
        assert message.rows == selection.rows
        found = cells_of(message.content, message.rows)
        assert found.items() <= whole.items()
        assert found.keys() | gone == set(whole)
        assert not found.keys() & gone
        place = 0
        for group in batch.groups:
            own = range(place, place + len(group.times_ns))
            place = own.stop
            step = steps.get(group.sensor, other) * factor
            assert not own or (own[0] in found) == (step > 0), "the first row of a group stays, if any does"
            kept = [row for row in own if row in found]
            assert kept == list(own[::step] if step else []) or factor > 1
        selection = keep_rows(selection.body, lambda sensor: steps.get(sensor, other) * 4 * again, selection.rows)


def test_the_rows_of_a_tombstone_are_few() -> None:
    times = tuple(range(60))
    column = Column("temperature_c", [20.0] * 60, None, [0] * 60, None)
    body = encode_batch(Batch(tuple(Group(name, times, (column,)) for name in "abcd")))
    for step, most in ((4, 12), (16, 16), (64, 4), (0, 4)):
        selection = keep_rows(body, lambda _sensor, step=step: step)  # type: ignore[misc]
        assert selection is not None
        assert len(selection.dropped) <= most
        assert selection.dropped_readings + selection.readings == 240


def test_a_row_that_is_too_large_alone_is_said() -> None:
    with pytest.raises(WireError, match="one row of the batch takes"):
        split_batch(encode_batch(FULL), 10)


def forged(rows: object, kind: RecordKind = RecordKind.BATCH, body: bytes = BODY) -> bytes:
    """A message with anything as its rows."""
    whole = msgpack.unpackb(encode_message(kind, ENVELOPE, body)[1:-4])
    octets: bytes = b"\x02" + msgpack.packb([*whole, None, rows])
    return octets + zlib.crc32(octets).to_bytes(4)


COUNT = 40


@pytest.mark.parametrize(
    "rows",
    [
        7,
        [],
        [COUNT, 0, 1],
        [0, 0, 1, COUNT],
        [(1 << 20) + 1, 0, 1, COUNT],
        [COUNT, 1, 1, COUNT],
        [COUNT, -1, 1, COUNT],
        [COUNT, 0, 0, COUNT],
        [COUNT, 0, 2, COUNT],
        [COUNT, 0, 1, 0],
        [COUNT, 0, 1, COUNT - 1],
        [2 * COUNT, 0, 1, COUNT + 1],
        [COUNT, 0.0, 1, COUNT],
        [1 << 63, 0, 1, COUNT],
        [COUNT, 0, 1, COUNT - 1, []],
        [COUNT, 0, 1, COUNT - 1, 7],
        [COUNT, 0, 1, COUNT - 1, [[COUNT - 2, COUNT - 2]]],
        [COUNT, 0, 1, COUNT - 1, [[COUNT, COUNT]]],
        [2 * COUNT, 0, 1, COUNT - 2, [[COUNT + 1, COUNT + 1], [COUNT, COUNT]]],
        [2 * COUNT, 0, 1, COUNT - 1, [[COUNT, COUNT + 1]]],
    ],
)
def test_impossible_rows_are_refused(rows: object) -> None:
    assert decode_message(forged([COUNT, 0, 1, COUNT, None, "newer"])).rows == RowsOfBatch(COUNT, 0, 1, COUNT)
    with pytest.raises(WireError):
        decode_message(forged(rows))


def test_only_a_batch_has_rows() -> None:
    body = encode_tombstone(Tombstone(1, 1, 1, 1, "", 0, 0, 3))
    with pytest.raises(WireError, match="only a batch"):
        decode_message(forged([COUNT, 0, 1, COUNT], RecordKind.TOMBSTONE, body))


def with_field(name: str, place: int, value: object) -> bytes:
    """A golden message with another element in its body."""
    fields = msgpack.unpackb(encoded(name)[1:-4])
    fields[6][place] = value
    octets: bytes = b"\x02" + msgpack.packb(fields)
    return octets + zlib.crc32(octets).to_bytes(4)


@pytest.mark.parametrize(
    "rows", [[], 7, [7], [[1]], [[2, 1]], [[-1, 1]], [[0, 1 << 20]], [[0, 1, 0]], [[0, 1.0]], [[0, 1]] * 1025]
)
def test_impossible_rows_of_a_tombstone_are_refused(rows: object) -> None:
    with pytest.raises(WireError):
        decode_message(with_field("v2-rows-tombstone", 8, rows))


@pytest.mark.parametrize("last", [41, -1, 1.0, "", 1 << 63])
def test_an_impossible_end_of_a_tombstone_is_refused(last: object) -> None:
    with pytest.raises(WireError):
        decode_message(with_field("v2-rows-tombstone", 1, last))
    with pytest.raises(WireError):
        decode_message(with_field("v2-tombstone", 1, 6 if last == 41 else last))
    with pytest.raises(WireError, match="more than one record"):
        decode_message(with_field("v2-rows-tombstone", 1, None))


@pytest.mark.parametrize("place", range(5))
def test_impossible_numbers_of_a_time_fix_are_refused(place: int) -> None:
    assert TIME_FIX.fix is not None
    for wrong in ("", 1 << 63, None, 1.5):
        numbers: list[Any] = [TIME_FIX.fix.boot, 1, 2, 3, 4]
        numbers[place] = wrong
        with pytest.raises(WireError):
            decode_message(with_field("v2-time-fix", 7, numbers))
    with pytest.raises(WireError):
        decode_message(with_field("v2-time-fix", 7, [2, 2, 1, 0, 0]))
    with pytest.raises(WireError):
        decode_message(with_field("v2-time-fix", 7, [2, 2, 1, 0]))


def test_dropped_rows_and_open_ends_come_back_as_they_were() -> None:
    tombstone = Tombstone(7, 7, 0, 3, "thinned", 1, 2, 3, (RowRange(1, 9, 2), RowRange(0, 0)))
    for each in (tombstone, replace(tombstone, rows=(), last_seq=None), replace(tombstone, epoch=None)):
        message = encode_message(RecordKind.TOMBSTONE, ENVELOPE, encode_tombstone(each))
        assert decode_message(message).content == each


def test_a_suppressed_cell_stays_suppressed_in_a_part() -> None:
    statuses = {
        status
        for _, part in split_batch(encode_batch(FULL), 120)
        for group in decode_batch(part).groups
        for column in group.columns
        for status in column.statuses
    }
    assert NOT_SENT in statuses
