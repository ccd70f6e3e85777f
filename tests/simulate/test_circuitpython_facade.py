"""Adafruit's own bus device speaks through the facade to a chip."""

from __future__ import annotations

import errno
import random
import time
from typing import TYPE_CHECKING

import pytest
from adafruit_bus_device.i2c_device import I2CDevice

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.bme280 import CHIPS
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import Air
from tests.simulate.peers import sleeping_on

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = 0x76


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def facade(clock: SimulatedClock) -> CircuitPythonFacade:
    bus = SimulatedI2C(clock)
    bus.attach(ADDRESS, CHIPS["bme280"](Part(clock, lambda _: Air(20.0, 50.0, 100_000.0), random.Random(5))))  # type: ignore[arg-type]
    return CircuitPythonFacade(bus, clock)


@pytest.fixture
def locked(facade: CircuitPythonFacade) -> Iterator[CircuitPythonFacade]:
    assert facade.try_lock()
    yield facade
    facade.unlock()


def test_bus_device_finds_the_chip_by_a_write_of_nothing_and_reads_it(facade: CircuitPythonFacade) -> None:
    chip_id = bytearray(1)
    with I2CDevice(facade, ADDRESS) as device:
        device.write_then_readinto(b"\xd0", chip_id)
    assert chip_id == b"\x60"
    with pytest.raises(ValueError, match="0x77"):
        I2CDevice(facade, 0x77)


def test_parts_of_buffers_are_used_and_the_rest_is_left_alone(locked: CircuitPythonFacade) -> None:
    both = bytearray(b"\xd0\xaa\xaa")
    locked.writeto_then_readfrom(ADDRESS, both, both, out_end=1, in_start=1, in_end=2)
    assert both == b"\xd0\x60\xaa"
    locked.writeto(ADDRESS, b"\x00\xf5\x10\x00", start=1, end=3)
    locked.writeto(ADDRESS, b"\xf5")
    read = bytearray(b"\xaa\xaa")
    locked.readfrom_into(ADDRESS, read, start=1)
    assert read == b"\xaa\x10"


def test_failure_is_a_plain_oserror(locked: CircuitPythonFacade) -> None:
    with pytest.raises(OSError, match="Remote I/O error") as caught:
        locked.writeto(0x77, b"\xd0")
    assert type(caught.value) is OSError
    assert caught.value.errno == errno.EREMOTEIO


def test_bus_has_one_user_at_a_time(facade: CircuitPythonFacade) -> None:
    with pytest.raises(RuntimeError, match="lock"):
        facade.writeto(ADDRESS, b"\xd0")
    assert facade.try_lock()
    assert not facade.try_lock()
    facade.unlock()
    assert facade.try_lock()
    assert facade.scan() == [ADDRESS]


def test_bytes_take_their_time_on_the_wire(locked: CircuitPythonFacade, clock: SimulatedClock) -> None:
    before_ns = clock.now_ns()
    locked.writeto_then_readfrom(ADDRESS, b"\x88", bytearray(24))
    assert clock.now_ns() - before_ns == 27 * 90_000


def test_sleep_lets_simulated_time_pass_until_the_block_ends(clock: SimulatedClock) -> None:
    real = vars(time)["sleep"], vars(time)["monotonic"]
    before_ns = clock.now_ns()
    with sleeping_on(clock):
        vars(time)["sleep"](1.5)
        assert vars(time)["monotonic"]() == pytest.approx((before_ns + 1_500_000_000) * 1e-9)
    assert clock.now_ns() - before_ns == 1_500_000_000
    assert (vars(time)["sleep"], vars(time)["monotonic"]) == real
