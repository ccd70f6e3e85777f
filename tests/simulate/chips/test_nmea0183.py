"""A simulated station judged by another reader of NMEA 0183: pynmea2."""

from __future__ import annotations

import random

import pynmea2
import pytest

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.nmea0183 import make_station, sentence
from edge_agent.simulate.world import Air

AIR = Air(-7.4, 57.1, 100_500.0)


def said(seconds: int, **options: object) -> list[str]:
    clock = SimulatedClock(0)
    station = make_station(Part(clock, lambda _: AIR, random.Random(1), options=options))
    clock.advance_to(clock.now_ns() + seconds * NS_PER_S)
    return station.speak().decode("ascii").split("\r\n")


def test_pynmea2_reads_every_sentence() -> None:
    lines = [line for line in said(3) if line]
    assert len(lines) == 1 + 3 * 3
    kinds = [pynmea2.parse(line, check=True).sentence_type for line in lines[1:]]
    assert kinds == ["MDA", "XDR", "MTW"] * 3
    assert all(len(line) <= 80 for line in lines)


def test_pynmea2_finds_the_air_in_them() -> None:
    _, greeting, mda_line, xdr_line, mtw_line, _ = said(1)
    assert greeting.startswith("$PAMTR")
    mda = pynmea2.parse(mda_line, check=True)
    assert float(mda.b_pressure_bar) == pytest.approx(1.005, abs=0.0003)
    assert float(mda.b_pressure_inch) == pytest.approx(29.677, abs=0.01)
    assert float(mda.air_temp) == pytest.approx(-7.4, abs=0.2)
    assert float(mda.rel_humidity) == pytest.approx(57.1, abs=0.8)
    xdr = pynmea2.parse(xdr_line, check=True)
    assert [xdr.get_transducer(number).id for number in range(xdr.num_transducers)] == ["TEMP", "BARO", "RH"]
    assert float(xdr.get_transducer(1).value) == pytest.approx(1.005, abs=0.0003)
    assert float(pynmea2.parse(mtw_line, check=True).temperature) == pytest.approx(-7.4, abs=0.2)


def test_the_thermometer_bears_the_name_that_is_asked_for() -> None:
    assert any(",C,AIRTEMP,P," in line for line in said(1, transducer="AIRTEMP"))


def test_a_sentence_carries_the_checksum_of_the_standard() -> None:
    body = "WIXDR,C,19.5,C,TEMP,P,0.9898,B,BARO,H,31.2,P,RH"
    assert sentence(body) == f"${body}*41\r\n".encode()
