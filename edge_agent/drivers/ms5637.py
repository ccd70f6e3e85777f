"""TE Connectivity MS5637: pressure and temperature, by the code of the MS5611.

Source: MS5637-02BA03 datasheet (2015-09). I2C address 0x76.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.ms56_maths import prom_is_valid
from edge_agent.drivers.ms5611 import VERSION_02BA, VERSION_30BA, Ms56, Ms5637Options, read_prom, version_of
from edge_agent.drivers.registers import Registers

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


def recognise(bus: I2CBus, address: int) -> str | None:
    """MS5637, by the CRC over the calibration and no version of the MS5837; None for another chip."""
    prom = read_prom(Registers(bus, address))
    is_5611 = bool(prom[7]) and prom_is_valid(prom, crc_in_last_word=True)
    if is_5611 or version_of(prom) in {VERSION_02BA, VERSION_30BA}:
        return None
    return "MS5637" if prom_is_valid(prom, crc_in_last_word=False) else None


DRIVERS: Final = (
    DriverInfo(
        name="ms5637",
        title="TE MS5637",
        source="MS5637-02BA03, 2015-09",
        bus=BusKind.I2C,
        addresses=(0x76,),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=1.0, lsb=0.01),
            Measured("pressure_pa", 1_000.0, 120_000.0, resolution=1.0, accuracy=200.0, lsb=1.0),
        ),
        options=Ms5637Options,
        open=Ms56,
        conversion_s=0.00904,
        shortest_period_s=0.03,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=4,
    ),
)
