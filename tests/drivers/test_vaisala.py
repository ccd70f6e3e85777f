from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.vaisala import Vaisala, VaisalaOptions, find_values, is_complete, parse, request_for
from edge_agent.errors import BadReply, BusTimeout
from tests.drivers.lines import TextPort

MANUAL = b"P= 1013.2 hPa T= 31.1 'C RH= 38.3 %RH\r\n"
VALUES = (101320.0, 31.1, 38.3)


def device(*answers: bytes, address: int = 0, options: VaisalaOptions | None = None) -> tuple[Vaisala, TextPort]:
    port = TextPort(answers=list(answers))
    return Vaisala(port, address, options or VaisalaOptions()), port


def test_the_reply_of_the_manual_is_read() -> None:
    vaisala, port = device(MANUAL, MANUAL)
    assert list(vaisala.probe()) == []
    assert vaisala.trigger() == 0
    assert vaisala.collect() == VALUES
    assert port.requests == [b"SEND\r"] * 2


def test_one_of_several_on_a_line_is_asked_by_its_address() -> None:
    vaisala, port = device(MANUAL, address=5)
    vaisala.collect()
    assert port.requests == [request_for(5)] == [b"SEND 5\r"]


@pytest.mark.parametrize(
    "reply",
    [
        b"SEND\r\n" + MANUAL,
        b"send 5\r\n" + MANUAL + b">",
        b">" + MANUAL,
        b"\x00\x00" + MANUAL,
        b"P=  29.92 inHg T=  88.0 'F RH= 38.3 %RH\r\n",
        b"P1= 1008.9 hPa P2= 1009.1 hPa P= 1013.2 hPa T= 31.1 'C RH= 38.3 %RH\r\n",
        b"RH= 38.30%RH\tT= 31.10'C\tP= 101.32 kPa\r\n",
        b"pressure = 1013.2 hPa T = 31.1 'C RH = 38.3 % Tdf= 3.0 'C\r\n",
    ],
)
def test_echo_prompt_order_and_units_may_differ(reply: bytes) -> None:
    assert device(reply)[0].collect() == tuple(pytest.approx(value, rel=1e-3) for value in VALUES)


@pytest.mark.parametrize(
    ("unit", "pascal"),
    [
        ("hPa", 1000.0),
        ("mbar", 1000.0),
        ("kPa", 10_000.0),
        ("Pa", 10.0),
        ("bar", 1e6),
        ("mmHg", 1333.22),
        ("torr", 1333.22),
        ("inHg", 33_863.9),
        ("psi", 68_947.6),
    ],
)
def test_every_unit_of_pressure_is_converted(unit: str, pascal: float) -> None:
    assert parse(f"P= 10.0 {unit}") == {"pressure_pa": pytest.approx(pascal, rel=1e-5)}


def test_stars_mean_that_there_is_no_value() -> None:
    assert device(b"P= ****** hPa T= 31.1 'C RH= ***** %RH\r\n")[0].collect() == (None, 31.1, None)


def test_an_old_barometer_says_only_number_and_unit() -> None:
    assert parse("1013.25 hPa") == {"pressure_pa": 101325.0}


def test_a_smaller_relative_measures_less() -> None:
    vaisala, _ = device(b"RH= 33.0 %RH T= 22.1 'C\r\n", b"RH= 33.1 %RH T= 22.2 'C\r\n")
    list(vaisala.probe())
    assert vaisala.quantities == ("temperature_c", "humidity_pct")
    assert vaisala.collect() == (22.2, 33.1)


def test_a_device_that_measures_nothing_of_what_is_wanted_is_told() -> None:
    with pytest.raises(BadReply, match="sends temperature_c, and none of pressure_pa"):
        list(device(b"T= 22.1 'C\r\n", options=VaisalaOptions(quantities=("pressure_pa",)))[0].probe())


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (b"P= 1013.2 T= 31.1 RH= 38.3\r\n", "no unit that is known.*FORM"),
        (b"P= 1013.2 mmH2O\r\n", "no unit that is known"),
        (b"P= 1013.2 hPa T= 31", "broke off"),
        (MANUAL[:-2], "broke off"),
        (b"Unknown command\r\n>", "holds no value"),
        (b"\xf8\x00\x80\xff", "7E1"),
    ],
)
def test_a_reply_that_cannot_be_used_says_why(reply: bytes, sentence: str) -> None:
    with pytest.raises(BadReply, match=sentence):
        device(reply)[0].collect()


def test_silence_is_a_time_out_that_tells_about_the_settings() -> None:
    with pytest.raises(BusTimeout, match="7E1"):
        device(b"")[0].collect()


def test_reading_ends_with_the_line_that_holds_values_and_not_with_the_echo() -> None:
    assert not is_complete(b"SEND 5\r\n")
    assert not is_complete(b"SEND 5\r\n" + MANUAL[:-2])
    assert is_complete(b"SEND 5\r\n" + MANUAL)


@pytest.mark.parametrize("keys", [{"quantities": ("co2_ppm",)}, {"quantities": ()}, {"timeout_s": 11.0}])
def test_options_that_cannot_be_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"quantities|timeout_s"):
        VaisalaOptions(**keys)  # type: ignore[arg-type]


REPLIES = st.binary(max_size=80) | st.text("PTRH= 0123456789.*'CFhPainHg%\r\n>-", max_size=80).map(str.encode)


@given(REPLIES)
def test_any_bytes_give_finite_numbers_or_an_error_of_ours(received: bytes) -> None:
    is_complete(received)
    try:
        values = find_values(received)
    except BadReply:
        return
    assert all(value is None or math.isfinite(value) for value in values.values())


@given(st.floats(500, 1100), st.floats(-40, 60), st.floats(0, 100))
def test_what_is_written_is_read(hpa: float, celsius: float, percent: float) -> None:
    line = f"P= {hpa:.1f} hPa T= {celsius:.1f} 'C RH= {percent:.1f} %RH"
    assert parse(line) == {
        "pressure_pa": pytest.approx(hpa * 100, abs=5.1),
        "temperature_c": pytest.approx(celsius, abs=0.051),
        "humidity_pct": pytest.approx(percent, abs=0.051),
    }
