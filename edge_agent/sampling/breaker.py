"""A bus on which nothing gets through: noticed, left in peace, and brought back rung by rung.

Each transfer on a stuck bus costs its adapter's time-out, about a second. So from the second sensor that times out on,
one sensor alone is tried now and then, until anything answers; between the trials the ladder of recovery is climbed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout
from edge_agent.sampling.sensor import LOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.sampling.sensor import SensorOnBus

log = logging.getLogger(__name__)

TRIALS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between trials of a bus with one sensor; with more, each of them is tried as often."""
BETWEEN_RUNGS_NS: Final = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to bring a bus back.

    Attributes:
        name: for messages.
        climb: does it, yielding nanoseconds to wait before it goes on. Raises EdgeAgentError or OSError if it cannot.
    """

    name: str
    climb: Callable[[], Iterator[int]]


class Breaker:
    """Watches what the sensors of one bus go through.

    Attributes:
        cause: why it is open; empty while the bus is used as usual.
        silent: whether it opened because nobody answers, rather than because of time-outs.

    Args:
        sensors: on the bus.
        ladder: ways to bring it back, the mildest first.
        shared_lines: whether a time-out is the bus's and not the device's: on I2C, where silence is something else.
    """

    def __init__(self, sensors: Sequence[SensorOnBus], ladder: Sequence[Rung], *, shared_lines: bool) -> None:
        self.cause = ""
        self.silent = False
        self._sensors = tuple(sensors)
        self._ladder = tuple(ladder)
        self._shared_lines = shared_lines
        self._timeouts: set[str] = set()
        self._timeouts_in_a_row = 0
        self._worked = False
        self._trials = 0
        self._rung = 0
        self._rung_due_ns = 0

    def succeeded(self) -> None:
        """Something got through."""
        self._worked = True
        self._timeouts.clear()
        self._timeouts_in_a_row = 0

    def failed(self, sensor: SensorOnBus, error: Exception) -> str:
        """A poll of the sensor failed. Returns why the bus is to be left in peace from now on, or nothing."""
        if not isinstance(error, BusError):
            self.succeeded()  # bytes came back, so the bus works
            return ""
        if isinstance(error, BusTimeout) and self._shared_lines:
            self._timeouts.add(sensor.id)
            self._timeouts_in_a_row += 1
            if self._timeouts_in_a_row > 1 and len(self._timeouts) == min(2, len(self._sensors)):
                self.silent = False
                return str(error)
        # Some adapters say of a held line what others say of an empty address; and a serial line knows no other way.
        if self._worked and len(self._sensors) > 1 and all(each.state in LOST for each in self._sensors):
            self.silent = True
            if isinstance(error, BusGone | BusDenied):
                return str(error)
            return f"none of its {len(self._sensors)} sensors answers any more: check supply, ground and the lines"
        return ""

    def opens(self, cause: str, now_ns: int) -> None:
        """Leave the bus in peace."""
        self.cause = cause
        self._trials = self._rung = 0
        self._rung_due_ns = now_ns

    def closes(self) -> None:
        """Use the bus as usual."""
        self.cause = ""
        self.succeeded()

    def next_rung(self, now_ns: int) -> Rung | None:
        """What to do next to bring the bus back; None if nothing is due."""
        if not self.cause or now_ns < self._rung_due_ns or self._rung >= len(self._ladder):
            return None
        rung = self._ladder[self._rung]
        self._rung += 1
        self._rung_due_ns = now_ns + BETWEEN_RUNGS_NS
        return rung

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to be done but by a person."""
        return self._rung >= len(self._ladder)

    def next_trial(self) -> tuple[SensorOnBus, int]:
        """Which sensor to try next, and in how many nanoseconds."""
        count = len(self._sensors)
        sensor = self._sensors[self._trials % count]
        wait_s = TRIALS_S[min(self._trials // count, len(TRIALS_S) - 1)]
        self._trials += 1
        return sensor, round(max(TRIALS_S[0], wait_s / count) * NS_PER_S)
