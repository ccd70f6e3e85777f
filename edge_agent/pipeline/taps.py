"""Taps: whoever wants to see readings and events on their way, without a part in what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.reading import ChannelBlock, Event


class Tap(Protocol):
    """Somebody who sees readings and events. Called from the pipeline's thread; must be quick, and must not raise.

    Attributes:
        prompt: whether the readings that it wants are shown to it at every step of the pipeline, not only when rows are
            secured or sealed. That costs blocks of one for the sensors concerned.
    """

    prompt: bool

    def wants(self, sensor: str, quantity: str) -> bool:
        """Whether it wants to see this channel. Asked once, at the start."""

    def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
        """A block of a channel that it wants has been through all stages."""

    def heard(self, event: Event) -> None:
        """Something happened."""


class Taps:
    """All taps of a pipeline."""

    def __init__(self, taps: Iterable[Tap] = ()) -> None:
        self._taps = list(taps)

    def of_channel(self, sensor: str, quantity: str) -> Sequence[Tap]:
        """Those that want to see a channel."""
        return [tap for tap in self._taps if tap.wants(sensor, quantity)]

    def is_prompt(self, sensor: str, quantities: Iterable[str]) -> bool:
        """Whether any channel of a sensor has to be shown at every step."""
        return any(tap.prompt for quantity in quantities for tap in self.of_channel(sensor, quantity))

    def heard(self, event: Event) -> None:
        """Show an event to all."""
        for tap in self._taps:
            tap.heard(event)
