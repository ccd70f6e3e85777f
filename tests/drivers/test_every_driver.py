"""What every I2C driver owes the gateway, tried on every driver for which there is a chip model. No list to edit."""

from __future__ import annotations

import errno
import random
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from edge_agent.bus.base import BusKind
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import EdgeAgentError, NoAcknowledge, NotReady
from edge_agent.reading import Event, Measurement
from edge_agent.sampling.sensor import SensorOnBus
from edge_agent.sampling.worker import BusWorker, SampledBus
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.registry import chip_makers
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.drivers.base import Driver, DriverInfo
    from edge_agent.simulate.world import Air

START_NS: Final = 1_750_000_000_000_000_000
PATIENCE_NS: Final = 10 * NS_PER_S
MOST_TRANSACTIONS: Final = 4
"""One trigger and one burst; twice that where a chip makes two conversions, or must be woken and put to sleep."""

DRIVERS: Final = {
    name: info for name, info in all_drivers().items() if info.bus is BusKind.I2C and name in chip_makers()
}
every_driver = pytest.mark.parametrize("name", DRIVERS)


@dataclass
class Bench:
    """One chip on one bus, and its driver."""

    info: DriverInfo
    rig: Rig
    bus: SimulatedI2C
    clock: SimulatedClock
    sensor: SimulatedSensor
    driver: Driver

    def wait(self, duration_ns: int) -> None:
        """Let time pass."""
        self.clock.advance_to(self.clock.now_ns() + duration_ns)

    def probe(self) -> None:
        """Bring the chip up."""
        for wait_ns in self.driver.probe():
            self.wait(wait_ns)

    def collect(self) -> dict[str, float | None]:
        """Collect, asking again as long as the driver says that it is too early."""
        deadline_ns = self.clock.now_ns() + PATIENCE_NS
        while True:
            try:
                return dict(zip(self.driver.quantities, self.driver.collect(), strict=True))
            except NotReady as early:
                if self.clock.now_ns() > deadline_ns:
                    raise
                self.wait(early.wait_ns or NS_PER_S // 50)

    def poll(self) -> dict[str, float | None]:
        """One measurement."""
        self.wait(self.driver.trigger())
        return self.collect()

    def air(self) -> Air:
        """What is true now."""
        return self.rig.truth(self.sensor, self.clock.now_ns())

    def wrong(self, values: dict[str, float | None], air: Air | None = None) -> list[str]:
        """Which values are numbers far from the truth, which by default is that of now."""
        air = air or self.air()
        return [
            f"{each.quantity} {value} is not {getattr(air, each.quantity)}"
            for each in self.info.quantities
            if (value := values.get(each.quantity)) is not None
            and abs(value - getattr(air, each.quantity)) > (each.accuracy or 0.0) + (each.lsb or 0.0)
        ]


@contextmanager
def bench(name: str, address: int | None = None, *, chip: str | None = None) -> Iterator[Bench]:
    """The driver on a bus of its own, with its own chip or another one."""
    info = DRIVERS[name]
    clock = SimulatedClock(START_NS)
    sensor = SimulatedSensor(chip or name, "i2c1", info.addresses[0] if address is None else address)
    with Rig(7, clock, [SimulatedBusSpec("i2c1", BusKind.I2C)], [sensor]) as rig:
        bus = rig.buses["i2c1"]
        assert isinstance(bus, SimulatedI2C)
        bus.log = type(bus.log)(maxlen=1000)
        yield Bench(info, rig, bus, clock, sensor, info.open(bus, sensor.address, info.options()))


def test_every_driver_has_a_chip_model() -> None:
    assert {name for name, info in all_drivers().items() if info.bus is BusKind.I2C} == DRIVERS.keys()


@every_driver
def test_air_is_measured_within_the_accuracy_declared_and_at_every_address(name: str) -> None:
    for address in DRIVERS[name].addresses:
        with bench(name, address) as here:
            here.probe()
            for _ in range(3):
                values = here.poll()
                assert list(values) == [each.quantity for each in here.info.measures(here.info.options())]
                assert None not in values.values()
                assert here.wrong(values) == []
                here.wait(round(here.info.period_s * NS_PER_S))


@every_driver
def test_the_conversion_takes_as_long_as_declared(name: str) -> None:
    with bench(name) as here:
        here.probe()
        assert here.driver.trigger() == pytest.approx(here.info.conversion_s * NS_PER_S, abs=1000)


@every_driver
def test_a_poll_is_polite(name: str) -> None:
    with bench(name) as here:
        here.probe()
        here.poll()
        here.wait(round(here.info.period_s * NS_PER_S))
        before = here.bus.transfers
        here.poll()
        assert here.bus.transfers - before <= MOST_TRANSACTIONS


@every_driver
def test_nobody_at_the_address_is_said_as_that(name: str) -> None:
    with bench(name) as here:
        here.bus.unplug(here.sensor.address)
        with pytest.raises(NoAcknowledge):
            here.probe()


@every_driver
def test_what_vanishes_between_trigger_and_collect_gives_no_number(name: str) -> None:
    with bench(name) as here:
        here.probe()
        wait_ns = here.driver.trigger()
        here.bus.unplug(here.sensor.address)
        here.wait(wait_ns)
        with pytest.raises(EdgeAgentError):
            here.collect()


@every_driver
def test_another_chip_at_the_address_never_gives_a_wrong_number(name: str) -> None:
    tried = 0
    for other, info in DRIVERS.items():
        for address in set(info.addresses) & set(DRIVERS[name].addresses) if other != name else ():
            with bench(name, address, chip=other) as here:
                tried += 1
                try:
                    here.probe()
                    values = here.poll()
                except EdgeAgentError:
                    continue
                # It went well: then it is a relative that this driver reads as well.
                assert here.wrong(values) == [], f"{name} reads nonsense from {other}"
    if not tried:
        assert DRIVERS[name].addresses, "nothing else can be at its addresses"


@every_driver
def test_what_is_collected_too_early_is_no_number(name: str) -> None:
    with bench(name) as here:
        here.probe()
        if not here.driver.trigger():
            return  # free-running: nothing was started, so nothing can be early
        try:
            values = here.driver.collect()
        except EdgeAgentError:
            return
        assert set(values) == {None}


@every_driver
def test_a_chip_that_lost_power_during_a_conversion_gives_no_wrong_number_and_comes_back(name: str) -> None:
    with bench(name) as here:
        here.probe()
        here.poll()
        wait_ns = here.driver.trigger()
        here.wait(wait_ns // 2)
        for chip in here.bus.chips_at(here.sensor.address):
            chip.power_cycle()
        here.wait(wait_ns - wait_ns // 2)
        with suppress(EdgeAgentError):
            assert here.wrong(here.collect()) == []
        here.probe()
        values = here.poll()
        assert None not in values.values()
        assert here.wrong(values) == []


@every_driver
def test_a_chip_that_was_reset_between_polls_never_gives_a_wrong_number(name: str) -> None:
    with bench(name) as here:
        here.probe()
        here.poll()
        for chip in here.bus.chips_at(here.sensor.address):
            chip.power_cycle()
        here.wait(NS_PER_S)
        for _ in range(3):
            try:
                values = here.poll()
            except EdgeAgentError:
                continue
            assert here.wrong(values) == []


class Flipped:
    """A bus that turns one bit over in one reply."""

    def __init__(self, bus: SimulatedI2C) -> None:
        self.bus = bus
        self.replies: list[int] = []
        self.target: tuple[int, int, int] | None = None

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """As I2CBus, but for the bit that is aimed at."""
        reply = bytearray(self.bus.transfer(address, write, read))
        if read:
            number = len(self.replies)
            self.replies.append(read)
            if self.target is not None and self.target[0] == number:
                reply[self.target[1]] ^= 1 << self.target[2]
        return bytes(reply)

    def ping(self, address: int) -> bool:
        """As I2CBus."""
        return self.bus.ping(address)

    def close(self) -> None:
        """As I2CBus."""
        self.bus.close()


@every_driver
def test_every_flipped_bit_is_rejected_where_there_is_a_checksum_and_harmless_elsewhere(name: str) -> None:
    with bench(name) as here:
        flipped = Flipped(here.bus)
        here.driver = here.info.open(flipped, here.sensor.address, here.info.options())
        here.probe()
        here.poll()
        flipped.replies.clear()
        here.wait(round(here.info.period_s * NS_PER_S))
        here.poll()
        for reply, length in enumerate(list(flipped.replies)):
            for byte in range(length):
                for bit in range(8):
                    here.wait(round(here.info.period_s * NS_PER_S))
                    flipped.replies.clear()
                    flipped.target = (reply, byte, bit)
                    try:
                        wait_ns = here.driver.trigger()
                        here.wait(wait_ns)
                        here.collect()
                    except EdgeAgentError:
                        rejected = True
                    else:
                        rejected = False
                    flipped.target = None
                    assert rejected or not here.info.checksum, f"reply {reply}, byte {byte}, bit {bit}"
                    here.probe()


class Sampled:
    """A chip under the worker that owns its bus, as in the daemon."""

    def __init__(self, here: Bench) -> None:
        self.here = here
        self.period_ns = round(here.info.period_s * NS_PER_S)
        self.measurements: list[Measurement] = []
        self.states: list[str] = []
        self.sensor = SensorOnBus("s", here.driver, self.period_ns)
        self.worker = BusWorker(
            SampledBus("i2c1", [self.sensor], shared_lines=True),
            clock=here.clock,
            rng=random.Random(1),
            deliver=self._deliver,
        )

    def _deliver(self, item: Measurement | Event) -> bool:
        if isinstance(item, Measurement):
            self.measurements.append(item)
        else:
            self.states.append(item.state)
        return True

    def run(self, duration_ns: int) -> None:
        """Let time pass."""
        end_ns = self.here.clock.now_ns() + duration_ns
        while (due_ns := self.worker.step()) is not None and due_ns < end_ns:
            self.here.clock.advance_to(due_ns)
        self.here.clock.advance_to(end_ns)

    def after(self, moment_ns: int) -> list[Measurement]:
        """Measurements made later than a moment."""
        return [each for each in self.measurements if each.boot_ns >= moment_ns]

    def wrong(self, each: Measurement) -> list[str]:
        """Which of its values are numbers far from what was true then."""
        air = self.here.rig.truth(self.here.sensor, each.boot_ns)
        values = dict(zip(each.quantities, each.values, strict=True))
        return self.here.wrong(values, air)


@every_driver
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_power_cycle_at_any_moment_costs_one_poll_at_most(name: str, share: float) -> None:
    with bench(name) as here:
        sampled = Sampled(here)
        sampled.run(3 * sampled.period_ns + NS_PER_S)
        sampled.run(round(here.info.conversion_s * share * NS_PER_S) or round(sampled.period_ns * share))
        for chip in here.bus.chips_at(here.sensor.address):
            chip.power_cycle()
        lost_ns = here.clock.now_ns()
        sampled.run(3 * sampled.period_ns + 2 * NS_PER_S)
        back = [each for each in sampled.after(lost_ns) if None not in each.values]
        assert back[0].boot_ns - lost_ns <= 2 * sampled.period_ns + 2 * NS_PER_S
        assert [fault for each in sampled.measurements for fault in sampled.wrong(each)] == []
        assert "offline" not in sampled.states


@every_driver
def test_who_is_unplugged_is_offline_and_who_is_plugged_in_again_is_back(name: str) -> None:
    with bench(name) as here:
        sampled = Sampled(here)
        sampled.run(3 * sampled.period_ns + NS_PER_S)
        here.bus.unplug(here.sensor.address)
        sampled.run(5 * sampled.period_ns)
        assert sampled.states[-1] == "offline"
        assert "nothing answers at" in sampled.sensor.cause
        here.bus.plug(here.sensor.address)
        plugged_ns = here.clock.now_ns()
        sampled.run(70 * NS_PER_S)
        assert sampled.after(plugged_ns)
        assert [fault for each in sampled.measurements for fault in sampled.wrong(each)] == []
        assert sampled.states[-2:] == ["offline", "sampling"]


@every_driver
def test_single_faults_of_the_bus_cost_no_reading(name: str) -> None:
    with bench(name) as here:
        sampled = Sampled(here)
        sampled.run(3 * sampled.period_ns + NS_PER_S)
        for code in (errno.EREMOTEIO, errno.EIO, errno.EAGAIN):
            here.bus.fail_next(1, code)
            began_ns = here.clock.now_ns()
            sampled.run(2 * sampled.period_ns + NS_PER_S // 2)
            assert len(sampled.after(began_ns)) >= 2, errno.errorcode[code]
        assert {"degraded", "offline"}.isdisjoint(sampled.states)


@every_driver
def test_scan_knows_the_chip_and_takes_no_other_for_it(name: str) -> None:
    info = DRIVERS[name]
    if info.recognise is None:
        return
    with bench(name) as here:
        assert info.recognise(here.bus, here.sensor.address)
    for other, stranger in DRIVERS.items():
        for address in set(stranger.addresses) & set(info.addresses) if other != name else ():
            with bench(name, address, chip=other) as here:
                try:
                    title = info.recognise(here.bus, address)
                except EdgeAgentError:
                    title = None
                relative = stranger.open is info.open
                assert title is None or relative, f"{name} takes {other} for {title}"
