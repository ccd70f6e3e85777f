from __future__ import annotations

import random

import pytest

from edge_agent.agent.build import sampled_buses
from edge_agent.bus.base import BusKind
from edge_agent.bus.mux import MuxAdapter
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.config.load import parse_config
from edge_agent.errors import NoAcknowledge
from edge_agent.reading import Measurement
from edge_agent.sampling.worker import BusWorker
from edge_agent.simulate.chips.tca9548a import Tca9548a
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor


class Tag:
    """A chip that answers with its own number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def write(self, data: bytes) -> None:
        """Take anything."""

    def read(self, count: int) -> bytes:
        """Tell who it is."""
        return bytes([self.number]) * count

    def power_cycle(self) -> None:
        """Nothing is kept."""


@pytest.fixture
def adapter() -> SimulatedI2C:
    """0x76 directly, and behind both channels that are used of two multiplexers."""
    bus = SimulatedI2C(SimulatedClock(0), log_limit=100)
    bus.attach(0x77, Tag(0xD0))
    for mux_address in (0x70, 0x71):
        mux = Tca9548a()
        bus.attach(mux_address, mux)
        for channel in (0, 3):
            mux.segments[channel].attach(0x76, Tag((mux_address & 1) << 4 | channel))
    return bus


def test_every_channel_is_a_bus_of_its_own(adapter: SimulatedI2C) -> None:
    mux_adapter = MuxAdapter(adapter)
    branches = {number: mux_adapter.channel(0x70 + (number >> 4), number & 0xF) for number in (0x00, 0x03, 0x10, 0x13)}
    for number in (0x00, 0x10, 0x03, 0x13, 0x13, 0x00):
        assert branches[number].transfer(0x76, b"\xd0", 1)[0] == number
        assert branches[number].ping(0x76)
        assert not branches[number].ping(0x44)


def test_a_direct_transfer_closes_what_was_open(adapter: SimulatedI2C) -> None:
    mux_adapter = MuxAdapter(adapter)
    mux_adapter.channel(0x70, 0).transfer(0x76, b"\xd0", 1)
    assert mux_adapter.transfer(0x77, b"\xd0", 1) == b"\xd0"
    assert not mux_adapter.ping(0x76)
    with pytest.raises(NoAcknowledge):
        mux_adapter.transfer(0x76, b"\xd0", 1)


def test_the_channel_is_selected_each_time_because_a_mux_that_lost_power_forgets_it(adapter: SimulatedI2C) -> None:
    branch = MuxAdapter(adapter).channel(0x70, 3)
    branch.transfer(0x76, b"\xd0", 1)
    (mux,) = adapter.chips_at(0x70)
    mux.power_cycle()
    assert branch.transfer(0x76, b"\xd0", 1) == b"\x03"
    assert [entry.write for entry in adapter.log if entry.address == 0x70] == [b"\x08", b"\x08"]


def test_what_an_earlier_program_left_open_is_closed_first(adapter: SimulatedI2C) -> None:
    MuxAdapter(adapter).channel(0x70, 3).transfer(0x76, b"\xd0", 1)
    mux_adapter = MuxAdapter(adapter)
    other = mux_adapter.channel(0x71, 0)
    mux_adapter.channel(0x70, 0)
    assert other.transfer(0x76, b"\xd0", 1) == b"\x10"
    assert [entry.write for entry in adapter.log if entry.address == 0x70] == [b"\x08", b"\x00"]


def test_a_mux_that_does_not_answer_is_named(adapter: SimulatedI2C) -> None:
    branch = MuxAdapter(adapter).channel(0x72, 0)
    with pytest.raises(NoAcknowledge, match="multiplexer does not answer: nothing answers at 0x72") as caught:
        branch.transfer(0x76, b"\xd0", 1)
    assert caught.value.errno == 121


def test_a_mux_that_vanished_does_not_keep_the_others_from_working(adapter: SimulatedI2C) -> None:
    mux_adapter = MuxAdapter(adapter)
    mux_adapter.channel(0x70, 0).transfer(0x76, b"\xd0", 1)
    adapter.unplug(0x70)
    assert mux_adapter.channel(0x71, 3).transfer(0x76, b"\xd0", 1) == b"\x13"


def test_sixteen_bme280_behind_two_muxes_take_one_conversion_time_per_cycle() -> None:
    text = '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
    for number in range(16):
        text += (
            f'[[sensor]]\nid = "s{number}"\ndriver = "bme280"\nbus = "i2c1"\naddress = {0x76 + number // 8}\n'
            f"mux = 0x70\nmux_channel = {number % 8}\n"
            "temperature_oversampling = 16\nhumidity_oversampling = 16\npressure_oversampling = 16\n"
        )
    config = parse_config(text)
    clock = SimulatedClock(1_750_000_000_000_000_000)
    chips = [
        SimulatedSensor(each.driver.name, each.bus, each.address, mux=each.mux, channel=each.mux_channel or 0)
        for each in config.sensors
    ]
    delivered: list[tuple[int, Measurement]] = []

    def deliver(item: object) -> bool:
        if isinstance(item, Measurement):
            delivered.append((clock.now_ns(), item))
        return True

    with Rig(1, clock, [SimulatedBusSpec("i2c1", BusKind.I2C)], chips, bit_hz=100_000) as rig:
        (sampled,) = sampled_buses(config, {"i2c1": rig.buses["i2c1"]})  # type: ignore[dict-item]
        worker = BusWorker(sampled, clock=clock, rng=random.Random(1), deliver=deliver)
        end_ns = clock.now_ns() + 4 * NS_PER_S
        while (due_ns := worker.step()) is not None and due_ns < end_ns:
            clock.advance_to(due_ns)
    cycle = [(when, each.boot_ns) for when, each in delivered if each.boot_ns // NS_PER_S == 12]
    assert len(cycle) == 16
    began_ns, ended_ns = min(stamp for _, stamp in cycle), max(when for when, _ in cycle)
    assert 112_800_000 < ended_ns - began_ns < 150_000_000
