"""A configured sensor: its state, its counts, and the events that report a change of state."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError
from edge_agent.reading import Event, EventKind, Flag, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.drivers.base import Driver

log = logging.getLogger(__name__)

_NO_FLAG: Final = Flag(0)


class SensorState(Enum):
    """State of a sensor. The text stands in events and reports.

    starting → sampling → degraded → offline → sampling → …; a chip that was reset goes back to starting.
    """

    ABSENT = "absent"
    """It has never answered. It is tried again and again."""
    STARTING = "starting"
    """It is being identified, reset, calibrated and configured."""
    SAMPLING = "sampling"
    DEGRADED = "degraded"
    """Its last measurements failed."""
    OFFLINE = "offline"
    """It has answered and does not any more. It is tried again and again."""


LOST: Final = frozenset({SensorState.ABSENT, SensorState.OFFLINE})


@dataclass(slots=True)
class SensorOnBus:
    """A configured sensor, with its state and counts.

    Attributes:
        id: as configured.
        driver: makes its measurements.
        period_ns: between two of them.
        expected: quantities that the driver declares; the chip that is found may measure fewer.
        settling: how many measurements after each start are suspect.
        stuck_after: so many equal measurements in a row are impossible; 0 where they are not.
        locate: called with the error when the sensor is lost. Returns what may help to find it as the end of a
            sentence; empty if nothing does.
        last: its latest measurement, for display.
        measurements, errors, missed: counts; `missed` are slots that passed while the bus was busy or stuck.
    """

    id: str
    driver: Driver
    period_ns: int
    expected: tuple[str, ...] = ()
    settling: int = 0
    stuck_after: int = 0
    locate: Callable[[Exception], str] = lambda _error: ""
    state: SensorState = SensorState.STARTING
    due_ns: int = 0
    phase_ns: int = 0
    """Its slots are whole periods since boot plus this. Only a device that runs by itself has one."""
    measurements: int = 0
    errors: int = 0
    missed: int = 0
    last: Measurement | None = None
    cause: str = ""
    notice: str = ""
    """What a person should know about it although it works."""
    ready: bool = False
    """Whether it has been probed and configured since it was last lost."""
    failures: int = 0
    """Polls that failed in a row."""
    attempts: int = 0
    """Attempts in a row to bring it back."""
    probing: Iterator[int] | None = None
    mistakes: set[type[Exception]] = field(default_factory=set)
    """Kinds of errors that its driver raised and should not have."""
    unsettled: int = 0
    repeats: int = 0

    @property
    def lost_state(self) -> SensorState:
        """The state of this sensor when it is lost."""
        return SensorState.OFFLINE if self.measurements else SensorState.ABSENT

    def set_up(self) -> None:
        """Note that the driver has set the chip up: its next measurement is its first."""
        self.probing, self.ready = None, True
        self.unsettled, self.repeats = self.settling, 0
        missing = [quantity for quantity in self.expected if quantity not in self.driver.quantities]
        self.notice = (
            f"measures no {', '.join(missing)}: the board carries a smaller relative of the chip" if missing else ""
        )

    def restart_at(self, due_ns: int) -> None:
        """Measure nothing before `due_ns`, and then begin by setting the chip up."""
        self.probing, self.ready, self.due_ns = None, False, due_ns

    def move_slots(self, due_ns: int) -> None:
        """Let `due_ns` be one of its slots, and the one after it the next."""
        self.phase_ns = due_ns % self.period_ns
        self.due_ns = due_ns + self.period_ns

    def make_measurement(self, measured_ns: int, values: tuple[float | None, ...]) -> Measurement:
        """Its measurement, with a flag where the chip is not settled yet or repeats itself."""
        flags = _NO_FLAG
        if self.unsettled:
            self.unsettled -= 1
            flags |= Flag.UNSETTLED
        if self.stuck_after:
            same = self.last is not None and self.last.values == values
            self.repeats = self.repeats + 1 if same else 0
            if self.repeats >= self.stuck_after:
                flags |= Flag.STUCK
        self.measurements += 1
        self.failures = self.attempts = 0
        self.last = Measurement(self.id, measured_ns, self.driver.quantities, values, flags)
        return self.last

    def next_slot(self, after_ns: int) -> int:
        """The slot after `after_ns`, counting those that passed unused.

        Slots are whole periods since boot, so that sensors of one period share moments, on all buses.
        """
        slot_ns = ((after_ns - self.phase_ns) // self.period_ns + 1) * self.period_ns + self.phase_ns
        self.missed += max(0, (slot_ns - self.due_ns) // self.period_ns - 1)
        return slot_ns

    def change(self, state: SensorState, now_ns: int, cause: str, errno: int | None = None) -> Event | None:
        """Go into a state, and log it. Returns the event; None if it was in that state or has just come up."""
        before, self.state, self.cause = self.state, state, cause
        if state is before:
            return None
        if state is SensorState.SAMPLING:
            level = logging.WARNING if cause else logging.INFO
            log.log(level, "sensor %s is sampling%s", self.id, cause and f"; it {cause}")
            if before is SensorState.STARTING and self.measurements == 1 and not cause:
                return None  # it has just come up, as everybody expects
        else:
            log.warning("sensor %s is %s: %s", self.id, state.value, cause)
        return Event(EventKind.SENSOR_STATE, now_ns, self.id, state.value, cause, errno)

    def describe_error(self, error: Exception) -> str:
        """One sentence. An error of a kind that no driver should raise is logged once with its traceback."""
        if isinstance(error, EdgeAgentError | OSError):
            return str(error)
        kind = type(error)
        if kind not in self.mistakes:
            self.mistakes.add(kind)
            log.error("internal error in the driver sensor=%s error=%s", self.id, kind.__name__, exc_info=error)
        return f"internal error in the driver: {kind.__name__}: {error}"
