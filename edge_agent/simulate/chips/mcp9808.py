"""Microchip MCP9808, register by register.

Source: Microchip datasheet DS25095A, sections 1 (times), 5.1 (registers), 5.2 (modes, resolution, alarm flags).

Limits: no alarm pin, so no interrupt mode; hysteresis is kept but does not delay the flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_CONFIG, _UPPER, _LOWER, _CRITICAL, _TEMPERATURE, _MAKER, _DEVICE, _RESOLUTION = range(1, 9)
_FIXED: Final = {_MAKER: 0x0054, _DEVICE: 0x0400}
_SHUTDOWN, _CRITICAL_LOCK, _WINDOW_LOCK = 0x0100, 0x0080, 0x0040
_CONVERSION_NS: Final = (30_000_000, 65_000_000, 130_000_000, 250_000_000)
_SIGMA_C: Final = 0.02


class Mcp9808:
    """One chip. It converts as soon as it has power, and shows 0 °C until then."""

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._fixed: bytes | None = None
        self._reset()

    def load(self, raw: bytes) -> None:
        """Let the temperature register hold these two bytes, flags included."""
        self._fixed = raw

    def write(self, data: bytes) -> None:
        """Set the pointer, and optionally a register: two bytes, or one for the resolution."""
        self._settle()
        if data:
            self._pointer = data[0] & 0x0F
        if self._pointer == _RESOLUTION and len(data) >= 2:
            self._resolution = data[1] & 0x03
            self._start()
        elif len(data) >= 3:
            self._set(self._pointer, int.from_bytes(data[1:3], "big"))

    def read(self, count: int) -> bytes:
        """The register that the pointer selects; ones after its end."""
        self._settle()
        if self._pointer == _RESOLUTION:
            content = bytes([self._resolution])
        elif self._pointer == _TEMPERATURE:
            content = self._fixed or (self._flags() | self._counts & 0x1FFF).to_bytes(2, "big")
        else:
            content = (_FIXED | self._registers).get(self._pointer, 0).to_bytes(2, "big")
        return content[:count].ljust(count, b"\xff")

    def power_cycle(self) -> None:
        """Start with the first conversion; every register is 0, the resolution is the finest."""
        self._reset()

    def _reset(self) -> None:
        self._registers = dict.fromkeys((_CONFIG, _UPPER, _LOWER, _CRITICAL), 0)
        self._resolution = 3
        self._counts = 0
        self._pointer = 0
        self._start()

    def _start(self) -> None:
        self._started_ns = self._clock.now_ns()
        self._finished = 0

    def _set(self, register: int, value: int) -> None:
        config = self._registers[_CONFIG]
        locked = config & (_CRITICAL_LOCK | _WINDOW_LOCK)
        lock = _CRITICAL_LOCK if register == _CRITICAL else _WINDOW_LOCK
        if register == _CONFIG:
            # While locked, the hysteresis is fixed and shutdown is refused. Only a power cycle unlocks the chip.
            kept = 0x0600 | (_SHUTDOWN & value) if locked else 0
            self._registers[_CONFIG] = config & kept | value & 0x07FF & ~kept | locked
            if config & _SHUTDOWN and not value & _SHUTDOWN:
                self._start()
        elif register in {_UPPER, _LOWER, _CRITICAL} and not config & lock:
            self._registers[register] = value & 0x1FFC

    def _settle(self) -> None:
        """Store the last conversion that has ended by now."""
        if self._registers[_CONFIG] & _SHUTDOWN:
            return
        duration_ns = _CONVERSION_NS[self._resolution]
        finished = (self._clock.now_ns() - self._started_ns) // duration_ns
        if finished > self._finished:
            self._finished = finished
            air = self._air(self._started_ns + (finished - 1) * duration_ns)
            step = 8 >> self._resolution
            celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C)
            self._counts = min(max(round(celsius * 16.0 / step) * step, -4_096), 4_095)

    def _flags(self) -> int:
        """Bits 15 to 13: at or above critical, above upper, below lower."""
        critical, upper, lower = (_signed(self._registers[limit]) for limit in (_CRITICAL, _UPPER, _LOWER))
        return (self._counts >= critical) << 15 | (self._counts > upper) << 14 | (self._counts < lower) << 13


def _signed(value: int) -> int:
    return value - 0x2000 if value & 0x1000 else value


CHIPS: Final[Makers] = {"mcp9808": Mcp9808}
