"""The chip by itself, then read by Adafruit's driver."""

from __future__ import annotations

import random

import adafruit_tmp117
import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.tmp117 import Tmp117
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

AIR = Air(-7.25, 50.0, 100_500.0)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Tmp117:
    return Tmp117(Part(clock, lambda _: AIR, random.Random(5)))


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def register(chip: Tmp117, number: int) -> int:
    chip.write(bytes([number]))
    return int.from_bytes(chip.read(2))


def test_after_power_up_it_converts_by_itself_and_shows_minus_256_until_then(
    chip: Tmp117, clock: SimulatedClock
) -> None:
    chip.power_cycle()
    assert register(chip, 0x01) == 0x1220
    pass_time(clock, 1_500_000)
    assert register(chip, 0x01) == 0x0220
    assert register(chip, 0x00) == 0x8000
    pass_time(clock, 124_000_000)
    assert register(chip, 0x01) == 0x2220
    assert register(chip, 0x01) == 0x0220  # the flag went when it was seen
    counts = register(chip, 0x00) - 65_536
    assert counts * 0.0078125 == pytest.approx(AIR.temperature_c, abs=0.03)
    assert chip.read(2) == (counts & 0xFFFF).to_bytes(2)  # the pointer stays
    pass_time(clock, 1_000_000_000)
    assert register(chip, 0x01) == 0x2220


def test_one_shot_converts_once_and_shuts_down(chip: Tmp117, clock: SimulatedClock) -> None:
    chip.write(b"\x01\x0c\x00")
    pass_time(clock, 15_500_000 - 1)
    assert register(chip, 0x01) == 0x0C00
    pass_time(clock, 1)
    assert register(chip, 0x01) == 0x2400
    pass_time(clock, 10_000_000_000)
    assert register(chip, 0x01) == 0x0400


def test_reading_the_result_clears_the_flag_too(chip: Tmp117, clock: SimulatedClock) -> None:
    chip.write(b"\x01\x0c\x00")
    pass_time(clock, 20_000_000)
    register(chip, 0x00)
    assert register(chip, 0x01) == 0x0400


def test_alerts_go_by_the_limits(chip: Tmp117, clock: SimulatedClock) -> None:
    chip.write(b"\x02\xf0\x00")  # -32 °C
    chip.write(b"\x01\x0c\x00")
    pass_time(clock, 20_000_000)
    assert register(chip, 0x01) == 0xA400
    chip.write(b"\x02\x60\x00")
    chip.write(b"\x03\x00\x00")
    chip.write(b"\x01\x0c\x00")
    pass_time(clock, 20_000_000)
    assert register(chip, 0x01) == 0x6400


def test_what_was_loaded_is_what_every_conversion_ends_in(chip: Tmp117, clock: SimulatedClock) -> None:
    chip.load(b"\x59\xeb")
    chip.write(b"\x01\x0c\x00")
    pass_time(clock, 20_000_000)
    assert register(chip, 0x00) == 0x59EB


def test_adafruit_reads_the_air(chip: Tmp117, clock: SimulatedClock) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x48, chip)
    with sleeping_on(clock):
        peer = adafruit_tmp117.TMP117(CircuitPythonFacade(bus, clock))
        assert peer.temperature == pytest.approx(AIR.temperature_c, abs=0.03)
        assert peer.take_single_measurement() == pytest.approx(AIR.temperature_c, abs=0.03)
        peer.temperature_offset = 10.0
        pass_time(clock, 2_000_000_000)
        assert peer.take_single_measurement() == pytest.approx(AIR.temperature_c + 10.0, abs=0.03)
