from __future__ import annotations

import random

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.lm75 import CHIPS, Thermometer
from edge_agent.simulate.world import Air

AIR = Air(-4.3, 50.0, 100_500.0)
CYCLE_NS = {
    "lm75": 100_000_000,
    "tmp75": 28_000_000,
    "tmp105": 28_000_000,
    "tmp1075": 27_500_000,
    "tmp102": 250_000_000,
}
every_chip = pytest.mark.parametrize("name", CYCLE_NS)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


def make(name: str, clock: SimulatedClock, true: Air = AIR) -> Thermometer:
    chip = CHIPS[name](Part(clock, lambda _: true, random.Random(5)))
    assert isinstance(chip, Thermometer)
    return chip


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def register(chip: Thermometer, number: int, count: int = 2) -> bytes:
    chip.write(bytes([number]))
    return chip.read(count)


def celsius(chip: Thermometer) -> float:
    return int.from_bytes(register(chip, 0), signed=True) / 256


@every_chip
def test_it_converts_by_itself_and_shows_zero_until_then(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    pass_time(clock, CYCLE_NS[name] - 1)
    assert celsius(chip) == 0.0
    pass_time(clock, 1)
    assert celsius(chip) == pytest.approx(AIR.temperature_c, abs=0.4)
    chip.power_cycle()
    assert celsius(chip) == 0.0


@every_chip
def test_shut_down_it_keeps_its_last_conversion(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    pass_time(clock, CYCLE_NS[name])
    before = register(chip, 0)
    config = register(chip, 1, 1)[0]
    chip.write(bytes([1, config | 0x01]))
    pass_time(clock, 10 * CYCLE_NS[name])
    assert register(chip, 0) == before


@pytest.mark.parametrize("name", ["tmp75", "tmp105"])
@pytest.mark.parametrize(("setting", "bits"), [(0x00, 9), (0x20, 10), (0x40, 11), (0x60, 12)])
def test_a_finer_resolution_takes_longer(clock: SimulatedClock, name: str, setting: int, bits: int) -> None:
    chip = make(name, clock, Air(25.46, 50.0, 100_500.0))
    chip.write(bytes([1, setting]))
    pass_time(clock, (28_000_000 << (bits - 9)) - 1)
    assert celsius(chip) == 0.0
    pass_time(clock, 1)
    assert celsius(chip) == pytest.approx(25.46, abs=0.5 ** (bits - 8) / 2 + 0.1)
    assert int.from_bytes(register(chip, 0)) % (1 << (16 - bits)) == 0


def test_one_shot_converts_once_where_there_is_one(clock: SimulatedClock) -> None:
    chip = make("tmp75", clock)
    chip.write(b"\x01\x81")
    pass_time(clock, 28_000_000)
    assert celsius(chip) == pytest.approx(AIR.temperature_c, abs=0.6)


def test_what_a_configuration_keeps_tells_the_kinds_apart(clock: SimulatedClock) -> None:
    kept = {}
    for name in CYCLE_NS:
        chip = make(name, clock)
        chip.write(b"\x01\x68")
        kept[name] = register(chip, 1).hex()
    assert kept == {"lm75": "08ff", "tmp75": "68ff", "tmp105": "68ff", "tmp1075": "68ff", "tmp102": "68a0"}


def test_only_the_tmp1075_has_an_identity(clock: SimulatedClock) -> None:
    assert {name: register(make(name, clock), 0x0F).hex() for name in CYCLE_NS} == {
        "lm75": "5000",
        "tmp75": "5000",
        "tmp105": "5000",
        "tmp1075": "7500",
        "tmp102": "5000",
    }


def test_the_extended_mode_of_a_tmp102_goes_beyond_128_degrees(clock: SimulatedClock) -> None:
    chip = make("tmp102", clock, Air(149.0, 50.0, 100_500.0))
    pass_time(clock, 250_000_000)
    assert register(chip, 0) == b"\x7f\xf0"
    chip.write(b"\x01\x60\xb0")
    pass_time(clock, 250_000_000)
    raw = int.from_bytes(register(chip, 0))
    assert raw & 0b111 == 1
    assert (raw >> 3) / 16 == pytest.approx(149.0, abs=0.15)


def test_limits_are_kept_and_what_was_loaded_is_what_conversions_end_in(clock: SimulatedClock) -> None:
    chip = make("lm75", clock)
    chip.write(b"\x03\x20\x00")
    assert register(chip, 3) == b"\x20\x00"
    chip.load(b"\xe7\x00")
    pass_time(clock, 100_000_000)
    assert celsius(chip) == -25.0
