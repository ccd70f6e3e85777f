"""Register maps of Modbus transmitters; those of common devices by name.

Sources: makers' manuals; the float32 barometer is a Campbell Scientific MetSENS300. Addresses are those on the wire,
from 0; a manual that numbers holding registers from 40001 means 40001 = 0.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from edge_agent.drivers.modbus_frames import HOLDING, INPUT
from edge_agent.quantity import QUANTITIES, Unit, find_unit, known_units

RegisterType: TypeAlias = Literal["u16", "s16", "u32", "s32", "float32"]
Order: TypeAlias = Literal["ABCD", "CDAB", "BADC", "DCBA"]
"""Order of the bytes of a value; A is the most significant."""

WORDS: Final[dict[RegisterType, int]] = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "float32": 2}
MOST_WORDS: Final = 125
"""In one request (V1.1b3 section 6.3)."""


@dataclass(frozen=True, slots=True)
class Register:
    """One value of a device.

    Attributes:
        quantity: of the value.
        at: address of its first register on the wire.
        function: 3 for holding registers, 4 for input registers.
        type: number format.
        scale: value of one count, in `unit`.
        unit: name of the unit; empty for the canonical one.
        order: of its bytes; for 16 bits only the order of the last two letters matters.
    """

    quantity: str
    at: int
    function: Literal[3, 4] = 3
    type: RegisterType = "s16"
    scale: float = 1.0
    unit: str = ""
    order: Order = "ABCD"

    def __post_init__(self) -> None:
        """Check the register.

        Raises:
            ValueError: a field has a wrong value.
        """
        if self.quantity not in QUANTITIES:
            raise ValueError(f"{self.quantity!r} is not a quantity; known: {', '.join(QUANTITIES)}")
        self._unit()
        if not 0 <= self.at <= 0x10000 - WORDS[self.type]:
            raise ValueError(f"at must be 0 to 65535, the number on the wire, not {self.at}")
        if not self.scale or not math.isfinite(self.scale):
            raise ValueError(f"scale must be a number other than 0, not {self.scale}")

    def step(self) -> float | None:
        """Value of one count in the canonical unit; None for a float32, which has no fixed step."""
        if self.type == "float32":
            return None
        one, none = self._canonical(Decimal(1)), self._canonical(Decimal(0))
        return abs(one - none)

    def value(self, data: bytes) -> float | None:
        """Decode the bytes of its registers into the canonical unit; None for NaN and infinity."""
        in_order = _reordered(data, self.order)
        if self.type == "float32":
            (number,) = struct.unpack(">f", in_order)
            return self._canonical(Decimal(number)) if math.isfinite(number) else None
        return self._canonical(Decimal(int.from_bytes(in_order, signed=self.type in {"s16", "s32"})))

    def _canonical(self, counts: Decimal) -> float:
        # In decimal: 234 counts of 0.1 are the float nearest to 23.4, and 234 * 0.1 is not.
        return self._unit().canonical(counts * Decimal(str(self.scale)))

    def _unit(self) -> Unit:
        unit = find_unit(self.quantity, self.unit)
        if unit is None:
            raise ValueError(
                f"{self.unit!r} is not a unit of {self.quantity}; known: {', '.join(known_units(self.quantity))}"
            )
        return unit


def _reordered(data: bytes, order: Order) -> bytes:
    """Most significant byte first."""
    if order in {"BADC", "DCBA"}:
        data = b"".join(data[at + 1 : at + 2] + data[at : at + 1] for at in range(0, len(data), 2))
    if order in {"CDAB", "DCBA"} and len(data) == 4:
        data = data[2:] + data[:2]
    return data


@dataclass(frozen=True, slots=True)
class Block:
    """Adjacent registers that one request reads: exactly those of the map.

    Attributes:
        function: of the request.
        first: address of the first register.
        registers: in the order of their addresses.
    """

    function: int
    first: int
    registers: tuple[Register, ...]

    @property
    def words(self) -> int:
        """Number of registers."""
        return sum(WORDS[register.type] for register in self.registers)

    def values(self, payload: bytes) -> dict[str, float | None]:
        """Values of the data bytes of a reply, by quantity."""
        found: dict[str, float | None] = {}
        for register in self.registers:
            at = 2 * (register.at - self.first)
            found[register.quantity] = register.value(payload[at : at + 2 * WORDS[register.type]])
        return found


def blocks(registers: tuple[Register, ...]) -> tuple[Block, ...]:
    """The smallest number of requests that read exactly these registers.

    Raises:
        ValueError: two registers overlap, or have the same quantity.
    """
    names = [register.quantity for register in registers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice} is in two registers")
    runs: list[list[Register]] = []
    for register in sorted(registers, key=lambda register: (register.function, register.at)):
        last = runs[-1][-1] if runs else None
        end = last.at + WORDS[last.type] if last is not None and last.function == register.function else None
        if end is not None and register.at < end:
            raise ValueError(f"{register.quantity} at {register.at} overlaps the register before it")
        if end == register.at and sum(WORDS[before.type] for before in runs[-1]) < MOST_WORDS - 1:
            runs[-1].append(register)
        else:
            runs.append([register])
    return tuple(Block(run[0].function, run[0].at, tuple(run)) for run in runs)


@dataclass(frozen=True, slots=True)
class Profile:
    """The map of one kind of transmitter; `registers` in the order of its quantities."""

    title: str
    registers: tuple[Register, ...]


def _tenths(quantity: str, at: int, function: Literal[3, 4] = HOLDING, unit: str = "") -> Register:
    return Register(quantity, at, function, "s16" if quantity == "temperature_c" else "u16", 0.1, unit)


PROFILES: Final = {
    "xy-md02": Profile("XY-MD01, XY-MD02", (_tenths("temperature_c", 1, INPUT), _tenths("humidity_pct", 2, INPUT))),
    "xy-md02-hundredths": Profile(
        "its revision in hundredths",
        (Register("temperature_c", 1, INPUT, "s16", 0.01), Register("humidity_pct", 2, INPUT, "u16", 0.01)),
    ),
    "rs-ws-n01": Profile("Renke RS-WS-N01, JXBS-3001", (_tenths("humidity_pct", 0), _tenths("temperature_c", 1))),
    "cwt-th01s": Profile("CWT-TH01S", (_tenths("humidity_pct", 0), _tenths("temperature_c", 1))),
    "thp-box": Profile(
        "T, RH and P in registers 0 to 2",
        (_tenths("temperature_c", 0), _tenths("humidity_pct", 1), _tenths("pressure_pa", 2, unit="hpa")),
    ),
    "renke-fsxcs": Profile(
        "Renke RS-FSXCS",
        (_tenths("humidity_pct", 0x01F8), _tenths("temperature_c", 0x01F9), _tenths("pressure_pa", 0x01FD, unit="kpa")),
    ),
    "metsens300": Profile(
        "Campbell MetSENS300",
        (
            Register("pressure_pa", 0, HOLDING, "float32", unit="hpa"),
            Register("humidity_pct", 2, HOLDING, "float32"),
            Register("temperature_c", 4, HOLDING, "float32"),
        ),
    ),
}
