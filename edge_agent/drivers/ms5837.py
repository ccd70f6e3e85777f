"""TE Connectivity MS5837-30BA: pressure and temperature under water, by the code of the MS5611.

Source: MS5837-30BA datasheet (2019-09). I2C address 0x76. Made for 30 bar: a count is 10 Pa.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.ms56_maths import MS5837, Kind, prom_is_valid
from edge_agent.drivers.ms5611 import VERSION_30BA, Ms56, Ms5637Options, read_prom, version_of
from edge_agent.drivers.registers import Registers

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


@dataclass(frozen=True, slots=True)
class Ms5837Options(Ms5637Options):
    """As for the MS5637."""

    kind: ClassVar[Kind] = MS5837


def recognise(bus: I2CBus, address: int) -> str | None:
    """MS5837-30BA, by the CRC over the calibration and its version; None for another chip."""
    prom = read_prom(Registers(bus, address))
    valid = prom_is_valid(prom, crc_in_last_word=False)
    return "MS5837-30BA" if valid and version_of(prom) == VERSION_30BA else None


DRIVERS: Final = (
    DriverInfo(
        name="ms5837",
        title="TE MS5837-30BA",
        source="MS5837-30BA, 2019-09",
        bus=BusKind.I2C,
        addresses=(0x76,),
        quantities=(
            Measured("temperature_c", -20.0, 85.0, resolution=0.01, accuracy=1.5, lsb=0.01),
            Measured("pressure_pa", 0.0, 3_000_000.0, resolution=10.0, accuracy=5_000.0, lsb=10.0),
        ),
        options=Ms5837Options,
        open=Ms56,
        conversion_s=0.00904,
        shortest_period_s=0.03,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=4,
    ),
)
