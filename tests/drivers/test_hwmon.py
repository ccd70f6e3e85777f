from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.drivers.hwmon import HwmonOptions, measures, open_hwmon
from edge_agent.errors import BadReply, BusGone, NotReady
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.hwmon import HwmonChip
from edge_agent.simulate.kernel import SimulatedKernel
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.drivers.kernel import KernelDevice

AIR = Air(-4.25, 46.3, 101_435.3)
NEAR_C: Any = pytest.approx(-4.25, abs=0.15)
NEAR_PCT: Any = pytest.approx(46.3, abs=0.6)


def chip(name: str | None = None) -> HwmonChip:
    return HwmonChip(Part(SimulatedClock(0), lambda _: AIR, random.Random(3), options={"name": name}))


def started(bus: SimulatedKernel, options: HwmonOptions | None = None) -> KernelDevice:
    device = open_hwmon(bus, 0, options or HwmonOptions())
    assert list(device.probe()) == []
    assert device.trigger() == 0
    return device


@pytest.fixture
def bus(tmp_path: Path) -> SimulatedKernel:
    return SimulatedKernel(tmp_path, "hwmon")


def test_the_computers_own_thermometer_is_not_taken_for_a_sensor(bus: SimulatedKernel) -> None:
    bus.attach(chip())
    assert started(bus).collect() == (NEAR_C, NEAR_PCT)


def test_the_computers_own_thermometer_is_read_by_its_name(bus: SimulatedKernel) -> None:
    device = started(bus, HwmonOptions(name="cpu_thermal", quantities=("temperature_c",)))
    assert device.collect() == (48.686,)


def test_a_thermometer_measures_no_humidity(bus: SimulatedKernel) -> None:
    bus.attach(chip("lm75"))
    device = started(bus)
    assert device.quantities == ("temperature_c",)
    assert device.collect() == (NEAR_C,)


def test_one_element_of_several_is_chosen_and_none_while_its_wire_is_open(bus: SimulatedKernel) -> None:
    remote = chip("tmp421")
    bus.attach(remote)
    device = started(bus, HwmonOptions(index=2, quantities=("temperature_c",)))
    assert device.collect() == (NEAR_C,)
    remote.broken = True
    assert device.collect() == (None,)
    remote.broken = False
    assert device.collect() == (NEAR_C,)


def test_a_chip_that_does_not_answer_is_not_ready_and_one_that_was_unbound_is_gone(bus: SimulatedKernel) -> None:
    sht = chip()
    bus.attach(sht)
    device = started(bus)
    sht.power_cycle()
    with pytest.raises(NotReady, match="sht3x has no conversion"):
        device.collect()
    assert device.collect() == (NEAR_C, NEAR_PCT)
    bus.fail_next("hwmon1/humidity1_input", errno.ENODATA)
    with pytest.raises(NotReady):
        device.collect()
    bus.unbind(sht)
    with pytest.raises(BusGone):
        device.collect()


def test_an_element_that_does_not_exist_is_told(bus: SimulatedKernel) -> None:
    bus.attach(chip("lm75"))
    with pytest.raises(BadReply, match=r"the kernel drives cpu_thermal .*, lm75"):
        started(bus, HwmonOptions(name="lm75", index=2))


@pytest.mark.parametrize("keys", [{"index": 0}, {"index": 100}, {"quantities": ("pressure_pa",)}])
def test_options_that_cannot_be_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"index|quantities"):
        HwmonOptions(**keys)  # type: ignore[arg-type]


def test_it_measures_what_is_wanted() -> None:
    assert [each.quantity for each in measures(HwmonOptions(quantities=("humidity_pct",)))] == ["humidity_pct"]
