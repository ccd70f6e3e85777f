from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.ascii_line import AsciiLine, AsciiLineOptions, measures, parser_for
from edge_agent.drivers.lines import NoField
from edge_agent.errors import BadReply, BusGone, BusTimeout, NotReady
from tests.drivers.lines import TextPort

THREE = ("T=temperature_c", "H=humidity_pct", "P=pressure_pa:hPa")
ALL = {"temperature_c": 23.4, "humidity_pct": 45.6, "pressure_pa": 101320.0}


def started(port: TextPort, options: AsciiLineOptions | None = None) -> AsciiLine:
    """A device whose first half line is past."""
    port.ear.waiting.insert(0, b"\r\n")
    device = AsciiLine(port, 0, options or AsciiLineOptions())
    assert list(device.probe()) == []
    assert device.trigger() == 0
    return device


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (AsciiLineOptions(), "23.4,45.6,1013.2"),
        (AsciiLineOptions(), " 23.4 , 45.6 , 1013.2 ,"),
        (AsciiLineOptions(), "23.4C,45.6%,1013.2hPa"),
        (AsciiLineOptions(), "23.4 °C,45.6 %RH,101.32 kPa"),
        (AsciiLineOptions(), "74.12F,45.6,1013.2 mbar"),
        (AsciiLineOptions(separator=";"), "23,4;45,6;1013,2"),
        (AsciiLineOptions(separator=" "), "23.4  45.6\t1013.2"),
        (AsciiLineOptions(columns=("", "temperature_c", "humidity_pct", "pressure_pa:hPa")), "17,23.4,45.6,1013.2"),
        (AsciiLineOptions(columns=("temperature_c*0.1", "humidity_pct*0.01", "pressure_pa")), "234,4560,101320"),
        (AsciiLineOptions("keyvalue", THREE), "T=23.4 H=45.6 P=1013.2"),
        (AsciiLineOptions("keyvalue", THREE), "t0=9 P: 1013.2 hPa; H: 45,6 %; T: 23,4 °C; ok"),
        (AsciiLineOptions("keyvalue", THREE), "DT=1.0,T=23.4C,H=45.6%,P=1013.2hPa"),
        (AsciiLineOptions("json", THREE), '{"T": 23.4, "H": 45.6, "P": 1013.2}'),
        (AsciiLineOptions("json", ("a.t=temperature_c", *THREE[1:])), '{"a": {"t": "23.4"}, "H": 45.6, "P": 1013.2}'),
        (
            AsciiLineOptions("regex", THREE, pattern=r"(?P<T>[-\d.]+) deg, (?P<H>[\d.]+) %, (?P<P>[\d.]+)"),
            "node 7: 23.4 deg, 45.6 %, 1013.2 hPa",
        ),
    ],
)
def test_lines_as_devices_write_them(options: AsciiLineOptions, line: str) -> None:
    values = parser_for(options)(line)
    assert values == pytest.approx(ALL)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (AsciiLineOptions(), "23.4,45.6"),
        (AsciiLineOptions(), "23.4,45.6,1013.2,7"),
        (AsciiLineOptions(), "Booting..."),
        (AsciiLineOptions("keyvalue", THREE), "X=1 Y=2"),
        (AsciiLineOptions("json", THREE), '{"T": 23.4'),
        (AsciiLineOptions("json", THREE), "[1, 2]"),
        (AsciiLineOptions("json", THREE), '{"a": 1}'),
        (AsciiLineOptions("json", THREE), "[" * 400),
        (AsciiLineOptions("regex", THREE, pattern="(?P<T>.)!(?P<H>.)(?P<P>.)"), "no"),
    ],
)
def test_lines_of_another_form_are_not_ours(options: AsciiLineOptions, line: str) -> None:
    assert parser_for(options)(line) is None


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (AsciiLineOptions(), "weather, node, v1.0"),
        (AsciiLineOptions(), "23.4,45.6,1013.2.1"),
        (AsciiLineOptions("keyvalue", THREE), "T=warm"),
        (AsciiLineOptions("json", THREE), '{"T": true}'),
        (AsciiLineOptions("json", THREE), '{"T": [23.4]}'),
    ],
)
def test_lines_of_our_form_that_hold_something_else_than_numbers_are_refused(
    options: AsciiLineOptions, line: str
) -> None:
    with pytest.raises(NoField):
        parser_for(options)(line)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (AsciiLineOptions(), "ERR,45.6,-nan"),
        (AsciiLineOptions(), "-127.00,45.6,"),
        (AsciiLineOptions("keyvalue", THREE), "H=45.6 T=85.00"),
        (AsciiLineOptions("json", THREE), '{"T": NaN, "H": 45.6, "P": null}'),
    ],
)
def test_a_value_that_the_device_does_not_have_is_none_and_the_others_count(
    options: AsciiLineOptions, line: str
) -> None:
    assert parser_for(options)(line) == {"temperature_c": None, "humidity_pct": 45.6, "pressure_pa": None}


def test_the_newest_complete_line_since_the_last_poll_counts() -> None:
    port = TextPort()
    device = started(port)
    port.say(b"20.0,40.0,1000.0\r\n21.0,41.0,1001.0\r\n22.0,42.0,10")
    assert device.collect() == (21.0, 41.0, 100100.0)
    port.say(b"02.0\r\n")
    assert device.collect() == (22.0, 42.0, 100200.0)


def test_a_line_is_a_measurement_once() -> None:
    port = TextPort()
    device = started(port)
    port.say(b"20.0,40.0,1000.0\r\n")
    device.collect()
    with pytest.raises(NotReady, match="no line has come"):
        device.collect()


def test_lines_that_came_while_it_was_set_up_are_not_lost() -> None:
    port = TextPort()
    port.say(b"\n20.0,40.0,1000.0\n")
    device = AsciiLine(port, 0, AsciiLineOptions())
    list(device.probe())
    assert device.collect() == (20.0, 40.0, 100000.0)


def test_a_banner_is_passed_over_and_told_if_nothing_else_comes() -> None:
    port = TextPort()
    device = started(port)
    port.say(b"\x00\x00weather, node, v1.0\r\nready\r\n")
    with pytest.raises(NotReady, match="the last was 'ready'"):
        device.collect()
    port.say(b"20.0,40.0,1000.0\r\nbye\r\n")
    assert device.collect() == (20.0, 40.0, 100000.0)


def test_a_port_that_vanishes_is_told_and_the_half_lines_around_it_are_never_joined() -> None:
    port = TextPort()
    device = started(port)
    port.say(b"2", BusGone("unplugged"))
    with pytest.raises(NotReady):
        device.collect()
    with pytest.raises(BusGone):
        device.collect()
    port.ear.lost += 1
    port.say(b"0.0,40.0,1000.0\n21.0,41.0,1001.0\n")
    assert device.collect() == (21.0, 41.0, 100100.0)


READ = AsciiLineOptions(columns=("temperature_c", "humidity_pct"), request="READ")


def test_a_device_that_only_answers_is_asked_and_may_leave_out_the_line_end() -> None:
    port = TextPort(answers=[b"16.02C,55.85%", b"16.03C,55.86%\r\n"])
    device = AsciiLine(port, 0, READ)
    assert list(device.probe()) == []
    assert device.collect() == (16.03, 55.86)
    assert port.requests == [b"READ"] * 2


def test_a_device_that_does_not_answer_or_answers_nonsense_is_told() -> None:
    with pytest.raises(BusTimeout, match="does not answer"):
        AsciiLine(TextPort(answers=[b""]), 0, READ).collect()
    with pytest.raises(BadReply, match="does not fit"):
        AsciiLine(TextPort(answers=[b"what?\r\n"]), 0, READ).collect()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"columns": ("temperatur_c",)}, "not a quantity"),
        ({"columns": ("temperature_c:hPa",)}, "not a unit of temperature_c; known: c"),
        ({"columns": ("temperature_c*x",)}, "is not"),
        ({"columns": ("temperature_c*0",)}, "scale"),
        ({"columns": ("temperature_c*1.2.3",)}, "scale"),
        ({"columns": ("temperature_c", "temperature_c")}, "each once"),
        ({"columns": ()}, "one or more"),
        ({"columns": ("", "")}, "one or more"),
        ({"columns": ("=x=y",)}, "is not"),
        ({"separator": ""}, "separator"),
        ({"format": "regex"}, "go together"),
        ({"pattern": "x"}, "go together"),
        ({"format": "regex", "pattern": "("}, "regular expression"),
        ({"format": "regex", "pattern": "(?P<x>.)"}, "no group"),
        ({"timeout_s": 0.0}, "timeout_s"),
    ],
)
def test_options_that_do_not_fit_together_are_refused_with_the_configuration(
    keys: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        AsciiLineOptions(**keys)  # type: ignore[arg-type]


def test_it_measures_what_its_columns_say_in_their_order() -> None:
    options = AsciiLineOptions(columns=("co2_ppm", "", "temperature_c"))
    assert [each.quantity for each in measures(options)] == ["co2_ppm", "temperature_c"]


LINES = st.text(alphabet='0123456789.,;:=THPCnaNerREinf{}[]" \t-+°%', max_size=60) | st.text(max_size=40)


@given(LINES, st.sampled_from(["csv", "keyvalue", "json"]), st.sampled_from([",", ";", " "]))
def test_any_line_gives_finite_numbers_or_is_not_ours(line: str, form: str, separator: str) -> None:
    options = AsciiLineOptions(form, THREE, separator)  # type: ignore[arg-type]
    try:
        values = parser_for(options)(line)
    except NoField:
        return
    assert values is None or all(value is None or math.isfinite(value) for value in values.values())


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_on_the_line_give_a_measurement_or_nothing_yet(pieces: list[bytes]) -> None:
    port = TextPort()
    device = started(port)
    port.say(*pieces)
    for _ in pieces:
        try:
            assert len(device.collect()) == 3
        except NotReady:
            continue
