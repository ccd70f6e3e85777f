"""The chip by itself, then read by drivers of other people: pimoroni's bme680 and Adafruit's."""

from __future__ import annotations

import json
import random
import statistics
from typing import TYPE_CHECKING

import adafruit_bme680
import bme680
import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.bme680 import CHIPS, Bosch680
from edge_agent.simulate.chips.bosch680 import Calibration
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.smbus_facade import SmbusFacade
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

if TYPE_CHECKING:
    from pathlib import Path

AIR = Air(21.5, 48.0, 100_500.0)
FORCED_X1 = b"\x72\x01\x74\x25"
LONGEST_X1_NS = 11_182_000
NO_DATA = bytes.fromhex("8000008000008000")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Bosch680:
    return Bosch680(Part(clock, lambda _: AIR, random.Random(5)), 0)


def registers(chip: Bosch680, start: int, count: int) -> bytes:
    chip.write(bytes([start]))
    return chip.read(count)


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def measured(chip: Bosch680) -> Air:
    """What the datasheet's integer formulas make of the data registers."""
    field = registers(chip, 0x1D, 10)
    fine = chip.calibration.fine_temperature(int.from_bytes(field[5:8], "big") >> 4)
    return Air(
        fine / 5120,
        chip.calibration.humidity_of(fine)(int.from_bytes(field[8:10], "big")) / 1000,
        chip.calibration.pressure_of(fine)(int.from_bytes(field[2:5], "big") >> 4),
    )


def test_formulas_agree_with_the_kernel(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/bme680.json").read_text())["vectors"]
    for row in rows:
        if row["kind"] != "plausible" or row["int_path_overflow"]:
            continue
        held = bytearray(256)
        for start, block in row["calib_hex"].items():
            content = bytes.fromhex(block)
            held[int(start, 16) : int(start, 16) + len(content)] = content
        calibration = Calibration.from_registers(held)
        fine = calibration.fine_temperature(row["adc"]["t"])
        expect = row["expect_kernel"]
        assert (fine * 5 + 128) >> 8 == pytest.approx(expect["temperature_centi_c"], abs=1)
        assert calibration.pressure_of(fine)(row["adc"]["p"]) == pytest.approx(expect["pressure_pa"], abs=3)
        assert calibration.humidity_of(fine)(row["adc"]["h"]) == pytest.approx(expect["humidity_milli_pct"], abs=10)


@pytest.mark.parametrize("seed", range(20))
def test_calibration_survives_its_packing(seed: int) -> None:
    calibration = Calibration.of_some_part(random.Random(seed))
    held = bytearray(256)
    calibration.write_to(held)
    assert Calibration.from_registers(held) == calibration


def test_a_conversion_shows_no_new_data_until_it_is_done(chip: Bosch680, clock: SimulatedClock) -> None:
    chip.write(FORCED_X1)
    assert registers(chip, 0x1D, 1) == b"\x20"
    assert registers(chip, 0x1F, 8) == NO_DATA
    pass_time(clock, LONGEST_X1_NS)
    assert registers(chip, 0x1D, 1) == b"\x80"
    assert registers(chip, 0x74, 1) == b"\x24"
    assert registers(chip, 0x1F, 8) != NO_DATA


@pytest.mark.parametrize("true", [AIR, Air(-39.0, 90.0, 31_000.0), Air(84.0, 10.0, 109_000.0)])
def test_air_comes_back_through_the_formulas(clock: SimulatedClock, true: Air) -> None:
    for seed in range(10):
        chip = Bosch680(Part(clock, lambda _: true, random.Random(seed)), 1)
        chip.write(FORCED_X1)
        pass_time(clock, LONGEST_X1_NS)
        seen = measured(chip)
        assert seen.temperature_c == pytest.approx(true.temperature_c, abs=0.03)
        assert seen.humidity_pct == pytest.approx(true.humidity_pct, abs=0.12)
        assert seen.pressure_pa == pytest.approx(true.pressure_pa, abs=20.0)


def test_noise_is_that_of_the_datasheet(chip: Bosch680, clock: SimulatedClock) -> None:
    seen = []
    for _ in range(300):
        chip.write(FORCED_X1)
        pass_time(clock, LONGEST_X1_NS)
        seen.append(measured(chip))
    assert statistics.stdev(air.temperature_c for air in seen) == pytest.approx(0.005, rel=0.2)
    assert statistics.stdev(air.pressure_pa for air in seen) == pytest.approx(3.3, rel=0.2)


def test_loaded_bytes_are_what_every_conversion_gives(chip: Bosch680, clock: SimulatedClock) -> None:
    field = bytes.fromhex("800069943095f6006ea500000020b620b6")
    low = bytes.fromhex("206403007c9887d75800d92026ff251e000010f6e6f51e")
    chip.load({0x8A: low, 0x1D: field})
    chip.write(b"\xe0\xb6")
    assert registers(chip, 0x8A, 23) == bytes(23)
    pass_time(clock, 2_000_000)
    assert registers(chip, 0x8A, 23) == low
    chip.write(FORCED_X1)
    pass_time(clock, LONGEST_X1_NS)
    assert registers(chip, 0x1D, 17) == field


def test_power_cycle_forgets_settings_and_data(chip: Bosch680, clock: SimulatedClock) -> None:
    chip.write(b"\x70\x08" + FORCED_X1)
    pass_time(clock, LONGEST_X1_NS)
    chip.power_cycle()
    assert registers(chip, 0x70, 6) == bytes(6)
    assert registers(chip, 0x1D, 10) == b"\x00\x00" + NO_DATA
    assert registers(chip, 0xD0, 1) == b"\x61"


def test_gas_takes_its_own_time_and_has_its_own_place_in_each_variant(clock: SimulatedClock) -> None:
    for variant, run_gas, at in ((0, 0x10, 0x2A), (1, 0x20, 0x2C)):
        chip = Bosch680(Part(clock, lambda _: AIR, random.Random(5)), variant)
        chip.write(bytes((0x64, 0x59, 0x71, run_gas)) + FORCED_X1)  # 25 ms, times 4
        pass_time(clock, 100_000_000)
        assert registers(chip, 0x1D, 1) == b"\x20"
        pass_time(clock, 20_000_000)
        assert registers(chip, at, 2) == bytes.fromhex("4b36")
        assert registers(chip, 0xF0, 1) == bytes([variant])


def test_makers_give_both_variants(clock: SimulatedClock) -> None:
    made = [CHIPS["bme680"](Part(clock, lambda _: AIR, random.Random(seed))) for seed in range(20)]
    assert {registers(chip, 0xF0, 1) for chip in made if isinstance(chip, Bosch680)} == {b"\x00", b"\x01"}


@pytest.mark.parametrize("variant", [0, 1])
@pytest.mark.parametrize("true", [AIR, Air(-15.0, 80.0, 85_000.0), Air(45.0, 15.0, 104_000.0)])
def test_pimoronis_driver_reads_the_air(clock: SimulatedClock, variant: int, true: Air) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x76, Bosch680(Part(clock, lambda _: true, random.Random(3)), variant))
    with sleeping_on(clock):
        sensor = bme680.BME680(0x76, SmbusFacade(bus))
        assert sensor.get_sensor_data()
    assert sensor.data.temperature == pytest.approx(true.temperature_c, abs=0.03)
    assert sensor.data.humidity == pytest.approx(true.humidity_pct, abs=0.1)
    assert sensor.data.pressure * 100 == pytest.approx(true.pressure_pa, abs=15.0)


@pytest.mark.parametrize("equal_nibbles", [True, False])
def test_adafruits_driver_reads_the_air_but_for_its_swapped_nibbles(clock: SimulatedClock, equal_nibbles: bool) -> None:
    bus = SimulatedI2C(clock)
    chip = Bosch680(Part(clock, lambda _: AIR, random.Random(3)), 0)
    chip.load({0xE2: b"\x77" if equal_nibbles else b"\x0f"})
    bus.attach(0x77, chip)
    with sleeping_on(clock):
        sensor = adafruit_bme680.Adafruit_BME680_I2C(CircuitPythonFacade(bus, clock), 0x77)
        temperature, humidity, pressure = sensor.temperature, sensor.humidity, sensor.pressure
    assert temperature == pytest.approx(AIR.temperature_c, abs=0.03)
    assert pressure * 100 == pytest.approx(AIR.pressure_pa, abs=15.0)
    # It takes the low four bits of H1 for those of H2 and the other way round.
    assert (abs(humidity - AIR.humidity_pct) < 0.2) == equal_nibbles
