"""Aosong AHT20 and AHT10, command by command.

Sources: AHT20 product manual version 1.1 and AHT10 technical manual version 1.1, sections 5 (commands, status) and 6
(conversion). Where the manuals say nothing, the model does what widely used drivers expect: a chip refuses the
initialisation command of the other kind, and the AHT10 sends ones after its data.

Limits: the cyclic mode of the AHT10 is not modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.sensirion import sensirion_crc

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_INITIALISE: Final = {"aht20": 0xBE, "aht10": 0xE1}
_MEASURE: Final = 0xAC
_STATUS: Final = 0x71
_SOFT_RESET: Final = 0xBA

_BUSY, _CALIBRATED, _ALWAYS = 0x80, 0x08, 0x10
_CONVERSION_NS: Final = 75_000_000
_INITIALISE_NS: Final = 5_000_000
_RESET_NS: Final = 15_000_000
_START_NS: Final = 20_000_000

_SIGMA_C: Final = 0.01
_SIGMA_PCT: Final = 0.02
_FULL_SCALE: Final = 1 << 20


class Aht:
    """One chip. `name` is `aht20` or `aht10`, which has no checksum. A power cycle undoes the initialisation."""

    def __init__(self, name: str, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._initialise = _INITIALISE[name]
        self._has_checksum = name == "aht20"
        self._fixed: bytes | None = None
        self._next: bytes | None = None
        self._calibrated = True
        self._restart(silent_ns=0)

    def load(self, reply: bytes) -> None:
        """Let every conversion from now on end in these bytes: status, data, and on an AHT20 the checksum."""
        self._fixed = reply

    def write(self, data: bytes) -> None:
        """Take a command. Raises Nack while it starts, and for a command that is not known."""
        self._settle()
        if not data or data[0] == _STATUS:
            return
        if data[0] == _SOFT_RESET:
            self._restart(_RESET_NS)
        elif data[0] == self._initialise:
            self._calibrated = True
            self._busy_until_ns = self._clock.now_ns() + _INITIALISE_NS
        elif data[0] == _MEASURE and data[1:] == b"\x33\x00":
            self._next = self._measure()
            self._busy_until_ns = self._clock.now_ns() + _CONVERSION_NS
        else:
            raise Nack

    def read(self, count: int) -> bytes:
        """Status, data of the last conversion, checksum; ones after the end."""
        self._settle()
        busy = self._clock.now_ns() < self._busy_until_ns
        if self._fixed is not None and self._data != bytes(5) and not busy:
            return self._fixed[:count].ljust(count, b"\xff")
        status = _ALWAYS | busy * _BUSY | self._calibrated * _CALIBRATED
        reply = bytes([status]) + self._data
        if self._has_checksum:
            reply += bytes([sensirion_crc(reply)])
        return reply[:count].ljust(count, b"\xff")

    def power_cycle(self) -> None:
        """Start: 20 ms without an answer, then not calibrated, with zeros for data."""
        self._calibrated = False
        self._restart(_START_NS)

    def _restart(self, silent_ns: int) -> None:
        self._data = bytes(5)
        self._next = None
        self._busy_until_ns = 0
        self._silent_until_ns = self._clock.now_ns() + silent_ns

    def _settle(self) -> None:
        """Finish a conversion that has ended. Raises Nack while the chip starts."""
        now_ns = self._clock.now_ns()
        if now_ns < self._silent_until_ns:
            raise Nack
        if self._next is not None and now_ns >= self._busy_until_ns:
            self._data, self._next = self._next, None

    def _measure(self) -> bytes:
        air = self._air(self._clock.now_ns())
        celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C)
        percent = air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT)
        both = _counts(percent / 100.0) << 20 | _counts((celsius + 50.0) / 200.0)
        return both.to_bytes(5, "big")


def _counts(fraction: float) -> int:
    return min(max(round(fraction * _FULL_SCALE), 0), _FULL_SCALE - 1)


def _aht20(part: Part) -> Aht:
    return Aht("aht20", part)


def _aht10(part: Part) -> Aht:
    return Aht("aht10", part)


CHIPS: Final[Makers] = {"aht20": _aht20, "aht10": _aht10}
