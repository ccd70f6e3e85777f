from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pynmea2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.nmea0183 import Nmea0183, NmeaOptions, checksum, fields_of, measures, values_of
from edge_agent.errors import BadReply, BusGone, ChecksumMismatch, DriverError, NotReady
from tests.drivers.lines import TextPort

if TYPE_CHECKING:
    from pathlib import Path

XDR = b"$WIXDR,C,19.5,C,TEMP,P,0.9898,B,BARO,H,31.2,P,RH*41"
VALUES = (19.5, 31.2, 98980.0)


def sentence(body: str) -> bytes:
    return f"${body}*{checksum(body.encode()):02X}".encode()


def read(line: bytes, medium: str = "air", transducer: str | None = None, *, strict: bool = True) -> dict[str, float]:
    found = fields_of(line, strict=strict)
    return {} if found is None else values_of(*found, medium, transducer)  # type: ignore[arg-type]


def started(port: TextPort, options: NmeaOptions | None = None) -> Nmea0183:
    """A station whose first half line is past."""
    port.ear.waiting.insert(0, b"\r\n")
    station = Nmea0183(port, 0, options or NmeaOptions())
    assert list(station.probe()) == []
    assert station.trigger() == 0
    return station


def test_every_shared_sentence_has_its_values_and_pynmea2_agrees(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/nmea_weather.json").read_text())["vectors"]
    for row in rows:
        line = row["sentence"].encode()
        theirs = pynmea2.parse(row["sentence"], check=True)
        if row["type"] == "MTW":
            assert read(line) == {}
            assert read(line, "water") == {"temperature_c": row["expect"]["water_temperature_c"]}
            assert read(line, "water") == {"temperature_c": float(theirs.temperature)}
        else:
            assert read(line) == row["expect"]
        if row["type"] == "MDA":
            assert read(line)["temperature_c"] == float(theirs.air_temp)
            assert read(line)["humidity_pct"] == float(theirs.rel_humidity)
    assert len(rows) > 50


@pytest.mark.parametrize("talker", ["WI", "II", "HC", "YX", "PA"])
def test_any_talker_is_heard(talker: str) -> None:
    assert read(sentence(f"{talker}MDA,,I,1.0273,B,-24.8,C,,,38.0")) == {
        "temperature_c": -24.8,
        "pressure_pa": 102730.0,
        "humidity_pct": 38.0,
    }


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ("WIMDA,29.9212,I,,B,,C,,C,,,,C,,T,,M,,N,,M", {"pressure_pa": pytest.approx(101324.9, abs=0.5)}),
        ("WIMDA,,,,,21.0,F,,,38.0", {"humidity_pct": 38.0}),
        ("WIMDA", {}),
        ("WIXDR,C,67.1,F,TEMP", {"temperature_c": pytest.approx(19.5)}),
        ("WIXDR,C,292.65,K,TEMP", {"temperature_c": 19.5}),
        ("WIXDR,P,98980,P,BARO", {"pressure_pa": 98980.0}),
        ("WIXDR,C,19.5,C,TEMP,C,12.0,C,DEW", {"temperature_c": 19.5}),
        ("WIXDR,A,12.0,D,PTCH,H,31.2,P,", {"humidity_pct": 31.2}),
        ("WIXDR,C,,C,TEMP,H,nan,P,RH", {}),
        ("WIXDR,C,19.5", {}),
        ("WIMWV,12.0,R,3.0,N,A", {}),
    ],
)
def test_sentences_as_stations_send_them(body: str, values: dict[str, float]) -> None:
    assert read(sentence(body)) == values


def test_a_transducer_can_be_chosen_by_its_name() -> None:
    line = sentence("WIXDR,C,19.5,C,AIR,C,12.0,C,SEA,H,31.2,P,RH")
    assert read(line, transducer="SEA") == {"temperature_c": 12.0, "humidity_pct": 31.2}
    assert read(line, transducer="SOIL") == {"humidity_pct": 31.2}


def test_the_water_is_wanted_of_mda_and_mtw_only() -> None:
    assert read(sentence("WIMDA,,I,1.0,B,20.0,C,12.5,C,38.0"), "water") == {"temperature_c": 12.5}
    assert read(XDR, "water") == {}


def test_noise_before_a_sentence_is_passed_over() -> None:
    assert read(b"\xff$GP\x00" + XDR)["temperature_c"] == 19.5


def test_a_checksum_is_insisted_on_unless_told_otherwise_and_a_wrong_one_never_passes() -> None:
    bare = XDR[:-3]
    with pytest.raises(BadReply, match="strict = false"):
        read(bare)
    assert read(bare, strict=False)["temperature_c"] == 19.5
    for strict in (True, False):
        with pytest.raises(ChecksumMismatch) as caught:
            read(bare + b"*42", strict=strict)
        assert (caught.value.expected, caught.value.received) == (0x41, 0x42)


def test_a_sentence_of_more_than_82_characters_is_insisted_on_as_well() -> None:
    long = sentence("WIXDR,C,19.5,C,TEMP" + ",A,1.0,D,X" * 6)
    with pytest.raises(BadReply, match="82 characters"):
        read(long)
    assert read(long, strict=False) == {"temperature_c": 19.5}


def test_every_flipped_bit_is_noticed_or_leaves_the_values_as_they_were() -> None:
    for bit in range(8 * len(XDR)):
        damaged = bytearray(XDR)
        damaged[bit // 8] ^= 1 << bit % 8
        port = TextPort()
        station = started(port)
        port.say(bytes(damaged) + b"\r\n")
        try:
            assert station.collect() == VALUES, f"bit {bit}"
        except (NotReady, DriverError):
            continue


def test_the_newest_of_each_quantity_counts_once() -> None:
    port = TextPort()
    station = started(port)
    port.say(XDR + b"\r\n" + sentence("WIXDR,C,20.5,C,TEMP") + b"\r\n")
    assert station.collect() == (20.5, 31.2, 98980.0)
    station.trigger()
    with pytest.raises(NotReady, match="no sentence"):
        station.collect()


def test_quantities_that_come_in_sentences_of_their_own_are_waited_for() -> None:
    port = TextPort()
    station = started(port)
    port.say(sentence("WIXDR,C,20.5,C,TEMP,H,31.2,P,RH") + b"\r\n")
    with pytest.raises(NotReady, match="no pressure_pa has come"):
        station.collect()
    port.say(sentence("WIXDR,P,0.9898,B,BARO") + b"\r\n")
    assert station.collect() == (20.5, 31.2, 98980.0)


def test_a_quantity_that_stays_away_is_not_waited_for_for_ever() -> None:
    port = TextPort()
    station = started(port)
    line = sentence("WIXDR,C,20.5,C,TEMP,P,0.9898,B,BARO") + b"\r\n"
    for _ in range(2):
        port.say(line)
        with pytest.raises(NotReady, match="humidity_pct"):
            station.collect()
        station.trigger()
    for _ in range(2):
        port.say(line)
        assert station.collect() == (20.5, None, 98980.0)
        station.trigger()
    port.say(XDR + b"\r\n")
    assert station.collect() == VALUES


def test_nothing_but_damaged_sentences_is_told_as_that() -> None:
    port = TextPort()
    station = started(port)
    port.say(XDR[:-1] + b"7\r\n")
    with pytest.raises(ChecksumMismatch):
        station.collect()
    with pytest.raises(NotReady):
        station.collect()


def test_a_port_that_vanishes_is_told() -> None:
    port = TextPort()
    station = started(port)
    port.say(BusGone("unplugged"))
    with pytest.raises(BusGone):
        station.collect()


def test_only_what_is_wanted_is_measured() -> None:
    options = NmeaOptions(quantities=("pressure_pa",))
    assert [each.quantity for each in measures(options)] == ["pressure_pa"]
    assert [each.quantity for each in measures(NmeaOptions(medium="water"))] == ["temperature_c"]
    port = TextPort()
    station = started(port, options)
    port.say(XDR + b"\r\n")
    assert station.collect() == (98980.0,)
    with pytest.raises(ValueError, match="quantities"):
        NmeaOptions(quantities=("wind",))


@given(st.binary(max_size=100) | st.text("$WIXDRMATH,.*0123456789CPBF-", max_size=90).map(str.encode), st.booleans())
def test_any_line_gives_finite_numbers_or_an_error_of_ours(line: bytes, strict: bool) -> None:
    try:
        values = read(line, strict=strict)
    except (BadReply, ChecksumMismatch):
        return
    assert all(math.isfinite(value) for value in values.values())


@given(st.text("XDRCPHBF,.0123456789-", max_size=70))
def test_any_fields_under_a_right_checksum_give_finite_numbers(fields: str) -> None:
    for kind in ("XDR", "MDA", "MTW"):
        for medium in ("air", "water"):
            line = sentence(f"WI{kind},{fields}")
            assert all(math.isfinite(value) for value in read(line, medium, strict=False).values())
