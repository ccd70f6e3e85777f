"""STMicroelectronics LPS22HH: pressure and temperature, by the code of the LPS22HB.

Source: LPS22HH datasheet DS12503 (rev. 5). I2C address 0x5C (SA0 low) or 0x5D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, IdentityRegister, Measured, NoOptions
from edge_agent.drivers.lps22hb import LPS22HH, WHO_AM_I, Lps2x, identity_is

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


def open_lps22hh(bus: I2CBus, address: int, _options: NoOptions) -> Lps2x:
    """Make the driver."""
    return Lps2x(LPS22HH, bus, address)


def recognise(bus: I2CBus, address: int) -> str | None:
    """LPS22HH, by its identity; None for another chip."""
    return "LPS22HH" if identity_is(LPS22HH, bus, address) else None


DRIVERS: Final = (
    DriverInfo(
        name="lps22hh",
        title="ST LPS22HH",
        source="DS12503 rev. 5",
        bus=BusKind.I2C,
        addresses=(0x5C, 0x5D),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=1.5, lsb=0.01),
            Measured("pressure_pa", 26_000.0, 126_000.0, resolution=1.0, accuracy=50.0, lsb=0.0244),
        ),
        options=NoOptions,
        open=open_lps22hh,
        conversion_s=0.02,
        shortest_period_s=0.03,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(WHO_AM_I, {LPS22HH.identity: LPS22HH.chip}),
    ),
)
