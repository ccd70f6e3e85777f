from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.wire.floats import (
    NOT_DECIMAL,
    check_scale,
    from_bytes,
    raw_bytes,
    scale_floats,
    unscale,
)

DECIMAL = st.builds(lambda k, d: k / 10**d, st.integers(-(10**9), 10**9), st.integers(0, 9))
ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


def bits(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


@given(st.lists(st.lists(DECIMAL, max_size=40) | st.lists(ANY | DECIMAL, max_size=40), min_size=1, max_size=4))
@settings(deadline=None)
def test_every_float_comes_back_bit_for_bit(columns: list[list[float]]) -> None:
    scaled = scale_floats(columns)
    numbers = unscale([integers for _, integers in scaled], [scale for scale, _ in scaled])
    for column, back, (scale, integers) in zip(columns, numbers, scaled, strict=True):
        assert bits(back) == bits(column)
        if scale == NOT_DECIMAL:
            assert raw_bytes(integers) == bits(column)
            assert from_bytes(bits(column)).tolist() == integers.tolist()


@pytest.mark.parametrize(
    ("column", "scale"),
    [
        ([1.0, 2.0], 0),
        ([21.5, 21.25], 2),
        ([0.1 + 0.2], NOT_DECIMAL),
        ([-0.0, 1.0], NOT_DECIMAL),
        ([float("nan")], NOT_DECIMAL),
        ([float("inf")], NOT_DECIMAL),
        ([5e-324], NOT_DECIMAL),
        ([1e300], NOT_DECIMAL),
        ([1e-9, 2.0], 9),
    ],
)
def test_the_scale_is_the_least_that_is_exact(column: list[float], scale: int) -> None:
    assert scale_floats([column])[0][0] == scale


def test_a_nan_payload_survives() -> None:
    octets = bytes.fromhex("0100000000adf87f")
    scale, integers = scale_floats([list(struct.unpack("<d", octets))])[0]
    assert bits(unscale([integers], [scale])[0]) == octets


def test_bits_as_integers_keep_the_order_of_the_numbers() -> None:
    ascending = [-math.inf, -1e300, -1 / 3, -5e-324, 5e-324, 1 / 3, 1e300, math.inf]
    integers = scale_floats([ascending])[0][1].tolist()
    assert integers == sorted(integers)


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(WireError, match="scale 12"):
        check_scale(12)


def test_columns_of_different_kind_do_not_disturb_each_other() -> None:
    scaled = scale_floats([[0.5, 1.5], [1 / 3, 2.0], [7.0, 8.0]])
    assert [scale for scale, _ in scaled] == [1, NOT_DECIMAL, 0]
    assert np.array_equal(np.asarray(scaled[2][1]), [7, 8])
