"""The chip by itself, then read by Adafruit's and Sensirion's drivers."""

from __future__ import annotations

import random

import adafruit_sht4x
import pytest
from sensirion_i2c_sht.sht4x import Sht4xI2cDevice

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.sensirion import sensirion_crc, word
from edge_agent.simulate.chips.sht4x import Sht4x
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on
from tests.simulate.sensirion_peer import connection

AIR = Air(-4.25, 61.5, 100_500.0)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Sht4x:
    return Sht4x(Part(clock, lambda _: AIR, random.Random(5)))


@pytest.fixture
def bus(clock: SimulatedClock, chip: Sht4x) -> SimulatedI2C:
    bus = SimulatedI2C(clock)
    bus.attach(0x44, chip)
    return bus


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def measured(reply: bytes) -> tuple[float, float]:
    assert reply[2] == sensirion_crc(reply[:2])
    assert reply[5] == sensirion_crc(reply[3:5])
    return int.from_bytes(reply[:2]) * 175 / 65535 - 45, int.from_bytes(reply[3:5]) * 125 / 65535 - 6


@pytest.mark.parametrize(("command", "typical_ns"), [(b"\xfd", 6_900_000), (b"\xf6", 3_700_000), (b"\xe0", 1_300_000)])
def test_a_measurement_is_the_air_after_its_time(
    chip: Sht4x, clock: SimulatedClock, command: bytes, typical_ns: int
) -> None:
    chip.write(command)
    pass_time(clock, typical_ns - 1)
    for call in (lambda: chip.read(6), lambda: chip.write(b"\x89"), lambda: chip.write(b"")):
        with pytest.raises(Nack):
            call()
    pass_time(clock, 1)
    celsius, percent = measured(chip.read(6))
    assert celsius == pytest.approx(AIR.temperature_c, abs=0.15)
    assert percent == pytest.approx(AIR.humidity_pct, abs=0.35)
    with pytest.raises(Nack):
        chip.read(6)


def test_a_measurement_with_the_heater_is_hot_and_dry_and_takes_a_second(chip: Sht4x, clock: SimulatedClock) -> None:
    chip.write(b"\x39")
    pass_time(clock, 1_000_000_000)
    with pytest.raises(Nack):
        chip.read(6)
    pass_time(clock, 6_900_000)
    celsius, percent = measured(chip.read(6))
    assert celsius > AIR.temperature_c + 10
    assert percent < AIR.humidity_pct / 2


def test_a_power_cycle_loses_the_measurement_and_an_unknown_command_is_refused(
    chip: Sht4x, clock: SimulatedClock
) -> None:
    chip.write(b"\xfd")
    chip.power_cycle()
    with pytest.raises(Nack):
        chip.write(b"\x89")
    pass_time(clock, 10_000_000)
    with pytest.raises(Nack):
        chip.read(6)
    with pytest.raises(Nack):
        chip.write(b"\x30\x93")
    chip.write(b"\x94")
    pass_time(clock, 1_000_000)
    chip.write(b"\x89")
    assert chip.read(6) == word(chip.serial >> 16) + word(chip.serial & 0xFFFF)


def test_what_was_loaded_is_what_every_measurement_ends_in(chip: Sht4x, clock: SimulatedClock) -> None:
    chip.load(bytes.fromhex("63890b8a5d7e"))
    chip.write(b"\xe0")
    pass_time(clock, 1_600_000)
    assert chip.read(8) == bytes.fromhex("63890b8a5d7effff")


def test_adafruit_reads_the_air(bus: SimulatedI2C, clock: SimulatedClock, chip: Sht4x) -> None:
    with sleeping_on(clock):
        peer = adafruit_sht4x.SHT4x(CircuitPythonFacade(bus, clock))
        assert peer.serial_number == chip.serial
        assert peer.measurements == pytest.approx(AIR[:2], abs=0.15)
        peer.mode = adafruit_sht4x.Mode.LOWHEAT_100MS
        assert peer.temperature > AIR.temperature_c + 1.0


def test_sensirion_reads_the_air(bus: SimulatedI2C, clock: SimulatedClock, chip: Sht4x) -> None:
    with sleeping_on(clock):
        peer = Sht4xI2cDevice(connection(bus, clock), 0x44)
        assert peer.read_serial_number() == chip.serial
        temperature, humidity = peer.single_shot_measurement()
    assert temperature.degrees_celsius == pytest.approx(AIR.temperature_c, abs=0.1)
    assert humidity.percent_rh == pytest.approx(AIR.humidity_pct, abs=0.2)
