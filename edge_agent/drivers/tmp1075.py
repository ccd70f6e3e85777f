"""Texas Instruments TMP1075: temperature; as the TMP75, faster, and with an identity.

Source: TMP1075 datasheet SBOS854F (sections 7.3, 7.5, 8.6). I2C address 0x48 to 0x4F of the 32 that it can have.

Limits:
    The TMP1075N has no identity and the registers of a TMP102: set driver tmp102.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, NoOptions
from edge_agent.drivers.lm75 import TMP1075_ID, TWO_FAULTS, device_id, thermometer
from edge_agent.drivers.tmp75 import Tmp75

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


class Tmp1075(Tmp75):
    """One TMP1075. Converts every 27.5 ms at 12 bits; the second byte of its configuration is fixed."""

    config: bytes = bytes((TWO_FAULTS, 0xFF))
    kept: ClassVar[bytes] = b"\x7f\x00"
    conversion_ns: ClassVar[int] = 60_000_000
    identity: ClassVar[int | None] = TMP1075_ID


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its device id."""
    return "TMP1075" if device_id(bus, address) == TMP1075_ID else None


DRIVERS: Final = (
    DriverInfo(
        name="tmp1075",
        title="Texas Instruments TMP1075",
        source="SBOS854F",
        bus=BusKind.I2C,
        addresses=tuple(range(0x48, 0x50)),
        quantities=(thermometer(0.25, 0.0625),),
        options=NoOptions,
        open=Tmp1075,
        shortest_period_s=0.05,
        recognise=recognise,
    ),
)
