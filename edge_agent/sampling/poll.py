"""One measurement under way: when to collect it, when to ask again, when to give up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from edge_agent.errors import NotReady
    from edge_agent.sampling.sensor import SensorOnBus

ASK_AGAIN_NS: Final = 20_000_000
"""Pause between questions to a device that runs by itself, and between retries."""
_GRACE_NS: Final = 10_000_000
"""Added to half a conversion: how much longer than its datasheet allows a chip may take before it counts as reset."""


@dataclass(slots=True, eq=False)
class Poll:
    """One measurement under way.

    Attributes:
        sensor: whose.
        triggered_ns: when the conversion was started; None if the device runs by itself.
        ready_ns: when to collect it, or to ask again.
        pause_ns: between questions when it is too early.
        give_up_ns: later than this it is not asked any more.
        deadline_ns: later than this nothing is tried again.
        retries: how often it has been tried again.
    """

    sensor: SensorOnBus
    triggered_ns: int | None
    ready_ns: int
    pause_ns: int
    give_up_ns: int
    deadline_ns: int
    retries: int

    @classmethod
    def of_conversion(
        cls, sensor: SensorOnBus, triggered_ns: int, ready_ns: int, wait_ns: int, attempt: tuple[int, int]
    ) -> Self:
        """A conversion that takes at most `wait_ns`. `attempt` holds the deadline and the number of retries."""
        patience_ns = wait_ns // 2 + _GRACE_NS
        return cls(sensor, triggered_ns, ready_ns, patience_ns // 4, ready_ns + patience_ns, *attempt)

    @classmethod
    def of_free_running(cls, sensor: SensorOnBus, now_ns: int, attempt: tuple[int, int]) -> Self:
        """The latest measurement of a device that runs by itself. It may be asked until the deadline."""
        deadline_ns, _retries = attempt
        return cls(sensor, None, now_ns, max(ASK_AGAIN_NS, sensor.period_ns // 100), deadline_ns, *attempt)

    def postpone(self, now_ns: int, early: NotReady) -> bool:
        """Plan the next question after one that came too early. Returns whether there is time left for it."""
        self.ready_ns = now_ns + (self.pause_ns if early.wait_ns is None else early.wait_ns)
        if early.wait_ns is not None:
            self.give_up_ns = max(self.give_up_ns, self.ready_ns + early.wait_ns // 2 + _GRACE_NS)
        return self.ready_ns <= self.give_up_ns
