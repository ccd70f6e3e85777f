"""Sensirion SHT40, SHT41, SHT43 and SHT45, command by command.

Source: Sensirion datasheet SHT4x version 6.6, sections 2 (repeatability), 3.1 (times), 4 (commands, conversion, CRC,
heater).

Limits: the heater warms by a fixed 20 °C at 200 mW and in proportion below; it is cold again at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.sensirion import SensirionChip, of_full_scale, word

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_MEASURE: Final = {
    0xFD: (6_900_000, 0.04 / 3, 0.08 / 3),
    0xF6: (3_700_000, 0.07 / 3, 0.15 / 3),
    0xE0: (1_300_000, 0.1 / 3, 0.25 / 3),
}
"""Command → typical time in ns, standard deviations in °C and %RH (the datasheet gives three of them)."""

_HEAT: Final = {
    0x39: (1_000_000_000, 20.0),
    0x32: (100_000_000, 20.0),
    0x2F: (1_000_000_000, 11.0),
    0x24: (100_000_000, 11.0),
    0x1E: (1_000_000_000, 2.0),
    0x15: (100_000_000, 2.0),
}
"""Command → time in ns with the heater on, °C by which it warms."""

_READ_SERIAL: Final = 0x89
_SOFT_RESET: Final = 0x94
_RESET_NS: Final = 300_000
"""Typical; a driver that waits for the maximum of 1 ms finds it done."""


class Sht4x(SensirionChip):
    """One chip. Does not acknowledge while it converts."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.serial = part.random.getrandbits(32)

    def write(self, data: bytes) -> None:
        """Take a command of one byte. Raises Nack while busy, and for a command that is not known."""
        self._refuse_while_busy()
        if not data:
            return
        self._reply = b""
        command = data[0]
        if command in _MEASURE:
            self._measure(command, 0.0, 0)
        elif command in _HEAT:
            heat_ns, warmer_c = _HEAT[command]
            self._measure(0xFD, warmer_c, heat_ns)
        elif command == _READ_SERIAL:
            self._reply = word(self.serial >> 16) + word(self.serial & 0xFFFF)
        elif command == _SOFT_RESET:
            self._restart(_RESET_NS)
        else:
            raise Nack

    def power_cycle(self) -> None:
        """Start: 0.3 ms without an answer."""
        self._restart(_RESET_NS)

    def _measure(self, command: int, warmer_c: float, heat_ns: int) -> None:
        duration_ns, sigma_c, sigma_pct = _MEASURE[command]
        air = self._air(self._clock.now_ns())
        celsius = air.temperature_c + warmer_c + self._random.gauss(0.0, sigma_c)
        # Relative humidity halves with about 11 °C more.
        percent = air.humidity_pct * 0.5 ** (warmer_c / 11.0) + self._random.gauss(0.0, sigma_pct)
        measurement = word(of_full_scale((celsius + 45.0) / 175.0)) + word(of_full_scale((percent + 6.0) / 125.0))
        self._finish(measurement, heat_ns + duration_ns)


CHIPS: Final[Makers] = {"sht4x": Sht4x}
