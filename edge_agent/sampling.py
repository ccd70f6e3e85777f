"""One worker per bus: triggers every sensor that is due, waits once, collects them all.

A sensor that fails never stops the others, not even by a mistake in its driver. Its state is an event when it changes,
and a count otherwise.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S, Inbox
from edge_agent.errors import BadReply, BusDenied, BusGone, ChipWasReset, EdgeAgentError, WrongChip
from edge_agent.reading import Event, EventKind, Measurement

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.clock import Clock
    from edge_agent.drivers.base import Driver

log = logging.getLogger(__name__)

FAILURES_TO_ABSENT: Final = 3
BACKOFF_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between attempts to bring an absent sensor back; the last one for ever."""


class SensorState(Enum):
    """Where a sensor stands. The text is what people and events see."""

    STARTING = "starting"
    SAMPLING = "sampling"
    DEGRADED = "degraded"
    ABSENT = "absent"


@dataclass(slots=True)
class SensorOnBus:
    """A configured sensor and how it is doing.

    Attributes:
        id: as configured.
        driver: makes its measurements.
        period_ns: between two of them.
        expected: quantities that the driver declares; the chip that is found may measure fewer.
        last: its latest measurement, for people to look at.
        measurements, errors, missed: counts; `missed` are slots that passed while the bus was busy or stuck.
    """

    id: str
    driver: Driver
    period_ns: int
    expected: tuple[str, ...] = ()
    state: SensorState = SensorState.STARTING
    due_ns: int = 0
    measurements: int = 0
    errors: int = 0
    missed: int = 0
    last: Measurement | None = None
    cause: str = ""
    notice: str = ""
    """What a person should know of it although it works."""
    ready: bool = False
    """Whether it has been probed and configured since it was last lost."""
    failures: int = 0
    """Measurements missed in a row."""
    attempts: int = 0
    """Attempts in a row to bring it back."""
    probing: Iterator[int] | None = None
    mistakes: set[type[Exception]] = field(default_factory=set)
    """What its driver raised and should not have; each is logged once."""


@dataclass(slots=True)
class _Cycle:
    """Sensors that were triggered one after the other, each with the moment of that, and are collected together."""

    ready_ns: int
    sensors: list[tuple[SensorOnBus, int]] = field(default_factory=list)


class BusWorker:
    """Samples the sensors of one bus.

    Args:
        name: of the bus.
        sensors: on it.
        clock: gives the time; the worker itself never waits.
        rng: spreads the attempts to bring sensors back.
        deliver: takes measurements and events; returns False if it had no room.
    """

    def __init__(
        self,
        name: str,
        sensors: Sequence[SensorOnBus],
        *,
        clock: Clock,
        rng: random.Random,
        deliver: Callable[[Measurement | Event], bool],
    ) -> None:
        self.name = f"bus {name}"
        self.inbox: Inbox[Any] = Inbox(1)
        self.sensors = tuple(sensors)
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._cycles: list[_Cycle] = []

    def step(self) -> int | None:
        """Collect what is ready, trigger what is due. Returns when the next of either is."""
        for cycle in [cycle for cycle in self._cycles if cycle.ready_ns <= self._clock.now_ns()]:
            self._cycles.remove(cycle)
            for sensor, triggered_ns in cycle.sensors:
                self._collect(sensor, triggered_ns)
        now_ns = self._clock.now_ns()
        due = [sensor for sensor in self.sensors if sensor.due_ns <= now_ns]
        for sensor in due:
            if not sensor.ready:
                self._probe(sensor)
        self._trigger([sensor for sensor in due if sensor.ready and sensor.due_ns <= now_ns], now_ns)
        times = [sensor.due_ns for sensor in self.sensors] + [cycle.ready_ns for cycle in self._cycles]
        return min(times, default=None)

    def _probe(self, sensor: SensorOnBus) -> None:
        """Go one step on in bringing the sensor up."""
        try:
            if sensor.probing is None:
                sensor.probing = sensor.driver.probe()
            wait_ns = next(sensor.probing, None)
        except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
            sensor.errors += 1
            self._lose(sensor, _told(sensor, error))
            return
        now_ns = self._clock.now_ns()
        if wait_ns is not None:
            sensor.due_ns = now_ns + wait_ns
            return
        sensor.probing = None
        sensor.ready = True
        missing = [quantity for quantity in sensor.expected if quantity not in sensor.driver.quantities]
        sensor.notice = (
            f"measures no {', '.join(missing)}: the board carries a smaller relative of the chip" if missing else ""
        )
        sensor.due_ns = now_ns  # the first measurement at once, the others in their slots

    def _trigger(self, due: list[SensorOnBus], now_ns: int) -> None:
        """Start a conversion on each, and plan to collect all of them when the slowest is done."""
        cycle = _Cycle(now_ns)
        converting = {sensor.id for cycle in self._cycles for sensor, _triggered_ns in cycle.sensors}
        for sensor in due:
            sensor.due_ns = self._next_slot(sensor, now_ns)
            if sensor.id in converting:
                sensor.missed += 1
                continue
            triggered_ns = self._clock.now_ns()  # its own: a sensor before it may have held the bus until a time-out
            try:
                ready_ns = sensor.driver.trigger() + self._clock.now_ns()
            except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
                self._fail(sensor, error)
                continue
            cycle.ready_ns = max(cycle.ready_ns, ready_ns)
            cycle.sensors.append((sensor, triggered_ns))
        if not cycle.sensors:
            return
        if cycle.ready_ns <= self._clock.now_ns():
            for sensor, triggered_ns in cycle.sensors:
                self._collect(sensor, triggered_ns)
        else:
            self._cycles.append(cycle)

    def _collect(self, sensor: SensorOnBus, triggered_ns: int) -> None:
        try:
            values = sensor.driver.collect()
        except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
            self._fail(sensor, error)
            return
        measurement = Measurement(sensor.id, triggered_ns, sensor.driver.quantities, values)
        sensor.measurements += 1
        sensor.last = measurement
        sensor.failures = sensor.attempts = 0
        self._deliver(measurement)
        self._change(sensor, SensorState.SAMPLING, sensor.notice)

    def _fail(self, sensor: SensorOnBus, error: Exception) -> None:
        """One measurement is missing. A chip that lost its settings is set up anew; one that is silent is lost."""
        sensor.errors += 1
        sensor.failures += 1
        if isinstance(error, WrongChip | BusGone | BusDenied) or sensor.failures >= FAILURES_TO_ABSENT:
            self._lose(sensor, _told(sensor, error))
            return
        if isinstance(error, BadReply | ChipWasReset):
            sensor.ready = False
            sensor.due_ns = self._clock.now_ns()
        self._change(sensor, SensorState.DEGRADED, _told(sensor, error))

    def _lose(self, sensor: SensorOnBus, cause: str) -> None:
        """Give the sensor up for a while that grows with each attempt."""
        sensor.probing, sensor.ready = None, False
        wait_s = BACKOFF_S[min(sensor.attempts, len(BACKOFF_S) - 1)]
        sensor.attempts += 1
        sensor.due_ns = self._clock.now_ns() + round(wait_s * self._rng.uniform(0.9, 1.1) * NS_PER_S)
        self._change(sensor, SensorState.ABSENT, cause)

    def _next_slot(self, sensor: SensorOnBus, after_ns: int) -> int:
        """The slot after `after_ns`, counting those that passed unused.

        Slots are whole periods since boot, so that sensors of one period share moments, on all buses.
        """
        slot_ns = (after_ns // sensor.period_ns + 1) * sensor.period_ns
        sensor.missed += max(0, (slot_ns - sensor.due_ns) // sensor.period_ns - 1)
        return slot_ns

    def _change(self, sensor: SensorOnBus, state: SensorState, cause: str) -> None:
        """Tell a change of state once: to the log, and as an event."""
        before, sensor.state, sensor.cause = sensor.state, state, cause
        if state is before:
            return
        if state is SensorState.SAMPLING:
            log.log(
                logging.WARNING if cause else logging.INFO,
                "sensor %s is sampling%s",
                sensor.id,
                cause and f"; it {cause}",
            )
        else:
            log.warning("sensor %s is %s: %s", sensor.id, state.value, cause)
        if cause or (before, state) != (SensorState.STARTING, SensorState.SAMPLING):
            self._deliver(Event(EventKind.SENSOR_STATE, self._clock.now_ns(), sensor.id, state.value, cause))


def _told(sensor: SensorOnBus, error: Exception) -> str:
    """One sentence. An error that no driver should raise is a mistake in it, and is logged with its place once."""
    if isinstance(error, EdgeAgentError | OSError):
        return str(error)
    kind = type(error)
    if kind not in sensor.mistakes:
        sensor.mistakes.add(kind)
        log.error("internal error in the driver sensor=%s error=%s", sensor.id, kind.__name__, exc_info=error)
    return f"internal error in the driver: {kind.__name__}: {error}"
