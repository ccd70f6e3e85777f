"""Modbus RTU transmitters of temperature, humidity and pressure on RS-485.

Sources: Modbus application protocol V1.1b3; Modbus over serial line V1.02; makers' manuals per profile. Slave addresses
1..247. A poll reads exactly the registers of the map, in one request where they are adjacent: an XY-MD02 refuses any
other range.

Limits:
    A revision of the XY-MD02 answers only the text command `READ`: use driver ascii_line with `request = "READ"`.
    A reply that comes later than the time-out may be taken for the next one of the same slave and registers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, declared
from edge_agent.drivers.modbus_frames import OVERHEAD, find_payload, frame_start, request_frame
from edge_agent.drivers.modbus_map import PROFILES, Block, Register, blocks
from edge_agent.errors import BadReply, BusTimeout, ChecksumMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import SerialPort

_MOST_GARBAGE: Final = 8
"""A line without bias resistors gives a few bytes before a reply; many more mean another baud rate."""


@dataclass(frozen=True, slots=True)
class ModbusOptions:
    """Kind of transmitter, and time-out of a reply (slow ones need 0.2 s).

    `registers` is a map that replaces that of the profile.
    """

    profile: Literal[
        "xy-md02", "xy-md02-hundredths", "rs-ws-n01", "cwt-th01s", "thp-box", "renke-fsxcs", "metsens300"
    ] = "xy-md02"
    registers: tuple[Register, ...] = ()
    timeout_s: float = 0.5

    def __post_init__(self) -> None:
        """Check the time-out and the map.

        Raises:
            ValueError: the time-out is out of range, or registers overlap.
        """
        if not 0 < self.timeout_s <= 10:
            raise ValueError(f"timeout_s must be above 0 and at most 10, not {self.timeout_s}")
        blocks(self.registers)

    def map(self) -> tuple[Register, ...]:
        """The registers to read, in the order of the quantities."""
        return self.registers or PROFILES[self.profile].registers


class ModbusRtu:
    """One transmitter on a serial line.

    Args:
        bus: the line, shared with other slaves.
        address: 1..247.
        options: map and time-out.
    """

    def __init__(self, bus: SerialPort, address: int, options: ModbusOptions) -> None:
        self._bus = bus
        self._address = address
        self._blocks = blocks(options.map())
        self._timeout_s = options.timeout_s
        self._garbage = 0
        self.quantities: tuple[str, ...] = tuple(register.quantity for register in options.map())

    def probe(self) -> Iterator[int]:
        """Read once. Raises as `collect`."""
        self.collect()
        yield from ()

    def trigger(self) -> int:
        """Start nothing: the transmitter measures all the time. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read the registers.

        Raises:
            BusTimeout: no reply.
            BadReply, ChecksumMismatch: as `find_payload`, or the request came back as an echo.
        """
        values: dict[str, float | None] = {}
        for block in self._blocks:
            values |= block.values(self._ask(block))
        return tuple(values[quantity] for quantity in self.quantities)

    def _ask(self, block: Block) -> bytes:
        """The data bytes of one block. Raises as `collect`."""
        length = 2 * block.words
        received = self._exchange(block, length + self._garbage)
        start = frame_start(received, self._address, block.function, length)
        if self._garbage < start <= _MOST_GARBAGE:
            # Noise before the reply has left its end unread. Read again, and from now on read as many bytes more.
            self._garbage = start
            received = self._exchange(block, length + start)
        try:
            payload, self._garbage = find_payload(received, self._address, block.function, length)
        except (ChecksumMismatch, BadReply):
            self._garbage = 0
            raise
        return payload

    def _exchange(self, block: Block, length: int) -> bytes:
        request = request_frame(self._address, block.function, block.first, block.words)
        received = self._bus.exchange(request, reply_length=OVERHEAD + length, timeout_s=self._timeout_s)
        if not received:
            raise BusTimeout(
                f"slave {self._address} is silent: if all are, swap A and B and check termination, baud rate "
                "and parity; if only this one, check its address and supply"
            )
        if received.startswith(request):
            raise BadReply("our own request came back: set echo = true on this bus")
        return received


_OFFERED: Final = (
    Measured("temperature_c", -40.0, 125.0, resolution=0.1, accuracy=0.5),
    Measured("humidity_pct", 0.0, 100.0, resolution=0.1, accuracy=3.0),
    Measured("pressure_pa", 30_000.0, 120_000.0, resolution=10.0, accuracy=100.0),
    Measured("co2_ppm", 0.0, 40_000.0, accuracy=50.0),
    Measured("illuminance_lx", 0.0, 200_000.0),
)


def measures(options: ModbusOptions) -> tuple[Measured, ...]:
    """The quantities of the map, with the step of one count as resolution."""
    return tuple(
        replace(declared(register.quantity, _OFFERED), resolution=register.step(), lsb=register.step())
        for register in options.map()
    )


DRIVERS: Final = (
    DriverInfo(
        name="modbus_rtu",
        title="Modbus RTU transmitters by a map of registers, or: "
        + "; ".join(profile.title for profile in PROFILES.values()),
        source="Modbus application protocol V1.1b3, over serial line V1.02",
        bus=BusKind.SERIAL,
        addresses=tuple(range(1, 248)),
        quantities=_OFFERED,
        options=ModbusOptions,
        open=ModbusRtu,
        checksum=True,
        shortest_period_s=0.05,
        narrow=measures,
    ),
)
