"""A device access that never returns."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.clock import NS_PER_S, SimulatedClock, SystemClock
from edge_agent.reading import Event, EventKind, Measurement
from edge_agent.runtime import Threads
from edge_agent.sampling.hanging import HANGING_NS, HangingWatch
from edge_agent.sampling.sensor import SensorOnBus, SensorState
from edge_agent.sampling.snapshot import bus_part
from edge_agent.sampling.worker import BusWorker, SampledBus

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Hanging:
    """A driver whose device answers only when it is let go."""

    quantities: tuple[str, ...] = ("temperature_c",)
    entered: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)

    def probe(self) -> Iterator[int]:
        """As Driver."""
        self.entered.set()
        self.answer.wait(60)
        yield 0

    def trigger(self) -> int:
        """As Driver."""
        return 0

    def collect(self) -> tuple[float]:
        """As Driver."""
        return (21.5,)


def test_a_device_that_never_answers_is_told_with_its_sensor_and_so_is_its_return() -> None:
    clock, told, driver = SimulatedClock(0), list[Event | Measurement](), Hanging()
    sensor = SensorOnBus("air", driver, NS_PER_S)
    bus = BusWorker(SampledBus("i2c1", [sensor]), clock=clock, rng=random.Random(1), deliver=lambda _item: True)
    watch = HangingWatch([bus], clock, told.append)
    threads = Threads([bus], SystemClock())
    threads.start()
    assert driver.entered.wait(10)
    watch.step()
    assert told == []
    assert bus_part(bus, clock.now_ns()).sensors[0].state is SensorState.STARTING
    clock.advance_to(clock.now_ns() + HANGING_NS)
    for _ in range(3):
        watch.step()
    (event,) = told
    assert isinstance(event, Event)
    assert (event.kind, event.subject, event.state) == (EventKind.BUS_STATE, "i2c1", "stuck")
    assert event.cause.startswith("the device of sensor air has not answered for 30 s")
    part = bus_part(bus, clock.now_ns())
    assert (part.stuck, part.sensors[0].state) == (True, SensorState.OFFLINE)
    assert "blocks the bus" in part.sensors[0].cause
    driver.answer.set()
    threads.stop(10)
    watch.step()
    assert [item.state for item in told if isinstance(item, Event)] == ["stuck", "working"]
    assert not bus_part(bus, clock.now_ns()).stuck
