from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.errors import BusDenied, BusError, BusGone
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.ds18b20 import Ds18b20, dallas_crc
from edge_agent.simulate.w1 import SimulatedW1
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from pathlib import Path

NAME = "28-0123456789ab"
BULK = "w1_bus_master1/therm_bulk_read"


class Oven:
    """Air whose temperature the test sets."""

    celsius = -10.125

    def air(self, _boot_ns: int) -> Air:
        """The air now, whatever is asked."""
        return Air(self.celsius, 50.0, 100_000.0)


@pytest.fixture
def oven() -> Oven:
    return Oven()


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock, oven: Oven) -> Ds18b20:
    return Ds18b20(Part(clock, oven.air, random.Random(5), options={"serial": "0123456789AB"}))


@pytest.fixture
def bus(tmp_path: Path, clock: SimulatedClock, chip: Ds18b20) -> SimulatedW1:
    bus = SimulatedW1(tmp_path, clock)
    bus.attach(chip)
    return bus


def test_crc_of_the_application_note() -> None:
    assert dallas_crc(bytes.fromhex("021cb801000000")) == 0xA2
    assert dallas_crc(bytes.fromhex("4b014b467fff0510")) == 0xE1
    assert dallas_crc(bytes.fromhex("50054b467fff0c10")) == 0x1C


def test_text_is_that_of_the_kernel(bus: SimulatedW1) -> None:
    text = bus.read(f"{NAME}/w1_slave")
    first, second = text.splitlines()
    data = bytes.fromhex(first.split(" :")[0])
    assert first == f"{data.hex(' ')} : crc={data[8]:02x} YES"
    assert dallas_crc(data) == 0  # a CRC over its own is zero
    raw = int.from_bytes(data[:2], "little", signed=True)
    assert raw / 16 == pytest.approx(-10.125, abs=0.13)
    assert data[6] == 0x10 - raw % 16
    assert second == f"{data.hex(' ')} t={int(raw * 62.5)}"
    assert int(bus.read(f"{NAME}/temperature")) == pytest.approx(-10_125, abs=130)


def test_names_show_devices_and_master(bus: SimulatedW1) -> None:
    assert bus.names() == [NAME, "w1_bus_master1"]
    assert bus.read(f"{NAME}/name") == f"{NAME}\n"


def test_bulk_conversion_takes_its_time_and_keeps_the_air_of_its_start(
    bus: SimulatedW1, clock: SimulatedClock, oven: Oven
) -> None:
    assert bus.read(BULK) == "0\n"
    oven.celsius = 30.0
    bus.write(BULK, "trigger\n")
    oven.celsius = 40.0
    clock.advance_to(clock.now_ns() + 749_999_999)
    assert bus.read(BULK) == "-1\n"
    clock.advance_to(clock.now_ns() + 1)
    assert bus.read(BULK) == "1\n"
    assert int(bus.read(f"{NAME}/temperature")) == pytest.approx(30_000, abs=130)
    assert bus.read(BULK) == "0\n"
    assert int(bus.read(f"{NAME}/temperature")) == pytest.approx(40_000, abs=130)


def test_scratchpad_read_too_early_is_the_old_one(bus: SimulatedW1, oven: Oven) -> None:
    oven.celsius = 30.0
    bus.write(BULK, "trigger")
    assert int(bus.read(f"{NAME}/temperature")) == pytest.approx(-10_125, abs=130)


def test_after_power_on_it_reads_85_until_it_has_converted(
    bus: SimulatedW1, chip: Ds18b20, clock: SimulatedClock
) -> None:
    bus.write(BULK, "trigger")
    chip.power_cycle()
    clock.advance_to(clock.now_ns() + 750_000_000)
    text = bus.read(f"{NAME}/w1_slave")
    assert text.startswith("50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n")
    assert text.endswith("t=85000\n")
    assert "t=85000" not in bus.read(f"{NAME}/w1_slave")


def test_true_85_degrees_differ_in_byte_6(bus: SimulatedW1, oven: Oven) -> None:
    oven.celsius = 85.0
    texts = [bus.read(f"{NAME}/w1_slave") for _ in range(20)]
    assert any(text.startswith("50 05 4b 46 7f ff 10 10") for text in texts)


def test_damage_says_no_and_keeps_the_last_good_line(bus: SimulatedW1) -> None:
    good = bus.read(f"{NAME}/w1_slave").splitlines()[0].split(" :")[0]
    bus.damage_next(NAME)
    first, second = bus.read(f"{NAME}/w1_slave").splitlines()
    assert first.endswith("NO")
    assert second.startswith(good)
    assert bus.read(f"{NAME}/w1_slave").splitlines()[0].endswith("YES")


def test_empty_text_when_nobody_answers(bus: SimulatedW1) -> None:
    bus.empty_next(NAME)
    assert not bus.read(f"{NAME}/w1_slave")
    assert bus.read(f"{NAME}/w1_slave")


def test_vanished_directory_is_gone_until_it_returns(bus: SimulatedW1) -> None:
    bus.remove(NAME)
    assert bus.names() == ["w1_bus_master1"]
    bus.write(BULK, "trigger")
    with pytest.raises(BusGone) as caught:
        bus.read(f"{NAME}/w1_slave")
    assert caught.value.errno == 2
    bus.restore(NAME)
    assert "YES" in bus.read(f"{NAME}/w1_slave")


def test_a_tree_shows_on_which_master_a_device_hangs(bus: SimulatedW1) -> None:
    assert bus.resolve(NAME).endswith(f"/w1_bus_master1/{NAME}")


@pytest.mark.parametrize("family", ["10", "22", "28", "3b", "42"])
@pytest.mark.parametrize("celsius", [-54.8, -10.125, -0.3, 0.2, 25.4375, 84.9, 124.5])
def test_w1thermsensor_reads_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: SimulatedClock, oven: Oven, family: str, celsius: float
) -> None:
    monkeypatch.setenv("W1THERMSENSOR_NO_KERNEL_MODULE", "1")
    import w1thermsensor  # noqa: PLC0415 it loads the kernel's modules unless it is told not to

    name = f"{family}-0123456789ab"
    oven.celsius = celsius
    bus = SimulatedW1(tmp_path, clock)
    bus.attach(Ds18b20(Part(clock, oven.air, random.Random(5), options={"serial": name})))
    monkeypatch.setattr(w1thermsensor.W1ThermSensor, "BASE_DIRECTORY", tmp_path)
    bus.refresh(f"{name}/w1_slave")
    (sensor,) = w1thermsensor.W1ThermSensor.get_available_sensors()
    assert sensor.get_temperature() == pytest.approx(celsius, abs=0.15)


def test_what_cannot_be_written_is_refused(bus: SimulatedW1) -> None:
    with pytest.raises(BusDenied):
        bus.write(f"{NAME}/w1_slave", "1")
    with pytest.raises(BusError) as caught:
        bus.write(BULK, "go")
    assert caught.value.errno == 22
    with pytest.raises(BusDenied):
        bus.read("../secret")


def test_a_read_blocks_for_a_conversion_unless_one_was_made_in_bulk(bus: SimulatedW1, clock: SimulatedClock) -> None:
    began_ns = clock.now_ns()
    bus.read(f"{NAME}/w1_slave")
    assert clock.now_ns() - began_ns == 750_000_000
    bus.write(BULK, "trigger\n")
    clock.advance_to(clock.now_ns() + 750_000_000)
    began_ns = clock.now_ns()
    bus.read(f"{NAME}/w1_slave")
    assert clock.now_ns() == began_ns
