from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.errors import (
    BadReply,
    BusError,
    BusGone,
    BusTimeout,
    ChipWasReset,
    NoAcknowledge,
    NotReady,
    WrongChip,
)
from edge_agent.reading import Event, Flag, Measurement
from edge_agent.sampling.sensor import SensorOnBus, SensorState
from edge_agent.sampling.worker import BACKOFF_S, BusWorker, SampledBus

if TYPE_CHECKING:
    from collections.abc import Iterator

NS_PER_MS = 1_000_000
CONVERSION_NS = 112_800_000


@dataclass
class FakeDriver:
    """Does what its scripts say; when a script has run out, all is well."""

    clock: SimulatedClock
    conversion_ns: int = CONVERSION_NS
    transfer_ns: int = 0
    """What each trigger holds the bus for."""
    quantities: tuple[str, ...] = ("temperature_c",)
    probes: deque[Exception | None] = field(default_factory=deque)
    triggers: deque[Exception | None] = field(default_factory=deque)
    collects: deque[Exception | None] = field(default_factory=deque)
    triggered_ns: list[int] = field(default_factory=list)
    collected_ns: list[int] = field(default_factory=list)
    probed_ns: list[int] = field(default_factory=list)

    def probe(self) -> Iterator[int]:
        """As Driver."""
        self.probed_ns.append(self.clock.now_ns())
        self._raise(self.probes)
        yield 2 * NS_PER_MS

    def trigger(self) -> int:
        """As Driver."""
        self.triggered_ns.append(self.clock.now_ns())
        self.clock.advance_to(self.clock.now_ns() + self.transfer_ns)
        self._raise(self.triggers)
        return self.conversion_ns

    def collect(self) -> tuple[float | None, ...]:
        """As Driver."""
        self.collected_ns.append(self.clock.now_ns())
        self._raise(self.collects)
        return (21.0,)

    @staticmethod
    def _raise(script: deque[Exception | None]) -> None:
        error = script.popleft() if script else None
        if error is not None:
            raise error


class Bus:
    """A bus worker on a simulated clock, with what it delivered."""

    def __init__(self, count: int = 1, period_s: float = 1.0) -> None:
        self.clock = SimulatedClock(0)
        self.drivers = [FakeDriver(self.clock) for _ in range(count)]
        self.sensors = [
            SensorOnBus(f"s{number}", driver, round(period_s * NS_PER_S)) for number, driver in enumerate(self.drivers)
        ]
        self.delivered: list[Measurement | Event] = []
        self.worker = BusWorker(
            SampledBus("i2c1", self.sensors),
            clock=self.clock,
            rng=random.Random(1),
            deliver=self.deliver,
        )

    def deliver(self, item: Measurement | Event) -> bool:
        """Take in."""
        self.delivered.append(item)
        return True

    def run(self, seconds: float) -> None:
        """Step until so much time has passed."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        steps = 0
        while True:
            deadline_ns = self.worker.step()
            assert deadline_ns is not None
            steps += 1
            assert steps < 100_000, "the worker spins"
            if deadline_ns > end_ns:
                self.clock.advance_to(end_ns)
                return
            self.clock.advance_to(deadline_ns)

    def states(self, sensor: str = "s0") -> list[tuple[str, str]]:
        """State and cause of every event about the sensor."""
        return [
            (each.state, each.cause) for each in self.delivered if isinstance(each, Event) and each.subject == sensor
        ]

    def stamps(self, sensor: str = "s0") -> list[int]:
        """Stamps of its measurements."""
        return [each.boot_ns for each in self.delivered if isinstance(each, Measurement) and each.sensor == sensor]


def test_sixteen_sensors_take_one_conversion_time() -> None:
    bus = Bus(16)
    bus.run(5.5)
    for driver in bus.drivers:
        assert driver.triggered_ns == bus.drivers[0].triggered_ns
        assert [late - early for early, late in zip(driver.triggered_ns, driver.collected_ns, strict=True)] == [
            CONVERSION_NS
        ] * 6


def test_stamps_are_the_moment_of_the_trigger_on_a_grid_of_whole_periods() -> None:
    bus = Bus(2, period_s=0.5)
    bus.run(3.2)
    first, *others = bus.stamps()
    assert first == 10 * NS_PER_S + 2 * NS_PER_MS, "at once when the chip is ready"
    assert others == [10 * NS_PER_S + number * NS_PER_S // 2 for number in range(1, 7)]
    assert bus.stamps("s1") == bus.stamps()
    assert bus.states() == []
    assert bus.sensors[0].missed == 0


def test_a_sensor_that_holds_the_bus_does_not_shift_the_stamps_of_the_others() -> None:
    bus = Bus(2)
    bus.drivers[0].transfer_ns = 300 * NS_PER_MS
    bus.run(3)
    assert bus.stamps("s1") == bus.drivers[1].triggered_ns[:-1]
    assert bus.stamps("s1")[1] == 11 * NS_PER_S + 300 * NS_PER_MS


def test_slots_that_pass_while_the_bus_is_stuck_are_counted_and_not_made_up_for() -> None:
    bus = Bus()
    bus.run(2.5)
    bus.clock.advance_to(bus.clock.now_ns() + 10 * NS_PER_S)
    before = len(bus.stamps())
    bus.run(0.2)
    assert len(bus.stamps()) == before + 1
    assert bus.sensors[0].missed == 9
    bus.run(1)
    assert bus.stamps()[-1] % NS_PER_S == 0


def test_a_conversion_longer_than_the_period_is_not_triggered_twice() -> None:
    bus = Bus(period_s=1.0)
    bus.drivers[0].conversion_ns = 1_500 * NS_PER_MS
    bus.run(10.2)
    assert bus.drivers[0].triggered_ns[1:] == [(10 + number) * NS_PER_S for number in (2, 4, 6, 8, 10)]
    assert bus.sensors[0].missed == 5


def test_a_sensor_that_is_absent_at_the_start_is_told_once_and_tried_for_ever() -> None:
    bus = Bus()
    bus.drivers[0].probes.extend([NoAcknowledge("nobody at 0x76")] * 12)
    bus.run(700)
    assert bus.states() == [("absent", "nobody at 0x76"), ("sampling", "")]
    waits_s = [
        (late - early) / NS_PER_S
        for early, late in zip(bus.drivers[0].probed_ns, bus.drivers[0].probed_ns[1:], strict=False)
    ]
    expected = [*BACKOFF_S, *[60.0] * 6]
    assert waits_s == [pytest.approx(wait, rel=0.1) for wait in expected]
    assert waits_s != expected
    assert bus.sensors[0].state is SensorState.SAMPLING


def test_three_failures_in_a_row_are_a_loss_and_fewer_are_not() -> None:
    bus = Bus()
    silent = BusTimeout("no answer")
    bus.drivers[0].collects.extend([None, silent, silent, None, silent, silent, silent])
    bus.run(12)
    assert [state for state, _cause in bus.states()] == ["degraded", "sampling", "degraded", "offline", "sampling"]
    assert bus.sensors[0].errors == 5
    assert len(bus.drivers[0].probed_ns) == 2


@pytest.mark.parametrize("error", [WrongChip("a BMP280 answers"), BusGone("/dev/i2c-1 is gone")])
def test_what_cannot_be_a_passing_fault_is_a_loss_at_once(error: Exception) -> None:
    bus = Bus()
    bus.drivers[0].triggers.extend([None, error])
    bus.run(1.5)
    assert bus.states() == [("offline", str(error))]


def test_a_chip_that_lost_its_settings_is_set_up_and_measures_in_the_same_poll() -> None:
    bus = Bus()
    bus.drivers[0].collects.extend([None, ChipWasReset("ctrl_meas reads 0")])
    bus.run(1.5)
    assert len(bus.drivers[0].probed_ns) == 2
    failed_ns = bus.drivers[0].collected_ns[1]
    assert bus.drivers[0].probed_ns[1] == failed_ns
    assert bus.stamps()[1] == failed_ns + 2 * NS_PER_MS
    assert bus.states() == [("starting", "ctrl_meas reads 0"), ("sampling", "")]
    assert bus.sensors[0].failures == 0


@pytest.mark.parametrize("error", [BadReply("noise"), BusError("broke off", errno=5), NoAcknowledge("silence")])
@pytest.mark.parametrize("where", ["triggers", "collects"])
def test_what_fails_once_or_twice_is_tried_again_in_the_same_poll(where: str, error: Exception) -> None:
    bus = Bus()
    getattr(bus.drivers[0], where).extend([None, error, error])
    bus.run(3.5)
    assert [stamp // NS_PER_S for stamp in bus.stamps()] == [10, 11, 12, 13]
    assert bus.states() == []
    assert bus.sensors[0].errors == 2


def test_nothing_is_tried_again_after_a_time_out() -> None:
    bus = Bus()
    bus.drivers[0].collects.extend([None, BusTimeout("no answer")])
    bus.run(1.9)
    assert len(bus.drivers[0].triggered_ns) == 2
    assert bus.states() == [("degraded", "no answer")]


def test_a_chip_that_only_talks_nonsense_is_lost_and_not_asked_without_end() -> None:
    bus = Bus()
    bus.drivers[0].collects.extend([None] + [BadReply("nonsense")] * 1000)
    bus.run(100)
    assert [state for state, _cause in bus.states()] == ["degraded", "offline"]
    assert len(bus.drivers[0].probed_ns) < 15
    assert len(bus.drivers[0].collected_ns) < 40


def test_who_is_not_ready_is_asked_again_and_the_stamp_is_that_of_the_trigger() -> None:
    bus = Bus()
    bus.drivers[0].collects.extend([None, NotReady("measuring"), NotReady("measuring")])
    bus.run(1.5)
    assert bus.stamps()[1] == 11 * NS_PER_S
    assert len(bus.drivers[0].triggered_ns) == 2
    assert bus.states() == []
    assert bus.sensors[0].errors == 0


def test_a_driver_may_say_when_to_ask_again() -> None:
    bus = Bus()
    bus.drivers[0].collects.append(NotReady("humidity comes next", wait_ns=29 * NS_PER_MS))
    bus.run(0.5)
    first, second = bus.drivers[0].collected_ns
    assert second - first == 29 * NS_PER_MS
    assert len(bus.stamps()) == 1


def test_a_chip_that_never_gets_ready_was_reset_and_is_set_up_in_the_same_poll() -> None:
    bus = Bus()
    bus.drivers[0].collects.extend([None] + [NotReady("no acknowledge")] * 5)
    bus.run(1.9)
    assert len(bus.drivers[0].probed_ns) == 2
    assert len(bus.stamps()) == 2
    assert [state for state, _cause in bus.states()] == ["starting", "sampling"]


class FreeRunning(FakeDriver):
    """Has something new every five seconds, by its own clock."""

    newest = 1

    def trigger(self) -> int:
        """As Driver."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """As Driver."""
        now_ns = self.clock.now_ns()
        self.collected_ns.append(now_ns)
        newest = (now_ns - 1_234 * NS_PER_MS) // (5_003 * NS_PER_MS)
        if newest == self.newest:
            raise NotReady("nothing new")
        self.newest = newest
        return (21.0,)


def test_a_device_with_a_clock_of_its_own_is_met_at_its_own_moments() -> None:
    bus = Bus(period_s=5.0)
    bus.sensors[0].driver = driver = FreeRunning(bus.clock)
    bus.run(200)
    assert len(bus.stamps()) == pytest.approx(200 / 5.003, abs=2)
    assert bus.states() == []
    late_ns = [(stamp - 1_234 * NS_PER_MS) % (5_003 * NS_PER_MS) for stamp in bus.stamps()]
    assert max(late_ns) <= 60 * NS_PER_MS, "stamped soon after it was measured"
    assert len(driver.collected_ns) < 4 * len(bus.stamps()) + 120, "asked a few times, not all the time"


def test_the_first_measurements_after_a_start_and_those_that_repeat_themselves_are_flagged() -> None:
    bus = Bus()
    bus.sensors[0].settling, bus.sensors[0].stuck_after = 2, 5
    bus.run(8.5)
    flags = [each.flags for each in bus.delivered if isinstance(each, Measurement)]
    assert flags == [Flag.UNSETTLED] * 2 + [Flag(0)] * 3 + [Flag.STUCK] * 4


@pytest.mark.parametrize("where", ["probes", "triggers", "collects"])
def test_a_mistake_in_one_driver_does_not_stop_the_others(where: str, caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(3)
    getattr(bus.drivers[1], where).extend([ValueError("not enough values to unpack"), RuntimeError("oops")] * 500)
    bus.run(20.5)
    for number in (0, 2):
        assert len(bus.stamps(f"s{number}")) == 20 + 1
    assert bus.states("s1")[-1][0] in {"absent", "offline"}
    assert bus.states("s1")[0][1] == "internal error in the driver: ValueError: not enough values to unpack"
    told = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert told == [
        "internal error in the driver sensor=s1 error=ValueError",
        "internal error in the driver sensor=s1 error=RuntimeError",
    ]


def test_a_lost_sensor_does_not_delay_the_others() -> None:
    bus = Bus(2)
    bus.drivers[0].collects.extend([BusTimeout("no answer")] * 1000)
    bus.run(30.5)
    assert bus.stamps("s1")[1:] == [(10 + number) * NS_PER_S for number in range(1, 31)]
    assert bus.sensors[1].missed == 0


def test_a_chip_that_measures_less_than_its_driver_declares_is_said_once_and_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = Bus()
    bus.sensors[0].expected = ("temperature_c", "humidity_pct")
    for _ in range(8):
        due_ns = bus.worker.step()
        assert due_ns is not None
        bus.clock.advance_to(due_ns)
    (event,) = [item for item in bus.delivered if isinstance(item, Event)]
    assert (event.subject, event.state) == ("s0", "sampling")
    assert event.cause.startswith("measures no humidity_pct")
    assert caplog.text.count("measures no humidity_pct") == 1
    assert bus.sensors[0].measurements > 1
