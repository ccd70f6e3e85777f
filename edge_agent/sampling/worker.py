"""One worker per bus: triggers every sensor that is due, waits once, collects them all.

A sensor that fails never stops the others, not even by a mistake in its driver. What failed is tried again while the
poll lasts; a chip that lost its settings is set up anew in the same poll. The state of a sensor is an event when it
changes, and a count otherwise. What becomes of the bus itself is in `bus_state.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.clock import NS_PER_S
from edge_agent.errors import (
    BusDenied,
    BusGone,
    BusTimeout,
    ChipWasReset,
    EdgeAgentError,
    NoAcknowledge,
    NotReady,
    WrongChip,
)
from edge_agent.runtime import Inbox
from edge_agent.sampling.breaker import Breaker
from edge_agent.sampling.bus_state import BusState
from edge_agent.sampling.poll import ASK_AGAIN_NS, Poll
from edge_agent.sampling.recovery import Recovery
from edge_agent.sampling.sensor import LOST, SensorOnBus, SensorState

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.reading import Event, Measurement
    from edge_agent.sampling.recovery import RecoveryStep

FAILURES_TO_LOSE: Final = 3
"""Polls in a row that fail before a sensor counts as lost."""
RETRIES: Final = 2
"""Within one poll."""
BACKOFF_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between attempts to bring a lost sensor back; the last one for ever."""
_TOGETHER_NS: Final = 20_000_000
"""Conversions that end so close to each other are collected in one go: waking up costs more than the delay."""


@dataclass(frozen=True, slots=True)
class SampledBus:
    """What a worker has to care for.

    Attributes:
        name: of the bus.
        sensors: on it, and behind its multiplexers.
        recovery: steps that may bring the bus back when it is stuck, the mildest first.
        shared_lines: whether one device can hold the whole bus, as on I2C.
    """

    name: str
    sensors: Sequence[SensorOnBus]
    recovery: Sequence[RecoveryStep] = ()
    shared_lines: bool = False


class Access(NamedTuple):
    """An access to a device: by which sensor, and since when, nanoseconds since boot."""

    sensor: str
    since_ns: int


class BusWorker:
    """Samples the sensors of one bus.

    Args:
        bus: which, and what is on it.
        clock: gives the time; the worker itself never waits.
        rng: spreads the attempts to bring sensors back.
        deliver: takes measurements and events; returns False if it had no room.
    """

    def __init__(
        self,
        bus: SampledBus,
        *,
        clock: Clock,
        rng: random.Random,
        deliver: Callable[[Measurement | Event], bool],
    ) -> None:
        self.name = f"bus {bus.name}"
        self.inbox: Inbox[Any] = Inbox(1)
        self.sensors = tuple(bus.sensors)
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._polls: dict[str, Poll] = {}
        """Those under way, by the id of their sensor."""
        self._retries: dict[str, tuple[int, int]] = {}
        """By the id of a sensor whose poll is to be tried again: its deadline, and how often it has been tried."""
        self.access: Access | None = None
        """The device that is being accessed now."""
        self._state = BusState(
            bus.name,
            Breaker(self.sensors, shared_lines=bus.shared_lines),
            Recovery(bus.name, bus.recovery),
            clock=clock,
            deliver=deliver,
        )

    @property
    def stuck(self) -> bool:
        """Whether nothing gets through on the bus."""
        return self._state.stuck

    def step(self) -> int | None:
        """Collect what is ready, trigger what is due. Returns when the next of either is."""
        now_ns = self._clock.now_ns()
        for poll in [poll for poll in self._polls.values() if poll.ready_ns <= now_ns]:
            if self._polls.pop(poll.sensor.id, None):  # the bus may be found stuck on the way
                self._collect(poll)
        now_ns = self._clock.now_ns()
        resume_ns = self._state.recover(now_ns)
        self.access = None
        if resume_ns is not None:
            return resume_ns
        due = [sensor for sensor in self.sensors if sensor.due_ns <= now_ns]
        for sensor in due:
            if not sensor.ready and sensor.due_ns <= now_ns:
                self._probe(sensor)
        # Asked again, because what goes before may have taken its time, or shown that the bus is stuck.
        for sensor in due:
            if sensor.ready and sensor.due_ns <= now_ns:
                self._trigger(sensor, now_ns)
        self.access = None
        return self._next_ns()

    def _next_ns(self) -> int | None:
        """When to be called again: at the next slot, or with the last of the conversions that end together."""
        next_ns = min([sensor.due_ns for sensor in self.sensors], default=None)
        if self._polls and next_ns is not None:
            ready = [poll.ready_ns for poll in self._polls.values()]
            together_ns = min(ready) + _TOGETHER_NS
            next_ns = min(next_ns, max([ready_ns for ready_ns in ready if ready_ns <= together_ns]))
        return next_ns

    # One poll

    def _probe(self, sensor: SensorOnBus) -> None:
        """Take the next step in setting the sensor up."""
        self.access = Access(sensor.id, self._clock.now_ns())
        try:
            if sensor.probing is None:
                sensor.probing = sensor.driver.probe()
            wait_ns = next(sensor.probing, None)
        except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
            sensor.probing = None
            sensor.errors += 1
            self._fail(sensor, error)
            return
        now_ns = self._clock.now_ns()
        if wait_ns is not None:
            sensor.due_ns = now_ns + wait_ns
            return
        sensor.set_up()
        sensor.due_ns = now_ns  # the first measurement at once, the others in their slots

    def _trigger(self, sensor: SensorOnBus, now_ns: int) -> None:
        """Start a conversion."""
        slot_ns = sensor.due_ns
        sensor.due_ns = sensor.next_slot(now_ns)
        if sensor.id in self._polls:
            sensor.missed += 1
            return
        attempt = self._retries.pop(sensor.id, None) or (max(slot_ns, now_ns) + sensor.period_ns, 0)
        triggered_ns = self._clock.now_ns()  # its own: a sensor before it may have held the bus until a time-out
        self.access = Access(sensor.id, triggered_ns)
        try:
            wait_ns = sensor.driver.trigger()
        except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
            self._try_again(sensor, error, *attempt)
            return
        now_ns = self._clock.now_ns()
        if wait_ns:
            self._polls[sensor.id] = Poll.of_conversion(sensor, triggered_ns, now_ns + wait_ns, wait_ns, attempt)
        else:
            self._collect(Poll.of_free_running(sensor, now_ns, attempt))

    def _collect(self, poll: Poll) -> None:
        sensor, asked_ns = poll.sensor, self._clock.now_ns()
        self.access = Access(sensor.id, asked_ns)
        try:
            values = sensor.driver.collect()
        except NotReady as early:
            self._ask_again(poll, early)
        except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
            self._try_again(sensor, error, poll.deadline_ns, poll.retries)
        else:
            self._state.succeeded()
            measured_ns = asked_ns if poll.triggered_ns is None else poll.triggered_ns
            self._deliver(sensor.make_measurement(measured_ns, values))
            self._change(sensor, SensorState.SAMPLING, sensor.notice)

    def _ask_again(self, poll: Poll, early: NotReady) -> None:
        """Too early: a matter of a moment, unless the chip has forgotten that it was triggered."""
        sensor = poll.sensor
        in_time = poll.postpone(self._clock.now_ns(), early)
        if poll.triggered_ns is None and early.wait_ns is None:
            sensor.move_slots(poll.ready_ns)  # the device runs by itself: ask it at its own moments from now on
        if in_time:
            self._polls[sensor.id] = poll
        elif poll.triggered_ns is None:
            sensor.errors += 1
            self._fail(sensor, early)
        else:
            self._try_again(sensor, ChipWasReset(str(early)), poll.deadline_ns, poll.retries)

    def _try_again(self, sensor: SensorOnBus, error: Exception, deadline_ns: int, retries: int) -> None:
        """After an error that may not come again: trigger again, or set the chip up again."""
        now_ns = self._clock.now_ns()
        sensor.errors += 1
        worth_it = isinstance(error, EdgeAgentError) and error.retryable
        hopeless = isinstance(error, BusTimeout | BusGone | BusDenied) or self._state.stuck
        if not worth_it or hopeless or retries >= RETRIES or now_ns >= deadline_ns:
            self._fail(sensor, error)
            return
        self._retries[sensor.id] = (deadline_ns, retries + 1)
        sensor.due_ns = now_ns
        if isinstance(error, ChipWasReset):
            sensor.ready = False
            self._change(sensor, SensorState.STARTING, sensor.describe_error(error))
        elif isinstance(error, NoAcknowledge):
            sensor.due_ns += ASK_AGAIN_NS  # whatever disturbed it may need a moment to pass

    # What becomes of a sensor

    def _fail(self, sensor: SensorOnBus, error: Exception) -> None:
        """One measurement is missing."""
        sensor.failures += 1
        self._retries.pop(sensor.id, None)
        if self._state.stuck:
            self._state.trial_failed(sensor, error)
            return
        never_there = sensor.state is SensorState.ABSENT or (
            sensor.state is SensorState.STARTING and not sensor.measurements
        )
        certain = isinstance(error, WrongChip | BusGone | BusDenied)
        if certain or never_there or sensor.state in LOST or sensor.failures >= FAILURES_TO_LOSE:
            self._lose(sensor, error)
        else:
            sensor.due_ns = max(sensor.due_ns, sensor.next_slot(self._clock.now_ns()))
            if not isinstance(error, BusTimeout):
                sensor.ready = False  # whatever it was: begin anew, a chip may have lost its settings meanwhile
            self._change(sensor, SensorState.DEGRADED, sensor.describe_error(error), _errno(error))
        if self._state.failed(sensor, error):
            self._polls.clear()
            self._retries.clear()

    def _lose(self, sensor: SensorOnBus, error: Exception) -> None:
        """Try the sensor again after a while that grows with each attempt."""
        wait_s = BACKOFF_S[min(sensor.attempts, len(BACKOFF_S) - 1)]
        sensor.attempts += 1
        sensor.restart_at(self._clock.now_ns() + round(wait_s * self._rng.uniform(0.9, 1.1) * NS_PER_S))
        cause = sensor.describe_error(error)
        if sensor.state is not sensor.lost_state:
            cause += sensor.locate(error)
        self._change(sensor, sensor.lost_state, cause, _errno(error))

    def _change(self, sensor: SensorOnBus, state: SensorState, cause: str, errno: int | None = None) -> None:
        event = sensor.change(state, self._clock.now_ns(), cause, errno)
        if event is not None:
            self._deliver(event)


def _errno(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None
