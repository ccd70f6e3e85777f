"""A simulated serial line: a pseudo-terminal whose far end is answered by a thread of ours.

A pty and not an object, because the errors of a serial port come from the kernel, and so must these.

Limits: a pty has no baud rate and no parity; bytes arrive at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import tty
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.simulate.chips.base import SerialSlave

_GAP_S: Final = 0.02
"""A request that pauses for so long in its middle is over. Real time, longer than a scheduler's hiccup."""
_CHUNK_BYTES: Final = 4096


class SerialFault(Enum):
    """What can happen to one reply."""

    SILENCE = auto()
    GARBAGE = auto()
    """Two stray bytes before it, as from a line without bias."""
    BAD_CRC = auto()
    TRUNCATED = auto()
    """Its second half is missing."""


class PtyDevice:
    """One serial port with the slaves that share its line.

    Attributes:
        path: what a serial library opens; it keeps across `hang_up` and `come_back` if there is a `link`.

    Args:
        slaves: asked in turn; the first that answers is heard.
        link: where to put a symbolic link to the pty, as udev does under /dev/serial/by-id.
    """

    def __init__(self, slaves: Sequence[SerialSlave], *, link: Path | None = None) -> None:
        self.slaves = tuple(slaves)
        self._link = link
        self._faults: deque[SerialFault] = deque()
        self._session: _Session | None = None
        self.requests = 0
        self.path = ""
        self.come_back()

    def fail_next(self, fault: SerialFault, count: int = 1) -> None:
        """Spoil the next `count` replies."""
        self._faults.extend([fault] * count)

    def hang_up(self) -> None:
        """Unplug the adapter: whoever has the port open gets the kernel's errors. Twice is harmless."""
        if self._session is not None:
            if self._link is not None:
                self._link.unlink(missing_ok=True)
            self._session.end()
            self._session = None

    def come_back(self) -> None:
        """Plug the adapter in again, under another device name; the link points to the new one."""
        if self._session is None:
            self._session = _Session(self)
            self.path = self._session.path
            if self._link is not None:
                self._link.symlink_to(self._session.path)
                self.path = str(self._link)

    def close(self) -> None:
        """End the thread and close both ends."""
        self.hang_up()

    def reply_to(self, frame: bytes) -> bytes:
        """What the line carries after a request, faults included; empty for silence."""
        self.requests += 1
        reply = next((answer for slave in self.slaves if (answer := slave.respond(frame))), b"")
        if not reply or not self._faults:
            return reply
        match self._faults.popleft():
            case SerialFault.SILENCE:
                return b""
            case SerialFault.GARBAGE:
                return b"\x00\xff" + reply
            case SerialFault.BAD_CRC:
                return reply[:-1] + bytes([reply[-1] ^ 0x55])
            case SerialFault.TRUNCATED:
                return reply[: len(reply) // 2]


class _Session:
    """One life of the pty: two file descriptors, a pipe to wake the thread, the thread."""

    def __init__(self, device: PtyDevice) -> None:
        self._device = device
        self._near, self._far = os.openpty()
        # The far end stays open here too, so that a client may close and open it without hanging us up.
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
                received += os.read(self._near, _CHUNK_BYTES)
            except OSError as error:
                if error.errno == errno.EIO:
                    return
                raise
            length = self._device.slaves[0].frame_length(received) if self._device.slaves else None
            if length is not None and len(received) >= length:
                frame, received = received[:length], received[length:]
                self._answer(frame)

    def _answer(self, frame: bytes) -> None:
        reply = self._device.reply_to(frame)
        if reply:
            # A client that never reads loses bytes, as a UART's does, and does not hold up the thread.
            with contextlib.suppress(BlockingIOError):
                os.write(self._near, reply)
