"""Sensirion SHT30, SHT31 and SHT35, command by command.

Source: Sensirion datasheet SHT3x-DIS version 6, sections 1 (repeatability), 2.2 (times), 4 (commands, status,
CRC).

Limits: no periodic mode, no alert limits, and none of the commands that stretch the clock: these are not
acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.sensirion import SensirionChip, of_full_scale, word

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_SINGLE_SHOT: Final = {
    0x2400: (12_500_000, 0.04 / 3, 0.08 / 3),
    0x240B: (4_500_000, 0.08 / 3, 0.15 / 3),
    0x2416: (2_500_000, 0.15 / 3, 0.21 / 3),
}
"""Command → typical time in ns, standard deviations in °C and %RH (the datasheet gives three of them)."""

_STOP_PERIODIC: Final = 0x3093
_SOFT_RESET: Final = 0x30A2
_READ_STATUS: Final = 0xF32D
_CLEAR_STATUS: Final = 0x3041
_HEATER_ON: Final = 0x306D
_HEATER_OFF: Final = 0x3066
_READ_SERIAL: Final = (0x3780, 0x3682)

_STATUS_AT_START: Final = 0x8010
_CLEARABLE: Final = 0x8C10
_HEATER_BIT: Final = 0x2000
_COMMAND_ERROR_BIT: Final = 0x0002
_RESET_NS: Final = 500_000
_BREAK_NS: Final = 1_000_000


class Sht3x(SensirionChip):
    """One chip. Does not acknowledge while it converts, as the datasheet says of commands without stretching."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.serial = part.random.getrandbits(32)
        self._damage: tuple[int, int] | None = None
        self._reset(busy_ns=0)

    def corrupt_next(self, byte_index: int, mask: int) -> None:
        """Invert the bits of `mask` in one byte of the next reply that is long enough."""
        self._damage = byte_index, mask

    def write(self, data: bytes) -> None:
        """Take a command. Raises Nack while busy, and for a command that is not known."""
        self._refuse_while_busy()
        if len(data) < 2:
            return
        command = int.from_bytes(data[:2], "big")
        self._reply = b""
        self._status &= ~_COMMAND_ERROR_BIT
        if command in _SINGLE_SHOT:
            self._measure(*_SINGLE_SHOT[command])
        elif command == _READ_STATUS:
            self._reply = word(self._status)
        elif command in _READ_SERIAL:
            self._reply = word(self.serial >> 16) + word(self.serial & 0xFFFF)
        elif command == _CLEAR_STATUS:
            self._status &= ~_CLEARABLE
        elif command == _HEATER_ON:
            self._status |= _HEATER_BIT
        elif command == _HEATER_OFF:
            self._status &= ~_HEATER_BIT
        elif command == _STOP_PERIODIC:
            self._busy_until_ns = self._clock.now_ns() + _BREAK_NS
        elif command == _SOFT_RESET:
            self._reset(_RESET_NS)
        else:
            self._status |= _COMMAND_ERROR_BIT
            raise Nack

    def read(self, count: int) -> bytes:
        """Give the reply once, damaged as set by `corrupt_next`."""
        reply = bytearray(super().read(count))
        if self._damage and self._damage[0] < count:
            reply[self._damage[0]] ^= self._damage[1]
            self._damage = None
        return bytes(reply)

    def power_cycle(self) -> None:
        """Start: 0.5 ms without an answer, then status 0x8010."""
        self._reset(_RESET_NS)

    def _reset(self, busy_ns: int) -> None:
        self._status = _STATUS_AT_START
        self._restart(busy_ns)

    def _measure(self, duration_ns: int, sigma_c: float, sigma_pct: float) -> None:
        air = self._air(self._clock.now_ns())
        celsius = air.temperature_c + self._random.gauss(0.0, sigma_c)
        percent = air.humidity_pct + self._random.gauss(0.0, sigma_pct)
        measurement = word(of_full_scale((celsius + 45.0) / 175.0)) + word(of_full_scale(percent / 100.0))
        self._finish(measurement, duration_ns)


CHIPS: Final[Makers] = {"sht3x": Sht3x}
