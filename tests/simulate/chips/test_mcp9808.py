"""The chip by itself, then read by Adafruit's driver."""

from __future__ import annotations

import random

import adafruit_mcp9808
import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.mcp9808 import Mcp9808
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

AIR = Air(-5.5, 50.0, 100_500.0)
CONVERSION_NS = 250_000_000


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Mcp9808:
    return Mcp9808(Part(clock, lambda _: AIR, random.Random(5)))


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def register(chip: Mcp9808, number: int, count: int = 2) -> int:
    chip.write(bytes([number]))
    return int.from_bytes(chip.read(count))


def celsius(chip: Mcp9808) -> float:
    word = register(chip, 5) & 0x1FFF
    return (word - 0x2000 if word & 0x1000 else word) / 16


def test_it_converts_by_itself_and_shows_zero_until_then(chip: Mcp9808, clock: SimulatedClock) -> None:
    pass_time(clock, CONVERSION_NS - 1)
    assert celsius(chip) == 0.0
    pass_time(clock, 1)
    assert celsius(chip) == pytest.approx(AIR.temperature_c, abs=0.15)


def test_a_coarser_resolution_is_faster(chip: Mcp9808, clock: SimulatedClock) -> None:
    assert register(chip, 8, 1) == 3
    chip.write(b"\x08\x00")
    pass_time(clock, 30_000_000)
    assert celsius(chip) in {-5.0, -5.5, -6.0}


def test_flags_stand_above_the_temperature_and_go_by_the_limits(chip: Mcp9808, clock: SimulatedClock) -> None:
    pass_time(clock, CONVERSION_NS)
    assert register(chip, 5) >> 13 == 0b001  # all limits are 0 °C
    chip.write(b"\x02\x1f\x00")
    chip.write(b"\x03\x1e\x00")
    chip.write(b"\x04\x1f\x40")
    assert [register(chip, limit) for limit in (2, 3, 4)] == [0x1F00, 0x1E00, 0x1F40]
    assert register(chip, 5) >> 13 == 0b110


def test_shut_down_it_keeps_its_last_conversion_and_a_power_cycle_forgets_all(
    chip: Mcp9808, clock: SimulatedClock
) -> None:
    pass_time(clock, CONVERSION_NS)
    before = register(chip, 5)
    chip.write(b"\x01\x03\x00")
    pass_time(clock, 10 * CONVERSION_NS)
    assert register(chip, 5) == before
    assert register(chip, 1) == 0x0300
    chip.write(b"\x01\x02\x00")
    pass_time(clock, CONVERSION_NS)
    chip.power_cycle()
    assert (register(chip, 1), celsius(chip)) == (0, 0.0)


def test_a_lock_keeps_the_hysteresis_and_the_limits_until_the_power_goes(chip: Mcp9808) -> None:
    chip.write(b"\x01\x02\x40")
    chip.write(b"\x01\x05\x00")
    assert register(chip, 1) == 0x0240
    chip.write(b"\x02\x10\x00")
    assert register(chip, 2) == 0
    chip.write(b"\x04\x05\x00")
    assert register(chip, 4) == 0x0500
    chip.power_cycle()
    assert register(chip, 1) == 0


def test_what_was_loaded_is_what_the_register_holds(chip: Mcp9808) -> None:
    chip.load(b"\xc1\x90")
    assert register(chip, 5) == 0xC190
    assert (register(chip, 6), register(chip, 7)) == (0x0054, 0x0400)


def test_adafruit_reads_the_air(chip: Mcp9808, clock: SimulatedClock) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x18, chip)
    pass_time(clock, CONVERSION_NS)
    with sleeping_on(clock):
        peer = adafruit_mcp9808.MCP9808(CircuitPythonFacade(bus, clock))
        assert peer.temperature == pytest.approx(AIR.temperature_c, abs=0.15)
        assert peer.below_lower
        assert not peer.above_upper
