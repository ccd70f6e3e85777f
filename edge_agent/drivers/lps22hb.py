"""STMicroelectronics LPS22HB: pressure and temperature. The drivers of LPS22HH and LPS25HB use the same code.

Sources: LPS22HB datasheet DocID027083 (rev. 6; sections 3, 7 and 9), LPS22HH datasheet DS12503 (rev. 5), LPS25HB
datasheet DocID027112 (rev. 6). I2C address 0x5C (SA0 low) or 0x5D. One one-shot conversion per poll, powered down in
between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, IdentityRegister, Measured, NoOptions
from edge_agent.drivers.neighbours import named_by
from edge_agent.drivers.registers import Registers
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Registers: LPS22HB section 9, LPS25HB section 9.
WHO_AM_I: Final = 0x0F
STATUS: Final = 0x27
"""Status, then pressure (3 bytes) and temperature (2), little-endian, signed."""
BURST_BYTES: Final = 6

SOFT_RESET: Final = 0x04
ONE_SHOT: Final = 0x01
DATA_READY: Final = 0x03
RESET_NS: Final = 2_200_000
"""LPS22HB section 3.2: boot time; a soft reset takes less."""
RESET_LOOKS: Final = 5

# Datasheet maths


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the chips.

    Attributes:
        chip: its name.
        identity: in WHO_AM_I.
        control: register CTRL_REG1; CTRL_REG2 follows.
        asleep: CTRL_REG1 for one-shots; differs from its power-on value.
        keep: bits of CTRL_REG2 that stay set.
        many: added to a register number for auto-increment in a burst.
        conversion_ns: longest time of a one-shot. The datasheets give none; this is 1.5 periods of the fastest rate.
        counts_per_c, zero_c: temperature.
    """

    chip: str
    identity: int
    control: int
    asleep: int
    keep: int
    many: int
    conversion_ns: int
    counts_per_c: float
    zero_c: float


LPS22HB: Final = Kind("LPS22HB", 0xB1, 0x10, 0x02, 0x10, 0x00, 20_000_000, 100.0, 0.0)
LPS22HH: Final = Kind("LPS22HH", 0xB3, 0x10, 0x02, 0x10, 0x00, 20_000_000, 100.0, 0.0)
LPS25HB: Final = Kind("LPS25HB or LPS25H", 0xBD, 0x20, 0x84, 0x00, 0x80, 60_000_000, 480.0, 42.5)


def decode(data: bytes, kind: Kind) -> tuple[float, float]:
    """Turn the five data registers from 0x28 into °C and Pa (LPS22HB section 4.4 and 4.5, LPS25HB section 9.20)."""
    pressure_raw = int.from_bytes(data[0:3], "little", signed=True)
    temperature_raw = int.from_bytes(data[3:5], "little", signed=True)
    return kind.zero_c + temperature_raw / kind.counts_per_c, pressure_raw * 100.0 / 4096.0


# The chip


class Lps2x:
    """One chip of the family.

    Args:
        kind: which one.
        bus: its adapter.
        address: 0x5C or 0x5D.
    """

    def __init__(self, kind: Kind, bus: I2CBus, address: int) -> None:
        self._kind = kind
        self._registers = Registers(bus, address)
        self.quantities: tuple[str, ...] = ("temperature_c", "pressure_pa")

    def probe(self) -> Iterator[int]:
        """Identify, reset, configure for one-shots."""
        kind = self._kind
        identity = self._registers.read(WHO_AM_I)[0]
        if identity != kind.identity:
            raise _other_chip(identity, kind, self._registers.address)
        control_2 = kind.control + 1
        self._registers.write(control_2, kind.keep | SOFT_RESET)
        yield RESET_NS
        for look in range(1, RESET_LOOKS + 1):
            if not self._registers.read(control_2)[0] & SOFT_RESET:
                break
            if look == RESET_LOOKS:
                raise BadReply("the chip does not come out of its reset: check its supply")
            yield RESET_NS
        self._registers.write(kind.control, kind.asleep)

    def trigger(self) -> int:
        """Start a one-shot. Returns the longest time it takes, ns."""
        self._registers.write(self._kind.control + 1, self._kind.keep | ONE_SHOT)
        return self._kind.conversion_ns

    def collect(self) -> tuple[float | None, ...]:
        """Read configuration, status and data.

        Raises:
            NotReady: the conversion is still running, or has been read already.
            ChipWasReset: it has lost its configuration.
        """
        kind = self._kind
        if STATUS - kind.control < 8:  # close enough for one burst
            burst = self._registers.read(kind.control | kind.many, STATUS + BURST_BYTES - kind.control)
            control_1, burst = burst[0], burst[STATUS - kind.control :]
            self._check(control_1)
        else:
            self._check(self._registers.read(kind.control)[0])
            burst = self._registers.read(STATUS | kind.many, BURST_BYTES)
        if burst[0] & DATA_READY != DATA_READY:
            raise NotReady("the conversion is still running")
        return decode(burst[1:], kind)

    def _check(self, control_1: int) -> None:
        if control_1 != self._kind.asleep:
            raise ChipWasReset(
                f"CTRL_REG1 reads {control_1:#04x} where {self._kind.asleep:#04x} was written: "
                "the chip was reset (supply dip?) or does not drive the bus"
            )


def _other_chip(identity: int, kind: Kind, address: int) -> WrongChip:
    """The error that names the chip and the driver for it."""
    return named_by(WHO_AM_I, identity, address, kind.chip) or WrongChip(
        f"{address:#04x} has the unknown chip id {identity:#04x}, so it is not a {kind.chip}: look at the board"
    )


def identity_is(kind: Kind, bus: I2CBus, address: int) -> bool:
    """Whether such a chip answers at an address."""
    return Registers(bus, address).read(WHO_AM_I)[0] == kind.identity


def open_lps22hb(bus: I2CBus, address: int, _options: NoOptions) -> Lps2x:
    """Make the driver."""
    return Lps2x(LPS22HB, bus, address)


def recognise(bus: I2CBus, address: int) -> str | None:
    """LPS22HB, by its identity; None for another chip."""
    return "LPS22HB" if identity_is(LPS22HB, bus, address) else None


DRIVERS: Final = (
    DriverInfo(
        name="lps22hb",
        title="ST LPS22HB",
        source="DocID027083 rev. 6",
        bus=BusKind.I2C,
        addresses=(0x5C, 0x5D),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=1.5, lsb=0.01),
            Measured("pressure_pa", 26_000.0, 126_000.0, resolution=1.0, accuracy=100.0, lsb=0.0244),
        ),
        options=NoOptions,
        open=open_lps22hb,
        conversion_s=0.02,
        shortest_period_s=0.03,
        stuck_after=30,
        recognise=recognise,
        identity=IdentityRegister(WHO_AM_I, {LPS22HB.identity: LPS22HB.chip}),
    ),
)
