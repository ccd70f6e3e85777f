from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import Truncated, WireError
from edge_agent.wire.bits import Run, read_codes, write_codes

PACKED = st.integers(0, 64).flatmap(
    lambda width: st.lists(st.integers(0, (1 << width) - 1), max_size=30).map(lambda codes: (width, False, codes))
)
RICE = st.integers(0, 61).flatmap(
    lambda width: st.lists(st.integers(0, (4 << width) - 1), max_size=30).map(lambda codes: (width, True, codes))
)


def written(*runs: tuple[int, bool, list[int]]) -> tuple[list[Run], bytes]:
    heads = [Run(len(codes), width, unary) for width, unary, codes in runs]
    return heads, write_codes(heads, [np.array(codes, dtype=np.uint64) for _, _, codes in runs])


@given(st.lists(PACKED | RICE, max_size=6))
@settings(deadline=None)
def test_all_codes_come_back(runs: list[tuple[int, bool, list[int]]]) -> None:
    heads, data = written(*runs)
    assert [words.tolist() for words in read_codes(data, heads)] == [codes for _, _, codes in runs]


def test_low_parts_come_first_and_quotients_follow_without_a_gap() -> None:
    _, data = written((2, True, [1, 6]), (3, False, [5]), (1, True, [0]))
    assert data == bytes((0b01_10_101_0, 0b1_01_1_0000))


@pytest.mark.parametrize("runs", [[(5, False, [1, 2, 3])], [(0, True, [3, 3, 3, 3])], [(4, True, [20, 1])]])
def test_codes_that_end_early_are_truncated(runs: list[tuple[int, bool, list[int]]]) -> None:
    heads, data = written(*runs)
    with pytest.raises(Truncated):
        read_codes(data[:-1], heads)


def test_bytes_after_the_codes_are_refused() -> None:
    heads, data = written((5, False, [1, 2, 3]))
    with pytest.raises(WireError, match="follow"):
        read_codes(data + b"\0", heads)


def test_quotients_beyond_the_cap_are_refused() -> None:
    heads, data = written((0, True, [9]))
    with pytest.raises(WireError, match="more bits"):
        read_codes(data, heads)


@given(st.binary(max_size=40), st.lists(st.builds(Run, st.integers(0, 50), st.integers(0, 63), st.booleans())))
@settings(deadline=None)
def test_garbage_gives_codes_or_a_wire_error(data: bytes, runs: list[Run]) -> None:
    with contextlib.suppress(WireError):
        assert [len(words) for words in read_codes(data, runs)] == [run.codes for run in runs]
