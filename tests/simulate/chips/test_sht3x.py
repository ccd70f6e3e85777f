from __future__ import annotations

import random

import adafruit_sht31d
import pytest
from sensirion_i2c_sht.sht3x import Sht3xI2cDevice

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.sensirion import sensirion_crc
from edge_agent.simulate.chips.sht3x import Sht3x
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
def chip(clock: SimulatedClock) -> Sht3x:
    return Sht3x(Part(clock, lambda _: AIR, random.Random(5)))


def words(reply: bytes) -> list[int]:
    """The datasheet's reading: 16 bits and a CRC each, the polynomial divided bit by bit."""
    values = []
    for at in range(0, len(reply), 3):
        remainder = int.from_bytes(reply[at : at + 2], "big") << 8 ^ 0xFF0000
        for bit in range(23, 7, -1):
            if remainder >> bit & 1:
                remainder ^= 0x131 << (bit - 8)
        assert remainder == reply[at + 2], "CRC"
        values.append(int.from_bytes(reply[at : at + 2], "big"))
    return values


def test_crc_of_the_datasheet() -> None:
    assert sensirion_crc(b"\xbe\xef") == 0x92
    assert sensirion_crc(b"\x00\x00") == 0x81


@pytest.mark.parametrize(("command", "typical_ns"), [("2400", 12_500_000), ("240b", 4_500_000), ("2416", 2_500_000)])
def test_measurement_is_the_air(chip: Sht3x, clock: SimulatedClock, command: str, typical_ns: int) -> None:
    chip.write(bytes.fromhex(command))
    clock.advance_to(clock.now_ns() + typical_ns)
    temperature_raw, humidity_raw = words(chip.read(6))
    assert -45 + 175 * temperature_raw / 65535 == pytest.approx(AIR.temperature_c, abs=0.25)
    assert 100 * humidity_raw / 65535 == pytest.approx(AIR.humidity_pct, abs=0.35)


def test_busy_chip_answers_to_nothing(chip: Sht3x, clock: SimulatedClock) -> None:
    chip.write(b"\x24\x00")
    clock.advance_to(clock.now_ns() + 12_499_999)
    with pytest.raises(Nack):
        chip.read(6)
    with pytest.raises(Nack):
        chip.write(b"\xf3\x2d")
    with pytest.raises(Nack):
        chip.write(b"")
    clock.advance_to(clock.now_ns() + 1)
    assert len(chip.read(6)) == 6


def test_result_is_given_once(chip: Sht3x, clock: SimulatedClock) -> None:
    with pytest.raises(Nack):
        chip.read(6)
    chip.write(b"\x24\x00")
    clock.advance_to(clock.now_ns() + 15_000_000)
    chip.read(6)
    with pytest.raises(Nack):
        chip.read(6)


def test_status_tells_of_the_reset_until_it_is_cleared(chip: Sht3x, clock: SimulatedClock) -> None:
    chip.write(b"\xf3\x2d")
    assert words(chip.read(3)) == [0x8010]
    chip.write(b"\x30\x41")
    chip.write(b"\x30\x6d")
    chip.write(b"\xf3\x2d")
    assert words(chip.read(3)) == [0x2000]
    chip.write(b"\x30\xa2")
    clock.advance_to(clock.now_ns() + 1_500_000)
    chip.write(b"\xf3\x2d")
    assert words(chip.read(3)) == [0x8010]


def test_unknown_command_is_refused_and_noted(chip: Sht3x) -> None:
    chip.write(b"\x30\x41")
    with pytest.raises(Nack):
        chip.write(b"\x12\x34")
    assert chip._status == 0x0002
    chip.write(b"\x37\x80")
    assert words(chip.read(6)) == [chip.serial >> 16, chip.serial & 0xFFFF]


def test_power_cycle_loses_the_measurement(chip: Sht3x, clock: SimulatedClock) -> None:
    chip.write(b"\x30\x41")
    chip.write(b"\x24\x00")
    chip.power_cycle()
    clock.advance_to(clock.now_ns() + 15_000_000)
    with pytest.raises(Nack):
        chip.read(6)
    chip.write(b"\xf3\x2d")
    assert words(chip.read(3)) == [0x8010]


def test_damage_hits_one_byte_of_one_reply(chip: Sht3x) -> None:
    chip.corrupt_next(4, 0x20)
    chip.write(b"\xf3\x2d")
    assert words(chip.read(3)) == [0x8010]  # too short to be hit
    chip.write(b"\x37\x80")
    with pytest.raises(AssertionError, match="CRC"):
        words(chip.read(6))
    chip.write(b"\x37\x80")
    assert words(chip.read(6)) == [chip.serial >> 16, chip.serial & 0xFFFF]


def test_line_stays_high_behind_the_reply(chip: Sht3x) -> None:
    chip.write(b"\xf3\x2d")
    assert chip.read(5)[3:] == b"\xff\xff"


def test_adafruit_reads_the_air_and_the_heater(chip: Sht3x, clock: SimulatedClock) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x44, chip)
    with sleeping_on(clock):
        peer = adafruit_sht31d.SHT31D(CircuitPythonFacade(bus, clock))
        assert peer.temperature == pytest.approx(AIR.temperature_c, abs=0.1)
        assert peer.relative_humidity == pytest.approx(AIR.humidity_pct, abs=0.2)
        peer.heater = True
        assert peer.heater is True
        peer.heater = False
        assert peer.heater is False


def test_sensirion_reads_the_air(chip: Sht3x, clock: SimulatedClock) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x45, chip)
    with sleeping_on(clock):
        peer = Sht3xI2cDevice(connection(bus, clock), 0x45)
        assert peer.read_serial_number() == chip.serial
        temperature, humidity = peer.single_shot_measurement()
    assert temperature.degrees_celsius == pytest.approx(AIR.temperature_c, abs=0.1)
    assert humidity.percent_rh == pytest.approx(AIR.humidity_pct, abs=0.2)


def test_what_was_loaded_is_what_every_measurement_ends_in(chip: Sht3x, clock: SimulatedClock) -> None:
    chip.load(bytes.fromhex("63890b8a5d7e"))
    chip.write(b"\x24\x16")
    clock.advance_to(clock.now_ns() + 4_500_000)
    assert chip.read(6) == bytes.fromhex("63890b8a5d7e")
