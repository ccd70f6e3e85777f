"""Texas Instruments TCA9548A: eight switched channels behind one address.

Source: TI datasheet SCPS207 rev. H, sections 8.3 and 8.6: one control register, a bit per channel; a channel is
connected after the STOP; all are off at power-up. The PCA9548A is alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHANNELS: Final = 8


class Tca9548a:
    """One multiplexer.

    Attributes:
        segments: of its channels 0 to 7.
    """

    def __init__(self) -> None:
        self.segments = tuple(Segment() for _ in range(_CHANNELS))
        self._mask = 0

    def write(self, data: bytes) -> None:
        """Set the channel mask; of several bytes the last one counts."""
        if data:
            self._mask = data[-1]

    def read(self, count: int) -> bytes:
        """The channel mask, repeated."""
        return bytes([self._mask]) * count

    def power_cycle(self) -> None:
        """Disconnect all channels."""
        self._mask = 0

    def open_segments(self) -> Iterator[Segment]:
        """The segments whose bit in the mask is set."""
        return (segment for channel, segment in enumerate(self.segments) if self._mask >> channel & 1)
