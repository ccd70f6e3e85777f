"""A stuck bus, seen through the worker that owns it: production code on a simulated adapter."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.drivers.bme280 import Bme280, Bme280Options
from edge_agent.drivers.sht3x import Sht3x, Sht3xOptions
from edge_agent.errors import BusDenied
from edge_agent.reading import Event, Measurement
from edge_agent.runtime import Pace, run_simulated
from edge_agent.sampling.recovery import RecoveryStep
from edge_agent.sampling.sensor import SensorOnBus
from edge_agent.sampling.worker import BusWorker, SampledBus
from edge_agent.simulate.chips import bme280, sht3x
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.world import World

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

START_NS = 1_750_000_000_000_000_000


class Site:
    """Two buses with two sensors each, and their workers."""

    def __init__(self, *, steps: Sequence[str] = ()) -> None:
        self.clock = SimulatedClock(START_NS)
        self.delivered: list[tuple[int, Measurement | Event]] = []
        self.tried: list[tuple[str, int]] = []
        self.cures: set[str] = set()
        world = World(1, START_NS)
        self.buses = [SimulatedI2C(self.clock, name=name, log_limit=10_000) for name in ("i2c1", "i2c3")]
        self.workers = []
        for number, bus in enumerate(self.buses):
            for address, maker in ((0x76, bme280.CHIPS["bme280"]), (0x44, sht3x.CHIPS["sht3x"])):
                bus.attach(address, maker(Part(self.clock, world.air, random.Random(address))))  # type: ignore[arg-type]
            sensors = [
                SensorOnBus(f"air{number}", Bme280(bus, 0x76, Bme280Options()), NS_PER_S),
                SensorOnBus(f"leaf{number}", Sht3x(bus, 0x44, Sht3xOptions()), NS_PER_S),
            ]
            recovery = [RecoveryStep(name, partial(self._recover, name, bus)) for name in steps]
            self.workers.append(
                BusWorker(
                    SampledBus(f"i2c{number}", sensors, recovery, shared_lines=True),
                    clock=self.clock,
                    rng=random.Random(1),
                    deliver=self._deliver,
                )
            )

    def run(self, seconds: float, stop: threading.Event) -> None:
        """Let time pass."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        run_simulated(self.workers, self.clock, Pace(None, stop), end_ns=end_ns, stop=stop)

    def events(self, subject: str) -> list[tuple[str, int | None]]:
        """State and errno of the events about a sensor or bus."""
        return [
            (each.state, each.errno) for _, each in self.delivered if isinstance(each, Event) if each.subject == subject
        ]

    def stamps(self, sensor: str) -> list[int]:
        """Stamps of its measurements."""
        return [each.boot_ns for _, each in self.delivered if isinstance(each, Measurement) if each.sensor == sensor]

    def _deliver(self, item: Measurement | Event) -> bool:
        self.delivered.append((self.clock.now_ns(), item))
        return True

    def _recover(self, name: str, bus: SimulatedI2C) -> Iterator[int]:
        self.tried.append((name, self.clock.now_ns()))
        yield NS_PER_S // 10
        if name == "forbidden":
            raise BusDenied("only root may do that")
        if name in self.cures:
            bus.recover()


@pytest.fixture
def stop() -> threading.Event:
    return __import__("threading").Event()  # type: ignore[no-any-return]


def test_a_stuck_bus_is_left_alone_and_the_other_bus_stays_on_time(stop: threading.Event) -> None:
    site = Site()
    site.run(5.5, stop)
    site.buses[0].stick_after(0)
    before = site.buses[0].transfers
    site.run(60, stop)
    assert site.buses[0].transfers - before < 12, "each costs a second"
    for sensor in ("air1", "leaf1"):
        stamps = site.stamps(sensor)
        assert len(stamps) == 66
        # The first comes as soon as the chip is ready, all others on the second, whatever the other bus does.
        assert {stamp % NS_PER_S for stamp in stamps[1:]} == {0}
    assert site.events("i2c0") == [("stuck", 110)]
    assert [state for state, _ in site.events("air0")] == ["degraded", "offline"]
    assert [state for state, _ in site.events("leaf0")] == ["degraded", "offline"]


def test_a_bus_that_answers_again_is_noticed_and_every_chip_on_it_is_set_up_anew(stop: threading.Event) -> None:
    site = Site()
    site.run(5.5, stop)
    site.buses[0].stick_after(0)
    site.run(20, stop)
    site.buses[0].power_cycle()  # which frees the line, and every chip has lost its settings
    freed_ns = site.clock.now_ns()
    site.run(40, stop)
    for sensor in ("air0", "leaf0"):
        back_ns = next(stamp for stamp in site.stamps(sensor) if stamp >= freed_ns)
        assert back_ns - freed_ns < 20 * NS_PER_S
        assert site.events(sensor)[-1] == ("sampling", None)
    assert [state for state, _ in site.events("i2c0")] == ["stuck", "working"]


def test_the_recovery_steps_are_run_one_after_the_other_with_a_minute_between_them(stop: threading.Event) -> None:
    site = Site(steps=["reopen", "forbidden", "clock", "power"])
    site.cures = {"clock"}
    site.run(5.5, stop)
    site.buses[0].stick_after(0)
    site.run(400, stop)
    assert [name for name, _ in site.tried] == ["reopen", "forbidden", "clock"]
    times_ns = [when for _, when in site.tried]
    gaps_s = [(late - early) / NS_PER_S for early, late in pairwise(times_ns)]
    assert all(60 <= gap < 92 for gap in gaps_s), gaps_s
    assert site.events("i2c0")[-1] == ("working", None)
    assert site.stamps("air0")[-1] > times_ns[-1]


def test_when_nothing_helps_a_person_is_called_once(stop: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(steps=["reopen"])
    site.run(2.5, stop)
    site.buses[0].stick_after(0)
    site.run(600, stop)
    assert caplog.text.count("somebody has to look at it") == 1
    assert caplog.text.count("trying to recover it") == 1
    assert site.events("i2c0") == [("stuck", 110)]


def test_one_stuck_transfer_is_not_a_stuck_bus(stop: threading.Event) -> None:
    site = Site()
    site.run(5.5, stop)
    site.buses[0].fail_next(1, 110)
    site.run(5, stop)
    assert site.events("i2c0") == []
    assert [state for state, _ in site.events("air0") + site.events("leaf0")] == ["degraded", "sampling"]


def test_a_bus_on_which_nobody_answers_any_more_is_recovered_too(stop: threading.Event) -> None:
    site = Site(steps=["reopen"])
    site.run(5.5, stop)
    for address in (0x76, 0x44):
        site.buses[0].unplug(address)
    site.run(30, stop)
    assert site.tried
    assert site.events("i2c0") == [("stuck", 121)]
    for address in (0x76, 0x44):
        site.buses[0].plug(address)
    site.run(60, stop)
    assert site.events("i2c0")[-1][0] == "working"
    assert site.events("leaf0")[-1][0] == "sampling"


def test_a_bus_that_is_stuck_again_begins_with_the_first_recovery_step(stop: threading.Event) -> None:
    site = Site(steps=["reopen", "clock"])
    site.cures = {"reopen"}
    site.run(5.5, stop)
    for _ in range(2):
        site.buses[0].stick_after(0)
        site.run(30, stop)
        assert site.events("i2c0")[-1] == ("working", None)
    assert [name for name, _ in site.tried] == ["reopen", "reopen"]
