"""The chips by themselves, then read by Adafruit's driver."""

from __future__ import annotations

import random
import statistics

import adafruit_lps2x
import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.lps22hb import CHIPS, Lps2x
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

AIR = Air(21.5, 48.0, 100_500.0)
SHOT_NS = 40_000_000
CONTROL = {"lps22hb": 0x10, "lps22hh": 0x10, "lps25hb": 0x20}
every_chip = pytest.mark.parametrize("name", CONTROL)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


def make(name: str, clock: SimulatedClock, true: Air = AIR) -> Lps2x:
    chip = CHIPS[name](Part(clock, lambda _: true, random.Random(5)))
    assert isinstance(chip, Lps2x)
    return chip


def registers(chip: Lps2x, start: int, count: int = 1) -> bytes:
    chip.write(bytes([start | 0x80]))
    return chip.read(count)


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def shoot(name: str, chip: Lps2x, clock: SimulatedClock) -> tuple[float, float]:
    """One shot: °C and Pa."""
    control = CONTROL[name]
    chip.write(bytes([control, 0x80 if name == "lps25hb" else 0x00]))
    chip.write(bytes([control + 1, 0x01 if name == "lps25hb" else 0x11]))
    pass_time(clock, SHOT_NS)
    data = registers(chip, 0x28, 5)
    counts = int.from_bytes(data[3:], "little", signed=True)
    celsius = 42.5 + counts / 480 if name == "lps25hb" else counts / 100
    return celsius, int.from_bytes(data[:3], "little", signed=True) / 40.96


@every_chip
@pytest.mark.parametrize("true", [AIR, Air(-39.0, 90.0, 31_000.0), Air(84.0, 10.0, 119_000.0)])
def test_a_shot_measures_the_air(clock: SimulatedClock, name: str, true: Air) -> None:
    celsius, pascal = shoot(name, make(name, clock, true), clock)
    lowest = -32_768 / 480 + 42.5 if name == "lps25hb" else -40.0
    assert celsius == pytest.approx(max(true.temperature_c, lowest), abs=0.05)
    assert pascal == pytest.approx(true.pressure_pa, abs=12.0)


@every_chip
def test_a_shot_shows_old_data_until_it_is_done_and_then_ends(clock: SimulatedClock, name: str) -> None:
    chip, control = make(name, clock), CONTROL[name]
    shoot(name, chip, clock)
    old = registers(chip, 0x28, 5)
    assert registers(chip, 0x27) == b"\x00"  # the flags went with the data
    keep = registers(chip, control + 1)[0]
    chip.write(bytes([control + 1, keep | 0x01]))
    assert registers(chip, 0x28, 5) == old
    assert registers(chip, control + 1)[0] == keep | 0x01
    pass_time(clock, SHOT_NS)
    assert registers(chip, 0x27) == b"\x03"
    assert registers(chip, control + 1)[0] == keep
    assert registers(chip, 0x28, 5) != old


def test_the_lps25_does_nothing_while_it_is_powered_down(clock: SimulatedClock) -> None:
    chip = make("lps25hb", clock)
    chip.write(b"\x21\x01")
    pass_time(clock, SHOT_NS)
    assert registers(chip, 0x27) == b"\x00"


def test_the_lps25_stays_at_a_register_unless_bit_7_is_set(clock: SimulatedClock) -> None:
    chip = make("lps25hb", clock)
    shoot("lps25hb", chip, clock)
    whole = registers(chip, 0x28, 5)
    chip.write(b"\x28")
    assert chip.read(5) == whole[:1] * 5


def test_the_lps22_goes_on_unless_it_is_told_not_to(clock: SimulatedClock) -> None:
    chip = make("lps22hb", clock)
    shoot("lps22hb", chip, clock)
    whole = registers(chip, 0x28, 5)
    chip.write(b"\x28")
    assert chip.read(5) == whole
    chip.write(b"\x11\x00")
    assert registers(chip, 0x28, 5) == whole[:1] * 5


@pytest.mark.parametrize(("name", "rate", "period_ns"), [("lps22hb", 0x50, 13_333_334), ("lps25hb", 0xC0, 40_000_000)])
def test_a_rate_measures_again_and_again(clock: SimulatedClock, name: str, rate: int, period_ns: int) -> None:
    chip = make(name, clock)
    chip.write(bytes([CONTROL[name], rate]))
    seen = set()
    for _ in range(5):
        pass_time(clock, period_ns)
        assert registers(chip, 0x27) == b"\x03"
        seen.add(registers(chip, 0x28, 3))
    assert len(seen) == 5


def test_noise_is_that_of_the_datasheet(clock: SimulatedClock) -> None:
    for name, sigma_pa in (("lps22hb", 0.75), ("lps22hh", 0.65), ("lps25hb", 3.0)):
        chip = make(name, clock)
        assert statistics.stdev(shoot(name, chip, clock)[1] for _ in range(300)) == pytest.approx(sigma_pa, rel=0.2)


@every_chip
def test_resets_forget_settings_and_data(clock: SimulatedClock, name: str) -> None:
    chip, control = make(name, clock), CONTROL[name]
    at_start = registers(chip, control, 2)
    shoot(name, chip, clock)
    chip.write(bytes([control + 1, 0x14]))
    assert registers(chip, control + 1)[0] & 0x04
    pass_time(clock, 50_000)
    assert registers(chip, control, 2) == at_start
    assert registers(chip, 0x28, 5) == bytes(5)
    chip.power_cycle()
    with pytest.raises(Nack):
        chip.write(b"\x0f")
    pass_time(clock, 2_200_000)
    assert registers(chip, 0x0F) == {"lps22hb": b"\xb1", "lps22hh": b"\xb3", "lps25hb": b"\xbd"}[name]


def test_loaded_bytes_are_what_every_conversion_gives(clock: SimulatedClock) -> None:
    chip = make("lps22hb", clock)
    chip.load({0x28: bytes.fromhex("0e0b44f3f2")})
    shoot("lps22hb", chip, clock)
    assert registers(chip, 0x28, 5) == bytes.fromhex("0e0b44f3f2")


@pytest.mark.parametrize(("name", "driver"), [("lps22hb", adafruit_lps2x.LPS22), ("lps25hb", adafruit_lps2x.LPS25)])
@pytest.mark.parametrize("true", [AIR, Air(-15.0, 80.0, 55_000.0), Air(45.0, 15.0, 110_000.0)])
def test_adafruits_driver_reads_the_air(
    clock: SimulatedClock, name: str, driver: type[adafruit_lps2x.LPS2X], true: Air
) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x5D, make(name, clock, true))
    with sleeping_on(clock):
        sensor = driver(CircuitPythonFacade(bus, clock))
        pass_time(clock, SHOT_NS)  # it sleeps shorter than the LPS25HB needs
        temperature, pressure = sensor.temperature, sensor.pressure
    assert temperature == pytest.approx(true.temperature_c, abs=0.05)
    assert pressure * 100 == pytest.approx(true.pressure_pa, abs=12.0)
