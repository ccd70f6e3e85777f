"""A weather station on a boat: sentences XDR, MDA and MTW of NMEA 0183 each second.

Source: NMEA 0183 2.30, and sentences as Airmar's WeatherStation sends them (PB150 technical manual).

Limits: the water is as warm as the air.
"""

from __future__ import annotations

from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.talker import Talker

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

INTERVAL_NS: Final = 1_000_000_000
_GREETING: Final = "PAMTR,00,1.007"
"""What such a station says of itself; no weather."""
_SIGMA_C: Final = 0.05
_SIGMA_PCT: Final = 0.2
_SIGMA_PA: Final = 5.0


class Station:
    """Writes the sentences of a moment."""

    def __init__(self, part: Part) -> None:
        self._air, self._random = part.air, part.random
        self._name: str = part.options.get("transducer") or "TEMP"

    def sentences(self, boot_ns: int) -> bytes:
        """Three of them."""
        air = self._air(boot_ns)
        celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C)
        percent = min(max(air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT), 0.0), 100.0)
        bar = (air.pressure_pa + self._random.gauss(0.0, _SIGMA_PA)) / 100_000
        inches = bar * 100_000 / 3386.389
        return b"".join(
            sentence(body)
            for body in (
                f"WIMDA,{inches:.4f},I,{bar:.4f},B,{celsius:.1f},C,,,{percent:.1f},,,C,,T,,M,,N,,M",
                f"WIXDR,C,{celsius:.1f},C,{self._name},P,{bar:.4f},B,BARO,H,{percent:.1f},P,RH",
                f"IIMTW,{celsius:.1f},C",
            )
        )


def sentence(body: str) -> bytes:
    """A body with `$`, checksum and line end."""
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n".encode()


def make_station(part: Part) -> Talker:
    """A station on a clock."""
    return Talker(part.clock, INTERVAL_NS, b"\r\n" + sentence(_GREETING), Station(part).sentences)


CHIPS: Final[Makers] = {"nmea0183": make_station}
