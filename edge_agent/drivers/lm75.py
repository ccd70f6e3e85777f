"""LM75 of many makers (LM75A, LM75B), and the common part of the drivers for compatible thermometers: temperature.

Source: NXP LM75B datasheet, revision 6.1 (sections 7.1 to 7.4); TI LM75A SNOS808P. I2C address 0x48 to 0x4F. The chip
converts all the time. Its fault queue, which only delays the alarm pin, is set to two: after a supply dip it reads one,
and so the dip is noticed.

Limits:
    The chip has no identity. A chip that stores the configuration is read as an LM75, also a TMP75 or TMP105 (at their
    default of 9 bits). TMP102, TMP117, TMP119 and TMP1075 are recognised and refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.errors import ChipWasReset, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Registers: section 7.4.
TEMPERATURE: Final = 0x00
CONFIG: Final = 0x01
DEVICE_ID: Final = 0x0F
"""Only TMP117 and TMP1075 have it; an LM75 decodes the last two bits, and shows a limit of its alarm."""
TMP117_ID: Final = 0x0117
TMP117_ID_MASK: Final = 0x0FFF
TMP1075_ID: Final = 0x7500

TWO_FAULTS: Final = 0x08
FINEST: Final = 0x60
"""Resolution of 12 bits on TMP75 and TMP105; reads so on every TMP102; reserved on an LM75."""

# Datasheet maths


def temperature_c(raw: bytes, bits: int) -> float | None:
    """Temperature in °C (section 7.4.3, table 9); None for the all ones of a line that nobody drives.

    Args:
        raw: the two bytes of the register, signed, left-aligned, 1/256 °C.
        bits: number of valid bits; the contents of the others are not specified.
    """
    if raw == b"\xff\xff":
        return None
    return (int.from_bytes(raw, signed=True) >> (16 - bits) << (16 - bits)) / 256.0


# The chip


@dataclass(frozen=True, slots=True)
class Lm75Options:
    """Number of valid bits: 11 on the LM75A of NXP and the LM75B, 9 on the others."""

    bits: Literal[9, 11] = 11


class Lm75:
    """One LM75; drivers of compatible chips set other constants.

    Args:
        bus: its adapter.
        address: 0x48 to 0x4F.
        options: bits, or none.
    """

    config: bytes = bytes((TWO_FAULTS,))
    """The configuration that is written."""
    kept: ClassVar[bytes] = b"\xff"
    """The bits of it that read back as written."""
    bits: int = 11
    conversion_ns: ClassVar[int] = 300_000_000
    """Longest time until the first conversion with this configuration."""
    identity: ClassVar[int | None] = None

    def __init__(self, bus: I2CBus, address: int, options: Any) -> None:
        self._bus = bus
        self._address = address
        if isinstance(options, Lm75Options):
            self.bits = options.bits
        self.quantities: tuple[str, ...] = ("temperature_c",)

    def probe(self) -> Iterator[int]:
        """Check that it is not another chip of the family, configure, and wait for a conversion."""
        self._refuse_relatives()
        self._bus.transfer(self._address, bytes((CONFIG,)) + self.config, 0)
        kept = self._kept()
        if kept != self._expected:
            raise WrongChip(_describe_other(self._address, kept, self.config))
        yield self.conversion_ns

    def trigger(self) -> int:
        """Start nothing: the chip converts all the time. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read the configuration and the latest conversion.

        Raises:
            ChipWasReset: it has lost its configuration.
        """
        kept = self._kept()
        if kept != self._expected:
            raise ChipWasReset(
                f"the configuration reads {kept.hex()} where {self._expected.hex()} was written: "
                "the chip was reset (supply dip?) or does not drive the bus"
            )
        return (self.decode(self._bus.transfer(self._address, bytes((TEMPERATURE,)), 2)),)

    def decode(self, raw: bytes) -> float | None:
        """Turn the two bytes of the register into °C."""
        return temperature_c(raw, self.bits)

    @property
    def _expected(self) -> bytes:
        return bytes(value & mask for value, mask in zip(self.config, self.kept, strict=True))

    def _kept(self) -> bytes:
        found = self._bus.transfer(self._address, bytes((CONFIG,)), len(self.config))
        return bytes(value & mask for value, mask in zip(found, self.kept, strict=True))

    def _refuse_relatives(self) -> None:
        device = device_id(self._bus, self._address)
        if device & TMP117_ID_MASK == TMP117_ID:
            raise WrongChip(f'{self._address:#04x} is a TMP117 or TMP119 (id {device:#06x}): set driver = "tmp117"')
        if self.identity is not None and device != self.identity:
            raise WrongChip(
                f"{self._address:#04x} has the device id {device:#06x} where {self.identity:#06x} is expected"
            )
        if self.identity is None and device == TMP1075_ID:
            raise WrongChip(f'{self._address:#04x} is a TMP1075 (id {device:#06x}): set driver = "tmp1075"')


def device_id(bus: I2CBus, address: int) -> int:
    """The register that holds the device id of TMP117 and TMP1075."""
    return int.from_bytes(bus.transfer(address, bytes((DEVICE_ID,)), 2))


def _describe_other(address: int, kept: bytes, written: bytes) -> str:
    """A sentence that names the chip, as far as its configuration shows it."""
    what = f"{address:#04x} gives back {kept.hex()} for its configuration where {written.hex()} was written"
    if kept[0] & FINEST == FINEST and written[0] & FINEST != FINEST:
        return f'{what}: a TMP102? then set driver = "tmp102"'
    if kept[0] & FINEST != FINEST and written[0] & FINEST == FINEST:
        return f'{what}: it keeps no resolution, an LM75? then set driver = "lm75"'
    return f"{what}: no thermometer of this kind, an ADS1115 or PCF8591? `edge-agent scan` may tell"


def thermometer(accuracy: float, lsb: float, *, minimum: float = -55.0, maximum: float = 125.0) -> Measured:
    """The one quantity of these chips."""
    return Measured("temperature_c", minimum, maximum, resolution=lsb, accuracy=accuracy, lsb=lsb)


DRIVERS: Final = (
    DriverInfo(
        name="lm75",
        title="LM75, LM75A, LM75B of NXP, TI and others",
        source="NXP LM75B, revision 6.1",
        bus=BusKind.I2C,
        addresses=tuple(range(0x48, 0x50)),
        quantities=(thermometer(2.0, 0.125),),
        options=Lm75Options,
        open=Lm75,
        shortest_period_s=0.1,
    ),
)
