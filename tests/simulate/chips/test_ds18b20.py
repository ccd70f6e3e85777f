from __future__ import annotations

import random

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.ds18b20 import Ds18b20, dallas_crc
from edge_agent.simulate.world import Air


def chip(celsius: float, family: str) -> Ds18b20:
    part = Part(
        SimulatedClock(0),
        lambda _: Air(celsius, 50.0, 100_000.0),
        random.Random(3),
        options={"serial": f"{family}-0123456789ab"},
    )
    return Ds18b20(part)


@pytest.mark.parametrize("celsius", [-55.0, -25.5, -0.4, 0.0, 0.3, 25.0, 85.0, 125.0])
def test_a_ds18s20_counts_half_degrees_and_a_rest(celsius: float) -> None:
    data = chip(celsius, "10").scratchpad()
    assert dallas_crc(data) == 0
    whole = int.from_bytes(data[:2], "little", signed=True) >> 1
    assert whole - 0.25 + (data[7] - data[6]) / data[7] == pytest.approx(celsius, abs=0.1)
    assert 1 <= data[6] <= data[7] == 16


@pytest.mark.parametrize("family", ["10", "28"])
def test_switched_on_it_says_85_degrees_until_it_converts(family: str) -> None:
    found = chip(20.0, family)
    found.power_cycle()
    assert found.scratchpad()[:2] == (b"\xaa\x00" if family == "10" else b"\x50\x05")
    found.convert()
    assert found.scratchpad()[:2] != (b"\xaa\x00" if family == "10" else b"\x50\x05")


def test_a_number_without_a_family_is_a_ds18b20s() -> None:
    part = Part(SimulatedClock(0), lambda _: Air(20.0, 50.0, 1e5), random.Random(3), options={"serial": "0123456789AB"})
    assert Ds18b20(part).name == "28-0123456789ab"
