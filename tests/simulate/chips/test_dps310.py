"""The chip by itself, then read by Adafruit's two drivers."""

from __future__ import annotations

import random
import statistics
from typing import TYPE_CHECKING

import pytest
from adafruit_dps310.advanced import DPS310_Advanced
from adafruit_dps310.basic import DPS310

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.dps310 import Coefficients, Dps310
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

if TYPE_CHECKING:
    from collections.abc import Iterable

AIR = Air(21.5, 48.0, 100_500.0)
REPAIR = ("0ea5", "0f96", "6202", "0e00", "0f00")
NO_DATA = bytes.fromhex("800000800000")
SCALE_X1 = 524_288


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Dps310:
    return Dps310(Part(clock, lambda _: AIR, random.Random(5)))


def send(chip: Dps310, writes: Iterable[str]) -> None:
    for write in writes:
        chip.write(bytes.fromhex(write))


def registers(chip: Dps310, start: int, count: int = 1) -> bytes:
    chip.write(bytes([start]))
    return chip.read(count)


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def configure(chip: Dps310) -> None:
    """Once a second both, one sample each, from the thermometer that the coefficients belong to."""
    send(chip, (*REPAIR, "0600", f"07{registers(chip, 0x28)[0]:02x}"))


def measured(chip: Dps310) -> tuple[float, float]:
    """°C and Pa at one sample each."""
    data, c = registers(chip, 0x00, 6), chip.coefficients
    p = int.from_bytes(data[:3], "big", signed=True) / SCALE_X1
    t = int.from_bytes(data[3:], "big", signed=True) / SCALE_X1
    return c.c0 / 2 + c.c1 * t, c.pressure_pa(p, t)


def assert_near(seen: tuple[float, float], true: Air) -> None:
    assert seen[0] == pytest.approx(true.temperature_c, abs=0.1)
    assert seen[1] == pytest.approx(true.pressure_pa, abs=15.0)


@pytest.mark.parametrize("seed", range(20))
def test_calibration_survives_its_packing(seed: int) -> None:
    coefficients = Coefficients.of_some_part(random.Random(seed))
    assert Coefficients.from_registers(coefficients.to_registers()) == coefficients


def test_coefficients_lie_as_in_a_known_part() -> None:
    block = bytes.fromhex("0e3ef5155dff2562f58f05f2e173ffa4f869")
    assert Coefficients.from_registers(block) == Coefficients(227, -267, 87519, -55966, -2673, 1522, -7821, -92, -1943)


def test_start_takes_its_time_and_forgets_everything(chip: Dps310, clock: SimulatedClock) -> None:
    block = registers(chip, 0x10, 18)
    assert block == chip.coefficients.to_registers()
    send(chip, ("0624", "0c89"))
    assert registers(chip, 0x06, 3) == bytes(3)
    assert registers(chip, 0x10, 18) == bytes(18)
    pass_time(clock, 12_000_000)
    assert registers(chip, 0x08) == b"\x40"
    pass_time(clock, 28_000_000)
    assert registers(chip, 0x08) == b"\xc0"
    assert registers(chip, 0x10, 18) == block
    assert registers(chip, 0x00, 6) == NO_DATA


def test_background_measures_temperature_then_pressure_and_again(chip: Dps310, clock: SimulatedClock) -> None:
    configure(chip)
    send(chip, ("0807",))
    pass_time(clock, 3_600_000)
    assert registers(chip, 0x08) == b"\xe7"
    pass_time(clock, 3_600_000)
    assert registers(chip, 0x08) == b"\xf7"
    first = registers(chip, 0x00, 6)
    assert registers(chip, 0x08) == b"\xc7"  # the flags went with the data
    assert registers(chip, 0x00, 6) == first
    pass_time(clock, 1_000_000_000)
    assert registers(chip, 0x08) == b"\xf7"
    assert registers(chip, 0x00, 6) != first


def test_a_command_measures_one_thing_once(chip: Dps310, clock: SimulatedClock) -> None:
    configure(chip)
    for mode, done, flag in (("0802", "c2", "e0"), ("0801", "e1", "f0")):
        send(chip, (mode,))
        assert registers(chip, 0x08).hex() == done
        pass_time(clock, 3_600_000)
        assert registers(chip, 0x08).hex() == flag
    assert_near(measured(chip), AIR)


@pytest.mark.parametrize("true", [AIR, Air(-39.0, 90.0, 31_000.0), Air(84.0, 10.0, 119_000.0)])
def test_air_comes_back_through_the_formulas(clock: SimulatedClock, true: Air) -> None:
    for seed in range(10):
        chip = Dps310(Part(clock, lambda _: true, random.Random(seed)))
        configure(chip)
        send(chip, ("0807",))
        pass_time(clock, 10_000_000)
        assert_near(measured(chip), true)


def test_noise_is_that_of_the_datasheet(chip: Dps310, clock: SimulatedClock) -> None:
    configure(chip)
    send(chip, ("0807",))
    seen = []
    for _ in range(300):
        pass_time(clock, 1_000_000_000)
        seen.append(measured(chip)[1])
    assert statistics.stdev(seen) == pytest.approx(2.5, rel=0.2)


@pytest.mark.parametrize(
    "missing",
    [
        ("0600", "0700"),  # the fuse
        ("0ea5", "6202", "0600", "0700"),  # half the key
        (*REPAIR, "0600", "0780"),  # the thermometer
    ],
)
def test_a_driver_that_skips_a_step_is_far_off(chip: Dps310, clock: SimulatedClock, missing: tuple[str, ...]) -> None:
    chip.load({0x28: b"\x00"})
    send(chip, (*missing, "0807"))
    pass_time(clock, 10_000_000)
    assert abs(measured(chip)[0] - AIR.temperature_c) > 20.0


def test_more_than_eight_samples_overflow_without_the_shift(chip: Dps310, clock: SimulatedClock) -> None:
    configure(chip)
    seen = []
    for shift in ("0904", "0900"):
        send(chip, ("0604", shift, "0807"))
        pass_time(clock, 100_000_000)
        seen.append(int.from_bytes(registers(chip, 0x00, 3), "big", signed=True))
    assert seen[1] == pytest.approx(seen[0] * 16, abs=3000)


def test_loaded_bytes_are_what_every_conversion_gives(chip: Dps310, clock: SimulatedClock) -> None:
    block, data = bytes.fromhex("0e3ef5155dff2562f58f05f2e173ffa4f869"), bytes.fromhex("0b9fc102a828")
    chip.load({0x10: block, 0x28: b"\x80", 0x00: data})
    assert registers(chip, 0x10, 18) == block
    assert registers(chip, 0x28) == b"\x80"
    send(chip, ("0807",))
    pass_time(clock, 10_000_000)
    assert registers(chip, 0x00, 6) == data


@pytest.mark.parametrize("driver", [DPS310, DPS310_Advanced])
@pytest.mark.parametrize("true", [AIR, Air(-15.0, 80.0, 55_000.0), Air(45.0, 15.0, 110_000.0)])
def test_adafruits_drivers_read_the_air(clock: SimulatedClock, driver: type[DPS310], true: Air) -> None:
    bus = SimulatedI2C(clock)
    bus.attach(0x77, Dps310(Part(clock, lambda _: true, random.Random(3))))
    with sleeping_on(clock):
        sensor = driver(CircuitPythonFacade(bus, clock))
        temperature, pressure = sensor.temperature, sensor.pressure
    assert temperature == pytest.approx(true.temperature_c, abs=0.05)
    assert pressure * 100 == pytest.approx(true.pressure_pa, abs=3.0)
