from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.wire.cursor import Cursor
from edge_agent.wire.floats import RAW_SCALE, decode_floats, scale_floats
from edge_agent.wire.integers import encode_integers

DECIMAL = st.builds(lambda k, d: k / 10**d, st.integers(-(10**9), 10**9), st.integers(0, 9))
ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


def bits(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


@given(st.lists(st.lists(DECIMAL, max_size=40) | st.lists(ANY | DECIMAL, max_size=40), min_size=1, max_size=4))
@settings(deadline=None)
def test_every_float_comes_back_bit_for_bit(columns: list[list[float]]) -> None:
    for column, (scale, payload) in zip(columns, scale_floats(columns), strict=True):
        block = payload if isinstance(payload, bytes) else encode_integers([payload])[0]
        assert bits(decode_floats(Cursor(block), scale, len(column)).tolist()) == bits(column)


@pytest.mark.parametrize(
    ("column", "scale"),
    [
        ([1.0, 2.0], 0),
        ([21.5, 21.25], 2),
        ([0.1 + 0.2], RAW_SCALE),
        ([-0.0, 1.0], RAW_SCALE),
        ([float("nan")], RAW_SCALE),
        ([float("inf")], RAW_SCALE),
        ([5e-324], RAW_SCALE),
        ([1e300], RAW_SCALE),
        ([1e-9, 2.0], 9),
    ],
)
def test_the_scale_is_the_least_that_is_exact(column: list[float], scale: int) -> None:
    assert scale_floats([column])[0][0] == scale


def test_a_nan_payload_survives() -> None:
    octets = bytes.fromhex("0100000000adf87f")
    scale, payload = scale_floats([list(struct.unpack("<d", octets))])[0]
    assert isinstance(payload, bytes)
    assert bits(decode_floats(Cursor(payload), scale, 1).tolist()) == octets


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(WireError, match="scale 12"):
        decode_floats(Cursor(b"\0" * 9), 12, 1)


def test_columns_of_different_kind_do_not_disturb_each_other() -> None:
    scaled = scale_floats([[0.5, 1.5], [1 / 3, 2.0], [7.0, 8.0]])
    assert [scale for scale, _ in scaled] == [1, RAW_SCALE, 0]
    assert np.array_equal(np.asarray(scaled[2][1]), [7, 8])
