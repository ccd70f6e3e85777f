"""The chip by itself, then read by Adafruit's and Sensirion's drivers."""

from __future__ import annotations

import random

import adafruit_shtc3
import pytest
from sensirion_i2c_sht.shtc3 import Shtc3I2cDevice

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.sensirion import word
from edge_agent.simulate.chips.shtc3 import Shtc3
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on
from tests.simulate.sensirion_peer import connection

AIR = Air(33.5, 12.25, 100_500.0)
WAKE, SLEEP, READ_ID, RESET = b"\x35\x17", b"\xb0\x98", b"\xef\xc8", b"\x80\x5d"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Shtc3:
    return Shtc3(Part(clock, lambda _: AIR, random.Random(5)))


@pytest.fixture
def bus(clock: SimulatedClock, chip: Shtc3) -> SimulatedI2C:
    bus = SimulatedI2C(clock)
    bus.attach(0x70, chip)
    return bus


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


@pytest.mark.parametrize(
    ("command", "typical_ns", "humidity_first"),
    [("7866", 10_800_000, False), ("58e0", 10_800_000, True), ("609c", 700_000, False), ("401a", 700_000, True)],
)
def test_a_measurement_is_the_air_after_its_time_in_the_order_asked_for(
    chip: Shtc3, clock: SimulatedClock, command: str, typical_ns: int, humidity_first: bool
) -> None:
    chip.write(bytes.fromhex(command))
    pass_time(clock, typical_ns - 1)
    with pytest.raises(Nack):
        chip.read(6)
    pass_time(clock, 1)
    reply = chip.read(6)
    temperature, humidity = (reply[3:], reply[:3]) if humidity_first else (reply[:3], reply[3:])
    assert int.from_bytes(temperature[:2]) * 175 / 65536 - 45 == pytest.approx(AIR.temperature_c, abs=0.4)
    assert int.from_bytes(humidity[:2]) * 100 / 65536 == pytest.approx(AIR.humidity_pct, abs=0.4)


def test_asleep_it_hears_only_the_command_that_wakes_it(chip: Shtc3, clock: SimulatedClock) -> None:
    chip.write(b"\x78\x66")
    pass_time(clock, 12_100_000)
    chip.write(SLEEP)
    for data in (READ_ID, SLEEP, b"\x78\x66", b""):
        with pytest.raises(Nack):
            chip.write(data)
    with pytest.raises(Nack):
        chip.read(6)
    chip.write(WAKE)
    with pytest.raises(Nack):
        chip.write(READ_ID)
    pass_time(clock, 240_000)
    chip.write(WAKE)  # again does nothing
    chip.write(READ_ID)
    assert chip.read(3) == word(chip.identity)
    assert chip.identity & 0x083F == 0x0807


def test_a_power_cycle_or_reset_leaves_it_awake_without_a_measurement(chip: Shtc3, clock: SimulatedClock) -> None:
    chip.write(SLEEP)
    chip.power_cycle()
    pass_time(clock, 240_000)
    chip.write(b"\x78\x66")
    pass_time(clock, 12_100_000)
    chip.write(RESET)
    pass_time(clock, 240_000)
    with pytest.raises(Nack):
        chip.read(6)
    with pytest.raises(Nack):
        chip.write(b"\x12\x34")


def test_adafruit_reads_the_air(bus: SimulatedI2C, clock: SimulatedClock) -> None:
    with sleeping_on(clock):
        peer = adafruit_shtc3.SHTC3(CircuitPythonFacade(bus, clock))
        assert peer.measurements == pytest.approx(AIR[:2], abs=0.15)
        peer.low_power = True
        assert peer.measurements == pytest.approx(AIR[:2], abs=0.5)


def test_sensirion_reads_the_air(bus: SimulatedI2C, clock: SimulatedClock) -> None:
    with sleeping_on(clock):
        peer = Shtc3I2cDevice(connection(bus, clock))
        temperature, humidity = peer.measure()
    assert temperature.degrees_celsius == pytest.approx(AIR.temperature_c, abs=0.15)
    assert humidity.percent_rh == pytest.approx(AIR.humidity_pct, abs=0.15)
