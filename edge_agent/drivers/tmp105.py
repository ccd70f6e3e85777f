"""Texas Instruments TMP105: temperature; same registers as the TMP75, with two addresses.

Source: TMP105 datasheet SBOS648B. I2C address 0x48 or 0x49.
"""

from __future__ import annotations

from typing import Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, NoOptions
from edge_agent.drivers.lm75 import thermometer
from edge_agent.drivers.tmp75 import Tmp75

DRIVERS: Final = (
    DriverInfo(
        name="tmp105",
        title="Texas Instruments TMP105",
        source="SBOS648B",
        bus=BusKind.I2C,
        addresses=(0x48, 0x49),
        quantities=(thermometer(0.5, 0.0625),),
        options=NoOptions,
        open=Tmp75,
        shortest_period_s=0.25,
    ),
)
