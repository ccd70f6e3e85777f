from __future__ import annotations

import random

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.hwmon import HwmonChip
from edge_agent.simulate.world import Air

AIR = Air(-4.25, 46.3, 101_435.3)


def chip(**options: object) -> HwmonChip:
    return HwmonChip(Part(SimulatedClock(0), lambda _: AIR, random.Random(3), options=options))


def test_values_are_whole_thousandths() -> None:
    assert int(chip().show("temp1_input")) == pytest.approx(-4250, abs=150)
    assert int(chip().show("humidity1_input")) == pytest.approx(46_300, abs=600)
    assert chip().show("temp1_max") == "80000\n"


def test_a_second_element_makes_it_another_chip() -> None:
    assert (chip().name, chip(index=2).name) == ("sht3x", "tmp421")
    assert "temp2_fault" in chip(index=2).files()


def test_a_broken_wire_raises_the_fault_line_only() -> None:
    tmp421 = chip(index=2)
    assert tmp421.show("temp2_fault") == "0\n"
    tmp421.broken = True
    assert tmp421.show("temp2_fault") == "1\n"
    assert int(tmp421.show("temp1_input")) < 0


def test_nobody_answers_once_after_power_on() -> None:
    sht3x = chip()
    sht3x.power_cycle()
    with pytest.raises(OSError, match="Errno 121"):
        sht3x.show("temp1_input")
    assert sht3x.show("temp1_input")
