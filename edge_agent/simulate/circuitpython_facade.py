"""The simulated adapter with the interface of CircuitPython's `busio.I2C`, for Adafruit's drivers."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from edge_agent.errors import BusError

if TYPE_CHECKING:
    from edge_agent.clock import SimulatedClock
    from edge_agent.simulate.i2c import SimulatedI2C

_BYTE_NS: Final = 90_000
"""Eight bits and the acknowledge at 100 kHz."""


class CircuitPythonFacade:
    """Implements `busio.I2C` on a simulated adapter. Raises OSError, as Blinka does on Linux.

    Args:
        bus: adapter.
        clock: advanced by the duration of each transfer at 100 kHz, because some drivers poll without sleeping.
    """

    def __init__(self, bus: SimulatedI2C, clock: SimulatedClock) -> None:
        self._bus = bus
        self._clock = clock
        self._locked = False

    def try_lock(self) -> bool:
        """Lock the bus. False if it is locked already."""
        if self._locked:
            return False
        self._locked = True
        return True

    def unlock(self) -> None:
        """Unlock the bus."""
        self._locked = False

    def scan(self) -> list[int]:
        """Addresses that acknowledge an empty write."""
        return [address for address in range(0x08, 0x78) if self._bus.ping(address)]

    def writeto(self, address: int, buffer: bytes | bytearray, *, start: int = 0, end: int | None = None) -> None:
        """Write `buffer[start:end]`; an empty write probes the address."""
        self._transfer(address, bytes(buffer[start:end]), 0)

    def readfrom_into(self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None) -> None:
        """Fill `buffer[start:end]`."""
        count = len(buffer[start:end])
        buffer[start : start + count] = self._transfer(address, b"", count)

    def writeto_then_readfrom(
        self,
        address: int,
        out_buffer: bytes | bytearray,
        in_buffer: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        """Write one part, then fill the other after a repeated start."""
        count = len(in_buffer[in_start:in_end])
        reply = self._transfer(address, bytes(out_buffer[out_start:out_end]), count)
        in_buffer[in_start : in_start + count] = reply

    def deinit(self) -> None:
        """Nothing is held."""

    def _transfer(self, address: int, write: bytes, read: int) -> bytes:
        if not self._locked:
            raise RuntimeError("the bus is used without its lock")
        addressed = bool(write or not read) + bool(read)
        try:
            return self._bus.transfer(address, write, read)
        except BusError as error:
            code = error.errno or errno.EIO
            raise OSError(code, os.strerror(code)) from error
        finally:
            self._clock.advance_to(self._clock.now_ns() + (addressed + len(write) + read) * _BYTE_NS)
