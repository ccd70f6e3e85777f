"""Bosch BMP390 and BMP390L: temperature and pressure. The register map and the maths are those of the BMP388.

Source: BMP390 datasheet BST-BMP390-DS002 (rev. 1.7). I2C address 0x76 (SDO low) or 0x77.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, IdentityRegister
from edge_agent.drivers.bmp388 import BMP390_ID, CHIP_ID, PRESSURE, TEMPERATURE, Bmp388, Bmp388Options, identity

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


def recognise(bus: I2CBus, address: int) -> str | None:
    """BMP390, by its identity; None for another chip."""
    return "BMP390" if identity(bus, address) == BMP390_ID else None


DRIVERS: Final = (
    DriverInfo(
        name="bmp390",
        title="Bosch BMP390",
        source="BST-BMP390-DS002 rev. 1.7",
        bus=BusKind.I2C,
        addresses=(0x76, 0x77),
        quantities=(TEMPERATURE, PRESSURE),
        options=Bmp388Options,
        open=Bmp388,
        conversion_s=0.01269485,
        shortest_period_s=0.02,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(CHIP_ID, {BMP390_ID: "BMP390"}),
    ),
)
