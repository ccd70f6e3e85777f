from __future__ import annotations

import errno

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.errors import BusError, BusTimeout, NoAcknowledge
from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.tca9548a import Tca9548a
from edge_agent.simulate.i2c import SimulatedI2C


class Memory:
    """A chip that repeats one byte, and counts its starts."""

    def __init__(self, value: int = 0xA5) -> None:
        self.value = value
        self.starts = 0
        self.busy = False

    def write(self, data: bytes) -> None:
        """Keep the last byte."""
        if self.busy:
            raise Nack
        if data:
            self.value = data[-1]

    def read(self, count: int) -> bytes:
        """Repeat it."""
        if self.busy:
            raise Nack
        return bytes([self.value]) * count

    def power_cycle(self) -> None:
        """Count."""
        self.starts += 1


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def bus(clock: SimulatedClock) -> SimulatedI2C:
    return SimulatedI2C(clock, name="i2c1", log_limit=8)


def test_absent_address_is_not_acknowledged(bus: SimulatedI2C) -> None:
    with pytest.raises(NoAcknowledge, match="0x76 on i2c1") as caught:
        bus.transfer(0x76, b"\xd0", 1)
    assert caught.value.errno == errno.EREMOTEIO
    assert not bus.ping(0x76)


def test_busy_chip_looks_absent(bus: SimulatedI2C) -> None:
    chip = Memory()
    bus.attach(0x44, chip)
    assert bus.ping(0x44)
    chip.busy = True
    assert not bus.ping(0x44)
    with pytest.raises(NoAcknowledge):
        bus.transfer(0x44, b"", 2)


def test_two_chips_at_one_address_pull_each_others_bits_low(bus: SimulatedI2C) -> None:
    bus.attach(0x76, Memory(0b1100))
    bus.attach(0x76, Memory(0b1010))
    assert bus.transfer(0x76, b"", 2) == bytes([0b1000, 0b1000])


def test_plugged_chip_has_lost_its_power(bus: SimulatedI2C) -> None:
    chip = Memory()
    bus.attach(0x76, chip)
    bus.unplug(0x76)
    assert not bus.ping(0x76)
    bus.plug(0x76)
    assert bus.ping(0x76)
    assert chip.starts == 1


def test_stuck_bus_times_out_at_every_address_until_it_is_recovered(bus: SimulatedI2C, clock: SimulatedClock) -> None:
    bus.attach(0x76, Memory())
    bus.stuck = True
    before_ns = clock.now_ns()
    for address in (0x76, 0x44):
        with pytest.raises(BusTimeout) as caught:
            bus.transfer(address, b"", 1)
        assert caught.value.errno == errno.ETIMEDOUT
    assert clock.now_ns() - before_ns == 2_000_000_000
    bus.recover()
    assert bus.ping(0x76)


def test_power_cycle_reaches_every_chip_and_frees_the_bus(bus: SimulatedI2C) -> None:
    chips = [Memory(), Memory()]
    bus.attach(0x44, chips[0])
    bus.attach(0x76, chips[1])
    bus.stuck = True
    bus.power_cycle()
    assert [chip.starts for chip in chips] == [1, 1]
    assert bus.ping(0x44)


def test_glitches_end_after_their_number(bus: SimulatedI2C) -> None:
    bus.attach(0x76, Memory())
    bus.fail_next(2)
    bus.fail_next(code=errno.EIO)
    for _ in range(2):
        with pytest.raises(NoAcknowledge):
            bus.transfer(0x76, b"", 1)
    with pytest.raises(BusError) as caught:
        bus.transfer(0x76, b"", 1)
    assert caught.value.errno == errno.EIO
    assert bus.transfer(0x76, b"", 1) == b"\xa5"


def test_log_tells_what_passed_and_keeps_to_its_bound(bus: SimulatedI2C, clock: SimulatedClock) -> None:
    bus.attach(0x76, Memory())
    bus.transfer(0x76, b"\x07", 1)
    with pytest.raises(NoAcknowledge):
        bus.transfer(0x77, b"\x07", 1)
    assert [tuple(entry) for entry in bus.log] == [
        (clock.now_ns(), 0x76, b"\x07", b"\x07"),
        (clock.now_ns(), 0x77, b"\x07", None),
    ]
    for _ in range(20):
        bus.ping(0x76)
    assert len(bus.log) == 8
    assert bus.transfers == 22


def test_a_power_cycle_reaches_the_chips_behind_a_multiplexer(bus: SimulatedI2C) -> None:
    mux, chip = Tca9548a(), Memory()
    mux.segments[3].attach(0x50, chip)
    bus.attach(0x70, mux)
    bus.transfer(0x70, b"\x08", 0)
    assert bus.ping(0x50)
    bus.power_cycle()
    assert chip.starts == 1
    assert not bus.ping(0x50), "the multiplexer has closed its channels"
