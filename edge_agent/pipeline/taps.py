"""Taps: objects that receive copies of readings and events from the pipeline, without any effect on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.reading import ChannelBlock, Event


class Tap(Protocol):
    """Receives readings and events. Called from the thread of the pipeline; must be fast, and must not raise.

    Attributes:
        prompt: whether it receives its readings at every step of the pipeline, not only when rows are secured or
            sealed. Sensors with a prompt tap are processed in small blocks, which takes more time.
    """

    prompt: bool

    def wants(self, sensor: str, quantity: str) -> bool:
        """Whether it receives this channel. Called only while the pipeline is built."""

    def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
        """Receive a processed block of a channel that it wants."""

    def heard(self, event: Event) -> None:
        """Receive an event."""


class Taps:
    """All taps of a pipeline."""

    def __init__(self, taps: Iterable[Tap] = ()) -> None:
        self._taps = list(taps)

    def of_channel(self, sensor: str, quantity: str) -> Sequence[Tap]:
        """Taps that want a channel."""
        return [tap for tap in self._taps if tap.wants(sensor, quantity)]

    def is_prompt(self, sensor: str, quantities: Iterable[str]) -> bool:
        """Whether a prompt tap wants any channel of a sensor."""
        return any(tap.prompt for quantity in quantities for tap in self.of_channel(sensor, quantity))

    def heard(self, event: Event) -> None:
        """Pass an event to all taps."""
        for tap in self._taps:
            tap.heard(event)
