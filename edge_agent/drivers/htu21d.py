"""TE Connectivity HTU21D, HTU20D and compatible chips: as the SHT2x, but faster.

Source: HTU21D(F) datasheet HPC199, revision 6 (commands, conversion times, user register). I2C address 0x40.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions
from edge_agent.drivers.sht2x import Sht2x, driver_for

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


class Htu21d(Sht2x):
    """One HTU21D."""

    humidity_ns: ClassVar[int] = 16_000_000
    temperature_ns: ClassVar[int] = 50_000_000


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its user register, whose fixed bits differ from the SHT2x's."""
    return "HTU21D" if driver_for(bus, address) == "htu21d" else None


DRIVERS: Final = (
    DriverInfo(
        name="htu21d",
        title="TE Connectivity HTU21D, HTU20D",
        source="HTU21D(F) datasheet HPC199, revision 6",
        bus=BusKind.I2C,
        addresses=(0x40,),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.01, accuracy=0.3, lsb=0.0107),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=2.0, lsb=0.0305),
        ),
        options=NoOptions,
        open=Htu21d,
        conversion_s=0.016,
        checksum=True,
        shortest_period_s=0.25,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=4,
    ),
)
