"""A weather station that sends the NMEA 0183 sentences XDR, MDA and MTW each second.

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
"""A proprietary sentence that such a station sends at power-on."""
_SIGMA_C: Final = 0.05
_SIGMA_PCT: Final = 0.2
_SIGMA_PA: Final = 5.0


class Station:
    """Formats the air of one moment as sentences."""

    def __init__(self, part: Part) -> None:
        self._air, self._random = part.air, part.random
        self._name: str = part.options.get("transducer") or "TEMP"

    def sentences(self, boot_ns: int) -> bytes:
        """The sentences XDR, MDA and MTW."""
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
    """A station that sends by the clock."""
    return Talker(part.clock, INTERVAL_NS, b"\r\n" + sentence(_GREETING), Station(part).sentences)


CHIPS: Final[Makers] = {"nmea0183": make_station}
