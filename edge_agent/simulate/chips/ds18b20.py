"""Maxim DS18B20: the scratchpad, and how it is filled.

Source: Maxim DS18B20 datasheet 19-7487 rev 6: temperature register, memory, CRC, conversion times.

Limits: 12 bits only, as after power-on; alarms and parasite power are not modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part
    from edge_agent.simulate.world import Air

CONVERSION_NS: Final = 750_000_000
_RAW_AT_START: Final = 0x0550
"""85.0 °C."""
_BYTE_6_AT_START: Final = 0x0C
"""What tells the value at power-on from a true 85.0, of which byte 6 says 0x10."""
_SIGMA_C: Final = 0.02


class Ds18b20:
    """One thermometer in a bus of the kernel's. It has converted before; `power_cycle` makes it forget."""

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
        data = self._raw.to_bytes(2, "little", signed=True)
        data += bytes((0x4B, 0x46, 0x7F, 0xFF, self._byte_6, 0x10))
        return data + bytes([dallas_crc(data)])

    def power_cycle(self) -> None:
        """Lose the last conversion: the temperature reads 85 °C until the next."""
        self._converting = None
        self._raw, self._byte_6 = _RAW_AT_START, _BYTE_6_AT_START

    def _take(self, air: Air) -> None:
        celsius = min(max(air.temperature_c + self._random.gauss(0.0, _SIGMA_C), -55.0), 125.0)
        self._raw = round(celsius * 16.0)
        self._byte_6 = 0x10 - (self._raw & 0x0F)


def dallas_crc(data: bytes) -> int:
    """CRC-8 of Maxim application note 27: polynomial 0x31 reflected, start 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return crc


CHIPS: Final[Makers] = {"ds18b20": Ds18b20}
