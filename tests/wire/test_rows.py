from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.wire.batch import Batch, Column, Group, Message, StatusText
from edge_agent.wire.rows import iso_utc, objects
from tests.wire.samples import ENVELOPE, FULL


@pytest.mark.parametrize(
    ("wall_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_600_123_456_789, "2026-01-01T00:00:00.123456789Z"),
        (1_767_225_600_100_000_000, "2026-01-01T00:00:00.100Z"),
        (1_767_225_600_000_100_000, "2026-01-01T00:00:00.0001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        ((1 << 64) - 2, "2554-07-21T23:34:33.709551614Z"),
    ],
)
def test_times_are_written_exactly(wall_ns: int, text: str) -> None:
    assert iso_utc(wall_ns) == text


@given(st.integers(-(1 << 64), 1 << 64))
def test_times_read_back_to_the_microsecond(wall_ns: int) -> None:
    text = iso_utc(wall_ns)
    whole = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
    seconds = (whole - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400 + (
        whole - datetime(1970, 1, 1, tzinfo=UTC)
    ).seconds
    assert seconds * 10**9 + int(text[20:-1].ljust(9, "0")) == wall_ns


def test_absent_cells_give_no_object_and_features_come_last() -> None:
    rows = list(objects(Message(ENVELOPE, FULL)))
    assert [row["quantity"] for row in rows] == ["temperature_c"] * 3 + ["soil_pct"] * 2 + ["pressure_pa"] * 3 + [
        "temperature_c"
    ]
    assert rows[-1]["kind"] == "features"
    assert rows[1]["value"] is None
    assert rows[1]["quality"] == "bad"
    assert rows[1]["flags"] == ["no_value"]
    assert rows[2]["quality"] == "estimated"
    assert rows[2]["flags"] == ["too_fast", "outlier"]


def test_numbers_that_json_cannot_hold_become_null() -> None:
    batch = Batch((Group("s", (1,), (Column("q", (float("nan"),), (float("inf"),), (0,), None),)),))
    (row,) = objects(Message(ENVELOPE, batch))
    assert row["value"] is None
    assert row["raw"] is None


def test_a_status_keeps_its_fields_but_not_its_kind() -> None:
    (row,) = objects(StatusText({"kind": "other", "state": "online"}))
    assert row == {"kind": "status", "state": "online"}


def test_flags_of_a_newer_sender_are_left_out() -> None:
    batch = Batch((Group("s", (1,), (Column("q", (1.0,), None, ((1 << 10 | 8) << 2 | 1,), None),)),))
    (row,) = objects(Message(ENVELOPE, batch))
    assert row["flags"] == ["outlier"]
