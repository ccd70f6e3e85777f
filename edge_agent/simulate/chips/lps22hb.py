"""STMicroelectronics LPS22HB, LPS22HH and LPS25HB, register by register.

Source: LPS22HB datasheet DocID027083 rev. 6, sections 3 (times, noise), 7 (I2C) and 9 (registers); LPS22HH DS12503;
LPS25HB DocID027112.

Limits: no FIFO, no interrupts, no reference pressure; a one-shot takes as long as a period of the fastest rate, which
the datasheets do not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.register_file import RegisterFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.simulate.chips.base import Makers, Part

_WHO_AM_I, _STATUS, _DATA = 0x0F, 0x27, 0x28
_BOOT_NS: Final = 2_200_000
_SOFT_RESET_NS: Final = 50_000
_ONE_SHOT, _SOFT_RESET, _INCREMENT = 0x01, 0x04, 0x10
_HIGH_BYTES: Final = {0x2A: "pressure", 0x2C: "temperature"}
"""Reading the highest byte of a result clears its ready flag."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs between the chips. `rates_hz` are for ODR 1, 2, ...; `ready` are bits of the status register."""

    who_am_i: int
    control: int
    awake: int
    control_2_at_start: int
    rates_hz: tuple[float, ...]
    ready: Mapping[str, int]
    counts_per_c: float
    zero_c: float
    sigma_pa: float


_LPS22HB: Final = _Kind(
    0xB1, 0x10, 0, _INCREMENT, (1, 10, 25, 50, 75), {"pressure": 1, "temperature": 2}, 100.0, 0.0, 0.75
)
_LPS22HH: Final = _Kind(
    0xB3, 0x10, 0, _INCREMENT, (1, 10, 25, 50, 75, 100, 200), {"pressure": 1, "temperature": 2}, 100.0, 0.0, 0.65
)
_LPS25HB: Final = _Kind(0xBD, 0x20, 0x80, 0, (1, 7, 12.5, 25), {"pressure": 2, "temperature": 1}, 480.0, 42.5, 3.0)


class Lps2x(RegisterFile):
    """One chip. The LPS25HB moves on to the next register only if bit 7 of the register number is set."""

    def __init__(self, kind: _Kind, part: Part) -> None:
        super().__init__()
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._kind = kind
        self._fixed: bytes | None = None
        self._increments = False
        self._boots_until_ns = self._resets_until_ns = self._started_ns = 0
        self._finished = -1
        self._reset()

    def load(self, blocks: Mapping[int, bytes]) -> None:
        """Set data from 0x28, which become the result of every conversion."""
        self._fixed = blocks[_DATA]

    def write(self, data: bytes) -> None:
        """As `RegisterFile`. Raises Nack while the chip boots."""
        if self._clock.now_ns() < self._boots_until_ns:
            raise Nack
        super().write(data)

    def power_cycle(self) -> None:
        """Start: 2.2 ms without an answer, then powered down."""
        self._reset()
        self._boots_until_ns = self._clock.now_ns() + _BOOT_NS

    def first_register(self, number: int) -> int:
        """The register without bit 7, which requests auto-increment on the LPS25HB and means nothing on the others."""
        self._increments = bool(number & 0x80)
        return number & 0x7F

    def next_register(self, register: int) -> int:
        """The next register, or without auto-increment the same."""
        increments = self._increments
        if self._kind.control_2_at_start & _INCREMENT:
            increments = bool(self.registers[self._kind.control + 1] & _INCREMENT)
        return (register + increments) % 128

    def store(self, register: int, value: int) -> None:
        """Write a setting, start a one-shot, or reset."""
        kind = self._kind
        if register == kind.control:
            self.registers[register] = value
            self._started_ns = self._clock.now_ns()
            self._finished = -1
        elif register == kind.control + 1:
            self.registers[register] = value
            if value & _SOFT_RESET:
                self._reset()
                self.registers[register] |= _SOFT_RESET
                self._resets_until_ns = self._clock.now_ns() + _SOFT_RESET_NS
            elif value & _ONE_SHOT:
                self._started_ns = self._clock.now_ns()

    def fetch(self, register: int) -> int:
        """Read a register. Reading data clears its ready flag."""
        if register in _HIGH_BYTES:
            self.registers[_STATUS] &= ~self._kind.ready[_HIGH_BYTES[register]]
        return self.registers[register]

    def settle(self) -> None:
        """Finish a conversion or start-up that has ended."""
        now_ns, kind = self._clock.now_ns(), self._kind
        if now_ns >= self._resets_until_ns:
            self.registers[kind.control + 1] &= ~_SOFT_RESET
        control = self.registers[kind.control]
        if control & kind.awake != kind.awake:
            return
        rate = control >> 4 & 0x07
        period_ns = round(1e9 / kind.rates_hz[rate - 1 if rate else -1])
        number = (now_ns - self._started_ns) // period_ns
        if rate and number >= 1 and number > self._finished:
            self._finished = number
            self._convert(self._started_ns + number * period_ns)
        elif not rate and number >= 1 and self.registers[kind.control + 1] & _ONE_SHOT:
            self.registers[kind.control + 1] &= ~_ONE_SHOT
            self._convert(self._started_ns)

    def _reset(self) -> None:
        super().power_cycle()
        self.registers[_WHO_AM_I] = self._kind.who_am_i
        self.registers[self._kind.control + 1] = self._kind.control_2_at_start
        self._increments = False
        self._finished = -1

    def _convert(self, boot_ns: int) -> None:
        """Put the air at that time into the data registers."""
        kind, noise = self._kind, self._random.gauss
        self.registers[_STATUS] |= 0x03
        air = self._air(boot_ns)
        pascal = min(max(air.pressure_pa + noise(0.0, kind.sigma_pa), 26_000.0), 126_000.0)
        celsius = min(max(air.temperature_c + noise(0.0, 0.01), -40.0), 85.0)
        data = round(pascal / 100 * 4096).to_bytes(3, "little")
        counts = round((celsius - kind.zero_c) * kind.counts_per_c)  # on the LPS25HB 16 bits end at -25.8 °C
        data += min(max(counts, -(1 << 15)), (1 << 15) - 1).to_bytes(2, "little", signed=True)
        self.registers[_DATA : _DATA + 5] = self._fixed or data


CHIPS: Final[Makers] = {
    "lps22hb": partial(Lps2x, _LPS22HB),
    "lps22hh": partial(Lps2x, _LPS22HH),
    "lps25hb": partial(Lps2x, _LPS25HB),
}
