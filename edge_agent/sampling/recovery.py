"""Runs the steps that may bring a stuck bus back: one after the other, the mildest first, a minute apart."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

BETWEEN_STEPS_NS: Final = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One way to bring a bus back. See `bus.recovery`.

    Attributes:
        name: for messages; as in the configuration.
        run: does it, yielding nanoseconds to wait before it goes on. Raises EdgeAgentError or OSError if it cannot.
    """

    name: str
    run: Callable[[], Iterator[int]]


class Recovery:
    """The recovery steps of one bus.

    Args:
        bus: its name, for the log.
        steps: the mildest first.
    """

    def __init__(self, bus: str, steps: Sequence[RecoveryStep]) -> None:
        self._bus = bus
        self._steps = tuple(steps)
        self._next = 0
        self._due_ns = 0
        self._running: Iterator[int] | None = None
        self._resume_ns = 0
        self._exhausted_logged = False

    def restart(self, now_ns: int) -> None:
        """The bus is stuck from now on: begin with the first step."""
        self._next, self._due_ns, self._exhausted_logged = 0, now_ns, False

    def proceed(self, now_ns: int, cause: str) -> int | None:
        """Do what is due.

        Args:
            now_ns: clock time.
            cause: why the bus is stuck, for the log.

        Returns:
            When to go on, if the bus must not be used until then; None if it may be used.
        """
        if self._running is None:
            step = self._next_step(now_ns, cause)
            if step is None:
                return None
            log.warning("bus %s is stuck, trying to recover it: %s", self._bus, step.name)
            self._running, self._resume_ns = step.run(), now_ns
        if now_ns < self._resume_ns:
            return self._resume_ns
        try:
            wait_ns = next(self._running, None)
        except (EdgeAgentError, OSError) as error:
            log.warning("bus %s: this way of recovery failed: %s", self._bus, error)
            wait_ns = None
        if wait_ns is None:
            self._running = None
            return None
        self._resume_ns = now_ns + wait_ns
        return self._resume_ns

    def _next_step(self, now_ns: int, cause: str) -> RecoveryStep | None:
        """The step that is due now. When none is left, the log asks once for a person."""
        if self._next >= len(self._steps):
            if not self._exhausted_logged:
                self._exhausted_logged = True
                log.error("bus %s stays stuck: %s; somebody has to look at it", self._bus, cause)
            return None
        if now_ns < self._due_ns:
            return None
        step = self._steps[self._next]
        self._next += 1
        self._due_ns = now_ns + BETWEEN_STEPS_NS
        return step
