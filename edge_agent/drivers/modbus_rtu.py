"""Modbus RTU transmitters of temperature and humidity on RS-485.

Sources: Modbus application protocol V1.1b3 (sections 6.3, 6.4, 7); Modbus over serial line V1.02 (section
2.5); makers' manuals per profile. Slave addresses 1..247. One request per poll, for exactly the registers of
the profile: an XY-MD02 refuses any other range.

Limits:
    Revisions of the XY-MD02 that answer only the text command `READ`, or in hundredths, are not covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.drivers.checksum import crc16_modbus
from edge_agent.errors import BadReply, BusTimeout, ChecksumMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import SerialPort

HOLDING: Final = 0x03
INPUT: Final = 0x04
EXCEPTION: Final = 0x80
EXCEPTIONS: Final = {
    1: "illegal function: the profile does not fit this device",
    2: "illegal register address: the profile does not fit this device",
    3: "illegal value: the profile does not fit this device",
    4: "device failure: its own sensor may be broken",
    5: "acknowledged, still at work",
    6: "busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "the device behind the gateway does not answer",
}
"""Section 7."""
_OVERHEAD: Final = 5
"""Address, function, byte count and two bytes of checksum around the data of a reply."""
_MOST_GARBAGE: Final = 8
"""A line without bias makes a few bytes before a reply; many more mean another baud rate."""


class RegisterType(Enum):
    """How the bits of one register make a number."""

    U16 = "u16"
    S16 = "s16"


@dataclass(frozen=True, slots=True)
class Register:
    """One register of a profile.

    Attributes:
        quantity: what it holds.
        type: how its bits make a number.
        counts_per_unit: that number for 1 canonical unit. A divisor, because 234 / 10 is the float nearest to
            23.4 and 234 * 0.1 is not.
    """

    quantity: str
    type: RegisterType
    counts_per_unit: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Where one kind of transmitter keeps its values: `registers` in ascending order, without gaps."""

    title: str
    function: int
    first: int
    registers: tuple[Register, ...]


_TEMPERATURE: Final = Register("temperature_c", RegisterType.S16, 10)
_HUMIDITY: Final = Register("humidity_pct", RegisterType.U16, 10)

PROFILES: Final = {
    "xy-md02": Profile("XY-MD01, XY-MD02", INPUT, 0x0001, (_TEMPERATURE, _HUMIDITY)),
    "rs-ws-n01": Profile("Renke RS-WS-N01, JXBS-3001", HOLDING, 0x0000, (_HUMIDITY, _TEMPERATURE)),
}

# Protocol


def request_frame(address: int, profile: Profile) -> bytes:
    """The request for all registers of a profile (sections 6.3 and 6.4)."""
    body = bytes((address, profile.function))
    body += profile.first.to_bytes(2) + len(profile.registers).to_bytes(2)
    return body + crc16_modbus(body).to_bytes(2, "little")


def find_payload(received: bytes, address: int, function: int, length: int) -> tuple[bytes, int]:
    """Find the reply in what came, behind noise that an idle line may have made.

    Args:
        received: bytes from the line.
        address: slave that was asked.
        function: function code that was asked.
        length: data bytes that the reply must hold.

    Returns:
        The data bytes, and how many bytes came before the frame.

    Raises:
        BadReply: an exception reply, another slave's reply, another length, or no frame at all.
        ChecksumMismatch: a frame of ours, damaged.
    """
    stranger: bytes | None = None
    for start in range(len(received) - _OVERHEAD + 1):
        frame = received[start:]
        if frame[1] == function | EXCEPTION:
            if frame[0] == address and _intact(frame[:_OVERHEAD]):
                code = frame[2]
                raise BadReply(f"slave {address} refuses, code {code}: {EXCEPTIONS.get(code, 'unknown')}")
        elif frame[1] == function and len(frame) >= _OVERHEAD + frame[2] and _intact(frame[: _OVERHEAD + frame[2]]):
            if frame[0] == address and frame[2] == length:
                return frame[3 : 3 + length], start
            stranger = stranger or frame
    if stranger is not None and stranger[0] != address:
        raise BadReply(f"slave {stranger[0]} replied where {address} was asked: two of one address, or a late reply")
    if stranger is not None:
        raise BadReply(f"slave {address} sent {stranger[2]} data bytes where {length} were asked")
    start = frame_start(received, address, function, length)
    if start >= 0 and len(received) - start >= _OVERHEAD + length:
        frame = received[start : start + _OVERHEAD + length]
        raise ChecksumMismatch(
            expected=crc16_modbus(frame[:-2]), received=int.from_bytes(frame[-2:], "little"), raw=frame
        )
    if start >= 0:
        raise BadReply(f"the reply of slave {address} broke off: {received.hex()}")
    raise BadReply(f"noise instead of a reply ({received.hex()}): wrong baud rate or parity, or no bias on the line")


def frame_start(received: bytes, address: int, function: int, length: int) -> int:
    """Where a reply begins by the look of its first three bytes; -1 if nowhere."""
    return received.find(bytes((address, function, length)))


def decode(payload: bytes, profile: Profile) -> tuple[float, ...]:
    """Turn the data bytes of a reply into values, one per register of the profile, in canonical units."""
    words = (payload[at : at + 2] for at in range(0, len(payload), 2))
    return tuple(
        int.from_bytes(word, signed=register.type is RegisterType.S16) / register.counts_per_unit
        for word, register in zip(words, profile.registers, strict=True)
    )


def _intact(frame: bytes) -> bool:
    return crc16_modbus(frame[:-2]) == int.from_bytes(frame[-2:], "little")


# The device


@dataclass(frozen=True, slots=True)
class ModbusOptions:
    """Kind of transmitter, and how long it may take to answer (slow ones need 0.2 s)."""

    profile: Literal["xy-md02", "rs-ws-n01"] = "xy-md02"
    timeout_s: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a time-out that would block the line.

        Raises:
            ValueError: it does.
        """
        if not 0 < self.timeout_s <= 10:
            raise ValueError(f"timeout_s must be above 0 and at most 10, not {self.timeout_s}")


class ModbusRtu:
    """One transmitter on a serial line.

    Args:
        bus: the line, shared with other slaves.
        address: 1..247.
        options: profile and time-out.
    """

    def __init__(self, bus: SerialPort, address: int, options: ModbusOptions) -> None:
        self._bus = bus
        self._address = address
        self._profile = PROFILES[options.profile]
        self._timeout_s = options.timeout_s
        self._request = request_frame(address, self._profile)
        self._garbage = 0
        self.quantities: tuple[str, ...] = tuple(register.quantity for register in self._profile.registers)

    def probe(self) -> Iterator[int]:
        """Ask once. Waits for nothing; raises as `collect` does."""
        self.collect()
        yield from ()

    def trigger(self) -> int:
        """Nothing to start: the transmitter measures all the time."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Ask for the registers.

        Raises:
            BusTimeout: silence.
            BadReply, ChecksumMismatch: as `find_payload`, or our own request came back.
        """
        length = 2 * len(self._profile.registers)
        received = self._exchange(length + self._garbage)
        start = frame_start(received, self._address, self._profile.function, length)
        if self._garbage < start <= _MOST_GARBAGE:
            # Noise before the reply has pushed its end out of what was read. Ask again, and from now on, for
            # as many bytes more.
            self._garbage = start
            received = self._exchange(length + start)
        try:
            payload, self._garbage = find_payload(received, self._address, self._profile.function, length)
        except (ChecksumMismatch, BadReply):
            self._garbage = 0
            raise
        return decode(payload, self._profile)

    def _exchange(self, length: int) -> bytes:
        received = self._bus.exchange(self._request, reply_length=_OVERHEAD + length, timeout_s=self._timeout_s)
        if not received:
            raise BusTimeout(
                f"slave {self._address} is silent: if all are, swap A and B and check termination, baud rate "
                "and parity; if only this one, check its address and supply"
            )
        if received.startswith(self._request):
            raise BadReply("our own request came back: set echo = true on this bus")
        return received


DRIVERS: Final = (
    DriverInfo(
        name="modbus_rtu",
        title="Modbus RTU transmitters: " + "; ".join(profile.title for profile in PROFILES.values()),
        source="Modbus application protocol V1.1b3, over serial line V1.02",
        bus=BusKind.SERIAL,
        addresses=tuple(range(1, 248)),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.1, accuracy=0.5),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.1, accuracy=3.0),
        ),
        options=ModbusOptions,
        open=ModbusRtu,
    ),
)
