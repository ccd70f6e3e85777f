"""Texas Instruments TMP102: temperature, on request up to 150 °C.

Source: TMP102 datasheet SBOS397H (sections 6.4 and 6.5). I2C address 0x48 to 0x4B; as the LM75, with 12 or 13 bits and
a configuration of two bytes.

Limits:
    The chip has no identity: a chip that stores the configuration is read as a TMP102.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.lm75 import FINEST, TWO_FAULTS, Lm75, temperature_c, thermometer
from edge_agent.errors import BadReply

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus

FOUR_HERTZ: Final = 0x80
EXTENDED: Final = 0x10
"""Second byte of the configuration (section 6.5.3)."""


def extended_temperature_c(raw: bytes) -> float | None:
    """Temperature in °C from the register (section 6.5.2); its last bit tells the mode.

    Raises:
        BadReply: bits are set that are zero in both modes.
    """
    if raw == b"\xff\xff":
        return None
    extended = raw[1] & 1
    if raw[1] & (0x06 if extended else 0x0E):
        raise BadReply(f"{raw.hex()} is no temperature of a TMP102: bits are set that it leaves empty")
    return (int.from_bytes(raw, signed=True) >> 3) * 0.0625 if extended else temperature_c(raw, 12)


@dataclass(frozen=True, slots=True)
class Tmp102Options:
    """The extended mode measures up to 150 instead of 128 °C."""

    extended: bool = False


class Tmp102(Lm75):
    """One TMP102.

    Args:
        bus: its adapter.
        address: 0x48 to 0x4B.
        options: mode.
    """

    kept: ClassVar[bytes] = b"\x7f\xd0"
    """Without bit 7 of the first byte (one-shot) and bit 5 of the second (alarm)."""

    def __init__(self, bus: I2CBus, address: int, options: Any) -> None:
        super().__init__(bus, address, options)
        self.config = bytes((FINEST | TWO_FAULTS, FOUR_HERTZ | (EXTENDED if options.extended else 0)))

    def decode(self, raw: bytes) -> float | None:
        """Turn the two bytes of the register into °C."""
        return extended_temperature_c(raw)


def _measures(options: Tmp102Options) -> tuple[Measured, ...]:
    return (thermometer(0.5, 0.0625, maximum=150.0 if options.extended else 125.0),)


DRIVERS: Final = (
    DriverInfo(
        name="tmp102",
        title="Texas Instruments TMP102",
        source="SBOS397H",
        bus=BusKind.I2C,
        addresses=(0x48, 0x49, 0x4A, 0x4B),
        quantities=(thermometer(0.5, 0.0625),),
        options=Tmp102Options,
        open=Tmp102,
        shortest_period_s=0.25,
        narrow=_measures,
    ),
)
