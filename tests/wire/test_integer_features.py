from __future__ import annotations

import struct
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.features import describe_column
from edge_agent.reading import NOT_SENT, Flag, RecordKind, status_of
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import decode_message, encode_batch, encode_message
from edge_agent.wire.integer_features import are_safe, features_of
from tests.wire.samples import ENVELOPE

if TYPE_CHECKING:
    from edge_agent.features import Features

TIMES = tuple(10**10 + row * 10**9 + row % 3 * 10**6 for row in range(60))
VALUES = tuple((2150 + row * 7919 % 31 - row // 5) / 100 for row in range(60))
WINDOW = describe_column(TIMES, VALUES)
MORE: dict[str, Any] = dict.fromkeys(
    ("time_weighted_mean", "median", "p05", "p95", "rms_difference", "share_good"), None
)


FIRST = replace(WINDOW, **MORE) if WINDOW else None
"""What senders knew of it at first."""


def single(described: Features) -> tuple[float, ...]:
    """As float32, which is how features_of travel."""
    told = [number for number in astuple(described) if number is not None]
    form = f"<{len(told)}f"
    numbers: tuple[float, ...] = struct.unpack(form, struct.pack(form, *told))
    return numbers


def column(described: Features | None = WINDOW, statuses: tuple[int, ...] = (0,) * 60) -> Column:
    return Column("temperature_c", VALUES, None, statuses, described)


def body(of: Column) -> bytes:
    return encode_batch(Batch((Group("air", TIMES, (of,)),)))


def returned(of: Column) -> Features | None:
    content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, body(of))).content
    assert isinstance(content, Batch)
    return content.groups[0].columns[0].features


def cost(of: Column) -> int:
    """Bytes that its features_of add."""
    return len(body(of)) - len(body(of._replace(features=None, describe=False)))


@pytest.mark.parametrize("described", [WINDOW, FIRST])
def test_features_of_a_whole_column_cost_one_byte_and_come_back(described: Features) -> None:
    assert cost(column(described)) == 1
    found = returned(column(described))
    assert found is not None
    assert single(found) == single(described)


def test_a_column_that_asks_gets_its_features_for_one_byte() -> None:
    asks = column(None)._replace(describe=True)
    assert cost(asks) == 1
    assert returned(asks) == returned(column(WINDOW))


@pytest.mark.parametrize(("described", "size"), [(WINDOW, 49), (FIRST, 25)])
@pytest.mark.parametrize("change", [{"count": 59}, {"std": 1.0}, {"slope_per_s": -0.0}])
def test_features_of_more_than_the_column_are_sent(described: Features, size: int, change: dict[str, Any]) -> None:
    other = replace(described, **change)
    assert cost(column(other)) == size
    found = returned(column(other))
    assert found is not None
    assert single(found) == single(other)


ODD = (status_of(Flag.TOO_FAST), status_of(Flag.OUT_OF_RANGE), status_of(Flag.OUTLIER), NOT_SENT, *(0,) * 56)


def test_features_of_a_column_with_flags_are_computed_from_what_is_not_bad() -> None:
    described = describe_column(TIMES, VALUES, ODD)
    assert described is not None
    assert (described.count, described.share_good) == (58, 56 / 59)
    asks = column(None, ODD)._replace(describe=True)
    assert cost(asks) == cost(column(described, ODD)) == 1
    found = returned(asks)
    assert found is not None
    assert single(found) == single(described)


def test_the_first_features_of_a_column_with_flags_are_sent() -> None:
    odd = (status_of(Flag.TOO_FAST),) + (0,) * 59
    assert cost(column(FIRST, odd)) == 25


@pytest.mark.parametrize(
    ("values", "times"),
    [
        ((1 / 3, 2 / 3, 1.0), (0, 5, 10**9)),
        ((0.0, 3e9, 1.0), (0, 5, 10**9)),
        ((1.0, 2.0, 4.0), (0, 1, 10**18)),
    ],
)
def test_what_the_receiver_cannot_compute_is_sent(values: tuple[float, ...], times: tuple[int, ...]) -> None:
    asks = Column("q", values, None, (0,) * 3, None, describe=True)
    group = Group("air", times, (asks,))
    content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, encode_batch(Batch((group,))))).content
    assert isinstance(content, Batch)
    found, meant = content.groups[0].columns[0].features, describe_column(times, values)
    assert found is not None
    assert meant is not None
    assert single(found) == single(meant)


def test_a_column_in_which_nothing_counts_has_no_features() -> None:
    bad = (status_of(Flag.OUT_OF_RANGE),) * 60
    assert cost(column(None, bad)._replace(describe=True)) == 0


def test_one_row_has_no_slope_and_no_deviation() -> None:
    found = features_of(np.array([[2150]], dtype=np.int64), [2], np.array([[5]], dtype=np.int64))[0]
    assert found is not None
    assert astuple(found)[:6] == (1, 21.5, 0.0, 21.5, 21.5, 0.0)


@pytest.mark.parametrize(
    ("numbers", "times"),
    [
        ([0, 1 << 52], [0, 1]),
        ([0, 1 << 30], [0, 1]),
        ([0, 1], [-(1 << 62), 1 << 62]),
        ([0, 1], [-(1 << 63), 0]),
        ([1 << 62, 1 << 62], [0, 1]),
        ([-(1 << 63), 1], [0, 1]),
        ([0, 1, 2], [0, 1, 1 << 30]),
    ],
)
def test_sums_that_would_not_fit_are_not_computed(numbers: list[int], times: list[int]) -> None:
    column, stamps = np.array([numbers], dtype=np.int64), np.array([times], dtype=np.int64)
    assert features_of(column, [0], stamps, [1.0]) == [None]
    assert are_safe(column, stamps) == [False]


def test_one_column_with_large_numbers_leaves_the_others_computable() -> None:
    columns = np.array([[0, 1, 2], [0, 1, 1 << 52]], dtype=np.int64)
    stamps = np.array([[0, 7, 14], [5, 12, 20]], dtype=np.int64)
    assert are_safe(columns, stamps) == [True, False]
    assert [found is not None for found in features_of(columns, [0, 0], stamps, [1.0, 1.0])] == [True, False]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 60_000), st.integers(-(10**6), 10**6), st.sampled_from([0, 0, 0, 10, 33, 11, NOT_SENT])
        ),
        min_size=1,
        max_size=70,
    )
)
@settings(deadline=None)
def test_computed_features_are_those_of_the_readings(rows: list[tuple[int, int, int]]) -> None:
    times, numbers, statuses = zip(*[(stamp * 10**6, number, status) for stamp, number, status in rows], strict=True)
    values = tuple(number / 100 for number in numbers)
    group = Group("air", times, (Column("q", values, None, statuses, None, describe=True),))
    content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, encode_batch(Batch((group,))))).content
    assert isinstance(content, Batch)
    found, meant = content.groups[0].columns[0].features, describe_column(times, values, statuses)
    assert (found is None) == (meant is None)
    if found is not None and meant is not None:
        assert astuple(found) == pytest.approx(astuple(meant), rel=2e-7, abs=2e-3)
