"""A Vaisala PTU300 with text commands, in mode POLL, or in mode STOP with echo and prompt.

Source: PTU300 User's Guide M210796EN, serial line operation: SEND, FORM, UNIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.units import in_unit

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_SIGMA_C: Final = 0.02
_SIGMA_PCT: Final = 0.05
_SIGMA_PA: Final = 2.0


class Ptu300:
    """One transmitter.

    Attributes:
        stop_mode: whether it echoes what it is sent and prompts with `>`, as in mode STOP.
        metric: whether its units are; otherwise it gives inHg and °F.
        broken: labels of the quantities without a value, for which it writes stars.
    """

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._address = part.address
        self.stop_mode = False
        self.metric = True
        self.broken: set[str] = set()

    def frame_length(self, received: bytes) -> int | None:
        """A command ends with a carriage return."""
        end = received.find(b"\r")
        return None if end < 0 else end + 1

    def respond(self, frame: bytes) -> bytes | None:
        """One message for `SEND`, with or without its address, in any case; in mode STOP an error text for the rest."""
        echo = frame + b"\n" if self.stop_mode else b""
        prompt = b">" if self.stop_mode else b""
        words = frame.decode("latin-1").upper().split()
        if not words or words[0] != "SEND" or words[1:] not in ([], [str(self._address)]):
            return echo + b"Unknown command\r\n" + prompt if self.stop_mode else None
        if words[1:] == [] and self._address and not self.stop_mode:  # in mode POLL it waits for its address
            return None
        return echo + self._message() + prompt

    def power_cycle(self) -> None:
        """Has no volatile state."""

    def _message(self) -> bytes:
        air = self._air(self._clock.now_ns())
        pascal = air.pressure_pa + self._random.gauss(0.0, _SIGMA_PA)
        celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C)
        percent = air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT)
        if self.metric:
            fields = [("P", f"{pascal / 100:7.1f}", "hPa"), ("T", f"{celsius:5.1f}", "'C")]
        else:
            fields = [("P", f"{in_unit(pascal, 'inHg'):7.2f}", "inHg"), ("T", f"{in_unit(celsius, 'f'):5.1f}", "'F")]
        fields.append(("RH", f"{percent:5.1f}", "%RH"))
        shown = (
            f"{label}={'*' * len(value) if label in self.broken else value} {unit}" for label, value, unit in fields
        )
        return f"{' '.join(shown)}\r\n".encode()


CHIPS: Final[Makers] = {"vaisala": Ptu300}
