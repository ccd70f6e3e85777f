"""The chips by themselves, then read by Adafruit's drivers. RPi.bme280 reads them through the SMBus facade."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest
from adafruit_bme280.advanced import Adafruit_BME280_I2C as AdvancedBme280
from adafruit_bme280.basic import Adafruit_BME280_I2C as BasicBme280
from adafruit_bmp280 import Adafruit_BMP280_I2C

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.bme280 import Bosch280
from edge_agent.simulate.chips.bosch280 import FULL_SCALE_20_BIT, Calibration, counts_for
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

AIR = Air(21.5, 48.0, 100_500.0)
FORCED_X1 = b"\xf2\x01\xf4\x25"
TYPICAL_X1_NS = 8_000_000
MAXIMUM_X1_NS = 9_300_000
NO_DATA = bytes.fromhex("8000008000008000")
DATASHEET_LOW = bytes.fromhex("706b436718fc7d8e43d6d00b270b8c00f9ff8c3cf8c670170000")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Bosch280:
    return Bosch280("bme280", Part(clock, lambda _: AIR, random.Random(5)))


def registers(chip: Bosch280, start: int, count: int) -> bytes:
    chip.write(bytes([start]))
    return chip.read(count)


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def measured(chip: Bosch280) -> Air:
    """What the datasheet's integer formulas make of the data registers."""
    data = registers(chip, 0xF7, 8)
    low, high = registers(chip, 0x88, 26), registers(chip, 0xE1, 7)
    calibration = Calibration.from_registers(low, high)
    fine = calibration.fine_temperature(int.from_bytes(data[3:6], "big") >> 4)
    return Air(
        fine / 5120,
        calibration.humidity_of(fine)(int.from_bytes(data[6:8], "big")) / 1024,
        calibration.pressure_of(fine)(int.from_bytes(data[:3], "big") >> 4) / 256,
    )


def test_datasheet_worked_example() -> None:
    calibration = Calibration.from_registers(DATASHEET_LOW, bytes(7))
    assert (calibration.t1, calibration.t3, calibration.p2, calibration.p9) == (27504, -1000, -10685, 6000)
    fine = calibration.fine_temperature(519_888)
    assert fine == 128_422
    assert (fine * 5 + 128) >> 8 == 2508
    assert calibration.pressure_of(fine)(415_148) == 25_767_233  # 100653.25 Pa


def test_formulas_agree_with_the_kernel_on_a_part_with_negative_h5() -> None:
    calibration = Calibration.from_registers(
        bytes.fromhex("4b6db36632002a93b0d5d00b0c142700f9ff8c3c5cc77017004b"), bytes.fromhex("700100136ffffb")
    )
    assert calibration.h5 == -10
    data = bytes.fromhex("6e0f30811680879d")
    fine = calibration.fine_temperature(int.from_bytes(data[3:6], "big") >> 4)
    assert (fine * 5 + 128) >> 8 == 2542
    # Linux bmp280-core.c on the same bytes.
    assert calibration.pressure_of(fine)(int.from_bytes(data[:3], "big") >> 4) == 21_883_890
    assert calibration.humidity_of(fine)(int.from_bytes(data[6:], "big")) == 81_150


def test_loaded_bytes_are_what_every_conversion_gives(chip: Bosch280, clock: SimulatedClock) -> None:
    example = bytes.fromhex("655ac07eed007530")
    chip.load({0xD0: b"\x60", 0x88: DATASHEET_LOW, 0xF7: example})
    assert registers(chip, 0xF7, 8) == example
    chip.write(b"\xe0\xb6")
    pass_time(clock, 2_000_000)
    assert registers(chip, 0xF7, 8) == NO_DATA
    assert registers(chip, 0x88, 26) == DATASHEET_LOW
    chip.write(FORCED_X1)
    pass_time(clock, MAXIMUM_X1_NS)
    assert registers(chip, 0xF7, 8) == example


@pytest.mark.parametrize("seed", range(50))
def test_calibration_survives_its_packing(seed: int) -> None:
    calibration = Calibration.of_some_part(random.Random(seed))
    assert Calibration.from_registers(*calibration.to_registers()) == calibration


def test_some_parts_have_a_negative_h5() -> None:
    signs = {Calibration.of_some_part(random.Random(seed)).h5 < 0 for seed in range(50)}
    assert signs == {True, False}


def test_forced_conversion_shows_old_data_until_it_is_done(chip: Bosch280, clock: SimulatedClock) -> None:
    chip.write(FORCED_X1)
    pass_time(clock, TYPICAL_X1_NS - 1)
    assert registers(chip, 0xF3, 1) == b"\x08"
    assert registers(chip, 0xF4, 1) == b"\x25"
    assert registers(chip, 0xF7, 8) == NO_DATA
    pass_time(clock, 1)
    assert registers(chip, 0xF3, 1) == b"\x00"
    assert registers(chip, 0xF4, 1) == b"\x24"
    assert registers(chip, 0xF7, 8) != NO_DATA


def test_conversion_measures_the_air_of_its_start(clock: SimulatedClock) -> None:
    asked: list[int] = []

    def air(boot_ns: int) -> Air:
        asked.append(boot_ns)
        return AIR

    chip = Bosch280("bme280", Part(clock, air, random.Random(5)))
    start_ns = clock.now_ns()
    chip.write(FORCED_X1)
    pass_time(clock, 1_000_000_000)
    registers(chip, 0xF7, 8)
    assert asked == [start_ns]


@pytest.mark.parametrize("true", [AIR, Air(-39.0, 99.0, 31_000.0), Air(84.0, 1.0, 109_000.0), Air(200.0, 500.0, 5.0)])
def test_air_comes_back_through_the_formulas(clock: SimulatedClock, true: Air) -> None:
    for seed in range(10):
        chip = Bosch280("bme280", Part(clock, lambda _: true, random.Random(seed)))
        chip.write(FORCED_X1)
        pass_time(clock, MAXIMUM_X1_NS)
        seen = measured(chip)
        assert seen.temperature_c == pytest.approx(min(true.temperature_c, 85.0), abs=0.03)
        assert seen.humidity_pct == pytest.approx(min(true.humidity_pct, 100.0), abs=0.12)
        assert seen.pressure_pa == pytest.approx(max(true.pressure_pa, 30_000.0), abs=20.0)


def test_noise_is_that_of_the_datasheet(chip: Bosch280, clock: SimulatedClock) -> None:
    seen = []
    for _ in range(400):
        chip.write(FORCED_X1)
        pass_time(clock, MAXIMUM_X1_NS)
        seen.append(measured(chip))
    assert statistics.fmean(air.temperature_c for air in seen) == pytest.approx(AIR.temperature_c, abs=0.003)
    assert statistics.fmean(air.pressure_pa for air in seen) == pytest.approx(AIR.pressure_pa, abs=1.0)
    assert statistics.stdev(air.temperature_c for air in seen) == pytest.approx(0.005, rel=0.2)
    assert statistics.stdev(air.pressure_pa for air in seen) == pytest.approx(3.3, rel=0.2)
    assert statistics.stdev(air.humidity_pct for air in seen) == pytest.approx(0.02, rel=0.2)


def test_humidity_oversampling_counts_only_after_ctrl_meas(chip: Bosch280, clock: SimulatedClock) -> None:
    chip.write(b"\xf4\x25")
    pass_time(clock, MAXIMUM_X1_NS)
    chip.write(b"\xf2\x01")
    assert registers(chip, 0xFD, 2) == b"\x80\x00"
    chip.write(b"\xf4\x25")
    pass_time(clock, MAXIMUM_X1_NS)
    assert registers(chip, 0xFD, 2) != b"\x80\x00"


def test_skipped_channels_read_as_skipped(chip: Bosch280, clock: SimulatedClock) -> None:
    chip.write(b"\xf2\x00\xf4\x21")
    pass_time(clock, MAXIMUM_X1_NS)
    data = registers(chip, 0xF7, 8)
    assert data[:3] == NO_DATA[:3]
    assert data[6:] == NO_DATA[6:]
    assert data[3:6] != NO_DATA[:3]


def test_calibration_reads_zero_until_it_has_been_copied(chip: Bosch280, clock: SimulatedClock) -> None:
    before = registers(chip, 0x88, 26)
    chip.write(b"\xe0\xb6")
    assert registers(chip, 0xF3, 1) == b"\x01"
    assert registers(chip, 0x88, 26) == bytes(26)
    assert registers(chip, 0xD0, 1) == b"\x60"
    pass_time(clock, 2_000_000)
    assert registers(chip, 0xF3, 1) == b"\x00"
    assert registers(chip, 0x88, 26) == before


def test_power_cycle_forgets_configuration_and_data(chip: Bosch280, clock: SimulatedClock) -> None:
    chip.write(b"\xf5\x10" + FORCED_X1)
    pass_time(clock, MAXIMUM_X1_NS)
    assert registers(chip, 0xF5, 1) == b"\x10"
    chip.power_cycle()
    pass_time(clock, 2_000_000)
    assert registers(chip, 0xF2, 4) == bytes(4)
    assert registers(chip, 0xF7, 8) == NO_DATA


def test_pointer_goes_on_where_the_last_read_ended(chip: Bosch280) -> None:
    whole = registers(chip, 0x88, 6)
    chip.write(b"\x88")
    assert chip.read(2) + chip.read(4) == whole


def test_normal_mode_converts_by_itself_and_ignores_config(chip: Bosch280, clock: SimulatedClock) -> None:
    chip.write(b"\xf5\x00\xf2\x01\xf4\x27")  # 0.5 ms between conversions of 8 ms
    chip.write(b"\xf5\x10")
    assert registers(chip, 0xF5, 1) == b"\x00"
    assert registers(chip, 0xF7, 8) == NO_DATA
    pass_time(clock, TYPICAL_X1_NS + 100_000)
    assert registers(chip, 0xF3, 1) == b"\x00"
    first = registers(chip, 0xF7, 8)
    assert first != NO_DATA
    pass_time(clock, 1_000_000)
    assert registers(chip, 0xF3, 1) == b"\x08"
    assert registers(chip, 0xF7, 8) == first
    pass_time(clock, 3_600_000_000_000)
    assert registers(chip, 0xF7, 8) != first
    chip.write(b"\xf4\x24")
    pass_time(clock, 10_000_000)
    assert registers(chip, 0xF4, 1) == b"\x24"


def test_mode_written_during_a_conversion_waits_for_its_end(chip: Bosch280, clock: SimulatedClock) -> None:
    chip.write(FORCED_X1)
    pass_time(clock, TYPICAL_X1_NS // 2)
    chip.write(b"\xf4\x25")
    pass_time(clock, TYPICAL_X1_NS)
    assert registers(chip, 0xF3, 1) == b"\x08"
    pass_time(clock, TYPICAL_X1_NS // 2)
    assert registers(chip, 0xF3, 1) == b"\x00"


def test_filter_follows_a_step_slowly(clock: SimulatedClock) -> None:
    now = AIR
    chip = Bosch280("bme280", Part(clock, lambda _: now, random.Random(5)))
    chip.write(b"\xf5\x08")  # coefficient 4
    seen = []
    for true in [AIR, *[Air(31.5, 48.0, 100_500.0)] * 3]:
        now = true
        chip.write(FORCED_X1)
        pass_time(clock, MAXIMUM_X1_NS)
        seen.append(measured(chip).temperature_c)
    assert seen == pytest.approx([21.5, 24.0, 25.875, 27.28], abs=0.05)


def test_bmp280_has_its_own_id_and_no_humidity(clock: SimulatedClock) -> None:
    chip = Bosch280("bmp280", Part(clock, lambda _: AIR, random.Random(5)))
    assert registers(chip, 0xD0, 1) == b"\x58"
    assert registers(chip, 0xE1, 7) == bytes(7)
    chip.write(FORCED_X1)
    pass_time(clock, 6_500_000)
    assert registers(chip, 0xF2, 1) == b"\x00"
    assert registers(chip, 0xF3, 1) == b"\x00"
    assert registers(chip, 0xF7, 6) != NO_DATA[:6]
    assert registers(chip, 0xFD, 2) == b"\x00\x00"
    chip.write(b"\xf5\xe0\xf4\x27")  # 4 s between conversions, where a BME280 would wait 20 ms
    pass_time(clock, 6_500_000)
    first = registers(chip, 0xF7, 6)
    pass_time(clock, 3_900_000_000)
    assert registers(chip, 0xF7, 6) == first


@pytest.mark.parametrize("driver", [BasicBme280, AdvancedBme280])
@pytest.mark.parametrize("true", [AIR, Air(-15.0, 80.0, 85_000.0), Air(45.0, 15.0, 104_000.0)])
def test_adafruits_bme280_drivers_read_the_air(clock: SimulatedClock, driver: Any, true: Air) -> None:
    for seed in range(5):  # H5 of either sign among them
        bus = SimulatedI2C(clock)
        bus.attach(0x76, Bosch280("bme280", Part(clock, lambda _: true, random.Random(seed))))
        with sleeping_on(clock):
            sensor = driver(CircuitPythonFacade(bus, clock), 0x76)
            temperature, humidity, pressure = sensor.temperature, sensor.relative_humidity, sensor.pressure
        assert temperature == pytest.approx(true.temperature_c, abs=0.03)
        assert humidity == pytest.approx(true.humidity_pct, abs=0.12)
        assert pressure * 100 == pytest.approx(true.pressure_pa, abs=20.0)


def test_adafruits_bmp280_driver_reads_the_air(clock: SimulatedClock) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x77, Bosch280("bmp280", Part(clock, lambda _: AIR, random.Random(5))))
    with sleeping_on(clock):
        sensor = Adafruit_BMP280_I2C(CircuitPythonFacade(bus, clock))
        temperature, pressure = sensor.temperature, sensor.pressure
    assert temperature == pytest.approx(AIR.temperature_c, abs=0.03)
    assert pressure * 100 == pytest.approx(AIR.pressure_pa, abs=20.0)


@pytest.mark.parametrize("pascal", [30_000, 101_325, 110_000])
def test_the_counts_of_a_pressure_are_found_in_a_few_steps_from_anywhere(pascal: int) -> None:
    pressure_of = Calibration.of_some_part(random.Random(1)).pressure_of(110_000)
    asked: list[int] = []

    def pressure_q24_8(adc: int) -> int:
        asked.append(adc)
        return pressure_of(adc)

    counts = counts_for(pascal * 256, pressure_q24_8, FULL_SCALE_20_BIT // 2, FULL_SCALE_20_BIT, rising=False)
    assert pressure_of(counts) < pascal * 256 <= pressure_of(counts - 1)
    assert len(asked) <= 25
    asked.clear()
    assert counts_for(pascal * 256, pressure_q24_8, counts, FULL_SCALE_20_BIT, rising=False) == counts
    assert len(asked) <= 8
