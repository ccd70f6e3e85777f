"""An XY-MD02 temperature and humidity transmitter: Modbus RTU slave, from request bytes to reply bytes.

Source: MODBUS Application Protocol 1.1b3 section 6, MODBUS over Serial Line 1.02 section 2.5.1; the register
map is that of the device's manual, its baud rates as devices really report them (the rate itself).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.simulate.chips.base import Makers, Part

READ_HOLDING: Final = 0x03
READ_INPUT: Final = 0x04
WRITE_ONE: Final = 0x06
WRITE_MANY: Final = 0x10

_ILLEGAL_FUNCTION: Final = 1
_ILLEGAL_ADDRESS: Final = 2
_ILLEGAL_VALUE: Final = 3

_FIRST_INPUT: Final = 0x0001
_FIRST_HOLDING: Final = 0x0101
_RATES: Final = frozenset({9_600, 14_400, 19_200})
_PROFILES: Final = frozenset({None, "xy-md02", "xy_md02"})
_SIGMA_C: Final = 0.03
_SIGMA_PCT: Final = 0.1


class ModbusError(Exception):
    """A request that is answered with an exception reply. `code` is the one of the protocol."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exception {code}")


class XyMd02:
    """One transmitter. Input registers 1..2: temperature, humidity in tenths. Holding 0x101..0x104: address,
    rate, and what is added to temperature and humidity in tenths.

    A new address or rate takes effect at the next power-on.
    """

    def __init__(self, part: Part) -> None:
        profile = part.options.get("profile")
        if profile not in _PROFILES:
            raise Unavailable(f'there is no simulated Modbus device "{profile}"; there is "xy-md02"')
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self.address = part.address or 1
        self._holding = [self.address, 9_600, 0, 0]

    def frame_length(self, received: bytes) -> int | None:
        """Length of the request at the start of `received`, by its function; None while unknown."""
        if len(received) < 2:
            return None
        if received[1] == WRITE_MANY:
            return 9 + received[6] if len(received) > 6 else None
        return 8

    def respond(self, frame: bytes) -> bytes | None:
        """Answer a request. None when it is damaged, for somebody else, or for everybody."""
        if len(frame) < 4 or frame[-2:] != modbus_crc(frame[:-2]) or frame[0] not in {0, self.address}:
            return None
        function = frame[1]
        try:
            reply = self._execute(function, frame[2:-2])
        except ModbusError as error:
            reply = bytes((function | 0x80, error.code))
        if frame[0] == 0:  # nobody answers a broadcast
            return None
        reply = bytes([self.address]) + reply
        return reply + modbus_crc(reply)

    def power_cycle(self) -> None:
        """Start with the address that was written."""
        self.address = self._holding[0]

    def _execute(self, function: int, body: bytes) -> bytes:
        words = [int.from_bytes(body[at : at + 2], "big") for at in range(0, 4, 2)]
        if function == READ_INPUT:
            return self._read(function, words, _FIRST_INPUT, self._inputs())
        if function == READ_HOLDING:
            return self._read(function, words, _FIRST_HOLDING, self._holding)
        if function == WRITE_ONE:
            self._write(words[0], words[1:])
            return bytes([function]) + body
        if function == WRITE_MANY:
            content = body[5:]
            if words[1] == 0 or len(content) != 2 * words[1] or body[4] != len(content):
                raise ModbusError(_ILLEGAL_VALUE)
            self._write(words[0], [int.from_bytes(content[at : at + 2], "big") for at in range(0, len(content), 2)])
            return bytes([function]) + body[:4]
        raise ModbusError(_ILLEGAL_FUNCTION)

    def _read(self, function: int, words: Sequence[int], first: int, registers: Sequence[int]) -> bytes:
        start, count = words
        if not 1 <= count <= 125:
            raise ModbusError(_ILLEGAL_VALUE)
        if start < first or start + count > first + len(registers):
            raise ModbusError(_ILLEGAL_ADDRESS)
        wanted = registers[start - first : start - first + count]
        return bytes((function, 2 * count)) + b"".join(value.to_bytes(2, "big") for value in wanted)

    def _write(self, start: int, values: Sequence[int]) -> None:
        if start < _FIRST_HOLDING or start + len(values) > _FIRST_HOLDING + len(self._holding):
            raise ModbusError(_ILLEGAL_ADDRESS)
        changed = list(self._holding)
        changed[start - _FIRST_HOLDING : start - _FIRST_HOLDING + len(values)] = values
        if not 1 <= changed[0] <= 247 or changed[1] not in _RATES:
            raise ModbusError(_ILLEGAL_VALUE)
        self._holding = changed

    def _inputs(self) -> list[int]:
        air = self._air(self._clock.now_ns())
        celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C) + _signed(self._holding[2]) / 10.0
        percent = air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT) + _signed(self._holding[3]) / 10.0
        return [round(celsius * 10.0) & 0xFFFF, round(min(max(percent, 0.0), 100.0) * 10.0)]


def modbus_crc(data: bytes) -> bytes:
    """CRC-16, polynomial 0xA001 reflected, start 0xFFFF, as sent: the low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


def _signed(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


CHIPS: Final[Makers] = {"modbus_rtu": XyMd02}
