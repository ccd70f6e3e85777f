"""Maxim DS18B20 and its relatives DS18S20, DS1822, DS1825, DS28EA00: the scratchpad, and its conversions.

Sources: Maxim DS18B20 datasheet 19-7487 rev 6, DS18S20 19-5474 rev 8/10: temperature register, memory, CRC.

Limits: 12 bits only, as after power-on; alarms and parasite power are not modelled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part
    from edge_agent.simulate.world import Air

CONVERSION_NS: Final = 750_000_000
_AT_START: Final = bytes.fromhex("50054b467fff0c10")
"""85.0 °C; byte 6 tells it from a true 85.0, which has 0x10 there."""
_S20_AT_START: Final = bytes.fromhex("aa004b46ffff0c10")
"""85.0 °C of a DS18S20; a true 85.0 looks the same."""
_SIGMA_C: Final = 0.02


class Ds18b20:
    """One thermometer. It holds a conversion from the start; `power_cycle` clears it.

    The serial number gives the family: 10 is a DS18S20, all others count sixteenths of a degree.
    """

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        drawn = f"{part.random.getrandbits(40):012x}"
        serial = (part.options.get("serial") or drawn).lower()
        self.name = serial if "-" in serial else f"28-{serial}"
        self._converting: tuple[int, Air] | None = None
        self.convert()

    def start(self) -> None:
        """Start a conversion of the air of this moment; the scratchpad keeps the old one for 750 ms."""
        self.scratchpad()
        now_ns = self._clock.now_ns()
        self._converting = now_ns + CONVERSION_NS, self._air(now_ns)

    def convert(self) -> None:
        """Convert the air of this moment at once."""
        self._converting = None
        self._take(self._air(self._clock.now_ns()))

    def scratchpad(self) -> bytes:
        """Nine bytes: temperature, TH, TL, configuration, three reserved, CRC."""
        if self._converting is not None and self._clock.now_ns() >= self._converting[0]:
            self._take(self._converting[1])
            self._converting = None
        return self._data + bytes([dallas_crc(self._data)])

    def power_cycle(self) -> None:
        """Lose the last conversion: the temperature reads 85 °C until the next."""
        self._converting = None
        self._data = _S20_AT_START if self.name.startswith("10") else _AT_START

    def _take(self, air: Air) -> None:
        celsius = min(max(air.temperature_c + self._random.gauss(0.0, _SIGMA_C), -55.0), 125.0)
        if self.name.startswith("10"):
            self._data = self._half_degrees(celsius)
            return
        raw = round(celsius * 16.0)
        self._data = raw.to_bytes(2, "little", signed=True) + bytes((0x4B, 0x46, 0x7F, 0xFF, 0x10 - (raw & 0x0F), 0x10))

    @staticmethod
    def _half_degrees(celsius: float) -> bytes:
        """The counts of a DS18S20: half degrees, and a rest in sixteenths: T = whole − 0.25 + (16 − rest)/16."""
        sixteenths = round(celsius * 16.0)
        whole = math.floor((sixteenths + 4) / 16)
        rest = 16 - (sixteenths + 4 - 16 * whole)
        raw = 2 * whole + (rest <= 8)
        return raw.to_bytes(2, "little", signed=True) + bytes((0x4B, 0x46, 0xFF, 0xFF, rest, 0x10))


def dallas_crc(data: bytes) -> int:
    """CRC-8 of Maxim application note 27: polynomial 0x31 reflected, start 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return crc


CHIPS: Final[Makers] = {"ds18b20": Ds18b20}
