from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ClockQuality
from edge_agent.wire.batch import Batch, Column, Group, Message
from edge_agent.wire.formats.senml_pack import rewrite
from tests.wire.formats.senml_reader import Resolved, read
from tests.wire.samples import ENVELOPE, EVENT, FULL, SMALL, TOMBSTONE

T_NS = 1_767_225_600_000_000_000


def resolved(content: Any) -> list[Resolved]:
    written = rewrite(Message(ENVELOPE, content))
    assert (written.content_type, written.topic) == ("application/senml+json", None)
    return read(written.payload)


def test_a_small_batch_reads_like_this() -> None:
    assert rewrite(Message(ENVELOPE, SMALL)).payload.decode() == (
        '[{"bn":"edge/node-1/","bt":1767225600,"n":"clock","vs":"synced"},'
        '{"n":"air/temperature_c","u":"Cel","v":21.5,"t":0.0},{"n":"air/temperature_c","u":"Cel","v":21.51,"t":1.0},'
        '{"n":"air/temperature_c","u":"Cel","v":21.51,"t":2.0},{"n":"air/temperature_c","u":"Cel","v":21.49,"t":3.001}]'
    )


def test_every_reading_its_raw_value_its_doubts_and_the_features_are_records_in_the_order_of_time() -> None:
    records = resolved(FULL)
    first, second, third = (T_NS + second * 1_000_000_000 + 123_456_789 for second in range(3))
    air = [each for each in records if each.name.startswith("edge/node-1/air/")]
    temperature = "edge/node-1/air/temperature_c"
    assert air == [
        Resolved(temperature, "Cel", first, 21.5),
        Resolved(f"{temperature}/raw", "Cel", first, 21.7),
        Resolved("edge/node-1/air/soil_pct", None, first, 1 / 3),
        Resolved(f"{temperature}/quality", None, second, "bad no_value"),
        Resolved(temperature, "Cel", third, 21.625),
        Resolved(f"{temperature}/raw", "Cel", third, 85.0),
        Resolved(f"{temperature}/quality", None, third, "estimated too_fast outlier"),
        Resolved(f"{temperature}/count", None, third, 2.0),
        Resolved(f"{temperature}/mean", "Cel", third, 21.5625),
        Resolved(f"{temperature}/std", "Cel", third, 0.0625),
        Resolved(f"{temperature}/min", "Cel", third, 21.5),
        Resolved(f"{temperature}/max", "Cel", third, 21.625),
        Resolved(f"{temperature}/slope_per_s", None, third, 0.0625),
        Resolved("edge/node-1/air/soil_pct", None, third, 2 / 3),
    ]
    assert Resolved("edge/node-1/roof/pressure_pa", "Pa", second, 101_325.0) in records


@given(
    stamps=st.lists(st.integers(0, 10**18), min_size=1, max_size=20, unique=True),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
def test_values_come_back_to_the_bit_and_times_to_the_nanosecond(stamps: list[int], value: float) -> None:
    # Seconds of a batch, so that the double in `t` has room: 31 years at once would not be exact, hours are.
    times = [stamp % (3600 * 10**9) for stamp in stamps]
    column = Column("co2_ppm", [value] * len(times), None, [0] * len(times), None)
    records = resolved(Batch((Group("air", times, (column,)),)))[1:]
    assert [each.t_ns for each in records] == sorted(time + ENVELOPE.offset_ns for time in times)
    assert {each.value for each in records} == {value}
    assert {each.unit for each in records} == {"ppm"}


def test_events_and_tombstones_are_told_in_text_and_numbers() -> None:
    event = {each.name.removeprefix("edge/node-1/"): each.value for each in resolved(EVENT)}
    assert event == {
        "clock": "synced",
        "event/sensor-state/air": "lost",
        "event/sensor-state/air/cause": "no acknowledge at 0x76; check the wiring",
    }
    tombstone = {each.name.removeprefix("edge/node-1/tombstone/3/42/"): each.value for each in resolved(TOMBSTONE)}
    assert tombstone["reason"] == "byte cap"
    assert (tombstone["first_seq"], tombstone["last_seq"]) == (7, 41)
    assert (tombstone["records"], tombstone["readings"]) == (35, 10_500)
    assert (tombstone["t_from"], tombstone["t_to"]) == ("2025-12-31T23:59:51.000Z", "2025-12-31T23:59:59.000Z")


@pytest.mark.parametrize(
    ("quantity", "unit"),
    [
        ("temperature_c", "Cel"),
        ("dew_point_c", "Cel"),
        ("humidity_pct", "%RH"),
        ("soil_pct", None),
        ("pressure_pa", "Pa"),
        ("co2_ppm", "ppm"),
        ("illuminance_lx", "lx"),
        ("absolute_humidity_g_m3", None),
    ],
)
def test_a_quantity_has_its_registered_unit_if_there_is_one(quantity: str, unit: str | None) -> None:
    group = Group("air", (1,), (Column(quantity, (1.0,), None, (0,), None),))
    assert resolved(Batch((group,)))[1].unit == unit


def test_names_hold_nothing_that_a_name_may_not_hold() -> None:
    odd = Batch((Group("süd 1", (1,), (Column("soil:pct", (1.0,), None, (0,), None),)),))
    assert resolved(odd)[1].name == "edge/node-1/s:c3:bcd:201/soil:3apct"


def test_what_would_mean_a_relative_time_is_published_as_json_elsewhere() -> None:
    unset = replace(ENVELOPE, offset_ns=0, time_quality=ClockQuality.NONE)
    for content in (SMALL, EVENT, TOMBSTONE, Batch(())):
        written = rewrite(Message(unset, content))
        assert (written.topic, written.content_type) == ("json", "application/json")
        assert json.loads(written.payload)["seq"] == 42
