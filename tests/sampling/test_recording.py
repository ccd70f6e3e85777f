from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.errors import DataError
from edge_agent.quantity import parse_mapping
from edge_agent.sampling.recording import NS_PER_MS, Recording, ReplayWorker, Row

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.reading import Measurement

HEADER = b"timestamp_ms,temp,press\n"
MAPPINGS = ("temp=air.temperature_c", "press=air.pressure_pa:hpa")


def read(
    path: Path, content: bytes, mappings: tuple[str, ...] = MAPPINGS, header: bytes = HEADER
) -> tuple[list[Row], list[str]]:
    path.write_bytes(header + content)
    told: list[str] = []
    recording = Recording(path, [parse_mapping(mapping) for mapping in mappings], told.append)
    rows = list(recording.rows())
    assert recording.skipped == len(told)
    return rows, [sentence.removeprefix(f"{path}:") for sentence in told]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recorded.csv"


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ("", "is not column=sensor.quantity"),
        ("temp", "is not column=sensor.quantity"),
        ("temp=air", "is not column=sensor.quantity"),
        ("=air.temperature_c", "is not column=sensor.quantity"),
        ("temp=Air.temperature_c", "is not column=sensor.quantity"),
        ("temp=air.temperature_c:", "is not column=sensor.quantity"),
        ("temp=air.warmth", "'warmth' in .* is not a quantity; known: temperature_c,"),
        ("temp=air.temperature_c:hPa", "'hPa' in .* is not a unit of temperature_c; known: c, k, f"),
    ],
)
def test_a_mapping_that_means_nothing_is_explained(mapping: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_mapping(mapping)


@pytest.mark.parametrize(
    ("target", "text", "value"),
    [
        ("pressure_pa:hpa", "1021.76", 102_176.0),
        ("pressure_pa:mbar", "1021.76", 102_176.0),
        ("pressure_pa:kPa", "102.176", 102_176.0),
        ("pressure_pa", "102176", 102_176.0),
        ("pressure_pa:mmHg", "760", 101_325.0144354),
        ("pressure_pa:inHg", "29.92", 101_320.74811900272),
        ("temperature_c:F", "32", 0.0),
        ("temperature_c:F", "98.6", 37.0),
        ("temperature_c:F", "-40", -40.0),
        ("temperature_c:K", "294.3", 21.15),
        ("temperature_c", "21.15", 21.15),
        ("temperature_c:c", "-0.05", -0.05),
        ("humidity_pct:fraction", "0.57", 57.0),
        ("humidity_pct:pct", "5.7e1", 57.0),
        ("co2_ppm", ".5", 0.5),
        ("co2_ppm", "+400.", 400.0),
        ("illuminance_lx", "1e-9999", 0.0),
    ],
)
def test_units_are_converted_exactly(file: Path, target: str, text: str, value: float) -> None:
    rows, told = read(file, f"1,{text}\n".encode(), (f"x=s.{target}",), header=b"timestamp_ms,x\n")
    assert told == []
    assert rows[0].values["s"][1] == (value,)


@pytest.mark.parametrize("text", ["NaN", "nan", "Infinity", "-inf"])
def test_an_explicit_no_number_is_a_measurement_without_value(file: Path, text: str) -> None:
    rows, told = read(file, f"1,{text},1000\n".encode())
    assert told == []
    assert rows[0].values == {"air": (("temperature_c", "pressure_pa"), (None, 100_000.0))}


def test_an_empty_cell_was_not_measured(file: Path) -> None:
    rows, told = read(file, b"1,, \n2,20,\n")
    assert told == []
    assert [row.values for row in rows] == [{}, {"air": (("temperature_c",), (20.0,))}]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"1,20", "2 cells where the header has 3"),
        (b"1,20,1000,", "4 cells where the header has 3"),
        (b"1,warm,1000", "temp is 'warm', expected a number"),
        (b"1,1e999999999,1000", "temp is '1e999999999', expected a number"),
        (b"1,1e999,1000", "temp is '1e999', which is too large"),
        (b"1,20,1e308", "press is '1e308', which is too large"),
        (b"1,1_000,1000", "temp is '1_000', expected a number"),
        ("1,٢٠,1000".encode(), "temp is '٢٠', expected a number"),
        (b"1,sNaN,1000", "temp is 'sNaN', expected a number"),
        (b"1,0x10,1000", "temp is '0x10', expected a number"),
        (b'1,"20,5",1000', "temp is '20,5', expected a number"),
        (b"1,2\x000,1000", "temp is '2\\x000', expected a number"),
        (b"1," + b"9" * 100 + b"z,1000", f"temp is '{'9' * 40}…', expected a number"),
        (b"now,20,1000", "timestamp_ms is 'now', expected whole milliseconds since 1970"),
        (b",20,1000", "timestamp_ms is '', expected whole milliseconds since 1970"),
        (b"-1,20,1000", "timestamp_ms is '-1', expected whole milliseconds since 1970"),
        (b"1.5,20,1000", "timestamp_ms is '1.5', expected whole milliseconds since 1970"),
        (b"1_0,20,1000", "timestamp_ms is '1_0', expected whole milliseconds since 1970"),
        (b"99999999999999,20,1000", "timestamp_ms is 99999999999999, which is not a time between 1970 and 2248"),
        (b"1,\xff,1000", "byte 3 of the line is not UTF-8"),
        (b'1,"20,1000', "unexpected end of data"),
        (b"1," + b"x" * 1_000_000 + b",1000", "the line is longer than 65536 bytes"),
    ],
)
def test_a_broken_row_is_told_with_its_line_and_the_rest_goes_on(file: Path, line: bytes, complaint: str) -> None:
    rows, told = read(file, b"5,20,1000\n" + line + b"\r\n\r\n6,21,1001\n")
    assert told == [f"3: {complaint}"]
    assert [row.line for row in rows] == [2, 5]
    assert [row.wall_ns for row in rows] == [5 * NS_PER_MS, 6 * NS_PER_MS]


def test_a_number_of_many_digits_is_a_number(file: Path) -> None:
    rows, told = read(file, b"1,0." + b"3" * 60_000 + b",1000\n")
    assert told == []
    assert rows[0].values["air"][1][0] == pytest.approx(1 / 3)


def test_a_file_without_line_ends_takes_no_memory(file: Path) -> None:
    file.write_bytes(HEADER + b"1,20,1000\n" + b"x" * 30_000_000)
    told: list[str] = []
    tracemalloc.start()
    try:
        rows = list(Recording(file, [parse_mapping(MAPPINGS[0])], told.append).rows())
        _now, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(rows), len(told)) == (1, 1)
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (b"", "1: there is no column 'timestamp_ms'; found: nothing"),
        (b"time,temp,press\n", "1: there is no column 'timestamp_ms'; found: time, temp, press"),
        (b"timestamp_ms,press\n", "1: there is no column 'temp'; found: timestamp_ms, press"),
        (b"timestamp_ms,temp,press,temp\n", "1: there are 2 columns 'temp'"),
        (b"timestamp_ms,temp,press,sensor_id,sensor_id\n", "1: there are 2 columns 'sensor_id'"),
        (b"timestamp_ms,t\xffmp\n", "1: byte 15 of the line is not UTF-8"),
        (HEADER.decode().encode("utf-16"), "1: byte 1 of the line is not UTF-8"),
        (b"x" * 1_000_000, "1: the line is longer than 65536 bytes"),
        (b'timestamp_ms,"temp\n', "1: unexpected end of data"),
    ],
)
def test_a_header_that_cannot_be_used_is_explained(file: Path, header: bytes, complaint: str) -> None:
    with pytest.raises(DataError) as caught:
        read(file, b"", header=header)
    assert str(caught.value) == f"{file}:{complaint}"


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "nowhere", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(DataError, match=f"{path}: {reason}"):
            Recording(path, [], lambda _sentence: None)


def test_two_columns_cannot_be_one_channel(file: Path) -> None:
    with pytest.raises(DataError, match=r"two columns are said to be air\.temperature_c"):
        read(file, b"", ("temp=air.temperature_c", "press=air.temperature_c"))


def test_spreadsheets_are_understood(file: Path) -> None:
    header = b'\xef\xbb\xbf"timestamp_ms", temp ,press,,\r\n'
    rows, told = read(file, b'"1","20.5",1000,,\r\n', header=header)
    assert told == []
    assert rows == [Row(2, NS_PER_MS, {"air": (("temperature_c", "pressure_pa"), (20.5, 100_000.0))})]


def test_each_sensor_of_a_file_gets_its_name(file: Path) -> None:
    header = b"timestamp_ms,sensor_id,temp\n"
    rows, told = read(file, b"1,A 1,20\n1,b_2,21\n1,,22\n1,%s,23\n" % (b"x" * 33), MAPPINGS[:1], header)
    assert [list(row.values) for row in rows] == [["air-a-1"], ["air-b-2"]]
    assert told == [
        "4: sensor_id is '', expected 1 to 32 characters",
        f"5: sensor_id is '{'x' * 33}', expected 1 to 32 characters",
    ]
    assert Recording(file, [parse_mapping(MAPPINGS[0])], told.append).sensors() == {
        "air-a-1": ["temperature_c"],
        "air-b-2": ["temperature_c"],
    }


def test_rows_come_when_their_time_has_come_and_never_stall_when_it_goes_back(file: Path) -> None:
    file.write_bytes(HEADER + b"".join(b"%d,20,1000\n" % (ms * 1000) for ms in (100, 101, 99, 50, 102, 102, 90)))
    clock = SimulatedClock(100 * NS_PER_S)
    delivered: list[tuple[int, Measurement]] = []

    def deliver(measurement: Measurement) -> bool:
        delivered.append((clock.now_ns(), measurement))
        return True

    recording = Recording(file, [parse_mapping(mapping) for mapping in MAPPINGS], lambda _sentence: None)
    ends: list[int] = []
    worker = ReplayWorker(recording, clock, deliver, lambda: ends.append(recording.used))
    steps = 0
    while (due_ns := worker.step()) is not None:
        assert due_ns > clock.now_ns()
        clock.advance_to(due_ns)
        steps += 1
    assert (steps, recording.used, ends) == (2, 7, [7])
    at_s = [(now_ns // NS_PER_S, measurement.boot_ns // NS_PER_S) for now_ns, measurement in delivered]
    assert at_s == [(10, 10), (11, 11), (11, 9), (11, -40), (12, 12), (12, 12), (12, 0)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200).map(str.encode),
        st.text(alphabet='0123456789,.-+eE_\n\r"\x00 naif٣', max_size=200).map(str.encode),
    ),
    with_header=st.booleans(),
)
def test_whatever_is_in_the_file_only_a_data_error_comes_out(file: Path, body: bytes, *, with_header: bool) -> None:
    try:
        rows, _told = read(file, body, header=HEADER if with_header else b"")
    except DataError:
        assert not with_header
        return
    for row in rows:
        for quantities, values in row.values.values():
            assert len(quantities) == len(values) == len(set(quantities))
            assert all(value is None or abs(value) < float("inf") for value in values)
