"""The chip by itself, then read by Adafruit's driver."""

from __future__ import annotations

import random

import adafruit_scd4x
import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.scd4x import Scd4x
from edge_agent.simulate.chips.sensirion import word
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

AIR = Air(24.5, 43.0, 100_500.0, 1234.0)
START, STOP, READ, READY = b"\x21\xb1", b"\x3f\x86", b"\xec\x05", b"\xe4\xb8"
S = 1_000_000_000


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Scd4x:
    return Scd4x(Part(clock, lambda _: AIR, random.Random(5)))


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def is_ready(chip: Scd4x) -> bool:
    chip.write(READY)
    return bool(int.from_bytes(chip.read(3)[:2]) & 0x07FF)


def measured(chip: Scd4x, clock: SimulatedClock) -> tuple[float, float, float]:
    chip.write(READ)
    pass_time(clock, 1_000_000)
    reply = chip.read(9)
    co2, celsius, percent = (int.from_bytes(reply[at : at + 2]) for at in (0, 3, 6))
    assert reply == word(co2) + word(celsius) + word(percent)
    return co2, celsius * 175 / 65535 - 45, percent * 100 / 65535


@pytest.mark.parametrize(("start", "interval_ns"), [(START, 5 * S), (b"\x21\xac", 30 * S)])
def test_it_measures_by_itself_and_gives_each_measurement_once(
    chip: Scd4x, clock: SimulatedClock, start: bytes, interval_ns: int
) -> None:
    chip.write(start)
    pass_time(clock, interval_ns - 1)
    assert not is_ready(chip)
    pass_time(clock, 1)
    assert is_ready(chip)
    co2, celsius, percent = measured(chip, clock)
    assert co2 == pytest.approx(AIR.co2_ppm, abs=12)
    assert celsius == pytest.approx(AIR.temperature_c, abs=0.15)
    assert percent == pytest.approx(AIR.humidity_pct, abs=0.6)
    assert not is_ready(chip)
    chip.write(READ)
    pass_time(clock, 1_000_000)
    with pytest.raises(Nack):
        chip.read(9)
    pass_time(clock, 3 * interval_ns)
    measured(chip, clock)
    assert not is_ready(chip)  # those that nobody fetched are gone


def test_a_measurement_can_be_read_half_a_millisecond_after_the_command(chip: Scd4x, clock: SimulatedClock) -> None:
    chip.write(START)
    pass_time(clock, 5 * S)
    chip.write(READ)
    with pytest.raises(Nack):
        chip.read(9)


def test_while_it_measures_it_refuses_what_is_not_allowed_then(chip: Scd4x, clock: SimulatedClock) -> None:
    chip.write(START)
    for command in (START, b"\x36\x82", b"\x36\x46", b"\x24\x1d" + word(0), b"\x36\xe0"):
        with pytest.raises(Nack):
            chip.write(command)
    chip.write(b"\xe0\x00" + word(987))
    chip.write(b"\xe0\x00")
    assert chip.read(3) == word(987)
    chip.write(STOP)
    pass_time(clock, S // 2 - 1)
    with pytest.raises(Nack):
        chip.write(b"\x36\x82")
    pass_time(clock, 1)
    chip.write(b"\x36\x82")
    assert int.from_bytes(chip.read(2)) == chip.serial >> 32


def test_a_power_cycle_stops_it_and_loses_what_is_not_in_the_eeprom(chip: Scd4x, clock: SimulatedClock) -> None:
    chip.write(b"\x24\x27" + word(500))
    chip.write(START)
    pass_time(clock, 6 * S)
    chip.power_cycle()
    with pytest.raises(Nack):
        chip.write(READY)
    pass_time(clock, 60 * S)
    assert not is_ready(chip)
    chip.write(b"\x23\x22")
    assert chip.read(3) == word(0)
    chip.write(b"\x24\x27" + word(500))
    chip.write(b"\x36\x15")
    pass_time(clock, S)
    chip.power_cycle()
    pass_time(clock, S)
    chip.write(b"\x23\x22")
    assert chip.read(3) == word(500)


def test_the_temperature_offset_is_taken_off(chip: Scd4x, clock: SimulatedClock) -> None:
    chip.write(b"\x24\x1d" + word(0))
    chip.write(START)
    pass_time(clock, 5 * S)
    assert measured(chip, clock)[1] == pytest.approx(AIR.temperature_c + 4.0, abs=0.15)
    with pytest.raises(Nack):
        chip.write(b"\xe0\x00\x03\xdb\x00")


def test_a_single_shot_takes_five_seconds_and_a_sleeper_must_be_woken(chip: Scd4x, clock: SimulatedClock) -> None:
    chip.write(b"\x36\xe0")
    with pytest.raises(Nack):
        chip.write(STOP)
    with pytest.raises(Nack):
        chip.write(b"\x36\xf6")
    pass_time(clock, 30_000_000)
    chip.write(b"\x21\x9d")
    pass_time(clock, 5 * S - 1)
    with pytest.raises(Nack):
        chip.write(READY)
    pass_time(clock, 1)
    assert is_ready(chip)
    assert measured(chip, clock)[0] == pytest.approx(AIR.co2_ppm, abs=12)
    chip.write(b"\x21\x96")
    pass_time(clock, 50_000_000)
    assert measured(chip, clock)[0] == 0


def test_what_was_loaded_is_what_every_measurement_ends_in(chip: Scd4x, clock: SimulatedClock) -> None:
    chip.load(bytes.fromhex("01f4336667a25eb93c"))
    chip.write(START)
    pass_time(clock, 5 * S)
    assert measured(chip, clock)[0] == 500


def test_adafruit_reads_the_air_and_the_settings(chip: Scd4x, clock: SimulatedClock) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x62, chip)
    with sleeping_on(clock):
        peer = adafruit_scd4x.SCD4X(CircuitPythonFacade(bus, clock))
        assert bytes(peer.serial_number) == chip.serial.to_bytes(6)
        assert peer.temperature_offset == pytest.approx(4.0, abs=0.01)
        peer.altitude = 700
        assert peer.altitude == 700
        peer.self_test()
        peer.start_periodic_measurement()
        assert not peer.data_ready
        pass_time(clock, 5 * S)
        assert peer.data_ready
        assert abs(peer.CO2 - AIR.co2_ppm) < 12
        assert peer.temperature == pytest.approx(AIR.temperature_c, abs=0.15)
        assert peer.relative_humidity == pytest.approx(AIR.humidity_pct, abs=0.6)
