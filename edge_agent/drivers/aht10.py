"""Aosong AHT10 and AHT15: temperature and humidity, as the AHT20 but without a checksum.

Source: AHT10 technical manual, version 1.1 (sections 5.3, 5.4, 6). I2C address 0x38, or 0x39 with the address pad
bridged.

Limits:
    Some of these chips respond to transfers with other addresses and damage the readings of other chips on the bus.
    Put such a chip on a bus or a multiplexer channel of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.aht20 import INITIALISE_AHT10, INITIALISE_AHT20, Aht, kind_of
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


class Aht10(Aht):
    """One AHT10 or AHT15. Also reads an AHT20, without its checksum."""

    ways_to_initialise: ClassVar[tuple[bytes, ...]] = (INITIALISE_AHT10, INITIALISE_AHT20)
    has_checksum: ClassVar[bool] = False


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its status and the byte after its data, which no AHT10 sends."""
    name = kind_of(bus, address)
    return name if name is not None and "AHT10" in name else None


DRIVERS: Final = (
    DriverInfo(
        name="aht10",
        title="Aosong AHT10, AHT15",
        source="AHT10 technical manual, version 1.1",
        bus=BusKind.I2C,
        addresses=(0x38, 0x39),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=0.3, lsb=0.000191),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=2.0, lsb=0.0000954),
        ),
        options=NoOptions,
        open=Aht10,
        conversion_s=0.08,
        period_s=2.0,
        shortest_period_s=1.0,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=5,
    ),
)
