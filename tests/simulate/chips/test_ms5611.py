"""There is no driver of other people to judge these chips; the datasheets' examples and the kernel's numbers do."""

from __future__ import annotations

import json
import random
import statistics
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.ms5611 import CHIPS, Ms56, with_crc
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from pathlib import Path

AIR = Air(21.5, 48.0, 100_500.0)
TYPICAL_NS = 8_220_000
every_chip = pytest.mark.parametrize("name", CHIPS)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


def make(name: str, clock: SimulatedClock, true: Air = AIR, seed: int = 5) -> Ms56:
    chip = CHIPS[name](Part(clock, lambda _: true, random.Random(seed)))
    assert isinstance(chip, Ms56)
    return chip


def ask(chip: Ms56, command: int, count: int) -> int:
    chip.write(bytes([command]))
    return int.from_bytes(chip.read(count), "big")


def convert(chip: Ms56, clock: SimulatedClock, command: int) -> int:
    chip.write(bytes([command]))
    clock.advance_to(clock.now_ns() + TYPICAL_NS)
    return ask(chip, 0x00, 3)


def first_order(name: str, chip: Ms56, clock: SimulatedClock) -> tuple[float, float]:
    """°C and Pa without the second order, which is small at 20 °C."""
    d1, d2 = convert(chip, clock, 0x48), convert(chip, clock, 0x58)
    c = [ask(chip, 0xA0 + 2 * word, 2) for word in range(8)]
    dt = d2 - c[5] * 256
    double = 2 if name in {"ms5607", "ms5637"} else 1
    offset = double * (c[2] * 2**16 + c[4] * dt / 2**7)
    sensitivity = double * (c[1] * 2**15 + c[3] * dt / 2**8)
    unit = 10 / 2**13 if name == "ms5837" else 1 / 2**15
    return 20 + dt * c[6] / 2**23 / 100, (d1 * sensitivity / 2**21 - offset) * unit


@every_chip
def test_air_comes_back_through_the_first_order(clock: SimulatedClock, name: str) -> None:
    for seed in range(10):
        celsius, pascal = first_order(name, make(name, clock, Air(20.0, 50.0, 100_500.0), seed), clock)
        assert celsius == pytest.approx(20.0, abs=0.05)
        assert pascal == pytest.approx(100_500.0, abs=100.0 if name == "ms5837" else 10.0)


@every_chip
@pytest.mark.parametrize("true", [Air(-38.0, 90.0, 31_000.0), Air(-5.0, 90.0, 90_000.0), Air(80.0, 10.0, 110_000.0)])
def test_the_second_order_makes_a_difference_in_the_cold(clock: SimulatedClock, name: str, true: Air) -> None:
    celsius, pascal = first_order(name, make(name, clock, true), clock)
    if true.temperature_c < 20.0:
        assert celsius > true.temperature_c + 0.2
        assert abs(pascal - true.pressure_pa) > 10.0
    else:
        assert celsius == pytest.approx(true.temperature_c, abs=1.5)


def test_counts_are_those_from_which_the_kernel_gets_this_air(shared_dir: Path, clock: SimulatedClock) -> None:
    rows = json.loads((shared_dir / "data/vectors/ms5611.json").read_text())["vectors"]
    compared = 0
    for row in rows:
        expect = row["expect"]
        if not (-40.0 <= expect["temperature_c"] <= 85.0 and 1_000 <= expect["pressure_pa"] <= 120_000):
            continue
        compared += 1
        chip = make(row["chip"], clock, Air(expect["temperature_c"], 50.0, expect["pressure_pa"]))
        chip.load({"prom": bytes.fromhex(row["calib_hex"]["prom"])})
        assert convert(chip, clock, 0x48) == pytest.approx(row["adc"]["d1"], abs=1000)
        assert convert(chip, clock, 0x58) == pytest.approx(row["adc"]["d2"], abs=1000)
    assert compared > 100


@pytest.mark.parametrize(("name", "word"), [("ms5611", 7), ("ms5607", 7), ("ms5637", 0), ("ms5837", 0)])
def test_calibration_bears_its_crc_where_the_chip_has_it(clock: SimulatedClock, name: str, word: int) -> None:
    chip = make(name, clock)
    words = [ask(chip, 0xA0 + 2 * number, 2) for number in range(8)]
    assert with_crc(words, last=word == 7) == words
    assert (words[7] == 0) == (word == 0)


def test_crc_is_that_of_the_application_note() -> None:
    words = [0x3132, 0x3334, 0x3536, 0x3738, 0x3940, 0x4142, 0x4344, 0x4500]
    assert with_crc(words, last=True)[7] == 0x450B


def test_a_result_is_given_once(clock: SimulatedClock) -> None:
    chip = make("ms5611", clock)
    assert convert(chip, clock, 0x48) > 0
    assert ask(chip, 0x00, 3) == 0


def test_a_conversion_that_is_read_too_early_reads_zero_and_is_spoilt(clock: SimulatedClock) -> None:
    chip = make("ms5611", clock)
    chip.write(b"\x48")
    clock.advance_to(clock.now_ns() + TYPICAL_NS - 1)
    assert ask(chip, 0x00, 3) == 0
    clock.advance_to(clock.now_ns() + TYPICAL_NS)
    assert ask(chip, 0x00, 3) == 0


@pytest.mark.parametrize(("name", "command", "known"), [("ms5611", 0x4A, False), ("ms5637", 0x4A, True)])
def test_only_the_newer_chips_know_8192_samples(clock: SimulatedClock, name: str, command: int, known: bool) -> None:
    chip = make(name, clock)
    chip.write(bytes([command]))
    clock.advance_to(clock.now_ns() + 16_440_000)
    assert (ask(chip, 0x00, 3) > 0) == known


@every_chip
def test_a_reset_ends_a_conversion_and_keeps_the_calibration(clock: SimulatedClock, name: str) -> None:
    chip = make(name, clock)
    before = [ask(chip, 0xA0 + 2 * number, 2) for number in range(8)]
    chip.write(b"\x48")
    chip.write(b"\x1e")
    with pytest.raises(Nack):
        chip.write(b"\x00")
    with pytest.raises(Nack):
        chip.read(3)
    clock.advance_to(clock.now_ns() + TYPICAL_NS)
    assert ask(chip, 0x00, 3) == 0
    assert [ask(chip, 0xA0 + 2 * number, 2) for number in range(8)] == before


def test_loaded_counts_are_what_every_conversion_gives(clock: SimulatedClock) -> None:
    chip = make("ms5611", clock)
    chip.load({"D1": bytes.fromhex("8aa21a"), "D2": bytes.fromhex("82c13e")})
    for _ in range(2):
        assert convert(chip, clock, 0x48) == 0x8AA21A
        assert convert(chip, clock, 0x58) == 0x82C13E


def test_noise_falls_with_the_samples(clock: SimulatedClock) -> None:
    chip = make("ms5611", clock)
    rough = statistics.stdev(convert(chip, clock, 0x40) for _ in range(200))
    fine = statistics.stdev(convert(chip, clock, 0x48) for _ in range(200))
    assert rough == pytest.approx(4 * fine, rel=0.3)
