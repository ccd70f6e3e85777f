"""Winsen MH-Z19B and MH-Z19C: carbon dioxide, over their serial line.

Source: MH-Z19B user's manual version 1.6 (section UART, command 0x86). 9600 8N1. While it warms up, for up to three
minutes, the sensor repeats one of a few round numbers. These give None until the first other number.

Limits:
    The configured range (2000, 5000 or 10000 ppm) is not read.
    The temperature in the reply is that of the board, some degrees above the air; the manual does not mention it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured
from edge_agent.errors import BadReply, BusTimeout, ChecksumMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import SerialPort

START: Final = 0xFF
READ_CO2: Final = 0x86
LENGTH: Final = 9
REQUEST: Final = bytes((START, 0x01, READ_CO2, 0, 0, 0, 0, 0, 0x79))
TIMEOUT_S: Final = 0.5

WARMING_UP: Final = frozenset({400, 410, 500, 5000})
"""ppm that firmware versions give during warm-up."""
WARM_UP_POLLS: Final = 18
"""Three minutes at the default period: a number that repeats for longer is a value."""

# The reply


def checksum(frame: bytes) -> int:
    """The last byte of a frame: the two's complement of the sum of bytes 1 to 7."""
    return -sum(frame[1:8]) & 0xFF


def decode(received: bytes) -> tuple[float | None, float | None]:
    """Decode a reply into ppm and the temperature of the board in °C; None for numbers that are not measured.

    Raises:
        BadReply: no reply, the reply to another command, or an incomplete one.
        ChecksumMismatch: it was damaged.
    """
    start = received.find(bytes((START, READ_CO2)))
    if start < 0:
        raise BadReply(f"noise instead of a reply ({received[:20].hex()}): another baud rate, or another sensor")
    frame = received[start : start + LENGTH]
    if len(frame) < LENGTH:
        raise BadReply(f"the reply broke off: {frame.hex()}")
    expected = checksum(frame)
    if frame[8] != expected:
        raise ChecksumMismatch(expected=expected, received=frame[8], raw=frame)
    ppm, board = int.from_bytes(frame[2:4]), frame[4]
    return float(ppm) if ppm else None, board - 40.0 if board else None


# The sensor


@dataclass(frozen=True, slots=True)
class MhZ19Options:
    """Whether to read the temperature of the board too."""

    board_temperature: bool = False


class MhZ19:
    """One sensor. It has no address and needs a port of its own.

    Args:
        bus: the port.
        address: not used.
        options: quantities.
    """

    def __init__(self, bus: SerialPort, address: int, options: MhZ19Options) -> None:
        del address
        self._bus = bus
        self._polls_left = WARM_UP_POLLS
        self.quantities: tuple[str, ...] = tuple(measured.quantity for measured in measures(options))

    def probe(self) -> Iterator[int]:
        """Read once. Raises as `collect`."""
        self._polls_left = WARM_UP_POLLS
        self._ask()
        yield from ()

    def trigger(self) -> int:
        """Start nothing: the sensor measures all the time. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read the concentration. None while it warms up.

        Raises:
            BusTimeout: no reply. ChecksumMismatch, BadReply: as `decode`.
        """
        ppm, board_c = self._ask()
        if self._polls_left:
            self._polls_left -= 1
            if ppm in WARMING_UP:
                ppm = None
            elif ppm is not None:
                self._polls_left = 0
        return (ppm, board_c)[: len(self.quantities)]

    def _ask(self) -> tuple[float | None, float | None]:
        received = self._bus.exchange(REQUEST, reply_length=LENGTH, timeout_s=TIMEOUT_S)
        if not received:
            raise BusTimeout("the sensor is silent: swap RX and TX, and check its 5 V supply")
        return decode(received)


_OFFERED: Final = (
    Measured("co2_ppm", 0.0, 10_000.0, resolution=1.0, accuracy=50.0, lsb=1.0),
    Measured("temperature_c", -39.0, 100.0, resolution=1.0, accuracy=5.0, lsb=1.0),
)


def measures(options: MhZ19Options) -> tuple[Measured, ...]:
    """Carbon dioxide, and the temperature of the board if configured."""
    return _OFFERED if options.board_temperature else _OFFERED[:1]


DRIVERS: Final = (
    DriverInfo(
        name="mh_z19",
        title="Winsen MH-Z19B, MH-Z19C",
        source="MH-Z19B user's manual version 1.6",
        bus=BusKind.SERIAL,
        addresses=(),
        quantities=_OFFERED,
        options=MhZ19Options,
        open=MhZ19,
        checksum=True,
        period_s=10.0,
        shortest_period_s=2.0,
        settling=6,
        narrow=measures,
    ),
)
