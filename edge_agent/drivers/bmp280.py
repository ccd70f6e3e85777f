"""Bosch BMP280: temperature and pressure. The register map and the maths are those of the BME280, without humidity.

Source: BMP280 datasheet BST-BMP280-DS001 (rev. 1.26). I2C address 0x76 (SDO low) or 0x77.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, IdentityRegister
from edge_agent.drivers.bme280 import BMP280_IDS, CHIP_ID, PRESSURE, TEMPERATURE, Bme280, Bmp280Options

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


def recognise(bus: I2CBus, address: int) -> str | None:
    """BMP280, by its identity; None for another chip."""
    return "BMP280" if bus.transfer(address, bytes((CHIP_ID,)), 1)[0] in BMP280_IDS else None


DRIVERS: Final = (
    DriverInfo(
        name="bmp280",
        title="Bosch BMP280",
        source="BST-BMP280-DS001 rev. 1.26",
        bus=BusKind.I2C,
        addresses=(0x76, 0x77),
        quantities=(TEMPERATURE, PRESSURE),
        options=Bmp280Options,
        open=Bme280,
        conversion_s=0.006425,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(CHIP_ID, dict.fromkeys(BMP280_IDS, "BMP280")),
    ),
)
