"""Sensirion SHT2x, TE HTU21D and Silicon Labs Si7021, command by command.

Sources: Sensirion SHT21 datasheet version 4 sections 5 and 6 and its note on electronic identification; HTU21D(F)
datasheet HPC199; Si7021-A20 datasheet revision 1.2 sections 4 and 5. The checksum is that of the HTU21D datasheet.

Limits: the commands with hold, which stretch the clock, are not acknowledged. The heater does not warm. The checksums
of the identification codes are per group of bytes; makers differ in what they cover.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.simulate.chips.base import Makers, Part

_BITS: Final = {0b00: (12, 14), 0b01: (8, 12), 0b10: (10, 13), 0b11: (11, 11)}
"""Bits 7 and 0 of the user register → bits of humidity and of temperature."""

_MEASURE_TEMPERATURE, _MEASURE_HUMIDITY = 0xF3, 0xF5
_WRITE_USER, _READ_USER = 0xE6, 0xE7
_WRITE_HEATER, _READ_HEATER = 0x51, 0x11
_PREVIOUS_TEMPERATURE: Final = 0xE0
_SOFT_RESET: Final = 0xFE
_FIRMWARE: Final = b"\x84\xb8"
_FIRST_ID: Final = b"\xfa\x0f"
_SECOND_ID: Final = b"\xfc\xc9"

_SIGMA_C: Final = 0.01
_SIGMA_PCT: Final = 0.03


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the chips: typical times in ns at 12 and 14 bits, user register, first byte of the id."""

    humidity_ns: int
    temperature_ns: int
    reset_ns: int
    user: int
    id_byte: int


_KINDS: Final[Mapping[str, Kind]] = {
    "sht2x": Kind(22_000_000, 66_000_000, 8_000_000, 0x3A, 0x49),
    "htu21d": Kind(14_000_000, 44_000_000, 8_000_000, 0x02, 0x32),
    "si7021": Kind(10_000_000, 7_000_000, 5_000_000, 0x3A, 0x15),
}


class Sht2x:
    """One chip. `name` is `sht2x`, `htu21d` or `si7021`, which measures the temperature with each humidity."""

    def __init__(self, name: str, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._kind = _KINDS[name]
        self._silabs = name == "si7021"
        self._serial = part.random.randbytes(5)
        self._fixed: dict[bool, bytes] = {}
        self._user = self._kind.user
        self._heater = 0
        self._restart(busy_ns=0)

    def load(self, temperature: bytes, humidity: bytes) -> None:
        """Let every conversion give these bytes, checksums included."""
        self._fixed = {False: temperature, True: humidity}

    def write(self, data: bytes) -> None:
        """Take a command. Raises Nack while busy, and for a command that is not known."""
        self._refuse_while_busy()
        if not data:
            return
        self._reply = b""
        if data in {_FIRST_ID, _SECOND_ID, _FIRMWARE}:
            self._reply = self._identification(data)
        elif data[0] in {_MEASURE_HUMIDITY, _MEASURE_TEMPERATURE}:
            self._measure(humidity=data[0] == _MEASURE_HUMIDITY)
        elif data[0] == _READ_USER:
            self._reply = bytes([self._user])
        elif data[0] == _WRITE_USER and len(data) > 1:
            # Only resolution, heater and the disable bit can be written; the rest is reserved.
            self._user = self._user & ~0x87 | data[1] & 0x87
        elif data[0] == _SOFT_RESET:
            heater = self._user & 0x04
            self._user = self._kind.user | (0 if self._silabs else heater)
            self._restart(self._kind.reset_ns)
        elif self._silabs and data[0] == _PREVIOUS_TEMPERATURE:
            self._reply = self._previous
        elif self._silabs and data[0] == _READ_HEATER:
            self._reply = bytes([self._heater])
        elif self._silabs and data[0] == _WRITE_HEATER and len(data) > 1:
            self._heater = data[1] & 0x0F
        else:
            raise Nack

    def read(self, count: int) -> bytes:
        """Give the reply once; ones after its end. Raises Nack when there is none, and while busy."""
        self._refuse_while_busy()
        if not self._reply:
            raise Nack
        reply, self._reply = self._reply, b""
        return reply[:count].ljust(count, b"\xff")

    def power_cycle(self) -> None:
        """Start: default user register, and no acknowledge for some milliseconds."""
        self._user = self._kind.user
        self._restart(self._kind.reset_ns)

    def _restart(self, busy_ns: int) -> None:
        self._reply = b""
        self._previous = bytes(2)
        self._heater = 0
        self._busy_until_ns = self._clock.now_ns() + busy_ns

    def _refuse_while_busy(self) -> None:
        if self._clock.now_ns() < self._busy_until_ns:
            raise Nack

    def _measure(self, *, humidity: bool) -> None:
        now_ns = self._clock.now_ns()
        air = self._air(now_ns)
        bits_h, bits_t = _BITS[self._user >> 6 & 2 | self._user & 1]
        celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C)
        temperature = _counts((celsius + 46.85) / 175.72, bits_t)
        duration_ns = self._kind.temperature_ns >> (14 - bits_t)
        if humidity:
            percent = air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT)
            word = _counts((percent + 6.0) / 125.0, bits_h) | 0b10
            self._previous = self._fixed.get(False, temperature.to_bytes(2, "big"))[:2]
            duration_ns = (self._kind.humidity_ns >> (12 - bits_h)) + (duration_ns if self._silabs else 0)
        else:
            word = temperature
        self._reply = self._fixed.get(humidity, with_crc(word.to_bytes(2, "big")))
        self._busy_until_ns = now_ns + duration_ns

    def _identification(self, command: bytes) -> bytes:
        if command == _FIRMWARE:
            if not self._silabs:
                raise Nack
            return b"\x20"
        if command == _FIRST_ID:
            return b"".join(with_crc(bytes([byte])) for byte in self._serial[:4])
        return with_crc(bytes([self._kind.id_byte, self._serial[4]])) + with_crc(b"\xff\xff")


def crc(data: bytes) -> int:
    """CRC-8, polynomial 0x131, start 0: 0x683A gives 0x7C (HTU21D datasheet)."""
    remainder = int.from_bytes(data, "big") << 8
    for bit in range(8 * len(data) + 7, 7, -1):
        if remainder >> bit & 1:
            remainder ^= 0x131 << (bit - 8)
    return remainder


def with_crc(data: bytes) -> bytes:
    """The bytes and their checksum."""
    return data + bytes([crc(data)])


def _counts(fraction: float, bits: int) -> int:
    """A fraction of full scale as 16 bits, with the bits below the resolution cleared."""
    return min(max(round(fraction * (1 << bits)), 0), (1 << bits) - 1) << (16 - bits)


def _sht2x(part: Part) -> Sht2x:
    return Sht2x("sht2x", part)


def _htu21d(part: Part) -> Sht2x:
    return Sht2x("htu21d", part)


def _si7021(part: Part) -> Sht2x:
    return Sht2x("si7021", part)


CHIPS: Final[Makers] = {"sht2x": _sht2x, "htu21d": _htu21d, "si7021": _si7021}
