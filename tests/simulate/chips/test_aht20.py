"""The chips by themselves, then read by Adafruit's driver."""

from __future__ import annotations

import random

import adafruit_ahtx0
import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.aht20 import CHIPS, Aht
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.sensirion import sensirion_crc
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

AIR = Air(-11.5, 88.0, 100_500.0)
MEASURE = b"\xac\x33\x00"
every_chip = pytest.mark.parametrize("name", ["aht20", "aht10"])


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


def make(name: str, clock: SimulatedClock) -> Aht:
    chip = CHIPS[name](Part(clock, lambda _: AIR, random.Random(5)))
    assert isinstance(chip, Aht)
    return chip


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


@every_chip
def test_a_measurement_is_the_air_when_it_is_no_longer_busy(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    chip.write(MEASURE)
    pass_time(clock, 75_000_000 - 1)
    assert chip.read(1)[0] & 0x80
    assert chip.read(6)[1:] == bytes(5)  # the old data
    pass_time(clock, 1)
    reply = chip.read(7)
    assert reply[0] == 0x18
    counts = int.from_bytes(reply[1:6])
    assert (counts >> 20) / 2**20 * 100 == pytest.approx(AIR.humidity_pct, abs=0.1)
    assert (counts & 0xFFFFF) / 2**20 * 200 - 50 == pytest.approx(AIR.temperature_c, abs=0.05)
    assert reply[6] == (sensirion_crc(reply[:6]) if name == "aht20" else 0xFF)
    assert chip.read(7) == reply


@every_chip
def test_a_power_cycle_takes_the_calibration_until_it_is_initialised_in_its_own_way(
    clock: SimulatedClock, name: str
) -> None:
    chip = make(name, clock)
    chip.power_cycle()
    with pytest.raises(Nack):
        chip.read(1)
    pass_time(clock, 20_000_000)
    assert chip.read(1) == b"\x10"
    own, other = (b"\xbe\x08\x00", b"\xe1\x08\x00") if name == "aht20" else (b"\xe1\x08\x00", b"\xbe\x08\x00")
    with pytest.raises(Nack):
        chip.write(other)
    chip.write(own)
    assert chip.read(1)[0] & 0x80
    pass_time(clock, 10_000_000)
    assert chip.read(1) == b"\x18"


@every_chip
def test_a_reset_loses_the_data_and_keeps_the_calibration(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    chip.write(MEASURE)
    pass_time(clock, 80_000_000)
    chip.write(b"\xba")
    with pytest.raises(Nack):
        chip.write(b"")
    pass_time(clock, 20_000_000)
    assert chip.read(6) == b"\x18" + bytes(5)
    with pytest.raises(Nack):
        chip.write(b"\x55")


def test_what_was_loaded_is_what_every_conversion_ends_in(clock: SimulatedClock) -> None:
    chip = make("aht20", clock)
    chip.load(bytes.fromhex("18718587862c73"))
    chip.write(MEASURE)
    assert chip.read(1)[0] & 0x80
    pass_time(clock, 80_000_000)
    assert chip.read(7) == bytes.fromhex("18718587862c73")


@every_chip
def test_adafruit_reads_the_air_also_after_a_power_cycle(clock: SimulatedClock, name: str) -> None:
    bus = SimulatedI2C(clock)
    chip = make(name, clock)
    bus.attach(0x38, chip)
    for _ in range(2):
        with sleeping_on(clock):
            peer = adafruit_ahtx0.AHTx0(CircuitPythonFacade(bus, clock))
            assert peer.temperature == pytest.approx(AIR.temperature_c, abs=0.1)
            assert peer.relative_humidity == pytest.approx(AIR.humidity_pct, abs=0.2)
        chip.power_cycle()
