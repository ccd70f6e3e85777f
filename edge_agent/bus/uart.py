"""A serial port: RS-485 adapter, USB converter or UART of the board. The only user of pyserial."""

from __future__ import annotations

import errno
import os
import re
import select
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from serial import Serial, SerialException, SerialTimeoutException

from edge_agent.bus.ports import console, holder
from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BITS_PER_BYTE: Final = 11
"""At most: start bit, 8 data bits, parity or second stop bit, stop bit."""
_GAP_FLOOR_S: Final = 0.00175
"""Gap between frames above 19200 baud (Modbus over serial line V1.02, section 2.5.1.1)."""
_WRITE_TIMEOUT_S: Final = 2.0
"""Without a time-out, a write to a stalled adapter blocks for ever."""
_PORT_ERRORS: Final = (SerialException, OSError, termios.error, TypeError)
"""What pyserial raises when a port dies: TypeError where its file descriptor has become None."""


_KERNEL_KEEPS: Final = 4095
"""Size of the input buffer of Linux; later bytes are lost (n_tty.c)."""
_MOST_LATE: Final = 256
"""Bytes of a late reply that are dropped in the gap before a request."""
MOST_KEPT: Final = 65_536
"""Bytes that are kept for a listener; older ones are dropped."""


class UartListener:
    """Implements `bus.base.Listener`."""

    def __init__(self, drain: Callable[[], None]) -> None:
        self._drain = drain
        self._received = bytearray()
        self.lost = 0

    def take(self) -> bytes:
        """All bytes since the last call. Raises as `Uart.exchange`."""
        self._drain()
        received = bytes(self._received)
        self._received.clear()
        return received

    def receive(self, received: bytes) -> None:
        """Append bytes; keep the newest 64 KiB."""
        self._received += received
        if len(self._received) > MOST_KEPT:
            del self._received[:-MOST_KEPT]
            self.lost += 1

    def drop(self) -> None:
        """Drop the bytes so far: some after them are missing."""
        self._received.clear()
        self.lost += 1


class Uart:
    """One serial port, opened exclusively at its first use.

    Args:
        device: best a path below /dev/serial/by-id, which stays the same after re-plugging.
        baud: bits per second.
        bytesize: 7 or 8 data bits.
        parity: none, even or odd.
        stopbits: 1 or 2.
        echo: whether all bytes sent come back first, as on 2-wire RS-485 boards whose receiver stays on.
        dtr: whether DTR and RTS are active. If not, opening the port does not reset an Arduino. A board with USB of its
            own (Pico, Leonardo) sends only while they are active, and some converters take their supply from them.
        simulates: the configured port that a pty stands in for. Messages name it, and no gap is left between frames: a
            pty has no baud rate.

    Limits:
        A device that sends by itself cannot share a line with one that answers requests: its bytes mix with replies.
    """

    def __init__(
        self,
        device: str,
        *,
        baud: int = 9600,
        bytesize: Literal[7, 8] = 8,
        parity: Literal["N", "E", "O"] = "N",
        stopbits: Literal[1, 2] = 1,
        echo: bool = False,
        dtr: bool = False,
        simulates: str = "",
    ) -> None:
        self._device = device
        self._label = simulates or device
        self._baud = baud
        self._bytesize = bytesize
        self._parity = parity
        self._stopbits = stopbits
        self._echo = echo
        self._dtr = dtr
        self._byte_s = _BITS_PER_BYTE / baud
        self._gap_s = max(3.5 * self._byte_s, _GAP_FLOOR_S) if not simulates else 0.0
        self._port: Serial | None = None
        self._listeners: list[UartListener] = []
        self._clock = SystemClock()  # real time: a pty passes bytes on in real time, also in simulation
        self._quiet_since_ns = 0

    def exchange(
        self,
        request: bytes,
        *,
        reply_length: int,
        timeout_s: float,
        complete: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """Drop stale input, send `request`, and read until the reply is complete or time is up.

        The line is left silent for 3.5 characters before the request, as Modbus demands between frames.

        Args:
            request: bytes to send, may be empty.
            reply_length: most bytes to wait for, without the echo.
            timeout_s: how long the device may take; the time on the wire is added.
            complete: for replies of unknown length: returns whether these bytes are a whole reply.

        Returns:
            The bytes that arrived, without the echo: possibly fewer than asked for, possibly none.

        Raises:
            BusGone: the port does not exist or was unplugged; it is closed, so that it can be opened again.
            BusDenied: no permission, or another program has it open.
            BusTimeout: the port accepts no bytes.
        """
        port = self._opened()
        length = reply_length + (len(request) if self._echo else 0)
        with self._guarded():
            self._drop_stale(port)
            port.write(request)
            wait_s = timeout_s + self._byte_s * (len(request) + reply_length)
            received = self._read_until(
                port,
                length,
                wait_s,
                lambda so_far: complete is not None and complete(self._reply_in(so_far, request, reply_length)),
            )
            self._quiet_since_ns = self._clock.now_ns()
        return self._reply_in(received, request, reply_length)

    def listen(self) -> UartListener:
        """A new listener. Does not open the port yet."""
        listener = UartListener(self._drain)
        self._listeners.append(listener)
        return listener

    def close(self) -> None:
        """Close the port. Closing twice is harmless; the next exchange opens it again."""
        port, self._port = self._port, None
        if port is not None:
            try:
                port.close()
            except _PORT_ERRORS:  # the port is gone, so it is closed
                return

    def _drain(self) -> None:
        """Pass the bytes that have arrived to all listeners. Never waits."""
        port = self._opened()
        with self._guarded():
            left = MOST_KEPT  # bounded: the line may never pause
            while left > 0 and (waiting := port.in_waiting):
                received = port.read(min(waiting, left))
                left -= max(1, len(received))
                for listener in self._listeners:
                    if waiting >= _KERNEL_KEEPS:
                        listener.drop()  # the buffer was full: bytes after these are missing
                    else:
                        listener.receive(received)

    def _drop_stale(self, port: Serial) -> None:
        """Pass stale bytes to the listeners only, and leave the line silent for the gap between frames."""
        self._drain()
        silent_s = (self._clock.now_ns() - self._quiet_since_ns) / NS_PER_S
        if (gap_s := self._gap_s - silent_s) > 0:
            late = self._read_until(port, _MOST_LATE, gap_s, lambda _so_far: False)
            for listener in self._listeners:
                listener.receive(late)

    def _read_until(self, port: Serial, length: int, wait_s: float, complete: Callable[[bytes], bool]) -> bytes:
        deadline_ns = self._clock.now_ns() + round(wait_s * NS_PER_S)
        received = b""
        while len(received) < length and not (received and complete(received)):
            # Wait here and not in pyserial, which configures the whole port again when its time-out changes.
            left_s = max(0, deadline_ns - self._clock.now_ns()) / NS_PER_S
            ready, _, _ = select.select([port.fileno()], [], [], left_s)
            if not ready:
                break
            received += port.read(length - len(received))
        return received

    def _reply_in(self, received: bytes, request: bytes, reply_length: int) -> bytes:
        """The bytes after the echo of the request; if the echo is damaged or missing, the last `reply_length` bytes."""
        if not self._echo:
            return received
        before, found, reply = received.partition(request)
        return reply if found else before[-reply_length:]

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Translate the errors of pyserial, and close a failed port at once.

        If a dead port stays open, the adapter gets another name when it is plugged in again.
        """
        try:
            yield
        except BusError:  # translated already
            raise
        except SerialTimeoutException as error:
            self.close()
            raise BusTimeout(f"{self._label} takes no bytes: flow control or a stalled adapter") from error
        except _PORT_ERRORS as error:
            self.close()
            number = _errno_of(error)
            reason = os.strerror(number) if number is not None else str(error)
            raise BusGone(
                f"{self._label} failed ({reason}): unplugged, or another program (ModemManager, brltty, a console) "
                f"reads from it too{console(self._device)}",
                errno=number,
            ) from error

    def _opened(self) -> Serial:
        if self._port is None:
            try:
                port = Serial(
                    baudrate=self._baud,
                    bytesize=self._bytesize,
                    parity=self._parity,
                    stopbits=self._stopbits,
                    timeout=0,
                    write_timeout=_WRITE_TIMEOUT_S,
                    exclusive=True,
                )
                port.dtr = port.rts = self._dtr
                port.port = self._device
                port.open()
            except ValueError as error:
                raise BusError(f"{self._label} cannot be set to {self._baud} baud: {error}") from error
            except _PORT_ERRORS as error:
                raise self._explain_open(error) from error
            self._port = port
            for listener in self._listeners:
                listener.drop()
        return self._port

    def _explain_open(self, error: Exception) -> BusError:
        number = error.errno if isinstance(error, OSError) else None
        match number:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO | errno.EIO:
                return BusGone(f"{self._label} does not exist: the adapter is unplugged", errno=number)
            case errno.EACCES | errno.EPERM:
                return BusDenied(
                    f"{self._label} may not be opened: add the user to group dialout (usermod -aG dialout); "
                    "a container needs --device and --group-add",
                    errno=number,
                )
            case errno.EAGAIN | errno.EBUSY:
                return BusDenied(
                    f"another program{holder(self._device)} has {self._label} open{console(self._device)}",
                    errno=number,
                )
            case _:
                return BusError(f"{self._label} cannot be opened as a serial port: {error}", errno=number)


def _errno_of(error: Exception) -> int | None:
    """The error code. pyserial has it only in its texts, as `(5, 'Input/output error')` or `[Errno 5] …`."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    hidden = re.search(r"(?:Errno |\()(\d{1,3})[],]", str(error))
    return int(hidden[1]) if hidden else None
