"""What sends of its own accord: one text at each whole interval of the clock, and a greeting when it is switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock

MOST_TEXTS: Final = 1000
"""After a long time in which nobody listened; what came before is lost."""


class Talker:
    """A device that nobody has to ask.

    Attributes:
        silent: whether it has fallen silent, as when its firmware hangs.

    Args:
        clock: only read.
        interval_ns: between two texts.
        greeting: what it sends when it is switched on.
        text: what it sends at a moment in ns since boot.
    """

    def __init__(self, clock: Clock, interval_ns: int, greeting: bytes, text: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._interval_ns = interval_ns
        self._greeting = greeting
        self._text = text
        self.silent = False
        self.power_cycle()

    def power_cycle(self) -> None:
        """Greet, and go on with the next whole interval."""
        self._said_ns = self._clock.now_ns()
        self._unsaid = self._greeting

    def speak(self) -> bytes:
        """What it has sent since the last call."""
        said, self._unsaid = [self._unsaid], b""
        now_ns = self._clock.now_ns()
        last, first = now_ns // self._interval_ns, self._said_ns // self._interval_ns + 1
        if not self.silent:
            said += [self._text(beat * self._interval_ns) for beat in range(max(first, last - MOST_TEXTS), last + 1)]
        self._said_ns = max(self._said_ns, now_ns)
        return b"".join(said)
