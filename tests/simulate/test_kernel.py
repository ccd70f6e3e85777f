"""The simulated trees, read by the production code and with bare hands."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING

import pytest

from edge_agent.bus.sysfs import SysfsTree
from edge_agent.clock import SimulatedClock
from edge_agent.errors import BusDenied, BusError, BusGone
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.hwmon import HwmonChip
from edge_agent.simulate.chips.iio import IioChip
from edge_agent.simulate.kernel import SimulatedKernel
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from pathlib import Path

AIR = Air(21.5, 46.3, 101_435.3, 640.0)


def part(**options: object) -> Part:
    return Part(SimulatedClock(0), lambda _: AIR, random.Random(3), options=options)


@pytest.fixture
def iio(tmp_path: Path) -> SimulatedKernel:
    return SimulatedKernel(tmp_path, "iio")


def test_entries_are_links_that_tell_where_a_device_is(iio: SimulatedKernel) -> None:
    iio.attach(IioChip(part(device="1-0076")))
    assert iio.names() == ["iio:device0", "iio_sysfs_trigger"]
    assert iio.resolve("iio:device0").endswith("/i2c-1/1-0076/iio:device0")
    assert iio.read("iio:device0/name") == "bme280\n"
    assert iio.names("iio:device0") == ["in_humidityrelative_input", "in_pressure_input", "in_temp_input", "name"]


def test_hwmon_has_a_folder_more_and_the_computers_own_thermometer_first(tmp_path: Path) -> None:
    hwmon = SimulatedKernel(tmp_path, "hwmon")
    hwmon.attach(HwmonChip(part()))
    assert hwmon.names() == ["hwmon0", "hwmon1"]
    assert hwmon.read("hwmon0/name") == "cpu_thermal\n"
    assert hwmon.resolve("hwmon1").endswith("/i2c-1/1-0044/hwmon/hwmon1")
    assert int(hwmon.read("hwmon1/temp1_input")) == pytest.approx(21_500, abs=100)


def test_the_text_is_that_of_the_kernel(iio: SimulatedKernel) -> None:
    iio.attach(IioChip(part()))
    assert int(iio.read("iio:device0/in_temp_input")) == pytest.approx(21_500, abs=50)
    assert int(iio.read("iio:device0/in_humidityrelative_input")) == pytest.approx(46_300, abs=150)
    kilopascal = iio.read("iio:device0/in_pressure_input").strip()
    assert float(kilopascal) == pytest.approx(101.4353, abs=0.01)
    assert len(kilopascal.partition(".")[2]) == 9


def test_reading_measures_each_time(iio: SimulatedKernel) -> None:
    iio.attach(IioChip(part()))
    assert len({iio.read("iio:device0/in_pressure_input") for _ in range(5)}) > 1


def test_files_can_be_refreshed_for_who_reads_them_from_the_disk(iio: SimulatedKernel) -> None:
    iio.attach(IioChip(part()))
    iio.refresh("iio:device0/in_temp_input")
    text = SysfsTree(str(iio.directory)).read("iio:device0/in_temp_input")
    assert int(text) == pytest.approx(21_500, abs=50)


def test_faults_hit_one_file_in_their_order(iio: SimulatedKernel) -> None:
    iio.attach(IioChip(part()))
    iio.fail_next("iio:device0/in_temp_input", errno.EIO)
    iio.fail_next("iio:device0/in_temp_input", 0)
    assert iio.read("iio:device0/in_pressure_input")
    with pytest.raises(BusError) as caught:
        iio.read("iio:device0/in_temp_input")
    assert caught.value.errno == errno.EIO
    assert not iio.read("iio:device0/in_temp_input")
    assert iio.read("iio:device0/in_temp_input")


def test_a_chip_that_lost_power_fails_once(iio: SimulatedKernel) -> None:
    chip = IioChip(part())
    iio.attach(chip)
    chip.power_cycle()
    with pytest.raises(BusError):
        iio.read("iio:device0/in_temp_input")
    assert iio.read("iio:device0/in_temp_input")


def test_numbers_are_given_away_again(iio: SimulatedKernel) -> None:
    first, second = IioChip(part()), IioChip(part(name="si7020", device="1-0040"))
    iio.attach(first)
    iio.attach(second)
    iio.unbind(first)
    iio.unbind(second)
    with pytest.raises(KeyError):
        iio.entry(first)
    iio.bind(second)
    iio.bind(second)
    iio.bind(first)
    assert (iio.entry(second), iio.entry(first)) == ("iio:device0", "iio:device1")
    iio.renumber()
    assert (iio.entry(first), iio.entry(second)) == ("iio:device1", "iio:device0")
    iio.renumber()
    assert (iio.entry(first), iio.entry(second)) == ("iio:device0", "iio:device1")


def test_nothing_can_be_written_and_nothing_outside_is_reached(iio: SimulatedKernel) -> None:
    iio.attach(IioChip(part()))
    with pytest.raises(BusDenied):
        iio.write("iio:device0/in_temp_input", "1")
    with pytest.raises(BusGone):
        iio.write("iio:device0/new", "1")
    with pytest.raises(BusDenied):
        iio.read("../devices/secret")
    iio.close()
