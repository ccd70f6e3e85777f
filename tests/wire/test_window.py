from __future__ import annotations

import struct
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.reading import Flag, RecordKind, status_of
from edge_agent.stages.features import features
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import decode_message, encode_batch, encode_message
from edge_agent.wire.window import features_of
from tests.wire.samples import ENVELOPE

if TYPE_CHECKING:
    from edge_agent.reading import Features

TIMES = tuple(10**10 + row * 10**9 + row % 3 * 10**6 for row in range(60))
VALUES = tuple((2150 + row * 7919 % 31 - row // 5) / 100 for row in range(60))
WINDOW = features(TIMES, VALUES)


def single(described: Features) -> tuple[float, ...]:
    """As float32, which is how features travel."""
    numbers: tuple[float, ...] = struct.unpack("<6f", struct.pack("<6f", *astuple(described)))
    return numbers


def column(statuses: tuple[int, ...] = (0,) * 60) -> Column:
    return Column("temperature_c", VALUES, None, statuses, WINDOW)


def body(of: Column) -> bytes:
    return encode_batch(Batch((Group("air", TIMES, (of,)),)))


def returned(of: Column) -> Features | None:
    content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, body(of))).content
    assert isinstance(content, Batch)
    return content.groups[0].columns[0].features


def test_features_of_a_whole_column_cost_one_byte_and_come_back() -> None:
    assert WINDOW is not None
    assert len(body(column())) == len(body(replace(column(), features=None))) + 1
    found = returned(column())
    assert found is not None
    assert single(found) == single(WINDOW)


@pytest.mark.parametrize(
    "described",
    [
        replace(WINDOW, count=59) if WINDOW else None,
        replace(WINDOW, std=1.0) if WINDOW else None,
        replace(WINDOW, slope_per_s=-0.0) if WINDOW else None,
    ],
)
def test_features_of_more_than_the_column_are_sent(described: Features | None) -> None:
    assert described is not None
    of = replace(column(), features=described)
    assert len(body(of)) == len(body(replace(of, features=None))) + 25
    found = returned(of)
    assert found is not None
    assert single(found) == single(described)


def test_features_of_a_column_with_flags_are_sent() -> None:
    odd = (status_of(Flag.TOO_FAST),) + (0,) * 59
    assert len(body(column(odd))) == len(body(replace(column(odd), features=None))) + 25


def test_one_row_has_no_slope_and_no_deviation() -> None:
    found = features_of(np.array([[2150]]), [2], np.array([[5]]))[0]
    assert found is not None
    assert astuple(found) == (1, 21.5, 0.0, 21.5, 21.5, 0.0)


@pytest.mark.parametrize(
    ("numbers", "times"),
    [([0, 1 << 52], [0, 1]), ([0, 1], [-(1 << 62), 1 << 62]), ([1 << 62, 1 << 62], [0, 1])],
)
def test_sums_that_would_not_fit_are_not_computed(numbers: list[int], times: list[int]) -> None:
    assert features_of(np.array([numbers]), [0], np.array([times])) == [None]
