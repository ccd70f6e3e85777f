"""Lines out of a stream, and numbers out of text."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.lines import LONGEST, LineReader, NoField, text_of, value_of
from edge_agent.errors import BusGone
from edge_agent.quantity import Unit, find_unit
from tests.drivers.lines import Ear

CELSIUS = Unit(Decimal(1))


def lines_of(*pieces: bytes) -> list[bytes]:
    """What a reader makes of pieces, after a line end as the first of all."""
    ear = Ear([b"\n", *pieces])
    reader = LineReader(ear)
    return [line for _ in range(len(pieces) + 1) for line in reader.take()]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"\n\r"])
def test_every_line_end_ends_a_line_once(end: bytes) -> None:
    assert lines_of(b"a" + end + b"b" + end) == [b"a", b"b"]


def test_a_line_end_that_comes_in_two_pieces_makes_no_line_of_its_own() -> None:
    assert lines_of(b"a\r", b"\nb\r", b"\n") == [b"a", b"b"]


def test_half_a_line_waits_for_its_other_half() -> None:
    assert lines_of(b"23.", b"4", b",5\n6") == [b"23.4,5"]


def test_what_comes_first_after_opening_is_half_a_line_and_is_left_out() -> None:
    reader = LineReader(Ear([b"3.4\n23.5\n"]))
    assert reader.take() == [b"23.5"]


def test_after_a_loss_neither_the_half_before_it_nor_the_half_behind_it_is_a_line() -> None:
    ear = Ear([b"\n23.", b"45,6\n7.8\n"])
    reader = LineReader(ear)
    reader.take()
    ear.lost += 1
    assert reader.take() == [b"7.8"]


def test_zeros_of_a_line_that_is_being_switched_on_are_left_out() -> None:
    assert lines_of(b"\x00\x00\x0023.4\n\x00\n") == [b"23.4"]


def test_a_line_that_is_longer_than_any_of_ours_is_left_out_whole() -> None:
    assert lines_of(b"x" * (LONGEST + 1), b"23.4\n1.0\n") == [b"1.0"]
    assert lines_of(b"x" * (LONGEST + 1) + b"\n1.0\n") == [b"1.0"]


def test_an_error_of_the_port_passes() -> None:
    with pytest.raises(BusGone):
        LineReader(Ear([BusGone("gone")])).take()


@pytest.mark.parametrize("piece", [1, 64, 4096])
def test_a_line_without_an_end_costs_memory_and_work_in_proportion_to_what_comes(piece: int) -> None:
    kept: list[int] = []
    for size in (65_536, 131_072):
        ear = Ear([b"\xf8" * piece] * (size // piece))
        reader = LineReader(ear)
        work = 0
        while ear.waiting:
            work += len(reader._tail) + piece  # what one call joins and searches
            assert reader.take() == []
            assert len(reader._tail) <= LONGEST
        kept.append(work)
    assert kept[1] <= 2.1 * kept[0]


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_any_bytes_in_any_pieces_give_the_same_lines(pieces: list[bytes]) -> None:
    assert lines_of(*pieces) == lines_of(b"".join(pieces))


@given(st.binary(max_size=40))
def test_any_bytes_are_some_text(line: bytes) -> None:
    assert isinstance(text_of(line), str)


def test_degree_signs_of_both_encodings_are_read() -> None:
    assert text_of("23.4°C".encode()) == text_of("23.4°C".encode("latin-1")) == "23.4°C"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("23.4", 23.4),
        (" -0.5 ", -0.5),
        ("+7", 7.0),
        (".5", 0.5),
        ("23.", 23.0),
        ("23,4", 23.4),
        ("2.34e1", 23.4),
        ("23.4C", 23.4),
        ("23.4 °C", 23.4),
        ("31.1 'C", 31.1),
        ("77.0F", 25.0),
        ("298.15 K", 25.0),
        ("23.4degC", 23.4),
    ],
)
def test_numbers_as_devices_write_them(text: str, value: float) -> None:
    assert value_of(text, "temperature_c", unit=CELSIUS) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["nan", "NaN", "-nan", "inf", "-INF", "ERR", "error", "N/A", "na", "--", "---", "", "null", "*****", "fail"]
)
def test_ways_to_say_that_there_is_no_value(text: str) -> None:
    assert value_of(text, "temperature_c", unit=CELSIUS) is None


@pytest.mark.parametrize("text", ["-127.00", "-127", "85.00", "85", "185.0F", "-127.00 C"])
def test_what_a_library_says_of_a_thermometer_that_is_not_there_is_no_value(text: str) -> None:
    assert value_of(text, "temperature_c", unit=CELSIUS) is None


def test_85_percent_and_85_lux_are_values() -> None:
    assert value_of("85.00", "humidity_pct", unit=Unit(Decimal(1))) == 85.0


@pytest.mark.parametrize(
    "text", ["hello", "23.4.5", "23.4 hPa", "0x12", "1_000", "٢٣", "23 4", "1e999", "9" * 99, "--5"]
)
def test_everything_else_is_no_number(text: str) -> None:
    with pytest.raises(NoField):
        value_of(text, "temperature_c", unit=CELSIUS)


def test_a_scale_applies_before_the_unit_and_gives_the_float_nearest_to_the_decimal() -> None:
    hecto = find_unit("pressure_pa", "hPa")
    assert hecto is not None
    assert value_of("10132", "pressure_pa", unit=hecto, scale=Decimal("0.1")) == 101320.0


@given(st.text(max_size=30), st.sampled_from(["temperature_c", "humidity_pct", "pressure_pa", "co2_ppm"]))
def test_any_text_is_a_finite_number_or_none_or_no_number_at_all(text: str, quantity: str) -> None:
    try:
        value = value_of(text, quantity, unit=CELSIUS)
    except NoField:
        return
    assert value is None or math.isfinite(value)
