from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge_agent.wire
from edge_agent.errors import Truncated, WireError
from edge_agent.wire.bits import write_codes
from edge_agent.wire.cursor import Cursor, signed_varint, varint, wrap_int64
from edge_agent.wire.integers import Numbers, encode_integers
from edge_agent.wire.restore import restore, take_head

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
SMOOTH = st.builds(
    lambda start, steps, factor: (np.cumsum([start, *steps]) * factor).tolist(),
    st.integers(-(10**9), 10**9),
    st.lists(st.integers(-20, 20), max_size=100),
    st.sampled_from([1, 7, 46, 1000, 10**6, 10**9]),
)
COLUMN = st.lists(INT64, max_size=70) | SMOOTH | st.lists(st.integers(-3, 900), max_size=70)


def decoded(block: bytes, count: int) -> list[int]:
    if not count:
        return []
    cursor = Cursor(block)
    head = take_head(cursor, count)
    values: list[int] = restore([head], cursor.take(len(block) - cursor.at))[0].tolist()
    return values


def encoded(*columns: list[int]) -> list[bytes]:
    blocks = encode_integers([Numbers(np.array(column, dtype=np.int64)) for column in columns])
    return [block.head + write_codes(block.runs, block.words) for block in blocks]


@given(st.lists(COLUMN, min_size=1, max_size=5))
@settings(deadline=None)
def test_every_int64_column_comes_back(columns: list[list[int]]) -> None:
    for column, block in zip(columns, encoded(*columns), strict=True):
        assert decoded(block, len(column)) == column


def test_the_vectors_in_the_specification_hold() -> None:
    text = (Path(edge_agent.wire.__file__).parent / "FORMAT.md").read_text()
    vectors = re.findall(r"^\| \d+ \| ([-\d, ]+) \| `([0-9a-f]+)` \|$", text, re.MULTILINE)
    assert len(vectors) >= 5
    for values, block in vectors:
        column = [int(value) for value in values.split(",")]
        assert decoded(bytes.fromhex(block), len(column)) == column
        assert encoded(column)[0].hex() == block


@pytest.mark.parametrize(
    "column",
    [
        [-(1 << 63), (1 << 63) - 1, 0, -(1 << 63)],
        [(1 << 63) - 1] * 9,
        [0, -(1 << 63)] * 20,
        [index * (1 << 58) for index in range(-16, 16)],
    ],
)
def test_extremes_come_back(column: list[int]) -> None:
    assert decoded(encoded(column)[0], len(column)) == column


def test_constants_and_steady_clocks_cost_only_a_header() -> None:
    constant, clock = encoded([101_325] * 60, [10_000_000_000 + 1_000_000_000 * row for row in range(60)])
    assert len(constant) == 4
    assert len(clock) == 3


@pytest.mark.parametrize("step_s", [1, 10, 60, 600, 3600])
@pytest.mark.parametrize("count", [1, 2, 60])
def test_a_clock_on_the_second_costs_five_bytes_at_most(step_s: int, count: int) -> None:
    clock = [(86_400 + step_s * row) * 10**9 for row in range(count)]
    (block,) = encoded(clock)
    assert len(block) <= 5
    assert decoded(block, count) == clock


@given(INT64, INT64, st.integers(1, 70))
def test_even_steps_come_back_whatever_they_are(origin: int, base: int, count: int) -> None:
    column = [wrap_int64(origin + row * base) for row in range(count)]
    assert decoded(encoded(column)[0], count) == column


@given(st.integers(0, 31), INT64, INT64, st.integers(1, 9))
def test_even_steps_are_read_modulo_two_to_the_64(unit: int, origin: int, base: int, count: int) -> None:
    step = 10 ** (unit & 15) * (6 if unit & 16 else 1)
    block = bytes((7 << 5 | unit,)) + signed_varint(origin) + signed_varint(base)
    assert decoded(block, count) == [wrap_int64((origin + row * base) * step) for row in range(count)]


def test_a_step_size_is_divided_out() -> None:
    steps = [46 * (row * row % 7) + 11 for row in range(60)]
    unit = [row * row % 7 for row in range(60)]
    assert len(encoded(steps)[0]) <= len(encoded(unit)[0]) + 4


def test_a_column_costs_the_same_alone_and_among_others() -> None:
    columns = [[(row * factor) % 17 for row in range(60)] for factor in range(1, 20)]
    assert encoded(*columns) == [encoded(column)[0] for column in columns]


def test_long_columns_are_encoded_in_slabs() -> None:
    columns = [[(row * factor) % 1009 for row in range(40_000)] for factor in (3, 5, 7)]
    for column, block in zip(columns, encoded(*columns), strict=True):
        assert decoded(block, len(column)) == column


@given(st.binary(max_size=60), st.integers(0, 300))
@settings(deadline=None)
def test_garbage_gives_numbers_or_a_wire_error(data: bytes, count: int) -> None:
    with contextlib.suppress(WireError):
        assert len(decoded(data, count)) == count


@given(COLUMN.filter(bool), st.data())
@settings(deadline=None)
def test_a_cut_block_is_truncated(column: list[int], data: st.DataObject) -> None:
    block = encoded(column)[0]
    cut = data.draw(st.integers(0, len(block) - 1))
    with pytest.raises(WireError):
        decoded(block[:cut], len(column))


@given(st.integers(0, (1 << 64) - 1), INT64)
def test_varints_come_back(unsigned: int, signed: int) -> None:
    cursor = Cursor(varint(unsigned) + signed_varint(signed))
    assert cursor.varint() == unsigned
    assert cursor.signed_varint() == signed
    assert cursor.at == len(cursor.data)


def test_an_endless_varint_is_refused() -> None:
    with pytest.raises(WireError, match="64 bits"):
        Cursor(b"\xff" * 11).varint()
    with pytest.raises(WireError, match="64 bits"):
        Cursor(b"\xff" * 9 + b"\x7f").varint()
    with pytest.raises(Truncated):
        Cursor(b"\xff").varint()


def test_wrapping_keeps_the_bits() -> None:
    assert wrap_int64((1 << 63) + 5) == -(1 << 63) + 5


@given(st.lists(st.tuples(st.integers(-(1 << 54), 1 << 54), st.integers(-(1 << 54), 1 << 54)), min_size=1, max_size=70))
@settings(deadline=None)
def test_a_column_that_may_follow_another_comes_back(pairs: list[tuple[int, int]]) -> None:
    leader, column = (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True))
    blocks = encode_integers([Numbers(leader), Numbers(column, leader)])
    codes = write_codes([run for each in blocks for run in each.runs], [word for each in blocks for word in each.words])
    cursor = Cursor(blocks[0].head + blocks[1].head)
    heads = [take_head(cursor, len(pairs)), take_head(cursor, len(pairs), 0)]
    assert [numbers.tolist() for numbers in restore(heads, codes)] == [leader.tolist(), column.tolist()]


def test_a_filtered_column_costs_little_beside_what_it_was_filtered_from() -> None:
    raws = np.array([row * row * 7919 % 97 for row in range(60)], dtype=np.int64)
    filtered = [raws[0]]
    for raw in raws[1:].tolist():
        filtered.append(filtered[-1] + round((raw - filtered[-1]) * 0.2))
    alone, beside = encode_integers(
        [Numbers(np.array(filtered, dtype=np.int64)), Numbers(np.array(filtered, dtype=np.int64), raws)]
    )
    assert beside.bits() < alone.bits() // 4


def test_rare_changes_cost_no_bit_for_each_cell() -> None:
    column = [0] * 600
    column[100], column[401] = 3, -2
    assert len(encoded(column)[0]) < 10


def test_a_clock_that_ticks_evenly_with_jitter_costs_the_jitter_once() -> None:
    clock = [1000 * row + row * row * 7919 % 4 for row in range(60)]
    assert len(encoded(clock)[0]) <= 60 * 2 // 8 + 6
