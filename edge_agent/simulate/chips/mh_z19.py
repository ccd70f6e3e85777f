"""A Winsen MH-Z19B: its reply to the command that reads the concentration.

Source: Winsen MH-Z19B user's manual version 1.6; the warm-up value as firmware 4 gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

WARM_UP_NS: Final = 60_000_000_000
WARM_UP_PPM: Final = 410
_SIGMA_PPM: Final = 3.0
_BOARD_C: Final = 3.0
"""How much warmer the board is than the air."""


class MhZ19:
    """One sensor, warmed up from the start; after `power_cycle` it warms up again."""

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._warm_ns = part.clock.now_ns()

    def frame_length(self, received: bytes) -> int | None:
        """Each command has nine bytes."""
        return 9 if received else None

    def respond(self, frame: bytes) -> bytes | None:
        """The concentration for command 0x86; None for a damaged or another command."""
        if len(frame) != 9 or frame[:3] != b"\xff\x01\x86" or frame[8] != complement(frame):
            return None
        now_ns = self._clock.now_ns()
        air = self._air(now_ns)
        ppm = round(air.co2_ppm + self._random.gauss(0.0, _SIGMA_PPM)) if now_ns >= self._warm_ns else WARM_UP_PPM
        board = min(max(round(air.temperature_c + _BOARD_C) + 40, 1), 255)
        return self.frame(min(max(ppm, 400), 5000), board)

    def frame(self, ppm: int, board: int) -> bytes:
        """The reply with these raw values: ppm, and the temperature of the board in °C plus 40."""
        body = b"\xff\x86" + ppm.to_bytes(2, "big") + bytes((board, 0, 0, 0))
        return body + bytes([complement(body)])

    def power_cycle(self) -> None:
        """Warm up: reply 410 ppm for a minute."""
        self._warm_ns = self._clock.now_ns() + WARM_UP_NS


def complement(frame: bytes) -> int:
    """Checksum, the last byte of a frame: bytes 1 to 8 add up to 256."""
    return (0x100 - sum(frame[1:8]) % 0x100) % 0x100


CHIPS: Final[Makers] = {"mh_z19": MhZ19}
