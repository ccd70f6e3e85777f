"""The chips by themselves, then read by Adafruit's and Sensirion's drivers."""

from __future__ import annotations

import random

import adafruit_htu21d
import adafruit_si7021
import pytest
from sensirion_i2c_sht.sht2x import Sht2xI2cDevice

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.sht2x import CHIPS, Sht2x, crc, with_crc
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on
from tests.simulate.sensirion_peer import connection

AIR = Air(12.5, 71.5, 100_500.0)
TYPICAL_NS = {"sht2x": (22_000_000, 66_000_000), "htu21d": (14_000_000, 44_000_000), "si7021": (17_000_000, 7_000_000)}
every_chip = pytest.mark.parametrize("name", TYPICAL_NS)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


def make(name: str, clock: SimulatedClock) -> Sht2x:
    chip = CHIPS[name](Part(clock, lambda _: AIR, random.Random(5)))
    assert isinstance(chip, Sht2x)
    return chip


def wire(name: str, clock: SimulatedClock) -> SimulatedI2C:
    bus = SimulatedI2C(clock)
    bus.attach(0x40, make(name, clock))
    return bus


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def test_crc_of_the_datasheet() -> None:
    assert [crc(bytes.fromhex(data)) for data in ("dc", "683a", "4e85")] == [0x79, 0x7C, 0x6B]


@every_chip
def test_each_conversion_takes_its_time_and_says_what_it_is(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    for command, typical_ns, status in zip((b"\xf5", b"\xf3"), TYPICAL_NS[name], (0b10, 0b00), strict=True):
        chip.write(command)
        pass_time(clock, typical_ns - 1)
        with pytest.raises(Nack):
            chip.read(3)
        with pytest.raises(Nack):
            chip.write(b"\xe7")
        pass_time(clock, 1)
        reply = chip.read(3)
        assert reply[1] & 0b11 == status
        assert reply == with_crc(reply[:2])
        fraction = (int.from_bytes(reply[:2]) & ~0b11) / 65536
        if status:
            assert fraction * 125 - 6 == pytest.approx(AIR.humidity_pct, abs=0.2)
        else:
            assert fraction * 175.72 - 46.85 == pytest.approx(AIR.temperature_c, abs=0.1)
        with pytest.raises(Nack):
            chip.read(3)


@every_chip
def test_lower_resolution_is_faster_and_coarser_and_lost_with_the_power(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    chip.write(b"\xe7")
    before = chip.read(1)[0]
    chip.write(bytes([0xE6, before | 0x81]))
    chip.write(b"\xf3")
    pass_time(clock, TYPICAL_NS[name][1] // 8)
    assert int.from_bytes(chip.read(2)) % 32 == 0
    chip.power_cycle()
    with pytest.raises(Nack):
        chip.write(b"\xe7")
    pass_time(clock, 15_000_000)
    chip.write(b"\xe7")
    assert chip.read(1)[0] == before


@pytest.mark.parametrize(("name", "stays"), [("sht2x", True), ("htu21d", True), ("si7021", False)])
def test_a_soft_reset_leaves_the_heater_on_where_the_datasheet_says_so(
    clock: SimulatedClock, name: str, stays: bool
) -> None:
    chip = make(name, clock)
    chip.write(b"\xe6\x3e")
    chip.write(b"\xfe")
    pass_time(clock, 15_000_000)
    chip.write(b"\xe7")
    assert bool(chip.read(1)[0] & 0x04) is stays


def test_only_the_si7021_keeps_the_temperature_of_a_humidity(clock: SimulatedClock) -> None:
    chip = make("si7021", clock)
    chip.write(b"\xf5")
    pass_time(clock, 23_000_000)
    chip.read(3)
    chip.write(b"\xe0")
    assert int.from_bytes(chip.read(2)) / 65536 * 175.72 - 46.85 == pytest.approx(AIR.temperature_c, abs=0.1)
    chip.write(b"\x84\xb8")
    assert chip.read(1) == b"\x20"
    for command in (b"\xe0", b"\x84\xb8", b"\x11"):
        with pytest.raises(Nack):
            make("htu21d", clock).write(command)


@every_chip
def test_commands_that_hold_the_clock_are_refused(clock: SimulatedClock, name: str) -> None:
    for command in (b"\xe3", b"\xe5"):
        with pytest.raises(Nack):
            make(name, clock).write(command)


@every_chip
def test_what_was_loaded_is_what_conversions_end_in(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    chip.load(bytes.fromhex("68381e"), bytes.fromhex("4e8638"))
    for command, reply in ((b"\xf5", "4e8638"), (b"\xf3", "68381e")):
        chip.write(command)
        pass_time(clock, 85_000_000)
        assert chip.read(3).hex() == reply


@every_chip
def test_adafruit_htu21d_reads_them_all(clock: SimulatedClock, name: str) -> None:
    with sleeping_on(clock):
        peer = adafruit_htu21d.HTU21D(CircuitPythonFacade(wire(name, clock), clock))
        assert peer.temperature == pytest.approx(AIR.temperature_c, abs=0.1)
        assert peer.relative_humidity == pytest.approx(AIR.humidity_pct, abs=0.2)


def test_adafruit_si7021_reads_the_air_and_the_identification(clock: SimulatedClock) -> None:
    with sleeping_on(clock):
        peer = adafruit_si7021.SI7021(CircuitPythonFacade(wire("si7021", clock), clock))
        assert peer.temperature == pytest.approx(AIR.temperature_c, abs=0.1)
        assert peer.relative_humidity == pytest.approx(AIR.humidity_pct, abs=0.2)
        assert peer.device_identifier == "Si7021"


def test_sensirion_reads_the_air_and_the_serial_number(clock: SimulatedClock) -> None:
    with sleeping_on(clock):
        peer = Sht2xI2cDevice(connection(wire("sht2x", clock), clock))
        temperature, humidity = peer.single_shot_measurement()
        assert peer.read_serial_number() > 0
    assert temperature.degrees_celsius == pytest.approx(AIR.temperature_c, abs=0.1)
    assert humidity.percent_rh == pytest.approx(AIR.humidity_pct, abs=0.2)
