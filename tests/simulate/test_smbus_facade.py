"""Drivers of other people judge the chips: RPi.bme280 by SMBus calls, smbus2's own messages by i2c_rdwr."""

from __future__ import annotations

import errno
import random
import time
from typing import TYPE_CHECKING

import bme280
import pytest
from smbus2 import i2c_msg

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.bme280 import CHIPS, Bosch280
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.smbus_facade import SmbusFacade
from edge_agent.simulate.world import Air, World

if TYPE_CHECKING:
    from collections.abc import Callable

START_NS = 1_750_000_000_000_000_000
ADDRESS = 0x76


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    clock = SimulatedClock(START_NS)
    monkeypatch.setattr(time, "sleep", lambda s: clock.advance_to(clock.now_ns() + round(s * 1e9)))
    return clock


def facade(clock: SimulatedClock, air: Callable[[int], Air], seed: int = 1) -> SmbusFacade:
    bus = SimulatedI2C(clock)
    chip = CHIPS["bme280"](Part(clock, air, random.Random(seed)))
    assert isinstance(chip, Bosch280)
    bus.attach(ADDRESS, chip)
    return SmbusFacade(bus)


# Its own deprecated call, not ours.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(12))
def test_rpi_bme280_reads_what_the_world_is(clock: SimulatedClock, seed: int) -> None:
    world = World(seed, START_NS)
    offset_ns = clock.anchor().offset_ns
    bus = facade(clock, lambda boot_ns: world.air(boot_ns + offset_ns), seed)
    calibration = bme280.load_calibration_params(bus, ADDRESS)
    for _ in range(50):
        true = world.air(clock.now_ns() + offset_ns)
        seen = bme280.sample(bus, ADDRESS, calibration)
        assert seen.temperature == pytest.approx(true.temperature_c, abs=0.03)
        assert seen.humidity == pytest.approx(true.humidity_pct, abs=0.12)
        assert seen.pressure * 100 == pytest.approx(true.pressure_pa, abs=20.0)
        clock.advance_to(clock.now_ns() + 600_000_000_000)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("true", [Air(-20.0, 85.0, 70_000.0), Air(60.0, 8.0, 105_000.0)])
def test_rpi_bme280_agrees_far_from_room_air(clock: SimulatedClock, true: Air) -> None:
    bus = facade(clock, lambda _: true)
    seen = bme280.sample(bus, ADDRESS, bme280.load_calibration_params(bus, ADDRESS))
    assert seen.temperature == pytest.approx(true.temperature_c, abs=0.03)
    assert seen.humidity == pytest.approx(true.humidity_pct, abs=0.12)
    assert seen.pressure * 100 == pytest.approx(true.pressure_pa, abs=20.0)


def test_failure_is_a_plain_oserror(clock: SimulatedClock) -> None:
    bus = facade(clock, lambda _: Air(20.0, 50.0, 100_000.0))
    with pytest.raises(OSError, match="Remote I/O error") as caught:
        bus.read_byte_data(0x77, 0xD0)
    assert type(caught.value) is OSError
    assert caught.value.errno == errno.EREMOTEIO


def test_calls_have_the_shape_of_smbus(clock: SimulatedClock) -> None:
    bus = facade(clock, lambda _: Air(20.0, 50.0, 100_000.0))
    assert bus.read_byte_data(ADDRESS, 0xD0) == 0x60
    bus.write_byte(ADDRESS, 0xD0)
    assert bus.read_byte(ADDRESS) == 0x60
    low, high = bus.read_i2c_block_data(ADDRESS, 0x88, 2)
    assert bus.read_word_data(ADDRESS, 0x88) == low | high << 8
    bus.write_i2c_block_data(ADDRESS, 0xF2, [0x01, 0xF5, 0x10])
    assert bus.read_byte_data(ADDRESS, 0xF5) == 0x10
    bus.write_quick(ADDRESS)
    with pytest.raises(ValueError, match="32"):
        bus.read_i2c_block_data(ADDRESS, 0x88, 33)


def test_messages_of_smbus2_pass(clock: SimulatedClock) -> None:
    bus = facade(clock, lambda _: Air(20.0, 50.0, 100_000.0))
    answer = i2c_msg.read(ADDRESS, 2)
    bus.i2c_rdwr(i2c_msg.write(ADDRESS, [0xF5, 0x10]), i2c_msg.write(ADDRESS, [0xD0]), answer)
    assert bytes(answer)[0] == 0x60
    assert bus.read_byte_data(ADDRESS, 0xF5) == 0x10


def test_adapter_refuses_what_the_raspberry_pi_refuses(clock: SimulatedClock) -> None:
    bus = facade(clock, lambda _: Air(20.0, 50.0, 100_000.0))
    with pytest.raises(OSError, match="not supported") as caught:
        bus.i2c_rdwr(i2c_msg.read(ADDRESS, 1), i2c_msg.write(ADDRESS, [0xD0]))
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(OSError, match="Invalid") as caught:
        bus.i2c_rdwr(*[i2c_msg.write(ADDRESS, [0xD0])] * 43)
    assert caught.value.errno == errno.EINVAL
