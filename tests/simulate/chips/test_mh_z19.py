from __future__ import annotations

import random

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.mh_z19 import WARM_UP_NS, MhZ19, complement
from edge_agent.simulate.world import Air

REQUEST = bytes.fromhex("ff0186000000000079")
AIR = Air(21.0, 50.0, 100_000.0, 812.0)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(0)


@pytest.fixture
def sensor(clock: SimulatedClock) -> MhZ19:
    return MhZ19(Part(clock, lambda _: AIR, random.Random(1)))


def ppm(sensor: MhZ19) -> int:
    reply = sensor.respond(REQUEST)
    assert reply is not None
    assert reply[:2] == b"\xff\x86"
    assert reply[8] == complement(reply)
    return int.from_bytes(reply[2:4], "big")


def test_a_frame_seen_in_the_wild_can_be_made(sensor: MhZ19) -> None:
    assert sensor.frame(3151, 60).hex() == "ff860c4f3c000000e3"


def test_it_answers_with_the_air_and_the_warmth_of_its_board(sensor: MhZ19) -> None:
    assert ppm(sensor) == pytest.approx(812, abs=15)
    reply = sensor.respond(REQUEST)
    assert reply is not None
    assert reply[4] == 21 + 3 + 40


def test_cold_it_says_the_same_round_number_for_a_minute(sensor: MhZ19, clock: SimulatedClock) -> None:
    sensor.power_cycle()
    assert [ppm(sensor) for _ in range(3)] == [410] * 3
    clock.advance_to(clock.now_ns() + WARM_UP_NS)
    assert ppm(sensor) == pytest.approx(812, abs=15)


@pytest.mark.parametrize(("real", "shown"), [(100.0, 400), (9000.0, 5000)])
def test_air_beyond_its_range_is_cut_off(clock: SimulatedClock, real: float, shown: int) -> None:
    assert ppm(MhZ19(Part(clock, lambda _: AIR._replace(co2_ppm=real), random.Random(1)))) == shown


@pytest.mark.parametrize("request_", ["ff0186000000000078", "ff0187000000000078", "ff01", "ff0286000000000078"])
def test_what_is_no_question_for_it_is_met_with_silence(sensor: MhZ19, request_: str) -> None:
    assert sensor.respond(bytes.fromhex(request_)) is None
