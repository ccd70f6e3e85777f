"""TE Connectivity MS5607: pressure and temperature, by the code of the MS5611.

Source: MS5607-02BA03 datasheet (2017-09). I2C address 0x77 (CSB low) or 0x76. `scan` shows it as an MS5611, because
their calibrations have the same form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.ms56_maths import MS5607, Kind
from edge_agent.drivers.ms5611 import Ms56, Ms5611Options


@dataclass(frozen=True, slots=True)
class Ms5607Options(Ms5611Options):
    """As for the MS5611."""

    kind: ClassVar[Kind] = MS5607


DRIVERS: Final = (
    DriverInfo(
        name="ms5607",
        title="TE MS5607",
        source="MS5607-02BA03, 2017-09",
        bus=BusKind.I2C,
        addresses=(0x77, 0x76),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=0.8, lsb=0.01),
            Measured("pressure_pa", 1_000.0, 200_000.0, resolution=1.0, accuracy=200.0, lsb=1.0),
        ),
        options=Ms5607Options,
        open=Ms56,
        conversion_s=0.00904,
        shortest_period_s=0.03,
        stuck_after=30,
    ),
)
