"""A simulated serial line: a pseudo-terminal, at whose far end a thread answers for the devices.

A real pty, because the errors of a serial port come from the kernel.

Limits: a pty has no baud rate and no parity; bytes arrive at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
import threading
import tty
from collections import deque
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.simulate.chips.base import SerialSlave, SerialTalker
from edge_agent.simulate.serial_faults import SerialFault, spoil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["PtyDevice", "SerialFault"]

_GAP_S: Final = 0.02
"""A pause of this length ends a request. Real time; longer than the delays of a busy machine."""
_CHUNK_BYTES: Final = 4096
_PIECE_BYTES: Final = 1024
"""Bytes that are sent at a time: fewer than the kernel buffers."""
_ARRIVAL_NS: Final = NS_PER_S
"""How long the kernel may take to pass bytes on."""
_TICK_NS: Final = NS_PER_S // 1000


class PtyDevice:
    """One serial port with the devices that share its line.

    Attributes:
        path: for a serial library to open; stays the same across `unplug` and `plug_in` if there is a `link`.

    Args:
        devices: of those that answer requests, the first that answers counts; those that send by themselves do so
            when `speak` is called.
        link: where to put a symbolic link to the pty, as udev does under /dev/serial/by-id.
        echo: whether everything sent comes back at once, as on a two-wire line whose receiver stays on.
    """

    def __init__(
        self, devices: Sequence[SerialSlave | SerialTalker], *, link: Path | None = None, echo: bool = False
    ) -> None:
        self.slaves: tuple[SerialSlave, ...] = ()
        self.talkers: tuple[SerialTalker, ...] = ()
        for device in devices:
            self.attach(device)
        self.echo = echo
        self._link = link
        self._faults: deque[SerialFault] = deque()
        self._held = b""
        self._session: _Session | None = None
        self._last_path = ""
        self.requests = 0
        self.path = ""
        self.plug_in()

    def attach(self, device: SerialSlave | SerialTalker) -> None:
        """Connect a device to the line."""
        if isinstance(device, SerialSlave):
            self.slaves = (*self.slaves, device)
        else:
            self.talkers = (*self.talkers, device)

    def detach(self, device: SerialSlave | SerialTalker) -> None:
        """Take a device off the line, if it is there."""
        self.slaves = tuple(slave for slave in self.slaves if slave is not device)
        self.talkers = tuple(talker for talker in self.talkers if talker is not device)

    def fail_next(self, fault: SerialFault, count: int = 1) -> None:
        """Apply a fault to the next `count` replies or lines."""
        self._faults.extend([fault] * count)

    def unplug(self) -> None:
        """Unplug the adapter: an open port then raises the kernel's errors. Calling it twice is harmless."""
        if self._session is not None:
            if self._link is not None:
                self._link.unlink(missing_ok=True)
            self._session.end()
            self._session = None

    def plug_in(self) -> None:
        """Plug the adapter in again, under another device name; the link points to the new one."""
        if self._session is None:
            spare = os.openpty() if self._last_path else ()  # has the number of the last one, if that is free
            self._session = _Session(self)
            for descriptor in spare:
                os.close(descriptor)
            self._last_path = self.path = self._session.path
            if self._link is not None:
                self._link.symlink_to(self._session.path)
                self.path = str(self._link)

    def close(self) -> None:
        """End the thread and close both ends."""
        self.unplug()

    def speak(self, received: Callable[[], object] = lambda: None) -> None:
        """Let the devices that send by themselves send what is due. See `send`."""
        for talker in self.talkers:
            for line in talker.speak().splitlines(keepends=True):
                for piece in self._spoilt(line):
                    self.send(piece, received)

    def send(self, data: bytes, received: Callable[[], object] = lambda: None) -> None:
        """Put bytes on the line without a request, and wait until they can be read.

        Args:
            data: of any length.
            received: called after each piece, to read it: what the kernel has no room for is lost.
        """
        for start in range(0, len(data), _PIECE_BYTES):
            if self._session is not None:
                self._session.send(data[start : start + _PIECE_BYTES])
                received()

    def reply_to(self, frame: bytes) -> Sequence[bytes]:
        """The reply to a request in pieces, with faults applied; empty for silence."""
        self.requests += 1
        held, self._held = self._held, b""
        reply = next((answer for slave in self.slaves if (answer := slave.respond(frame))), b"")
        pieces = self._spoilt(reply) if reply else []
        return [held, *pieces] if held else pieces

    def frame_length(self, received: bytes) -> int | None:
        """Length of the request at the start of `received`, by the first device that answers requests."""
        return self.slaves[0].frame_length(received) if self.slaves else None

    def _spoilt(self, whole: bytes) -> list[bytes]:
        """A reply or a line in pieces, with the next fault applied."""
        fault = self._faults.popleft() if self._faults else None
        if fault is SerialFault.LATE:
            self._held = whole
            return []
        return [whole] if fault is None else spoil(fault, whole)


class _Session:
    """A pty from plugging in to unplugging: two file descriptors, a pipe that wakes the thread, the thread."""

    def __init__(self, device: PtyDevice) -> None:
        self._device = device
        self._clock, self._never = SystemClock(), threading.Event()
        self._near, self._far = os.openpty()
        # The client's end stays open here too: otherwise the pty hangs up when the client closes it.
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self.path = os.ttyname(self._far)
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"pty {self.path}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        os.write(self._wake, b"\0")
        self._thread.join()
        for descriptor in (self._near, self._far, self._woken, self._wake):
            os.close(descriptor)

    def send(self, data: bytes) -> None:
        """Write, and wait in real time until the bytes can be read; those that the kernel has no room for are lost."""
        before = self._pending()
        try:
            count = os.write(self._near, data)
        except BlockingIOError:
            return
        deadline_ns = self._clock.now_ns() + _ARRIVAL_NS
        while self._pending() < before + count and self._clock.now_ns() < deadline_ns:
            self._clock.wait(self._never, self._clock.now_ns() + _TICK_NS // 10)

    def _pending(self) -> int:
        """Bytes that the client could read now."""
        count: int = struct.unpack("i", fcntl.ioctl(self._far, termios.FIONREAD, bytes(4)))[0]
        return count

    def _run(self) -> None:
        received = b""
        while True:
            ready, _, _ = select.select([self._near, self._woken], [], [], _GAP_S if received else None)
            if self._woken in ready:
                return
            if not ready:
                self._answer(received)
                received = b""
                continue
            try:
                more = os.read(self._near, _CHUNK_BYTES)
            except OSError as error:
                if error.errno == errno.EIO:
                    return
                raise
            if self._device.echo:
                self._write(more)
            received += more
            length = self._device.frame_length(received)
            if length is not None and len(received) >= length:
                frame, received = received[:length], received[length:]
                self._answer(frame)

    def _answer(self, frame: bytes) -> None:
        for number, piece in enumerate(self._device.reply_to(frame)):
            if number:
                self._clock.wait(self._never, self._clock.now_ns() + 2 * _TICK_NS)
            self._write(piece)

    def _write(self, data: bytes) -> None:
        # A client that never reads loses bytes, as a UART's does, and does not hold up the thread.
        with contextlib.suppress(BlockingIOError):
            os.write(self._near, data)
