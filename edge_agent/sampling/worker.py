"""One worker per bus: triggers every sensor that is due, waits once, collects them all.

A sensor that fails never stops the others, not even by a mistake in its driver. What failed is tried again while the
poll lasts; a chip that lost its settings is set up anew in the same poll. The state of a sensor is an event when it
changes, and a count otherwise.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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
from edge_agent.reading import Event, EventKind, Measurement
from edge_agent.runtime import Inbox
from edge_agent.sampling.breaker import Breaker
from edge_agent.sampling.sensor import LOST, SensorOnBus, SensorState

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.clock import Clock
    from edge_agent.sampling.breaker import Rung

log = logging.getLogger(__name__)

FAILURES_TO_LOSE: Final = 3
"""Polls in a row that fail before a sensor counts as lost."""
RETRIES: Final = 2
"""Within one poll."""
BACKOFF_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between attempts to bring a lost sensor back; the last one for ever."""
_NEVER_NS: Final = 1 << 62
_TOGETHER_NS: Final = 20_000_000
"""Conversions that end so close to each other are collected in one go: waking up costs more than the delay."""
_GRACE_NS: Final = 10_000_000
"""Added to half a conversion: how much longer than its datasheet allows a chip may take before it counts as reset."""
_ASK_AGAIN_NS: Final = 20_000_000
"""Pause between questions to a device that runs by itself, and between retries."""


@dataclass(frozen=True, slots=True)
class SampledBus:
    """What a worker has to care for.

    Attributes:
        name: of the bus.
        sensors: on it, and behind its multiplexers.
        ladder: ways to bring the bus back when nothing on it answers, the mildest first.
        shared_lines: whether one device can hold the whole bus, as on I2C.
    """

    name: str
    sensors: Sequence[SensorOnBus]
    ladder: Sequence[Rung] = ()
    shared_lines: bool = False


@dataclass(slots=True, eq=False)
class _Poll:
    """One measurement under way.

    Attributes:
        triggered_ns: when the conversion was started; None if the device runs by itself.
        ready_ns: when to collect it, or to ask again.
        pause_ns: between questions when it is too early.
        give_up_ns: later than this it is not asked any more.
        deadline_ns: later than this nothing is tried again.
    """

    sensor: SensorOnBus
    triggered_ns: int | None
    ready_ns: int
    pause_ns: int
    give_up_ns: int
    deadline_ns: int
    retries: int


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
        self._bus = bus.name
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._polls: dict[str, _Poll] = {}
        """Those under way, by the id of their sensor."""
        self._retries: dict[str, tuple[int, int]] = {}
        self._breaker = Breaker(self.sensors, bus.ladder, shared_lines=bus.shared_lines)
        self._climbing: Iterator[int] | None = None
        self._climb_due_ns = 0
        self._said = False

    @property
    def stuck(self) -> bool:
        """Whether nothing gets through on the bus."""
        return bool(self._breaker.cause)

    def step(self) -> int | None:
        """Collect what is ready, trigger what is due. Returns when the next of either is."""
        now_ns = self._clock.now_ns()
        for poll in [poll for poll in self._polls.values() if poll.ready_ns <= now_ns]:
            if self._polls.pop(poll.sensor.id, None):  # the bus may be found stuck on the way
                self._collect(poll)
        now_ns = self._clock.now_ns()
        if self._breaker.cause and not self._recover(now_ns):
            return self._climb_due_ns
        due = [sensor for sensor in self.sensors if sensor.due_ns <= now_ns]
        for sensor in due:
            if not sensor.ready and sensor.due_ns <= now_ns:
                self._probe(sensor)
        # Asked again, because what goes before may have taken its time, or shown that the bus is stuck.
        for sensor in due:
            if sensor.ready and sensor.due_ns <= now_ns:
                self._trigger(sensor, now_ns)
        return self._next_ns()

    def _next_ns(self) -> int | None:
        """When to be called again: when somebody is due, or the last of the conversions that end together has."""
        next_ns = min([sensor.due_ns for sensor in self.sensors], default=None)
        if self._polls and next_ns is not None:
            ready = [poll.ready_ns for poll in self._polls.values()]
            together_ns = min(ready) + _TOGETHER_NS
            next_ns = min(next_ns, max([ready_ns for ready_ns in ready if ready_ns <= together_ns]))
        return next_ns

    # One poll

    def _probe(self, sensor: SensorOnBus) -> None:
        """Go one step on in bringing the sensor up."""
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
        sensor.starts()
        sensor.due_ns = now_ns  # the first measurement at once, the others in their slots

    def _trigger(self, sensor: SensorOnBus, now_ns: int) -> None:
        """Start a conversion."""
        slot_ns = sensor.due_ns
        sensor.due_ns = sensor.next_slot(now_ns)
        if sensor.id in self._polls:
            sensor.missed += 1
            return
        deadline_ns, retries = self._retries.pop(sensor.id, (max(slot_ns, now_ns) + sensor.period_ns, 0))
        triggered_ns = self._clock.now_ns()  # its own: a sensor before it may have held the bus until a time-out
        try:
            wait_ns = sensor.driver.trigger()
        except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
            self._try_again(sensor, error, deadline_ns, retries)
            return
        ready_ns = self._clock.now_ns() + wait_ns
        if wait_ns:
            patience_ns = wait_ns // 2 + _GRACE_NS
            give_up_ns = ready_ns + patience_ns
            self._polls[sensor.id] = _Poll(
                sensor, triggered_ns, ready_ns, patience_ns // 4, give_up_ns, deadline_ns, retries
            )
        else:
            pause_ns = max(_ASK_AGAIN_NS, sensor.period_ns // 100)
            self._collect(_Poll(sensor, None, ready_ns, pause_ns, deadline_ns, deadline_ns, retries))

    def _collect(self, poll: _Poll) -> None:
        sensor, asked_ns = poll.sensor, self._clock.now_ns()
        try:
            values = sensor.driver.collect()
        except NotReady as early:
            self._ask_again(poll, early)
        except Exception as error:  # noqa: BLE001 a mistake in one driver must not end the bus
            self._try_again(sensor, error, poll.deadline_ns, poll.retries)
        else:
            self._breaker.succeeded()
            if self._breaker.cause:
                self._close()
            measured_ns = asked_ns if poll.triggered_ns is None else poll.triggered_ns
            self._deliver(sensor.has_measured(measured_ns, values))
            self._change(sensor, SensorState.SAMPLING, sensor.notice)

    def _ask_again(self, poll: _Poll, early: NotReady) -> None:
        """Too early: a matter of a moment, unless it is because the chip has forgotten that it was triggered."""
        sensor, now_ns = poll.sensor, self._clock.now_ns()
        poll.ready_ns = now_ns + (poll.pause_ns if early.wait_ns is None else early.wait_ns)
        if early.wait_ns is not None:
            poll.give_up_ns = max(poll.give_up_ns, poll.ready_ns + early.wait_ns // 2 + _GRACE_NS)
        elif poll.triggered_ns is None:
            # The device runs by itself: meet it at its own moments from now on.
            sensor.phase_ns = poll.ready_ns % sensor.period_ns
            sensor.due_ns = poll.ready_ns + sensor.period_ns
        if poll.ready_ns <= poll.give_up_ns:
            self._polls[sensor.id] = poll
        elif poll.triggered_ns is None:
            sensor.errors += 1
            self._fail(sensor, early)
        else:
            self._try_again(sensor, ChipWasReset(str(early)), poll.deadline_ns, poll.retries)

    def _try_again(self, sensor: SensorOnBus, error: Exception, deadline_ns: int, retries: int) -> None:
        """Something went wrong that may go well the next time: trigger again, or set the chip up again."""
        now_ns = self._clock.now_ns()
        sensor.errors += 1
        worth_it = isinstance(error, EdgeAgentError) and error.retryable
        hopeless = isinstance(error, BusTimeout | BusGone | BusDenied) or self._breaker.cause
        if not worth_it or hopeless or retries >= RETRIES or now_ns >= deadline_ns:
            self._fail(sensor, error)
            return
        self._retries[sensor.id] = (deadline_ns, retries + 1)
        sensor.due_ns = now_ns
        if isinstance(error, ChipWasReset):
            sensor.ready = False
            self._change(sensor, SensorState.STARTING, sensor.told(error))
        elif isinstance(error, NoAcknowledge):
            sensor.due_ns += _ASK_AGAIN_NS  # whatever disturbed it may need a moment to pass

    # What becomes of a sensor

    def _fail(self, sensor: SensorOnBus, error: Exception) -> None:
        """One measurement is missing."""
        sensor.failures += 1
        self._retries.pop(sensor.id, None)
        if self._breaker.cause:
            self._trial_failed(sensor, error)
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
            self._change(sensor, SensorState.DEGRADED, sensor.told(error), _errno(error))
        cause = self._breaker.failed(sensor, error)
        if cause:
            self._open(cause, error)

    def _lose(self, sensor: SensorOnBus, error: Exception) -> None:
        """Give the sensor up for a while that grows with each attempt."""
        sensor.probing, sensor.ready = None, False
        wait_s = BACKOFF_S[min(sensor.attempts, len(BACKOFF_S) - 1)]
        sensor.attempts += 1
        sensor.due_ns = self._clock.now_ns() + round(wait_s * self._rng.uniform(0.9, 1.1) * NS_PER_S)
        state = SensorState.OFFLINE if sensor.measurements else SensorState.ABSENT
        cause = sensor.told(error)
        if sensor.state is not state:
            cause += sensor.locate(error)
        self._change(sensor, state, cause, _errno(error))

    def _change(self, sensor: SensorOnBus, state: SensorState, cause: str, errno: int | None = None) -> None:
        event = sensor.change(state, self._clock.now_ns(), cause, errno)
        if event is not None:
            self._deliver(event)

    # What becomes of the bus

    def _open(self, cause: str, error: Exception) -> None:
        """Nothing gets through: leave the bus in peace but for one trial now and then."""
        now_ns = self._clock.now_ns()
        self._breaker.opens(cause, now_ns)
        self._said = False
        self._polls.clear()
        self._retries.clear()
        self._tell("stuck", cause, _errno(error))
        for sensor in self.sensors:
            sensor.probing, sensor.ready, sensor.due_ns = None, False, _NEVER_NS
            state = SensorState.OFFLINE if sensor.measurements else SensorState.ABSENT
            self._change(sensor, state, f"nothing gets through on the bus: {cause}", _errno(error))
        self._plan_trial()

    def _close(self) -> None:
        """Something gets through again: every chip may have lost its settings meanwhile."""
        self._breaker.closes()
        self._tell("working", "it answers again")
        now_ns = self._clock.now_ns()
        for sensor in self.sensors:
            if sensor.due_ns == _NEVER_NS:
                sensor.due_ns, sensor.attempts = now_ns, 0

    def _trial_failed(self, sensor: SensorOnBus, error: Exception) -> None:
        sensor.probing, sensor.ready, sensor.due_ns = None, False, _NEVER_NS
        still_stuck = isinstance(error, BusTimeout | BusGone | BusDenied) or (
            isinstance(error, NoAcknowledge) and self._breaker.silent
        )
        if still_stuck:
            self._plan_trial()
            return
        sensor.due_ns = self._clock.now_ns() + NS_PER_S
        sensor.cause = sensor.told(error)
        self._close()

    def _plan_trial(self) -> None:
        sensor, wait_ns = self._breaker.next_trial()
        sensor.due_ns = self._clock.now_ns() + wait_ns

    def _recover(self, now_ns: int) -> bool:
        """Go on with the ladder. Returns whether the bus may be used meanwhile."""
        if self._climbing is None:
            rung = self._breaker.next_rung(now_ns)
            if rung is None:
                if self._breaker.exhausted and not self._said:
                    self._said = True
                    log.error("bus %s stays stuck: %s; somebody has to look at it", self._bus, self._breaker.cause)
                return True
            log.warning("bus %s is stuck, trying to recover it: %s", self._bus, rung.name)
            self._climbing, self._climb_due_ns = rung.climb(), now_ns
        if now_ns < self._climb_due_ns:
            return False
        try:
            wait_ns = next(self._climbing, None)
        except (EdgeAgentError, OSError) as error:
            log.warning("bus %s: this way of recovery failed: %s", self._bus, error)
            wait_ns = None
        if wait_ns is None:
            self._climbing = None
            return True
        self._climb_due_ns = now_ns + wait_ns
        return False

    def _tell(self, state: str, cause: str, errno: int | None = None) -> None:
        log.warning("bus %s is %s: %s", self._bus, state, cause)
        self._deliver(Event(EventKind.BUS_STATE, self._clock.now_ns(), self._bus, state, cause, errno))


def _errno(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None
