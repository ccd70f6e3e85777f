"""STMicroelectronics LPS25HB: pressure and temperature, by the code of the LPS22HB.

Source: LPS25HB datasheet DocID027112 (rev. 6). I2C address 0x5C (SA0 low) or 0x5D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, IdentityRegister, Measured, NoOptions
from edge_agent.drivers.lps22hb import LPS25HB, WHO_AM_I, Lps2x, identity_is

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


def open_lps25hb(bus: I2CBus, address: int, _options: NoOptions) -> Lps2x:
    """Make the driver."""
    return Lps2x(LPS25HB, bus, address)


def recognise(bus: I2CBus, address: int) -> str | None:
    """LPS25HB, by its identity; None for another chip."""
    return "LPS25HB" if identity_is(LPS25HB, bus, address) else None


DRIVERS: Final = (
    DriverInfo(
        name="lps25hb",
        title="ST LPS25HB",
        source="DocID027112 rev. 6",
        bus=BusKind.I2C,
        addresses=(0x5C, 0x5D),
        quantities=(
            # The lowest value of its 16 bits is -25.77 °C.
            Measured("temperature_c", -25.7, 85.0, resolution=0.01, accuracy=2.0, lsb=0.0021),
            Measured("pressure_pa", 26_000.0, 126_000.0, resolution=1.0, accuracy=100.0, lsb=0.0244),
        ),
        options=NoOptions,
        open=open_lps25hb,
        conversion_s=0.06,
        shortest_period_s=0.1,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(WHO_AM_I, {LPS25HB.identity: LPS25HB.chip}),
    ),
)
