"""What becomes of a bus: stuck when nothing gets through, recovered step by step, used again when a sensor answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.errors import BusDenied, BusGone, BusTimeout, NoAcknowledge
from edge_agent.reading import Event, EventKind, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.sampling.breaker import Breaker
    from edge_agent.sampling.recovery import Recovery
    from edge_agent.sampling.sensor import SensorOnBus

log = logging.getLogger(__name__)

_NEVER_NS: Final = 1 << 62


class BusState:
    """Whether one bus is stuck, and who may use it then.

    Args:
        name: of the bus.
        breaker: decides when it is stuck.
        recovery: brings it back.
        clock: gives the time.
        deliver: takes events.
    """

    def __init__(
        self,
        name: str,
        breaker: Breaker,
        recovery: Recovery,
        *,
        clock: Clock,
        deliver: Callable[[Measurement | Event], bool],
    ) -> None:
        self._name = name
        self._breaker = breaker
        self._recovery = recovery
        self._clock = clock
        self._deliver = deliver

    @property
    def stuck(self) -> bool:
        """Whether nothing gets through."""
        return bool(self._breaker.cause)

    def recover(self, now_ns: int) -> int | None:
        """Go on with the recovery of a stuck bus. Returns as `Recovery.proceed`."""
        return self._recovery.proceed(now_ns, self._breaker.cause) if self.stuck else None

    def succeeded(self) -> None:
        """A sensor gave a measurement."""
        self._breaker.succeeded()
        if self.stuck:
            self._close()

    def failed(self, sensor: SensorOnBus, error: Exception) -> bool:
        """A poll failed on a bus that was not stuck. Returns whether it is from now on: then no poll is under way."""
        cause = self._breaker.failed(sensor, error)
        if cause:
            self._open(cause, error)
        return self.stuck

    def trial_failed(self, sensor: SensorOnBus, error: Exception) -> None:
        """The one sensor that was tried on the stuck bus gave no measurement."""
        still_stuck = isinstance(error, BusTimeout | BusGone | BusDenied) or (
            isinstance(error, NoAcknowledge) and self._breaker.silent
        )
        if still_stuck:
            sensor.restart_at(_NEVER_NS)
            self._plan_trial()
            return
        sensor.restart_at(self._clock.now_ns() + NS_PER_S)
        sensor.cause = sensor.describe_error(error)
        self._close()

    def _open(self, cause: str, error: Exception) -> None:
        """Leave the bus alone, except for one trial now and then."""
        now_ns, errno = self._clock.now_ns(), error.errno if isinstance(error, OSError) else None
        self._breaker.open(cause)
        self._recovery.restart(now_ns)
        self._announce("stuck", cause, errno)
        for sensor in self._breaker.sensors:
            sensor.restart_at(_NEVER_NS)
            event = sensor.change(sensor.lost_state, now_ns, f"nothing gets through on the bus: {cause}", errno)
            if event is not None:
                self._deliver(event)
        self._plan_trial()

    def _close(self) -> None:
        """Use the bus again. Every chip may have lost its settings meanwhile."""
        self._breaker.close()
        self._announce("working", "it answers again")
        now_ns = self._clock.now_ns()
        for sensor in self._breaker.sensors:
            if sensor.due_ns == _NEVER_NS:
                sensor.due_ns, sensor.attempts = now_ns, 0

    def _plan_trial(self) -> None:
        sensor, wait_ns = self._breaker.next_trial()
        sensor.due_ns = self._clock.now_ns() + wait_ns

    def _announce(self, state: str, cause: str, errno: int | None = None) -> None:
        log.warning("bus %s is %s: %s", self._name, state, cause)
        self._deliver(Event(EventKind.BUS_STATE, self._clock.now_ns(), self._name, state, cause, errno))
