from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.reading import NOT_SENT, RecordKind
from edge_agent.wire.batch import Batch, Column, Group, Message
from edge_agent.wire.codec import decode_message, encode_batch, encode_message
from edge_agent.wire.extras import MOST_SIGMA, SIGMAS, sigma_codes, sigmas_of
from edge_agent.wire.formats import influx_line, senml_pack
from edge_agent.wire.rows import objects
from tests.wire.samples import ENVELOPE

COLUMN = Column("temperature_c", tuple(20 + row / 100 for row in range(60)), None, (0,) * 60, None)


def body(column: Column) -> bytes:
    return encode_batch(Batch((Group("air", tuple(range(60)), (column,)),)))


def returned(column: Column) -> Column:
    content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, body(column))).content
    assert isinstance(content, Batch)
    return content.groups[0].columns[0]


def cost(sigmas: tuple[float | None, ...]) -> int:
    """Bytes that they add."""
    return len(body(COLUMN._replace(sigmas=sigmas))) - len(body(COLUMN))


@given(st.floats(1e-11, 1e11))
def test_a_sigma_comes_back_within_three_hundredths_and_then_stays(sigma: float) -> None:
    (once,) = sigmas_of(np.array(sigma_codes([sigma], [0]), dtype=np.int64), [0])
    assert once == pytest.approx(sigma, rel=0.03)
    assert sigmas_of(np.array(sigma_codes([once], [0]), dtype=np.int64), [0]) == (once,)


def test_every_code_stays() -> None:
    assert sigma_codes(SIGMAS, [0] * len(SIGMAS)) == list(range(MOST_SIGMA + 1))


def test_a_steady_sigma_costs_four_bytes_and_a_change_seven_more() -> None:
    assert cost((0.01,) * 60) == 4
    assert cost((0.01,) * 40 + (0.02,) * 20) == 11


@pytest.mark.parametrize("nothing", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_sigma_is_none(nothing: float | None) -> None:
    assert returned(COLUMN._replace(sigmas=(nothing,) * 60)).sigmas is None
    assert returned(COLUMN._replace(sigmas=(nothing, *(1.0,) * 59))).sigmas == (None, *(1.0,) * 59)


def test_sigmas_of_absent_cells_do_not_travel() -> None:
    statuses = tuple(NOT_SENT if row % 7 == 3 else 0 for row in range(60))
    sparse = COLUMN._replace(statuses=statuses, sigmas=(0.5,) * 60)
    assert len(body(sparse)) - len(body(sparse._replace(sigmas=None))) == 4
    found = returned(sparse).sigmas
    assert found == tuple(None if status == NOT_SENT else 0.5 for status in statuses)


def test_damaged_and_misfitting_sigmas_are_refused() -> None:
    with pytest.raises(WireError, match="out of range"):
        sigmas_of(np.array([1, MOST_SIGMA + 1], dtype=np.int64), [0, 0])
    with pytest.raises(WireError, match="length"):
        body(COLUMN._replace(sigmas=(1.0,) * 59))


def test_sigmas_are_shown_where_they_were_sent() -> None:
    group = Group(
        "air", tuple(range(60)), (COLUMN._replace(sigmas=(None, *(0.25,) * 59)), COLUMN._replace(quantity="q"))
    )
    message = Message(ENVELOPE, Batch((group,)))
    rows: list[dict[str, Any]] = list(objects(message))
    assert [row.get("sigma", "none sent") for row in (rows[0], rows[1], rows[60])] == [None, 0.25, "none sent"]
    assert influx_line.rewrite(message).payload.count(b"temperature_c_sigma=0.25") == 59
    assert senml_pack.rewrite(message).payload.count(b"/temperature_c/sigma") == 59
