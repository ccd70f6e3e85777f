"""What every driver of serial and kernel-driven sensors owes the gateway. No list to edit.

From the simulated chip's registers through a true pty or a true tree of files to the driver.
"""

from __future__ import annotations

import random
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from edge_agent.bus.base import BusKind
from edge_agent.bus.uart import Uart
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import BusGone, EdgeAgentError, NotReady
from edge_agent.reading import Event, Measurement
from edge_agent.sampling.sensor import SensorOnBus
from edge_agent.sampling.worker import BusWorker, SampledBus
from edge_agent.simulate.chips.base import KernelChip, SerialSlave, SerialTalker, W1Chip
from edge_agent.simulate.kernel import SimulatedKernel
from edge_agent.simulate.port import SimulatedPort
from edge_agent.simulate.registry import chip_makers
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor
from edge_agent.simulate.uart import PtyDevice, SerialFault
from edge_agent.simulate.w1 import SimulatedW1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.bus.base import Listener
    from edge_agent.drivers.base import Driver, DriverInfo
    from edge_agent.simulate.world import Air

START_NS: Final = 1_750_000_000_000_000_000
PATIENCE_NS: Final = 10 * NS_PER_S
SHORT_S: Final = 0.1
NEAR: Final = {"temperature_c": 0.3, "humidity_pct": 1.0, "pressure_pa": 20.0, "co2_ppm": 20.0, "illuminance_lx": 1.0}
"""For drivers that cannot know how good their device is."""

DRIVERS: Final = {name: info for name, info in all_drivers().items() if info.bus is not BusKind.I2C}
every_driver = pytest.mark.parametrize("name", DRIVERS)
SERIAL: Final = [name for name, info in DRIVERS.items() if info.bus is BusKind.SERIAL]
every_serial_driver = pytest.mark.parametrize("name", SERIAL)


@dataclass
class Hurried:
    """A port that does not wait long for what will not come."""

    port: SimulatedPort
    in_a_hurry: bool = False

    def exchange(
        self,
        request: bytes,
        *,
        reply_length: int,
        timeout_s: float,
        complete: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """As SerialPort."""
        wait_s = SHORT_S if self.in_a_hurry else 5.0
        assert timeout_s > 0
        return self.port.exchange(request, reply_length=reply_length, timeout_s=wait_s, complete=complete)

    def listen(self) -> Listener:
        """As SerialPort."""
        return self.port.listen()

    def close(self) -> None:
        """As SerialPort."""
        self.port.close()


@dataclass
class Bench:
    """One chip on one bus, and its driver."""

    info: DriverInfo
    rig: Rig
    bus: PtyDevice | SimulatedW1 | SimulatedKernel
    port: Hurried | None
    clock: SimulatedClock
    sensor: SimulatedSensor
    driver: Driver

    def wait(self, duration_ns: int) -> None:
        """Let time pass."""
        self.clock.advance_to(self.clock.now_ns() + duration_ns)

    def hurry(self, in_a_hurry: bool = True) -> None:
        """Whether to wait long for replies."""
        if self.port is not None:
            self.port.in_a_hurry = in_a_hurry

    def probe(self) -> None:
        """Bring the device up."""
        for wait_ns in self.driver.probe():
            self.wait(wait_ns)

    def poll(self, patience_ns: int = PATIENCE_NS) -> dict[str, float | None]:
        """One measurement, asked for again as long as it is too early."""
        self.wait(self.driver.trigger())
        deadline_ns = self.clock.now_ns() + patience_ns
        while True:
            try:
                return dict(zip(self.driver.quantities, self.driver.collect(), strict=True))
            except NotReady:
                if self.clock.now_ns() > deadline_ns:
                    raise
                self.wait(NS_PER_S // 5)

    def first_good_poll(self, most: int) -> dict[str, float | None]:
        """A measurement, after some that fail: a flood runs through the kernel piece by piece."""
        for _ in range(most - 1):
            self.wait(NS_PER_S)
            with suppress(EdgeAgentError):
                return self.poll()
        self.wait(NS_PER_S)
        return self.poll()

    def wrong(self, values: dict[str, float | None], at_ns: int | None = None) -> list[str]:
        """Which values are numbers that the air has not been within the last seconds before a moment, or now."""
        now_ns = self.clock.now_ns() if at_ns is None else at_ns
        recent = [self.rig.truth(self.sensor, now_ns - second * NS_PER_S) for second in range(0, 12, 3)]
        return [
            f"{each.quantity} {value} is not {getattr(recent[0], each.quantity)}"
            for each in self.info.quantities
            if (value := values.get(each.quantity)) is not None
            and not any(abs(value - self.true(each.quantity, air)) <= self.near(each.quantity) for air in recent)
        ]

    def near(self, quantity: str) -> float:
        """How far a value may be from the truth."""
        declared = next(each.accuracy for each in self.info.quantities if each.quantity == quantity)
        return declared or NEAR[quantity]

    @staticmethod
    def true(quantity: str, air: Air) -> float:
        """What is true of the air."""
        value: float = getattr(air, quantity)
        return value

    def take_away(self) -> None:
        """Unplug the adapter, or let the kernel lose the device."""
        chip = self.rig.chip(self.sensor)
        match self.bus:
            case PtyDevice():
                self.bus.unplug()
            case SimulatedKernel():
                assert isinstance(chip, KernelChip)
                self.bus.unbind(chip)
            case SimulatedW1():
                assert isinstance(chip, W1Chip)
                self.bus.remove(chip.name)

    def bring_back(self) -> None:
        """Undo that."""
        chip = self.rig.chip(self.sensor)
        match self.bus:
            case PtyDevice():
                self.bus.plug_in()
            case SimulatedKernel():
                assert isinstance(chip, KernelChip)
                self.bus.bind(chip)
            case SimulatedW1():
                assert isinstance(chip, W1Chip)
                self.bus.restore(chip.name)


@contextmanager
def bench(name: str, *, chip: str | None = None, echo: bool = False) -> Iterator[Bench]:
    """The driver on a bus of its own, with its own device or another one."""
    info = DRIVERS[name]
    clock = SimulatedClock(START_NS)
    sensor = SimulatedSensor(chip or name, "bus", info.addresses[0] if info.addresses else 0)
    with Rig(7, clock, [SimulatedBusSpec("bus", info.bus, echo=echo)], [sensor]) as rig:
        bus = rig.buses["bus"]
        assert isinstance(bus, PtyDevice | SimulatedW1 | SimulatedKernel)
        port = Hurried(SimulatedPort(bus, Uart(bus.path, echo=echo))) if isinstance(bus, PtyDevice) else None
        driver = info.open(port or bus, sensor.address, info.options())
        yield Bench(info, rig, bus, port, clock, sensor, driver)
        if port is not None:
            port.close()


def test_every_driver_has_a_chip_model() -> None:
    assert DRIVERS.keys() <= chip_makers().keys()


@every_driver
def test_air_is_measured_within_the_accuracy_declared(name: str) -> None:
    with bench(name) as here:
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
def test_a_device_that_is_not_there_is_said_as_that(name: str) -> None:
    with bench(name) as here:
        here.hurry()
        here.take_away()
        with pytest.raises(EdgeAgentError) as caught:
            here.probe()
        assert caught.value.retryable
        assert str(caught.value)


@every_driver
def test_a_device_that_vanishes_is_gone_and_is_measured_again_when_it_is_back(name: str) -> None:
    with bench(name) as here:
        here.probe()
        here.poll()
        here.driver.trigger()
        here.take_away()
        here.wait(NS_PER_S)
        with pytest.raises(BusGone):
            here.driver.collect()
        here.wait(60 * NS_PER_S)
        here.bring_back()
        here.probe()
        values = here.poll()
        assert None not in values.values()
        assert here.wrong(values) == []


@every_driver
def test_a_device_that_was_switched_off_and_on_gives_no_wrong_number(name: str) -> None:
    with bench(name) as here:
        here.probe()
        here.poll()
        chip = here.rig.chip(here.sensor)
        chip.power_cycle()
        here.probe()
        for _ in range(3):
            with suppress(EdgeAgentError):
                assert here.wrong(here.poll()) == []
            here.wait(30 * NS_PER_S)
        values = here.poll()
        assert None not in values.values()
        assert here.wrong(values) == []


@every_serial_driver
def test_a_silent_line_is_no_number(name: str) -> None:
    with bench(name) as here:
        assert isinstance(here.bus, PtyDevice)
        here.probe()
        here.poll()
        chip = here.rig.chip(here.sensor)
        assert isinstance(chip, SerialTalker | SerialSlave)
        here.bus.detach(chip)
        here.hurry()
        here.wait(NS_PER_S)
        with pytest.raises(EdgeAgentError) as caught:
            here.poll(NS_PER_S)
        assert caught.value.retryable


@pytest.mark.parametrize(("name", "chip"), [(name, chip) for name in SERIAL for chip in SERIAL if chip != name])
def test_another_device_on_the_line_never_gives_a_wrong_number(name: str, chip: str) -> None:
    with bench(name, chip=chip) as here:
        here.hurry()
        with suppress(EdgeAgentError):
            here.probe()
            assert here.wrong(here.poll(3 * NS_PER_S)) == []


@every_serial_driver
@pytest.mark.parametrize("fault", SerialFault)
def test_whatever_happens_to_one_reply_or_line_gives_no_wrong_number_and_passes(name: str, fault: SerialFault) -> None:
    with bench(name) as here:
        assert isinstance(here.bus, PtyDevice)
        here.probe()
        here.poll()
        here.hurry()
        here.bus.fail_next(fault)
        for _ in range(3):
            here.wait(NS_PER_S)
            with suppress(EdgeAgentError):
                assert here.wrong(here.poll(NS_PER_S)) == []
        here.hurry(in_a_hurry=False)
        values = here.first_good_poll(20 if fault is SerialFault.FLOOD else 1)
        assert None not in values.values()
        assert here.wrong(values) == []


@every_serial_driver
def test_a_line_that_gives_back_what_is_sent_is_read_if_that_is_configured(name: str) -> None:
    with bench(name, echo=True) as here:
        here.probe()
        assert here.wrong(here.poll()) == []


@every_serial_driver
def test_stray_text_on_the_line_gives_no_wrong_number(name: str) -> None:
    with bench(name) as here:
        assert isinstance(here.bus, PtyDevice)
        here.probe()
        here.poll()
        here.hurry()
        here.bus.send(b"\x00\xff 4.2,4.2 P= 42\r\n")
        here.wait(NS_PER_S)
        with suppress(EdgeAgentError):
            assert here.wrong(here.poll(NS_PER_S)) == []


@every_driver
def test_a_worker_loses_a_device_that_vanishes_tells_it_once_and_finds_it_again(name: str) -> None:
    with bench(name) as here:
        here.hurry()
        delivered: list[Measurement | Event] = []

        def deliver(item: Measurement | Event) -> bool:
            delivered.append(item)
            return True

        period_ns = round(here.info.period_s * NS_PER_S)
        sensor = SensorOnBus("s", here.driver, period_ns)
        worker = BusWorker(
            SampledBus("bus", [sensor]),
            clock=here.clock,
            rng=random.Random(1),
            deliver=deliver,
        )

        def run(duration_ns: int) -> None:
            end_ns = here.clock.now_ns() + duration_ns
            while here.clock.now_ns() < end_ns:
                due_ns = worker.step()
                assert due_ns is not None
                here.clock.advance_to(min(due_ns, end_ns))

        run(10 * period_ns)
        assert sensor.measurements >= 8
        here.take_away()
        run(10 * period_ns)
        measured = sensor.measurements
        here.bring_back()
        run(70 * NS_PER_S + 5 * period_ns)
        assert sensor.measurements > measured
        states = [item.state for item in delivered if isinstance(item, Event)]
        assert states.count("offline") == 1
        assert states[-1] == "sampling"
        for item in delivered:
            if isinstance(item, Measurement):
                values = dict(zip(item.quantities, item.values, strict=True))
                assert here.wrong(values, item.boot_ns) == []
