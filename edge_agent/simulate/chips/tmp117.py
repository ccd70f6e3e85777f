"""Texas Instruments TMP117, register by register.

Source: TI datasheet SNOSD82D, sections 6.5 (times), 6.6 (noise), 7.3 to 7.6 (averaging, modes, EEPROM, registers).

Limits: EEPROM writes take no time and change only `registers`; no alert pin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_RESULT, _CONFIG, _HIGH, _LOW, _UNLOCK, _OFFSET, _ID = 0x00, 0x01, 0x02, 0x03, 0x04, 0x07, 0x0F
_START: Final = {_RESULT: 0x8000, _CONFIG: 0x0220, _HIGH: 0x6000, _LOW: 0x8000, _ID: 0x0117}
_WRITABLE: Final = frozenset({_HIGH, _LOW, _UNLOCK, 0x05, 0x06, _OFFSET, 0x08})

_HIGH_ALERT, _LOW_ALERT, _READY, _EEPROM_BUSY, _RESET = 0x8000, 0x4000, 0x2000, 0x1000, 0x0002
_CONTINUOUS, _SHUTDOWN, _ALSO_CONTINUOUS, _ONE_SHOT = range(4)
_TIMES: Final = (1, 8, 32, 64)
_SINGLE_NS: Final = 15_500_000
_CYCLE_NS: Final = tuple(
    int(seconds * 1e9) for seconds in (0.0155, 0.125, 0.25, 0.5, 1.0, 4.0, 8.0, 16.0)
)  # fmt: skip
_START_NS: Final = 1_500_000
_SIGMA_X1_C: Final = 0.018
_LSB_C: Final = 0.0078125


class Tmp117:
    """One chip. It converts as soon as it has power; a register is two bytes and the pointer stays."""

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._fixed: int | None = None
        self._reset(busy_ns=0)

    def load(self, result: bytes) -> None:
        """Let every conversion give these two bytes."""
        self._fixed = int.from_bytes(result, "big")

    def write(self, data: bytes) -> None:
        """Set the pointer, and optionally a register of two bytes."""
        self._settle()
        if data:
            self._pointer = data[0] & 0x0F
        if len(data) >= 3:
            self._set(self._pointer, int.from_bytes(data[1:3], "big"))

    def read(self, count: int) -> bytes:
        """The register that the pointer selects; ones after its end."""
        self._settle()
        value = self._registers.get(self._pointer, 0)
        if self._pointer in {_RESULT, _CONFIG}:
            # Reading clears the flags (section 7.6.1.2).
            self._registers[_CONFIG] &= ~(_READY | (0 if self._pointer == _RESULT else _HIGH_ALERT | _LOW_ALERT))
        return value.to_bytes(2, "big")[:count].ljust(count, b"\xff")

    def power_cycle(self) -> None:
        """Start: 1.5 ms with the EEPROM busy, then conversions."""
        self._reset(_START_NS)

    def _reset(self, busy_ns: int) -> None:
        self._registers = dict(_START)
        self._pointer = 0
        now_ns = self._clock.now_ns()
        self._awake_ns = now_ns + busy_ns
        self._started_ns = self._awake_ns
        self._finished = 0

    def _set(self, register: int, value: int) -> None:
        if register == _CONFIG and value & _RESET:
            self._reset(_START_NS)
        elif register == _CONFIG:
            self._registers[_CONFIG] = self._registers[_CONFIG] & 0xF000 & ~_READY | value & 0x0FFC
            self._started_ns, self._finished = self._clock.now_ns(), 0
        elif register in _WRITABLE:
            self._registers[register] = value

    def _settle(self) -> None:
        """Finish the conversions that have ended by now."""
        now_ns = self._clock.now_ns()
        config = self._registers[_CONFIG] & ~_EEPROM_BUSY
        self._registers[_CONFIG] = config | (_EEPROM_BUSY if now_ns < self._awake_ns else 0)
        mode = config >> 10 & 3
        times = _TIMES[config >> 5 & 3]
        active_ns = _SINGLE_NS * times
        if mode == _SHUTDOWN or now_ns < self._started_ns + active_ns:
            return
        if mode == _ONE_SHOT:
            self._convert(self._started_ns, times)
            self._registers[_CONFIG] = self._registers[_CONFIG] & ~(3 << 10) | _SHUTDOWN << 10
            return
        cycle_ns = max(active_ns, _CYCLE_NS[config >> 7 & 7])
        finished = (now_ns - self._started_ns - active_ns) // cycle_ns + 1
        if finished > self._finished:
            self._convert(self._started_ns + (finished - 1) * cycle_ns, times)
            self._finished = finished

    def _convert(self, boot_ns: int, times: int) -> None:
        celsius = self._air(boot_ns).temperature_c + self._random.gauss(0.0, _SIGMA_X1_C / times**0.5)
        counts = round(celsius / _LSB_C) + _signed(self._registers.get(_OFFSET, 0))
        counts = min(max(counts, -32_768), 32_767) if self._fixed is None else _signed(self._fixed)
        self._registers[_RESULT] = counts & 0xFFFF
        flags = _READY
        flags |= _HIGH_ALERT if counts > _signed(self._registers[_HIGH]) else 0
        flags |= _LOW_ALERT if counts < _signed(self._registers[_LOW]) else 0
        self._registers[_CONFIG] |= flags


def _signed(value: int) -> int:
    return value - 65_536 if value & 0x8000 else value


CHIPS: Final[Makers] = {"tmp117": Tmp117}
