from __future__ import annotations

import random

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Nack, Part
from edge_agent.simulate.chips.hdc1080 import Hdc1080
from edge_agent.simulate.world import Air

AIR = Air(3.5, 77.0, 100_500.0)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_750_000_000_000_000_000)


@pytest.fixture
def chip(clock: SimulatedClock) -> Hdc1080:
    return Hdc1080(Part(clock, lambda _: AIR, random.Random(5)))


def pass_time(clock: SimulatedClock, ns: int) -> None:
    clock.advance_to(clock.now_ns() + ns)


def register(chip: Hdc1080, number: int) -> int:
    chip.write(bytes([number]))
    return int.from_bytes(chip.read(2))


def test_writing_the_pointer_converts_both_and_a_read_before_the_end_is_refused(
    chip: Hdc1080, clock: SimulatedClock
) -> None:
    chip.write(b"\x00")
    pass_time(clock, 12_850_000 - 1)
    with pytest.raises(Nack):
        chip.read(4)
    with pytest.raises(Nack):
        chip.write(b"\x02")
    pass_time(clock, 1)
    both = chip.read(4)
    assert int.from_bytes(both[:2]) / 65536 * 165 - 40 == pytest.approx(AIR.temperature_c, abs=0.15)
    assert int.from_bytes(both[2:]) / 65536 * 100 == pytest.approx(AIR.humidity_pct, abs=0.2)
    assert both[1] & 3 == both[3] & 3 == 0
    assert register(chip, 0x02) == 0x1000


def test_each_alone_in_the_other_mode_and_coarser_ones_are_faster(chip: Hdc1080, clock: SimulatedClock) -> None:
    chip.write(b"\x02\x06\x00")  # 11 and 8 bits
    chip.write(b"\x00")
    pass_time(clock, 3_650_000)
    assert int.from_bytes(chip.read(4)[:2]) % 32 == 0
    chip.write(b"\x01")
    pass_time(clock, 2_500_000)
    reply = chip.read(4)
    assert int.from_bytes(reply[:2]) / 65536 * 100 == pytest.approx(AIR.humidity_pct, abs=0.5)
    assert reply[2:] == b"\xff\xff"


def test_nothing_is_given_that_was_not_asked_for(chip: Hdc1080, clock: SimulatedClock) -> None:
    with pytest.raises(Nack):
        chip.read(4)
    chip.write(b"\x00")
    chip.power_cycle()
    with pytest.raises(Nack):
        chip.write(b"\x00")
    pass_time(clock, 15_000_000)
    with pytest.raises(Nack):
        chip.read(4)


def test_a_reset_switches_the_heater_off(chip: Hdc1080, clock: SimulatedClock) -> None:
    chip.write(b"\x02\x30\x00")
    assert register(chip, 0x02) == 0x3000
    chip.power_cycle()
    pass_time(clock, 15_000_000)
    assert register(chip, 0x02) == 0x1000


def test_it_has_an_identity_and_a_serial_number(chip: Hdc1080) -> None:
    assert register(chip, 0xFE) == 0x5449
    assert register(chip, 0xFF) == 0x1050
    assert len({register(chip, number) for number in (0xFB, 0xFC, 0xFD)}) == 3


def test_what_was_loaded_is_what_every_conversion_ends_in(chip: Hdc1080, clock: SimulatedClock) -> None:
    chip.load(bytes.fromhex("66507ffc"))
    chip.write(b"\x00")
    pass_time(clock, 20_000_000)
    assert chip.read(4).hex() == "66507ffc"
