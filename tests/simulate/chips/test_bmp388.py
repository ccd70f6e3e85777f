"""The chip by itself, then read by Adafruit's driver."""

from __future__ import annotations

import json
import random
import statistics
from typing import TYPE_CHECKING

import adafruit_bmp3xx
import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.bmp388 import BoschBmp3, Calibration
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

if TYPE_CHECKING:
    from pathlib import Path

AIR = Air(21.5, 48.0, 100_500.0)
FORCED = b"\x1b\x13"
TYPICAL_X1_NS = 4_979_000
NO_DATA = bytes.fromhex("000080000080")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> BoschBmp3:
    chip = BoschBmp3(0x50, Part(clock, lambda _: AIR, random.Random(5)))
    chip.write(b"\x1c\x00")
    return chip


def registers(chip: BoschBmp3, start: int, count: int = 1) -> bytes:
    chip.write(bytes([start]))
    return chip.read(count)


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def measured(chip: BoschBmp3) -> tuple[float, float]:
    """What the datasheet's integer formulas make of the data registers: °C and Pa."""
    data = registers(chip, 0x04, 6)
    t_lin = chip.calibration.linear_temperature(int.from_bytes(data[3:], "little"))
    return t_lin / 65_536, chip.calibration.pressure_of(t_lin)(int.from_bytes(data[:3], "little")) / 100


@pytest.mark.parametrize("name", ["bmp388", "bmp390"])
def test_formulas_agree_with_the_makers_integers(shared_dir: Path, name: str) -> None:
    for row in json.loads((shared_dir / f"data/vectors/{name}.json").read_text())["vectors"]:
        if row["kind"] != "plausible":
            continue
        calibration = Calibration.from_registers(bytes.fromhex(row["calib_hex"]["0x31"]))
        t_lin = calibration.linear_temperature(row["adc"]["t"])
        expect = row["expect_int64"]
        assert t_lin * 25 / 16_384 == pytest.approx(expect["temperature_centi_c"], abs=1)
        assert calibration.pressure_of(t_lin)(row["adc"]["p"]) == pytest.approx(expect["pressure_centi_pa"], abs=2)


@pytest.mark.parametrize("seed", range(20))
def test_calibration_survives_its_packing(seed: int) -> None:
    calibration = Calibration.of_some_part(random.Random(seed))
    assert Calibration.from_registers(calibration.to_registers()) == calibration


def test_forced_conversion_shows_old_data_until_it_is_done(chip: BoschBmp3, clock: SimulatedClock) -> None:
    chip.write(FORCED)
    pass_time(clock, TYPICAL_X1_NS - 1)
    assert registers(chip, 0x03) == b"\x10"
    assert registers(chip, 0x04, 6) == NO_DATA
    pass_time(clock, 1)
    assert registers(chip, 0x03) == b"\x70"
    assert registers(chip, 0x1B) == b"\x03"
    assert registers(chip, 0x04, 6) != NO_DATA
    assert registers(chip, 0x03) == b"\x10"  # the flags went with the data


@pytest.mark.parametrize("true", [AIR, Air(-39.0, 90.0, 31_000.0), Air(84.0, 10.0, 124_000.0)])
def test_air_comes_back_through_the_formulas(clock: SimulatedClock, true: Air) -> None:
    for seed in range(10):
        chip = BoschBmp3(0x60, Part(clock, lambda _: true, random.Random(seed)))
        chip.write(b"\x1c\x15" + FORCED)
        pass_time(clock, 200_000_000)
        temperature, pressure = measured(chip)
        assert temperature == pytest.approx(true.temperature_c, abs=0.02)
        assert pressure == pytest.approx(true.pressure_pa, abs=5.0)


def test_noise_and_resolution_are_those_of_the_datasheet(chip: BoschBmp3, clock: SimulatedClock) -> None:
    seen = []
    for _ in range(300):
        chip.write(FORCED)
        pass_time(clock, TYPICAL_X1_NS)
        seen.append(measured(chip)[1])
        assert registers(chip, 0x04) == b"\x00"  # 16 bits of 24
    assert statistics.stdev(seen) == pytest.approx(3.1, rel=0.2)


def test_start_is_remembered_until_it_is_read(chip: BoschBmp3, clock: SimulatedClock) -> None:
    assert registers(chip, 0x10) == b"\x01"
    assert registers(chip, 0x10) == b"\x00"
    chip.write(b"\x1c\x0d\x7e\xb6")
    assert registers(chip, 0x03) == b"\x00"
    chip.write(b"\x7e\xb6")
    assert registers(chip, 0x02) == b"\x02"  # too early for a command
    pass_time(clock, 2_000_000)
    assert registers(chip, 0x02, 2) == b"\x00\x10"
    assert registers(chip, 0x10) == b"\x01"
    assert registers(chip, 0x1C) == b"\x02"


def test_channels_that_are_off_read_as_skipped(chip: BoschBmp3, clock: SimulatedClock) -> None:
    chip.write(b"\x1b\x12")
    pass_time(clock, TYPICAL_X1_NS)
    assert registers(chip, 0x03) == b"\x50"
    data = registers(chip, 0x04, 6)
    assert data[:3] == NO_DATA[:3]
    assert data[3:] != NO_DATA[:3]


def test_loaded_bytes_are_what_every_conversion_gives(chip: BoschBmp3, clock: SimulatedClock) -> None:
    block, data = bytes.fromhex("386c6446f6000201002a00a061ae77faf3693e0dc6"), bytes.fromhex("4bc57133df94")
    chip.load({0x31: block, 0x04: data})
    chip.power_cycle()
    pass_time(clock, 2_000_000)
    assert registers(chip, 0x31, 21) == block
    assert registers(chip, 0x04, 6) == NO_DATA
    chip.write(FORCED)
    pass_time(clock, 12_000_000)
    assert registers(chip, 0x04, 6) == data


@pytest.mark.parametrize("chip_id", [0x50, 0x60])
@pytest.mark.parametrize("true", [AIR, Air(-15.0, 80.0, 55_000.0), Air(45.0, 15.0, 110_000.0)])
def test_adafruits_driver_reads_the_air(clock: SimulatedClock, chip_id: int, true: Air) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x77, BoschBmp3(chip_id, Part(clock, lambda _: true, random.Random(3))))
    with sleeping_on(clock):
        sensor = adafruit_bmp3xx.BMP3XX_I2C(CircuitPythonFacade(bus, clock))
        sensor.pressure_oversampling = 8
        temperature, pressure = sensor.temperature, sensor.pressure
    assert temperature == pytest.approx(true.temperature_c, abs=0.02)
    assert pressure * 100 == pytest.approx(true.pressure_pa, abs=8.0)
