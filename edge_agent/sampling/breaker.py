"""Decides when a bus counts as stuck, and which sensor is tried next while it is.

Each transfer on a stuck bus costs its adapter's time-out, about a second. So when a second sensor times out, the bus
counts as stuck, and one sensor alone is tried now and then until one of them answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout
from edge_agent.sampling.sensor import LOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.sampling.sensor import SensorOnBus

TRIALS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between trials of a bus with one sensor; with more, each of them is tried as often."""


class Breaker:
    """A circuit breaker for one bus: closed while the bus is used as usual, open while it is stuck.

    Attributes:
        cause: why it is open; empty while it is closed.
        silent: whether it opened because no sensor answers, rather than because of time-outs.

    Args:
        sensors: on the bus.
        shared_lines: whether a time-out means the bus and not the device: on I2C, where a device that does not answer
            is reported as no acknowledge.
    """

    def __init__(self, sensors: Sequence[SensorOnBus], *, shared_lines: bool) -> None:
        self.cause = ""
        self.silent = False
        self.sensors = tuple(sensors)
        self._shared_lines = shared_lines
        self._timeouts: set[str] = set()
        self._timeouts_in_a_row = 0
        self._worked = False
        self._trials = 0

    def succeeded(self) -> None:
        """A transfer got through."""
        self._worked = True
        self._timeouts.clear()
        self._timeouts_in_a_row = 0

    def failed(self, sensor: SensorOnBus, error: Exception) -> str:
        """A poll of the sensor failed. Returns why the bus counts as stuck from now on; empty if it does not."""
        if not isinstance(error, BusError):
            self.succeeded()  # bytes came back, so the bus works
            return ""
        if isinstance(error, BusTimeout) and self._shared_lines:
            self._timeouts.add(sensor.id)
            self._timeouts_in_a_row += 1
            if self._timeouts_in_a_row > 1 and len(self._timeouts) == min(2, len(self.sensors)):
                self.silent = False
                return str(error)
        # Some adapters report a held line as others report an empty address; a serial line has no other error.
        if self._worked and len(self.sensors) > 1 and all(other.state in LOST for other in self.sensors):
            self.silent = True
            if isinstance(error, BusGone | BusDenied):
                return str(error)
            return f"none of its {len(self.sensors)} sensors answers any more: check supply, ground and the lines"
        return ""

    def open(self, cause: str) -> None:
        """The bus counts as stuck."""
        self.cause = cause
        self._trials = 0

    def close(self) -> None:
        """The bus is used as usual."""
        self.cause = ""
        self.succeeded()

    def next_trial(self) -> tuple[SensorOnBus, int]:
        """Which sensor to try next, and in how many nanoseconds."""
        count = len(self.sensors)
        sensor = self.sensors[self._trials % count]
        wait_s = TRIALS_S[min(self._trials // count, len(TRIALS_S) - 1)]
        self._trials += 1
        return sensor, round(max(TRIALS_S[0], wait_s / count) * NS_PER_S)
