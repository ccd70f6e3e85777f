"""LM75B, TMP75, TMP105, TMP1075 and TMP102, register by register.

Sources: NXP LM75B revision 6.1 section 7; TI TMP75 SBOS288O section 7.5; TMP1075 SBOS854F section 8.6; TMP102 SBOS397H
section 6.5.

Limits: no alarm pin. Reads beyond the end of a register give ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.simulate.chips.base import Makers, Part

_TEMPERATURE, _CONFIG, _LOW, _HIGH, _ID = 0x00, 0x01, 0x02, 0x03, 0x0F
_SHUTDOWN, _ONE_SHOT, _EXTENDED = 0x01, 0x80, 0x10
_SIGMA_C: Final = 0.03


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the chips.

    Attributes:
        config: at power-up, one or two bytes.
        writable: bits of it that can be written.
        bits: of the temperature; 0 where the configuration sets them.
        cycle_ns: from one conversion to the next, at the settings of power-up.
        one_shot: whether a conversion can be started while it is shut down.
        identity: register 0x0F, where there is one.
    """

    config: bytes
    writable: bytes
    bits: int
    cycle_ns: int
    one_shot: bool = True
    identity: int | None = None


_KINDS: Final[Mapping[str, Kind]] = {
    "lm75": Kind(b"\x00", b"\x1f", 11, 100_000_000, one_shot=False),
    "tmp75": Kind(b"\x00", b"\x7f", 0, 28_000_000),
    "tmp105": Kind(b"\x00", b"\x7f", 0, 28_000_000),
    "tmp1075": Kind(b"\x00\xff", b"\x7f\x00", 12, 27_500_000, identity=0x7500),
    "tmp102": Kind(b"\x60\xa0", b"\x1f\xd0", 12, 250_000_000),
}


class Thermometer:
    """One chip; `name` is that of its driver. It converts as soon as it has power, and shows 0 °C until then."""

    def __init__(self, name: str, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._kind = _KINDS[name]
        self._fixed: bytes | None = None
        self._reset()

    def load(self, raw: bytes) -> None:
        """Let every conversion from now on end in these two bytes."""
        self._fixed = raw

    def write(self, data: bytes) -> None:
        """Set the pointer, and optionally the bytes of a register."""
        self._settle()
        if data:
            self._pointer = data[0] if self._kind.identity and data[0] == _ID else data[0] & 0x03
        if len(data) > 1 and self._pointer == _CONFIG:
            self._configure(data[1:])
        elif len(data) > 2 and self._pointer in {_LOW, _HIGH}:
            self._limits[self._pointer] = data[1:3]

    def read(self, count: int) -> bytes:
        """The register that the pointer selects; ones after its end."""
        self._settle()
        if self._pointer == _TEMPERATURE:
            content = self._temperature
        elif self._pointer == _CONFIG:
            content = self._config
        elif self._pointer == _ID and self._kind.identity:
            content = self._kind.identity.to_bytes(2, "big")
        else:
            content = self._limits[self._pointer]
        return content[:count].ljust(count, b"\xff")

    def power_cycle(self) -> None:
        """Start with the first conversion."""
        self._reset()

    def _reset(self) -> None:
        self._config = self._kind.config
        self._limits = {_LOW: b"\x4b\x00", _HIGH: b"\x50\x00"}
        self._temperature = bytes(2)
        self._pointer = 0
        self._started_ns: int | None = self._clock.now_ns()
        self._single = False
        self._finished = 0

    def _configure(self, data: bytes) -> None:
        kind = self._kind
        data = data[: len(kind.config)]
        untouched = self._config[len(data) :]
        self._config = (
            bytes(
                old & ~mask | new & mask
                for old, new, mask in zip(self._config[: len(data)], data, kind.writable[: len(data)], strict=True)
            )
            + untouched
        )
        asleep = bool(data[0] & _SHUTDOWN)
        self._single = asleep and kind.one_shot and bool(data[0] & _ONE_SHOT)
        self._started_ns = self._clock.now_ns() if self._single or not asleep else None
        self._finished = 0

    def _cycle_ns(self) -> int:
        """Time of one conversion: doubled with each bit of resolution, where that can be set."""
        return self._kind.cycle_ns << (self._bits() - 9 if not self._kind.bits else 0)

    def _bits(self) -> int:
        return self._kind.bits or 9 + (self._config[0] >> 5 & 3)

    def _settle(self) -> None:
        """Finish the conversions that have ended by now."""
        if self._started_ns is None:
            return
        cycle_ns = self._cycle_ns()
        finished = (self._clock.now_ns() - self._started_ns) // cycle_ns
        if self._single and finished:
            self._convert(self._started_ns)
            self._started_ns = None
        elif finished > self._finished:
            self._convert(self._started_ns + (finished - 1) * cycle_ns)
            self._finished = finished

    def _convert(self, boot_ns: int) -> None:
        celsius = self._air(boot_ns).temperature_c + self._random.gauss(0.0, _SIGMA_C)
        if self._kind.writable[-1] & self._config[-1] & _EXTENDED and len(self._config) == 2:
            counts = min(max(round(celsius * 16.0), -4_096), 4_095) << 3 | 1
        else:
            bits = self._bits()
            half = 1 << (bits - 1)
            counts = min(max(round(celsius * half / 128.0), -half), half - 1) << (16 - bits)
        self._temperature = self._fixed or (counts & 0xFFFF).to_bytes(2, "big")


def _maker(name: str) -> Callable[[Part], Thermometer]:
    return lambda part: Thermometer(name, part)


CHIPS: Final[Makers] = {name: _maker(name) for name in _KINDS}
