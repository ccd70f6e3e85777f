"""A segment of an I2C bus: the chips on it, and the multiplexers that connect further segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.simulate.chips.base import I2CChip


@runtime_checkable
class Multiplexer(Protocol):
    """A chip that connects further segments to the one it is on."""

    segments: tuple[Segment, ...]

    def open_segments(self) -> Iterator[Segment]:
        """The segments that are connected now."""


class Segment:
    """Chips by address. Several may have one address; they then answer at the same time."""

    def __init__(self) -> None:
        self._chips: dict[int, list[I2CChip]] = {}
        self._multiplexers: dict[int, list[Multiplexer]] = {}
        """Those of the chips that are multiplexers. Checked when a chip is attached, because transfers are frequent."""
        self._unplugged: dict[int, list[I2CChip]] = {}

    def attach(self, address: int, chip: I2CChip) -> None:
        """Add a chip without a power-on reset."""
        self._chips.setdefault(address, []).append(chip)
        if isinstance(chip, Multiplexer):
            self._multiplexers.setdefault(address, []).append(chip)

    def chips_at(self, address: int) -> tuple[I2CChip, ...]:
        """The chips at the address on this segment."""
        return tuple(self._chips.get(address, ()))

    def answering(self, address: int) -> list[I2CChip]:
        """Chips that the address reaches now: here, and behind the open channels of multiplexers."""
        reached = list(self._chips.get(address, ()))
        for multiplexers in self._multiplexers.values():
            for multiplexer in multiplexers:
                for segment in multiplexer.open_segments():
                    reached += segment.answering(address)
        return reached

    def unplug(self, address: int) -> None:
        """Remove all chips at the address. Calling it twice is harmless."""
        self._unplugged.setdefault(address, []).extend(self._chips.pop(address, []))
        self._multiplexers.pop(address, None)

    def plug(self, address: int, chip: I2CChip | None = None) -> None:
        """Add `chip`, or the chips that were unplugged there, with a power-on reset."""
        for arrival in [chip] if chip is not None else self._unplugged.pop(address, []):
            arrival.power_cycle()
            self.attach(address, arrival)

    def power_cycle(self) -> None:
        """Switch the supply of every chip off and on, also behind multiplexers."""
        for chips in self._chips.values():
            for chip in chips:
                chip.power_cycle()
        for multiplexers in self._multiplexers.values():
            for multiplexer in multiplexers:
                for segment in multiplexer.segments:
                    segment.power_cycle()
