"""Modbus RTU slaves that measure the air: an XY-MD02 by default, other transmitters by profile or by a map given.

Sources: MODBUS Application Protocol 1.1b3 section 6, MODBUS over Serial Line 1.02 section 2.5.1; register maps of the
devices' manuals, baud rates as an XY-MD02 really reports them (the rate itself).
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable
from edge_agent.simulate.chips.units import in_unit, present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.simulate.chips.base import Makers, Part
    from edge_agent.simulate.world import Air

READ_HOLDING: Final = 0x03
READ_INPUT: Final = 0x04
WRITE_ONE: Final = 0x06
WRITE_MANY: Final = 0x10

_ILLEGAL_FUNCTION: Final = 1
_ILLEGAL_ADDRESS: Final = 2
_ILLEGAL_VALUE: Final = 3

_FIRST_HOLDING: Final = 0x0101
_RATES: Final = frozenset({9_600, 14_400, 19_200})
_SIGMAS: Final = {"temperature_c": 0.03, "humidity_pct": 0.1, "pressure_pa": 3.0, "co2_ppm": 3.0}
_ORDERS: Final = {"ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "BADC": (1, 0, 3, 2), "DCBA": (3, 2, 1, 0)}


@dataclass(frozen=True, slots=True)
class Cell:
    """Register and encoding of one value."""

    quantity: str
    function: int
    at: int
    type: str = "u16"
    scale: float = 0.1
    unit: str = ""
    order: str = "ABCD"

    def words(self, value: float) -> list[int]:
        """The registers that hold a value given in the canonical unit."""
        value = in_unit(value, self.unit) / self.scale
        if self.type == "float32":
            data = struct.pack(">f", value)
        else:
            size = 4 if self.type.endswith("32") else 2
            lowest = -(1 << 8 * size - 1) if self.type.startswith("s") else 0
            counts = min(max(round(value), lowest), lowest + (1 << 8 * size) - 1)
            data = counts.to_bytes(size, "big", signed=lowest < 0)
        if len(data) == 4:
            data = bytes(data[place] for place in _ORDERS[self.order])
        elif self.order in {"BADC", "DCBA"}:
            data = data[::-1]
        return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


_TH_BOX: Final = (Cell("humidity_pct", 3, 0), Cell("temperature_c", 3, 1, "s16"))
PROFILES: Final[Mapping[str | None, tuple[Cell, ...]]] = {
    "xy-md02": (Cell("temperature_c", 4, 1, "s16"), Cell("humidity_pct", 4, 2)),
    "xy-md02-hundredths": (Cell("temperature_c", 4, 1, "s16", 0.01), Cell("humidity_pct", 4, 2, scale=0.01)),
    "rs-ws-n01": _TH_BOX,
    "cwt-th01s": _TH_BOX,
    "thp-box": (
        Cell("temperature_c", 3, 0, "s16"),
        Cell("humidity_pct", 3, 1),
        Cell("pressure_pa", 3, 2, unit="hpa"),
    ),
    "renke-fsxcs": (
        Cell("humidity_pct", 3, 504),
        Cell("temperature_c", 3, 505, "s16"),
        Cell("pressure_pa", 3, 509, unit="kpa"),
    ),
    "metsens300": (
        Cell("pressure_pa", 3, 0, "float32", 1.0, "hpa"),
        Cell("humidity_pct", 3, 2, "float32", 1.0),
        Cell("temperature_c", 3, 4, "float32", 1.0),
    ),
}


class ModbusError(Exception):
    """A request that is answered with an exception reply. `code` is the exception code of the protocol."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exception {code}")


class ModbusSlave:
    """One transmitter. It refuses a range with a register that it does not have."""

    def __init__(self, part: Part, cells: tuple[Cell, ...]) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self.address = part.address or 1
        self._cells = cells
        self._refusals: deque[int] = deque()
        self._senders: deque[int] = deque()

    def refuse_next(self, code: int) -> None:
        """Answer the next request with an exception of this code."""
        self._refusals.append(code)

    def answer_as_next(self, address: int) -> None:
        """Answer the next request with the address of another slave."""
        self._senders.append(address)

    def frame_length(self, received: bytes) -> int | None:
        """Length of the request at the start of `received`, by its function; None while unknown."""
        if len(received) < 2:
            return None
        if received[1] == WRITE_MANY:
            return 9 + received[6] if len(received) > 6 else None
        return 8

    def respond(self, frame: bytes) -> bytes | None:
        """Answer a request. None if it is damaged, for another slave, or a broadcast."""
        if len(frame) < 4 or frame[-2:] != modbus_crc(frame[:-2]) or frame[0] not in {0, self.address}:
            return None
        function = frame[1]
        try:
            if self._refusals:
                raise ModbusError(self._refusals.popleft())  # noqa: TRY301 as any other refusal
            reply = self.execute(function, frame[2:-2])
        except ModbusError as error:
            reply = bytes((function | 0x80, error.code))
        if frame[0] == 0:  # a broadcast is not answered
            return None
        reply = bytes([self._senders.popleft() if self._senders else self.address]) + reply
        return reply + modbus_crc(reply)

    def power_cycle(self) -> None:
        """Has no volatile state."""

    def execute(self, function: int, body: bytes) -> bytes:
        """Execute a request. Returns the reply from its function code on. Raises ModbusError."""
        if function not in {READ_HOLDING, READ_INPUT}:
            raise ModbusError(_ILLEGAL_FUNCTION)
        bank = self.bank(function)
        if not bank:
            raise ModbusError(_ILLEGAL_FUNCTION)
        start, count = (int.from_bytes(body[at : at + 2], "big") for at in (0, 2))
        if not 1 <= count <= 125:
            raise ModbusError(_ILLEGAL_VALUE)
        if any(place not in bank for place in range(start, start + count)):
            raise ModbusError(_ILLEGAL_ADDRESS)
        return bytes((function, 2 * count)) + b"".join(
            bank[place].to_bytes(2, "big") for place in range(start, start + count)
        )

    def bank(self, function: int) -> dict[int, int]:
        """All registers that this function reads, by address, with the present air."""
        air = self._air(self._clock.now_ns())
        bank: dict[int, int] = {}
        for cell in self._cells:
            if cell.function == function:
                bank |= dict(enumerate(cell.words(self.measured(cell.quantity, air)), cell.at))
        return bank

    def measured(self, quantity: str, air: Air) -> float:
        """The measured value in the canonical unit, with noise."""
        value: float = present(air, quantity) + self._random.gauss(0.0, _SIGMAS.get(quantity, 0.0))
        return min(max(value, 0.0), 100.0) if quantity == "humidity_pct" else value


class XyMd02(ModbusSlave):
    """An XY-MD02. Input registers 1..2: temperature, humidity in tenths. Holding 0x101..0x104: address, rate, and what
    is added to temperature and humidity in tenths.

    A new address or rate takes effect at the next power-on.
    """

    def __init__(self, part: Part, cells: tuple[Cell, ...] = PROFILES["xy-md02"]) -> None:
        super().__init__(part, cells)
        self._holding = [self.address, 9_600, 0, 0]

    def power_cycle(self) -> None:
        """Start with the address that was written."""
        self.address = self._holding[0]

    def bank(self, function: int) -> dict[int, int]:
        """All registers that this function reads, by address."""
        return dict(enumerate(self._holding, _FIRST_HOLDING)) if function == READ_HOLDING else super().bank(function)

    def measured(self, quantity: str, air: Air) -> float:
        """As the transmitter, plus the configured correction."""
        correction = self._holding[2 if quantity == "temperature_c" else 3]
        return super().measured(quantity, air) + (correction - 0x10000 if correction & 0x8000 else correction) / 10.0

    def execute(self, function: int, body: bytes) -> bytes:
        """As the transmitter, and write holding registers."""
        words = [int.from_bytes(body[at : at + 2], "big") for at in range(0, 4, 2)]
        if function == WRITE_ONE:
            self._write(words[0], words[1:])
            return bytes([function]) + body
        if function == WRITE_MANY:
            content = body[5:]
            if words[1] == 0 or len(content) != 2 * words[1] or body[4] != len(content):
                raise ModbusError(_ILLEGAL_VALUE)
            self._write(words[0], [int.from_bytes(content[at : at + 2], "big") for at in range(0, len(content), 2)])
            return bytes([function]) + body[:4]
        return super().execute(function, body)

    def _write(self, start: int, values: Sequence[int]) -> None:
        if start < _FIRST_HOLDING or start + len(values) > _FIRST_HOLDING + len(self._holding):
            raise ModbusError(_ILLEGAL_ADDRESS)
        changed = list(self._holding)
        changed[start - _FIRST_HOLDING : start - _FIRST_HOLDING + len(values)] = values
        if not 1 <= changed[0] <= 247 or changed[1] not in _RATES:
            raise ModbusError(_ILLEGAL_VALUE)
        self._holding = changed


def make_slave(part: Part) -> ModbusSlave:
    """The transmitter of a profile, or one with the registers of a map."""
    registers = part.options.get("registers") or ()
    if registers:
        return ModbusSlave(part, tuple(Cell(**register) for register in registers))
    profile = part.options.get("profile") or "xy-md02"
    if profile not in PROFILES:
        known = ", ".join(f'"{name}"' for name in PROFILES)
        raise Unavailable(f'there is no simulated Modbus device "{profile}"; there are {known}')
    if profile.startswith("xy-md02"):
        return XyMd02(part, PROFILES[profile])
    return ModbusSlave(part, PROFILES[profile])


def modbus_crc(data: bytes) -> bytes:
    """CRC-16, polynomial 0xA001 reflected, start 0xFFFF, as sent: the low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


CHIPS: Final[Makers] = {"modbus_rtu": make_slave}
"""One maker for all transmitters: the options say which one it is."""
