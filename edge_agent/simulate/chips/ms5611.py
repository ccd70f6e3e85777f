"""TE Connectivity MS5611, MS5607, MS5637 and MS5837-30BA, command by command.

Sources: their datasheets (commands, conversion times, noise, first and second order compensation); application note
AN520 for the CRC. Counts are found by inverting the compensation in floats, so that a driver which computes in
integers is tested against different arithmetic.

Limits: an unknown command is acknowledged and answered with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.bosch280 import counts_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.simulate.chips.base import Makers, Part

_RESET_NS: Final = 2_800_000
_TYPICAL_NS: Final = (540_000, 1_060_000, 2_080_000, 4_130_000, 8_220_000, 16_440_000)
_FULL_SCALE: Final = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs between the chips.

    Attributes:
        crc_in_last_word: whether the CRC is in the last word; otherwise in the first one.
        finest: highest oversampling, as a power of two times 256.
        doubled: whether OFF and SENS of the first order are twice those of the MS5611.
        pascal_per_count: resolution of the pressure.
        spread: bounds of C1 to C6 among real parts.
        cold: below 20 °C, what is taken off temperature (1/100 °C) for each dT², and off OFF and SENS for each square
            of what is missing to 20 °C (1/100 °C).
        very_cold: below -15 °C besides, off OFF and SENS for each square of what is missing to -15 °C.
        warm: from 20 °C on, off temperature and OFF.
        sigma_pa: noise at 4096 samples.
        range_pa: what it can measure.
        version: what an MS5837 holds in its first word.
    """

    crc_in_last_word: bool
    finest: int
    doubled: bool
    pascal_per_count: float
    spread: tuple[tuple[int, int], ...]
    cold: tuple[float, float, float]
    very_cold: tuple[float, float]
    warm: tuple[float, float]
    sigma_pa: float
    range_pa: tuple[float, float]
    version: int = 0x01


_MS5611: Final = _Kind(
    crc_in_last_word=True,
    finest=4,
    doubled=False,
    pascal_per_count=2.0**-15,
    spread=((37_000, 41_500), (33_500, 38_500), (22_000, 24_500), (22_000, 24_500), (31_500, 34_500), (27_500, 29_000)),
    cold=(2.0**-31, 5 / 2, 5 / 4),
    very_cold=(7.0, 11 / 2),
    warm=(0.0, 0.0),
    sigma_pa=1.2,
    range_pa=(1_000.0, 120_000.0),
)
_MS5607: Final = replace(
    _MS5611,
    doubled=True,
    spread=((44_500, 47_500), (42_500, 45_500), (27_500, 30_000), (26_500, 29_000), (30_000, 33_000), (27_500, 29_000)),
    cold=(2.0**-31, 61 / 16, 2.0),
    very_cold=(15.0, 8.0),
    sigma_pa=2.4,
    range_pa=(1_000.0, 200_000.0),
)
_MS5637: Final = replace(
    _MS5607,
    crc_in_last_word=False,
    finest=5,
    cold=(3 * 2.0**-33, 61 / 16, 29 / 16),
    very_cold=(17.0, 9.0),
    warm=(5 * 2.0**-38, 0.0),
    range_pa=(1_000.0, 120_000.0),
)
_MS5837: Final = replace(
    _MS5637,
    doubled=False,
    pascal_per_count=10 * 2.0**-13,
    spread=((33_500, 36_500), (34_500, 38_000), (19_500, 21_500), (21_000, 23_500), (26_000, 28_500), (25_500, 27_500)),
    cold=(3 * 2.0**-33, 3 / 2, 5 / 8),
    very_cold=(7.0, 4.0),
    warm=(2 * 2.0**-37, 1 / 16),
    sigma_pa=25.0,
    range_pa=(0.0, 3_000_000.0),
    version=0x1A,
)


class Ms56:
    """One chip of the family.

    Attributes:
        prom: its eight words; of chips with seven the last one is 0.
    """

    def __init__(self, kind: _Kind, part: Part) -> None:
        self._clock, self._air, self._random, self._kind = part.clock, part.air, part.random, kind
        draw = part.random
        constants = [draw.randint(*bounds) for bounds in kind.spread]
        first = draw.randint(0, 0xFFFF)
        if not kind.crc_in_last_word:
            first = first & 0x001F | kind.version << 5
        self.prom = with_crc([first, *constants, draw.randint(1, 0xFF) << 8], last=kind.crc_in_last_word)
        self._fixed: dict[str, int] = {}
        self._reply = b""
        self._busy_until_ns = 0
        self._running: tuple[int, str] | None = None
        self._result = 0

    def load(self, blocks: Mapping[str, bytes]) -> None:
        """Set the 16 bytes of `prom`, or 3 of `D1` or `D2`, which become the result of such conversions."""
        for name, content in blocks.items():
            if name == "prom":
                self.prom = [int.from_bytes(content[at : at + 2], "big") for at in range(0, 16, 2)]
            else:
                self._fixed[name] = int.from_bytes(content, "big")

    def write(self, data: bytes) -> None:
        """Take one command. Raises Nack while the calibration is loaded."""
        self._refuse_while_starting()
        if not data:
            return
        command, self._reply = data[0], b""
        if command == 0x1E:
            self.power_cycle()
        elif command == 0x00:
            self._reply = self._read_out().to_bytes(3, "big")
        elif command in range(0xA0, 0xB0, 2):
            self._reply = self.prom[(command - 0xA0) // 2].to_bytes(2, "big")
        elif command & 0xE0 == 0x40 and not command & 1 and (command & 0x0F) // 2 <= self._kind.finest:
            self._convert("D2" if command & 0x10 else "D1", (command & 0x0F) // 2)

    def read(self, count: int) -> bytes:
        """Give the reply once; zeros after its end."""
        self._refuse_while_starting()
        reply, self._reply = self._reply, b""
        return reply[:count].ljust(count, b"\x00")

    def power_cycle(self) -> None:
        """Start: no acknowledge for 2.8 ms; a running conversion is lost."""
        self._reply = b""
        self._running, self._result = None, 0
        self._busy_until_ns = self._clock.now_ns() + _RESET_NS

    def _refuse_while_starting(self) -> None:
        if self._clock.now_ns() < self._busy_until_ns:
            raise Nack

    def _read_out(self) -> int:
        """The result, once; 0 if there is none, or if it is read too early, which also destroys it."""
        if self._running is not None:
            ends_ns, _ = self._running
            if self._clock.now_ns() < ends_ns:
                self._result = 0
            self._running = None
        result, self._result = self._result, 0
        return result

    def _convert(self, which: str, finer: int) -> None:
        now_ns = self._clock.now_ns()
        self._running = now_ns + _TYPICAL_NS[finer], which
        air, kind, noise = self._air(now_ns), self._kind, self._random.gauss
        pascal = air.pressure_pa + noise(0.0, kind.sigma_pa * 2.0 ** ((4 - finer) / 2))
        pascal = min(max(pascal, kind.range_pa[0]), kind.range_pa[1])
        celsius = min(max(air.temperature_c, -40.0), 85.0)
        counts_t = counts_for(
            round(celsius * 1e5), lambda counts: round(self._first_and_second(counts)[0] * 1e3), 1 << 23, _FULL_SCALE
        )
        _, offset, sensitivity = self._first_and_second(counts_t)
        counts_p = round((pascal / kind.pascal_per_count + offset) * 2**21 / sensitivity)
        counts_t += round(noise(0.0, 0.002) * 100 * 2**23 / self.prom[6])
        self._result = self._fixed.get(which, min(max(counts_t if which == "D2" else counts_p, 1), _FULL_SCALE - 1))

    def _first_and_second(self, counts_t: int) -> tuple[float, float, float]:
        """Temperature in 1/100 °C, offset and sensitivity for a temperature count, in floats."""
        _, c1, c2, c3, c4, c5, c6, _ = self.prom
        dt = counts_t - c5 * 256.0
        centi = 2000 + dt * c6 / 2**23
        kind, twice = self._kind, 2 if self._kind.doubled else 1
        offset = twice * (c2 * 2**16 + c4 * dt / 2**7)
        sensitivity = twice * (c1 * 2**15 + c3 * dt / 2**8)
        square = (centi - 2000) ** 2
        if centi >= 2000:
            return centi - kind.warm[0] * dt * dt, offset - kind.warm[1] * square, sensitivity
        very_cold = min(centi + 1500, 0.0) ** 2
        return (
            centi - kind.cold[0] * dt * dt,
            offset - kind.cold[1] * square - kind.very_cold[0] * very_cold,
            sensitivity - kind.cold[2] * square - kind.very_cold[1] * very_cold,
        )


def with_crc(words: list[int], *, last: bool) -> list[int]:
    """Eight words with their CRC in place: the low nibble of the last one, or the high nibble of the first."""
    words = [*words[:7], words[7] & 0xFF00] if last else [words[0] & 0x0FFF, *words[1:7], 0]
    remainder = 0
    for word in words:
        for byte in divmod(word, 256):
            remainder ^= byte
            for _ in range(8):
                top = remainder & 0x8000
                remainder = (remainder << 1) & 0xFFFF ^ (0x3000 if top else 0)
    words[7 if last else 0] |= remainder >> 12 if last else remainder & 0xF000
    return words


CHIPS: Final[Makers] = {
    "ms5611": partial(Ms56, _MS5611),
    "ms5607": partial(Ms56, _MS5607),
    "ms5637": partial(Ms56, _MS5637),
    "ms5837": partial(Ms56, _MS5837),
}
