"""Our lines, read by a parser that is not ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from edge_agent.clock import ClockQuality
from edge_agent.features import Features
from edge_agent.reading import Event, EventKind, Flag, status_of
from edge_agent.wire.batch import Batch, Column, Group, Message
from edge_agent.wire.formats.influx_line import line, rewrite
from tests.wire.samples import ENVELOPE, EVENT, FULL, SMALL, TOMBSTONE


def lines(content: Any, envelope: Any = ENVELOPE) -> list[str]:
    text = rewrite(Message(envelope, content)).payload.decode()
    assert text.endswith("\n")
    return text.splitlines()


def test_a_small_batch_reads_like_this() -> None:
    assert lines(SMALL)[0] == "air,node=node-1,quality=good temperature_c=21.5 1767225600000000000"
    assert len(lines(SMALL)) == 4


def test_readings_of_one_moment_and_quality_share_a_line_and_one_without_a_value_has_its_flags_alone() -> None:
    assert lines(FULL)[:5] == [
        (
            "air,node=node-1,quality=good temperature_c=21.5,temperature_c_raw=21.7,soil_pct=0.3333333333333333 "
            "1767225600123456789"
        ),
        'air,node=node-1,quality=bad temperature_c_flags="no_value" 1767225601123456789',
        (
            "air,node=node-1,quality=estimated temperature_c=21.625,temperature_c_raw=85.0,"
            'temperature_c_flags="too_fast outlier" 1767225602123456789'
        ),
        "air,node=node-1,quality=good soil_pct=0.6666666666666666 1767225602123456789",
        (
            "features,node=node-1,sensor=air,quantity=temperature_c count=2i,mean=21.5625,std=0.0625,min=21.5,"
            "max=21.625,slope_per_s=0.0625 1767225602123456789"
        ),
    ]


def test_events_and_tombstones_are_points_of_their_own() -> None:
    (event,) = map(parse_line, lines(EVENT))
    assert event["measurement"] == "event"
    assert event["tags"] == {"node": "node-1", "kind": "sensor-state", "subject": "air"}
    assert event["fields"] == {"state": "lost", "cause": "no acknowledge at 0x76; check the wiring"}
    assert event["time"] == EVENT.boot_ns + ENVELOPE.offset_ns
    (tombstone,) = map(parse_line, lines(TOMBSTONE))
    assert tombstone["tags"] == {"node": "node-1", "epoch": "3", "seq": "42"}
    assert tombstone["fields"] == {
        "reason": "byte cap",
        "first_seq": 7,
        "last_seq": 41,
        "records": 35,
        "readings": 10_500,
        "t_from": "2025-12-31T23:59:51.000Z",
        "t_to": "2025-12-31T23:59:59.000Z",
    }


def test_whole_numbers_are_told_from_measured_ones() -> None:
    (parsed,) = map(parse_line, lines(Event(EventKind.BUS_STATE, 1, "i2c1", "stuck", "SDA is low", 110)))
    assert parsed["fields"]["errno"] == 110
    assert isinstance(parsed["fields"]["errno"], int)
    pressure = Batch((Group("roof", (5,), (Column("pressure_pa", (101_325.0,), None, (0,), None),)),))
    (parsed,) = map(parse_line, lines(pressure))
    assert isinstance(parsed["fields"]["pressure_pa"], float)


def test_what_no_line_can_hold_is_a_reading_without_value() -> None:
    column = Column(
        "humidity_pct", (float("nan"), float("inf")), (float("-inf"), 4.0), (0, status_of(Flag.STUCK)), None
    )
    first, second = map(parse_line, lines(Batch((Group("a", (1, 2), (column,)),))))
    assert first["fields"] == {"humidity_pct_flags": "no_value"}
    assert second["fields"] == {"humidity_pct_raw": 4.0, "humidity_pct_flags": "stuck"}


def test_features_that_are_no_numbers_are_left_out() -> None:
    column = Column("humidity_pct", (1.0,), None, (0,), Features(1, 1.0, 0.0, 1.0, 1.0, float("nan")))
    _reading, features = map(parse_line, lines(Batch((Group("a", (1,), (column,)),))))
    assert features["fields"] == {"count": 1, "mean": 1.0, "std": 0.0, "min": 1.0, "max": 1.0}


def test_times_that_nobody_vouches_for_say_so() -> None:
    doubtful = replace(ENVELOPE, time_quality=ClockQuality.NONE)
    assert {parse_line(each)["tags"]["t_quality"] for each in lines(FULL, doubtful)} == {"none"}


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\\"), min_size=1)


@given(
    measurement=TEXT.filter(lambda text: text[0] not in "#_"),
    tag=TEXT,
    key=TEXT,
    text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
    number=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    t_ns=st.integers(-(1 << 63) + 2, (1 << 63) - 2),
)
def test_any_text_and_any_number_come_back_as_they_were(
    measurement: str, tag: str, key: str, text: str, number: float, t_ns: int
) -> None:
    written = line(measurement, {"tag": tag}, {key: number, f"{key}!": text}, t_ns)
    assert "\n" not in written
    assert parse_line(written) == {
        "measurement": measurement,
        "tags": {"tag": tag},
        "fields": {key: number, f"{key}!": text},
        "time": t_ns,
    }


@given(st.floats(-2.2e-308, 2.2e-308))
def test_numbers_too_small_for_the_parser_above_are_written_to_the_last_bit(number: float) -> None:
    """It takes what its C library calls an underflow for an error."""
    _head, field, _time = line("m", {}, {"x": number}, 0).split(" ")
    assert float(field.removeprefix("x=")).hex() == number.hex()


def test_line_breaks_and_last_backslashes_do_not_end_a_line_or_eat_a_separator() -> None:
    written = line("a\nb", {"tag": "c\\", "empty": ""}, {"text": "d\r\ne\\"}, 1)
    assert parse_line(written) == {
        "measurement": "a b",
        "tags": {"tag": "c"},
        "fields": {"text": "d  e\\"},
        "time": 1,
    }
