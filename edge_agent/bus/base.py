"""What a driver may ask of a bus. The seam at which simulation begins."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class BusKind(Enum):
    """How a bus is spoken to. The text stands in the configuration."""

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
        """Whether something acknowledges the address, by the least harmful transfer for it."""

    def close(self) -> None:
        """Give the device back. Closing twice is harmless; the next transfer opens it again."""


class Listener(Protocol):
    """What comes on a serial port by itself, from when it was first asked for it."""

    @property
    def lost(self) -> int:
        """How often something was lost in front of what `take` gives next: what comes does not continue what came."""

    def take(self) -> bytes:
        """Everything that has come since the last call; never waits.

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
            timeout_s: how long the other side may take.
            complete: for replies of unknown length: whether these bytes are one.

        Returns:
            What came: possibly fewer bytes than asked for, possibly none.

        Raises:
            BusGone, BusDenied, BusTimeout: the port itself failed.
        """

    def listen(self) -> Listener:
        """A listener of the caller's own: several on one port each get every byte. Touches nothing yet."""

    def close(self) -> None:
        """Give the port back. Closing twice is harmless; the next exchange opens it again."""


class Sysfs(Protocol):
    """A tree of small text files in which the kernel shows its own drivers' readings."""

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
        """Where the entry at `path` really is: which device on which bus, whatever number it bears now.

        Raises:
            BusGone: it is not there.
        """

    def close(self) -> None:
        """Nothing is held open; here so that every bus is closed alike."""


AnyBus = I2CBus | SerialPort | Sysfs
