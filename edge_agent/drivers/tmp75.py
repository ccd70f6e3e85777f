"""Texas Instruments TMP75 (also TMP75B and TMP75C read at 12 bits, TMP175, TMP275): temperature.

Source: TMP75 datasheet SBOS288O (sections 7.3 and 7.5). I2C address 0x48 to 0x4F; as the LM75, with 12 bits.

Limits:
    The chip has no identity: a TMP105 has the same registers, and so has a TMP102 in its normal mode.
"""

from __future__ import annotations

from typing import Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, NoOptions
from edge_agent.drivers.lm75 import FINEST, TWO_FAULTS, Lm75, temperature_c, thermometer
from edge_agent.errors import BadReply


class Tmp75(Lm75):
    """One TMP75, TMP175 or TMP275."""

    config: bytes = bytes((FINEST | TWO_FAULTS,))
    bits: int = 12

    def decode(self, raw: bytes) -> float | None:
        """Turn the two bytes of the register into °C. Raises BadReply if they are not a value of 12 bits."""
        celsius = temperature_c(raw, self.bits)
        if celsius is not None and raw[1] & 0x0F:
            raise BadReply(f"{raw.hex()} is no temperature of 12 bits: another chip, or a TMP102 in its extended mode")
        return celsius


DRIVERS: Final = (
    DriverInfo(
        name="tmp75",
        title="Texas Instruments TMP75, TMP175, TMP275",
        source="SBOS288O",
        bus=BusKind.I2C,
        addresses=tuple(range(0x48, 0x50)),
        quantities=(thermometer(0.5, 0.0625),),
        options=NoOptions,
        open=Tmp75,
        shortest_period_s=0.25,
    ),
)
