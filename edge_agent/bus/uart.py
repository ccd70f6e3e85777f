"""A serial port: RS-485 adapter, USB converter or UART of the board. The only door to pyserial."""

from __future__ import annotations

import errno
import os
import termios
from pathlib import Path
from typing import Final, Literal

from serial import Serial, SerialException, SerialTimeoutException

from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout

_BITS_PER_BYTE: Final = 11
"""Start, 8 data, parity or second stop, stop: the most a byte takes."""
_GAP_FLOOR_S: Final = 0.00175
"""Fixed above 19200 baud (Modbus over serial line V1.02, section 2.5.1.1)."""
_WRITE_TIMEOUT_S: Final = 2.0
"""Without one a write to a stalled adapter hangs for ever."""
_PORT_ERRORS: Final = (SerialException, OSError, termios.error, TypeError)
"""What pyserial raises when a port dies: TypeError where its file descriptor has become None."""


class Uart:
    """One serial port, 8 data bits, opened exclusively at its first use.

    Args:
        device: best a name below /dev/serial/by-id, which survives re-plugging.
        baud: bits per second.
        parity: none, even or odd.
        stopbits: 1 or 2.
        echo: whether all bytes sent come back first, as on 2-wire RS-485 boards with a live receiver.
    """

    def __init__(
        self,
        device: str,
        *,
        baud: int = 9600,
        parity: Literal["N", "E", "O"] = "N",
        stopbits: Literal[1, 2] = 1,
        echo: bool = False,
    ) -> None:
        self._device = device
        self._baud = baud
        self._parity = parity
        self._stopbits = stopbits
        self._echo = echo
        self._byte_s = _BITS_PER_BYTE / baud
        self._port: Serial | None = None
        self._clock = SystemClock()  # a line is silent in real time, also where measuring is simulated
        self._quiet_since_ns = 0

    def exchange(self, request: bytes, *, reply_length: int, timeout_s: float) -> bytes:
        """Drop stale input, send `request`, and read until the reply is there or time is up.

        The line is left silent for 3.5 characters before the request, as Modbus demands between frames.

        Args:
            request: bytes to send, may be empty.
            reply_length: bytes to wait for, without the echo.
            timeout_s: how long the other side may think; the time on the wire is added.

        Returns:
            What came after the echo, if there is one: possibly fewer bytes than asked for, possibly none.

        Raises:
            BusGone: the port does not exist or was unplugged; it is closed, so that it can come back.
            BusDenied: it may not be opened, or another program has it open.
            BusTimeout: the port takes no bytes.
        """
        port = self._opened()
        length = reply_length + (len(request) if self._echo else 0)
        try:
            port.reset_input_buffer()
            if (gap_s := self._gap_left_s()) > 0:
                port.timeout = gap_s
                port.read(256)
            port.write(request)
            port.timeout = timeout_s + self._byte_s * (len(request) + reply_length)
            received = port.read(length)
            self._quiet_since_ns = self._clock.now_ns()
        except SerialTimeoutException as error:
            self.close()
            raise BusTimeout(f"{self._device} takes no bytes: flow control or a stalled adapter") from error
        except _PORT_ERRORS as error:
            # At once: while the dead port is held open, the adapter comes back under another name.
            self.close()
            raise BusGone(
                f"{self._device} failed ({error}): unplugged, or another program reads from it too",
                errno=getattr(error, "errno", None),
            ) from error
        return _after_echo(received, request, reply_length) if self._echo else received

    def _gap_left_s(self) -> float:
        """How long the line has to stay silent yet, so that slaves see the last frame as ended."""
        silent_s = (self._clock.now_ns() - self._quiet_since_ns) / NS_PER_S
        return max(3.5 * self._byte_s, _GAP_FLOOR_S) - silent_s

    def close(self) -> None:
        """Give the port back. Closing twice is harmless; the next exchange opens it again."""
        port, self._port = self._port, None
        if port is not None:
            try:
                port.close()
            except _PORT_ERRORS:  # it is gone, which is what was wanted
                return

    def _opened(self) -> Serial:
        if self._port is None:
            try:
                self._port = Serial(
                    self._device,
                    self._baud,
                    parity=self._parity,
                    stopbits=self._stopbits,
                    write_timeout=_WRITE_TIMEOUT_S,
                    exclusive=True,
                )
            except ValueError as error:
                raise BusError(f"{self._device} cannot be set to {self._baud} baud: {error}") from error
            except _PORT_ERRORS as error:
                raise self._explain_open(error) from error
        return self._port

    def _explain_open(self, error: Exception) -> BusError:
        number = error.errno if isinstance(error, OSError) else None
        match number:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO | errno.EIO:
                return BusGone(f"{self._device} does not exist: the adapter is unplugged", errno=number)
            case errno.EACCES | errno.EPERM:
                return BusDenied(
                    f"{self._device} may not be opened: add the user to group dialout (usermod -aG dialout); "
                    "a container needs --device and --group-add",
                    errno=number,
                )
            case errno.EAGAIN | errno.EBUSY:
                return BusDenied(f"another program{_holder(self._device)} has {self._device} open", errno=number)
            case _:
                return BusError(f"{self._device} cannot be opened as a serial port: {error}", errno=number)


def _after_echo(received: bytes, request: bytes, reply_length: int) -> bytes:
    """Drop our own request; where it is not found (damaged, or not echoed) the end is the best guess."""
    before, found, reply = received.partition(request)
    return reply if found else before[-reply_length:]


def _holder(device: str) -> str:
    """Name who holds the lock, as ` (minicom, pid 123)`, if the kernel shows it."""
    try:
        inode = os.stat(device).st_ino  # noqa: PTH116 follows the by-id link
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
                name = Path(f"/proc/{fields[4]}/comm").read_text(encoding="utf-8").strip()
                return f" ({name}, pid {fields[4]})"
    except (OSError, IndexError, ValueError):
        return ""
    return ""
