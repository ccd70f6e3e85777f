"""A device that sends by itself: one text at each whole interval of the clock, and a greeting at power-on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock

MOST_TEXTS: Final = 1000
"""Kept for the next call; older ones are lost."""


class Talker:
    """A device that sends without a request. Implements `SerialTalker`.

    Attributes:
        silent: whether it has stopped sending, as when its firmware hangs.

    Args:
        clock: only read.
        interval_ns: between two texts.
        greeting: sent at power-on.
        text: makes the text for a time in ns since boot.
    """

    def __init__(self, clock: Clock, interval_ns: int, greeting: bytes, text: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._interval_ns = interval_ns
        self._greeting = greeting
        self._text = text
        self.silent = False
        self.power_cycle()

    def power_cycle(self) -> None:
        """Send the greeting, and go on with the next whole interval."""
        self._sent_until_ns = self._clock.now_ns()
        self._greeting_due = self._greeting

    def speak(self) -> bytes:
        """What it has sent since the last call."""
        texts, self._greeting_due = [self._greeting_due], b""
        now_ns = self._clock.now_ns()
        last, first = now_ns // self._interval_ns, self._sent_until_ns // self._interval_ns + 1
        if not self.silent:
            texts += [self._text(index * self._interval_ns) for index in range(max(first, last - MOST_TEXTS), last + 1)]
        self._sent_until_ns = max(self._sent_until_ns, now_ns)
        return b"".join(texts)
