"""Texas Instruments HDC1080, register by register.

Source: TI datasheet SNAS672A, sections 6.5 (times), 8.3 (heater), 8.4 and 8.5 (measurement), 8.6 (registers).

Limits: the heater does not warm the chip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_TEMPERATURE, _HUMIDITY, _CONFIG = 0x00, 0x01, 0x02
_IDS: Final = {0xFE: 0x5449, 0xFF: 0x1050}
_SERIAL: Final = range(0xFB, 0xFE)
_RESET, _BOTH = 0x8000, 0x1000
_CONFIG_AT_START: Final = 0x1000
_WRITABLE: Final = 0x3700
_CONVERSION_NS: Final = {
    (_TEMPERATURE, 14): 6_350_000,
    (_TEMPERATURE, 11): 3_650_000,
    (_HUMIDITY, 14): 6_500_000,
    (_HUMIDITY, 11): 3_850_000,
    (_HUMIDITY, 8): 2_500_000,
}
_HUMIDITY_BITS: Final = (14, 11, 8, 8)
_START_NS: Final = 15_000_000
_SIGMA_C: Final = 0.03
_SIGMA_PCT: Final = 0.05


class Hdc1080:
    """One chip. Writing the pointer of a result starts its conversion; a read before its end is refused."""

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._serial = part.random.randbytes(6)
        self._fixed: bytes | None = None
        self._reset(busy_ns=0)

    def load(self, results: bytes) -> None:
        """Let every conversion from now on end in these four bytes: temperature, humidity."""
        self._fixed = results

    def write(self, data: bytes) -> None:
        """Set the pointer, and optionally a register of two bytes. Raises Nack while busy."""
        self._refuse_while_busy()
        if not data:
            return
        self._pointer = data[0]
        self._results = b""
        if self._pointer in {_TEMPERATURE, _HUMIDITY}:
            self._convert()
        elif self._pointer == _CONFIG and len(data) >= 3:
            value = int.from_bytes(data[1:3], "big")
            if value & _RESET:
                self._reset(_START_NS)
            self._config = value & _WRITABLE

    def read(self, count: int) -> bytes:
        """The register that the pointer selects. Raises Nack while busy, and for a result without a conversion."""
        self._refuse_while_busy()
        if self._pointer in {_TEMPERATURE, _HUMIDITY}:
            if not self._results:
                raise Nack
            content = self._results
        elif self._pointer == _CONFIG:
            content = self._config.to_bytes(2, "big")
        elif self._pointer in _SERIAL:
            at = 2 * (self._pointer - _SERIAL.start)
            content = self._serial[at : at + 2]
        else:
            content = _IDS.get(self._pointer, 0).to_bytes(2, "big")
        return content[:count].ljust(count, b"\xff")

    def power_cycle(self) -> None:
        """Start: 15 ms without an answer."""
        self._reset(_START_NS)

    def _reset(self, busy_ns: int) -> None:
        self._config = _CONFIG_AT_START
        self._pointer = _TEMPERATURE
        self._results = b""
        self._busy_until_ns = self._clock.now_ns() + busy_ns

    def _refuse_while_busy(self) -> None:
        if self._clock.now_ns() < self._busy_until_ns:
            raise Nack

    def _convert(self) -> None:
        now_ns = self._clock.now_ns()
        bits_t = 11 if self._config & 0x0400 else 14
        bits_h = _HUMIDITY_BITS[self._config >> 8 & 3]
        air = self._air(now_ns)
        celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C)
        percent = air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT)
        both = self._fixed or _counts((celsius + 40.0) / 165.0, bits_t) + _counts(percent / 100.0, bits_h)
        if self._config & _BOTH:
            duration_ns = _CONVERSION_NS[_TEMPERATURE, bits_t] + _CONVERSION_NS[_HUMIDITY, bits_h]
            self._results = both if self._pointer == _TEMPERATURE else both[2:]
        elif self._pointer == _TEMPERATURE:
            duration_ns, self._results = _CONVERSION_NS[_TEMPERATURE, bits_t], both[:2]
        else:
            duration_ns, self._results = _CONVERSION_NS[_HUMIDITY, bits_h], both[2:]
        self._busy_until_ns = now_ns + duration_ns


def _counts(fraction: float, bits: int) -> bytes:
    """A fraction of full scale as 16 bits, with the bits below the resolution cleared."""
    counts = min(max(round(fraction * (1 << bits)), 0), (1 << bits) - 1)
    return (counts << (16 - bits)).to_bytes(2, "big")


CHIPS: Final[Makers] = {"hdc1080": Hdc1080}
