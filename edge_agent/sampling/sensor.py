"""A configured sensor: how it is doing, and the changes of that which people are told."""

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
    """Where a sensor stands. The text is what people and events see.

    starting → sampling → degraded → offline → sampling → …; a chip that was reset goes back to starting.
    """

    ABSENT = "absent"
    """It has never answered. It is looked for again and again."""
    STARTING = "starting"
    """It is being identified, reset, calibrated and configured."""
    SAMPLING = "sampling"
    DEGRADED = "degraded"
    """Its last measurements failed."""
    OFFLINE = "offline"
    """It was there and is lost. It is looked for again and again."""


LOST: Final = frozenset({SensorState.ABSENT, SensorState.OFFLINE})


@dataclass(slots=True)
class SensorOnBus:
    """A configured sensor and how it is doing.

    Attributes:
        id: as configured.
        driver: makes its measurements.
        period_ns: between two of them.
        expected: quantities that the driver declares; the chip that is found may measure fewer.
        settling: how many measurements after each start are suspect.
        stuck_after: so many equal measurements in a row are impossible; 0 where they are not.
        locate: asked when it is lost, with the error: what may help to find it, as the end of a sentence, or nothing.
        last: its latest measurement, for people to look at.
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
    """Its slots are whole periods since boot plus this: a device that runs by itself has moments of its own."""
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
    """Polls that failed in a row."""
    attempts: int = 0
    """Attempts in a row to bring it back."""
    probing: Iterator[int] | None = None
    mistakes: set[type[Exception]] = field(default_factory=set)
    """What its driver raised and should not have; each is logged once."""
    unsettled: int = 0
    repeats: int = 0

    def starts(self) -> None:
        """It has been set up: what it measures next is its first."""
        self.probing, self.ready = None, True
        self.unsettled, self.repeats = self.settling, 0
        missing = [quantity for quantity in self.expected if quantity not in self.driver.quantities]
        self.notice = (
            f"measures no {', '.join(missing)}: the board carries a smaller relative of the chip" if missing else ""
        )

    def has_measured(self, measured_ns: int, values: tuple[float | None, ...]) -> Measurement:
        """Make its measurement, with a flag where the chip is not settled yet or repeats itself."""
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
        """Go into a state. The event is None if that is no news; the log is told as well."""
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

    def told(self, error: Exception) -> str:
        """One sentence. An error that no driver should raise is a mistake in it, and is logged with its place once."""
        if isinstance(error, EdgeAgentError | OSError):
            return str(error)
        kind = type(error)
        if kind not in self.mistakes:
            self.mistakes.add(kind)
            log.error("internal error in the driver sensor=%s error=%s", self.id, kind.__name__, exc_info=error)
        return f"internal error in the driver: {kind.__name__}: {error}"
