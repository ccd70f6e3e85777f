"""Interfaces of the buses, as drivers use them. Simulated buses implement the same interfaces."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class BusKind(Enum):
    """Kind of a bus. The text stands in the configuration."""

    I2C = "i2c"
    SERIAL = "serial"
    SYSFS = "sysfs"


class I2CBus(Protocol):
    """One I2C adapter."""

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read with a repeated start; either part may be empty.

        Args:
            address: 7-bit.
            write: bytes to send, may be empty if `read` is not 0.
            read: how many bytes to read.

        Returns:
            Exactly `read` bytes.

        Raises:
            NoAcknowledge, BusTimeout, BusGone, BusDenied: nothing was read.
        """

    def ping(self, address: int) -> bool:
        """Whether a chip acknowledges the address, tested by the least harmful transfer for it."""

    def close(self) -> None:
        """Close the device. Closing twice is harmless; the next transfer opens it again."""


class Listener(Protocol):
    """Bytes that arrive on a serial port without a request, from the first `take` on."""

    @property
    def lost(self) -> int:
        """Number of losses so far. After a loss, the next bytes do not continue the last ones."""

    def take(self) -> bytes:
        """All bytes that have arrived since the last call; never waits.

        Raises:
            BusGone, BusDenied, BusTimeout: the port itself failed.
        """


class SerialPort(Protocol):
    """One serial port, used by one caller at a time."""

    def exchange(
        self,
        request: bytes,
        *,
        reply_length: int,
        timeout_s: float,
        complete: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """Drop stale input, send `request`, and read up to `reply_length` bytes until they are there or time is up.

        Args:
            request: bytes to send.
            reply_length: most bytes to read.
            timeout_s: how long the device may take.
            complete: for replies of unknown length: returns whether these bytes are a whole reply.

        Returns:
            The bytes that arrived: possibly fewer than asked for, possibly none.

        Raises:
            BusGone, BusDenied, BusTimeout: the port itself failed.
        """

    def listen(self) -> Listener:
        """A new listener. With several on one port, each gets every byte. Does not open the port yet."""

    def close(self) -> None:
        """Close the port. Closing twice is harmless; the next exchange opens it again."""


class Sysfs(Protocol):
    """A tree of small text files in which the kernel shows the readings of its drivers."""

    def read(self, path: str) -> str:
        """Read the text at `path` below the tree's root.

        Raises:
            BusGone: it is not there.
            BusDenied: it may not be read.
            BusError: the kernel's driver failed; `errno` is its reason.
        """

    def write(self, path: str, text: str) -> None:
        """Write `text` to `path` below the root. Raises as `read` does."""

    def names(self, path: str = "") -> list[str]:
        """Entries directly below the root or the folder at `path`, sorted; empty if it is not there."""

    def resolve(self, path: str) -> str:
        """The path of the entry with all links followed: it names the bus and the device, whatever its number is now.

        Raises:
            BusGone: it is not there.
        """

    def close(self) -> None:
        """Does nothing: no file is held open."""


AnyBus = I2CBus | SerialPort | Sysfs
