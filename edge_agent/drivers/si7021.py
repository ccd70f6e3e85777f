"""Silicon Labs Si7021, Si7020 and Si7013: as the SHT2x, but one conversion gives temperature and humidity.

Source: Si7021-A20 datasheet, revision 1.2 (tables 2 and 11, sections 5.1 and 5.5). I2C address 0x40.

Limits:
    The temperature of a humidity conversion has no checksum (section 5.1.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions
from edge_agent.drivers.sht2x import (
    HUMIDITY_BIT,
    NO_CONVERSION,
    SI70XX,
    STATUS_BITS,
    Sht2x,
    checked_raw,
    driver_for,
    humidity_pct,
    identity,
    temperature_c,
)
from edge_agent.errors import BadReply, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

READ_TEMPERATURE_OF_HUMIDITY: Final = b"\xe0"


def previous_temperature_c(reply: bytes) -> float | None:
    """Temperature in °C from the two bytes of the last humidity conversion; None for a word at an end of the scale.

    Raises:
        BadReply: the bytes are not a temperature.
    """
    word = int.from_bytes(reply)
    raw = word & ~STATUS_BITS
    if raw in NO_CONVERSION:
        return None
    if word & HUMIDITY_BIT:
        raise BadReply(f"{reply.hex()} is no temperature: its status bits are those of a humidity")
    return temperature_c(raw)


class Si7021(Sht2x):
    """One Si7021, Si7020 or Si7013."""

    humidity_ns: ClassVar[int] = 22_800_000
    """12 ms at most, and 10.8 ms for the temperature that is measured with it."""

    def probe(self) -> Iterator[int]:
        """As the SHT2x, and check that the temperature of a humidity conversion can be read."""
        yield from super().probe()
        first = identity(self._bus, self._address)
        if first not in SI70XX:
            name = driver_for(self._bus, self._address)
            raise WrongChip(f'{self._address:#04x} is no Si7021 but a relative: set driver = "{name}"')

    def collect(self) -> tuple[float | None, ...]:
        """Read the humidity, then the temperature that was measured for it.

        Raises:
            NotReady: no acknowledge, which means that the chip is busy.
            ChecksumMismatch, BadReply: the bytes are damaged, or not what was asked for.
        """
        humidity = humidity_pct(checked_raw(self._result(), humidity=True))
        return previous_temperature_c(self._ask(READ_TEMPERATURE_OF_HUMIDITY, 2)), humidity


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its electronic identification."""
    return "Si7021, Si7020 or Si7013" if driver_for(bus, address) == "si7021" else None


DRIVERS: Final = (
    DriverInfo(
        name="si7021",
        title="Silicon Labs Si7021, Si7020, Si7013",
        source="Si7021-A20 datasheet, revision 1.2",
        bus=BusKind.I2C,
        addresses=(0x40,),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.01, accuracy=0.4, lsb=0.0107),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=3.0, lsb=0.0305),
        ),
        options=NoOptions,
        open=Si7021,
        conversion_s=0.0228,
        shortest_period_s=0.25,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=4,
    ),
)
