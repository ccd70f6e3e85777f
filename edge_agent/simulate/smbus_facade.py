"""The simulated adapter with the interface of `smbus2.SMBus`, so that drivers of other projects read the chip models.

A model and a driver by the same author may share a mistake; an independent driver shows it.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.simulate.i2c import SimulatedI2C

_I2C_M_RD: Final = 1
_MOST_MESSAGES: Final = 42
"""I2C_RDWR_IOCTL_MAX_MSGS of <linux/i2c-dev.h>."""
_BLOCK_BYTES: Final = 32


class Message(Protocol):
    """The part of `smbus2.i2c_msg` that is used: `flags` bit 0 is set for a read, `buf` is C memory of `len` bytes."""

    addr: int
    flags: int
    len: int
    buf: Any


class SmbusFacade:
    """Implements SMBus calls on a simulated adapter. Raises OSError, as the kernel does."""

    def __init__(self, bus: SimulatedI2C) -> None:
        self._bus = bus

    def write_quick(self, address: int) -> None:
        """Probe the address with no data."""
        self._transfer(address, b"", 0)

    def read_byte(self, address: int) -> int:
        """Read one byte from the register that the chip's pointer selects."""
        return self._transfer(address, b"", 1)[0]

    def write_byte(self, address: int, value: int) -> None:
        """Write one byte, which most chips take as a pointer or a command."""
        self._transfer(address, bytes([value]), 0)

    def read_byte_data(self, address: int, register: int) -> int:
        """Read one register."""
        return self._transfer(address, bytes([register]), 1)[0]

    def write_byte_data(self, address: int, register: int, value: int) -> None:
        """Write one register."""
        self._transfer(address, bytes([register, value]), 0)

    def read_word_data(self, address: int, register: int) -> int:
        """Read two bytes, the low one first."""
        return int.from_bytes(self._transfer(address, bytes([register]), 2), "little")

    def write_word_data(self, address: int, register: int, value: int) -> None:
        """Write two bytes, the low one first."""
        self._transfer(address, bytes([register]) + value.to_bytes(2, "little"), 0)

    def read_i2c_block_data(self, address: int, register: int, length: int) -> list[int]:
        """Read up to 32 bytes. Raises ValueError when more are asked for."""
        _check_block(length)
        return list(self._transfer(address, bytes([register]), length))

    def write_i2c_block_data(self, address: int, register: int, data: Iterable[int]) -> None:
        """Write up to 32 bytes after the register's number. Raises ValueError for more."""
        content = bytes(data)
        _check_block(len(content))
        self._transfer(address, bytes([register]) + content, 0)

    def i2c_rdwr(self, *messages: Message) -> None:
        """Send messages in one transaction.

        Raises:
            OSError: EINVAL for more than 42 messages; EOPNOTSUPP when a read is not the last one, which
                i2c-bcm2835 refuses; and what the transfer itself raises.
        """
        if len(messages) > _MOST_MESSAGES:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if any(message.flags & _I2C_M_RD for message in messages[:-1]):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        unsent = b""
        for position, message in enumerate(messages):
            last = position == len(messages) - 1
            if message.flags & _I2C_M_RD:
                reply = self._transfer(message.addr, unsent, message.len)
                for index in range(message.len):
                    message.buf[index] = reply[index : index + 1]
            elif last or not messages[position + 1].flags & _I2C_M_RD:
                self._transfer(message.addr, message.buf[: message.len], 0)
            else:
                unsent = message.buf[: message.len]

    def close(self) -> None:
        """Nothing is held."""

    def _transfer(self, address: int, write: bytes, read: int) -> bytes:
        try:
            return self._bus.transfer(address, write, read)
        except BusError as error:
            code = error.errno or errno.EIO
            raise OSError(code, os.strerror(code)) from error


def _check_block(length: int) -> None:
    if length > _BLOCK_BYTES:
        raise ValueError(f"Desired block length over {_BLOCK_BYTES} bytes")
