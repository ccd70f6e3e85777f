"""Sensirion SHTC3, command by command.

Source: Sensirion datasheet SHTC3 version 4, sections 3.1 (times), 5.1 to 5.10 (power-up, sleep, measurement, id,
conversion).

Limits: the commands that stretch the clock are not acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.sensirion import SensirionChip, of_full_scale, word

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_MEASURE: Final = {
    0x7866: (10_800_000, 0.1 / 3, 0.1 / 3, False),
    0x58E0: (10_800_000, 0.1 / 3, 0.1 / 3, True),
    0x609C: (700_000, 0.3 / 3, 0.3 / 3, False),
    0x401A: (700_000, 0.3 / 3, 0.3 / 3, True),
}
"""Command → typical time in ns, standard deviations in °C and %RH, whether the humidity comes first."""

_WAKE: Final = 0x3517
_SLEEP: Final = 0xB098
_SOFT_RESET: Final = 0x805D
_READ_ID: Final = 0xEFC8

_START_NS: Final = 180_000
"""Typical; a driver that waits for the maximum of 240 µs finds it done."""


class Shtc3(SensirionChip):
    """One chip. Asleep it acknowledges nothing but the command that wakes it."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        # The bits that identify the SHTC3 are fixed, the others differ from chip to chip.
        self.identity = part.random.getrandbits(16) & ~0x083F | 0x0807
        self._asleep = False

    def write(self, data: bytes) -> None:
        """Take a command. Raises Nack while busy or asleep, and for a command that is not known."""
        self._refuse_while_busy()
        command = int.from_bytes(data[:2], "big") if len(data) >= 2 else None
        if self._asleep and command != _WAKE:
            raise Nack
        if command is None:
            return
        self._reply = b""
        if command in _MEASURE:
            self._measure(*_MEASURE[command])
        elif command == _READ_ID:
            self._reply = word(self.identity)
        elif command == _SLEEP:
            self._asleep = True
        elif command == _WAKE:
            if self._asleep:
                self._restart(_START_NS)
            self._asleep = False
        elif command == _SOFT_RESET:
            self._restart(_START_NS)
        else:
            raise Nack

    def read(self, count: int) -> bytes:
        """Give the reply once. Raises Nack when there is none, while busy, and asleep."""
        if self._asleep:
            raise Nack
        return super().read(count)

    def power_cycle(self) -> None:
        """Start: 0.2 ms without an answer, then awake."""
        self._asleep = False
        self._restart(_START_NS)

    def _measure(self, duration_ns: int, sigma_c: float, sigma_pct: float, humidity_first: bool) -> None:
        air = self._air(self._clock.now_ns())
        celsius = air.temperature_c + self._random.gauss(0.0, sigma_c)
        percent = air.humidity_pct + self._random.gauss(0.0, sigma_pct)
        temperature = word(of_full_scale((celsius + 45.0) / 175.0, 65_536))
        humidity = word(of_full_scale(percent / 100.0, 65_536))
        self._finish(humidity + temperature if humidity_first else temperature + humidity, duration_ns)


CHIPS: Final[Makers] = {"shtc3": Shtc3}
