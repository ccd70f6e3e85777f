"""The calls of the segments on a simulated disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_agent.outbox.segments import FILE
from tests.campaign.disk import Call, Disk, Shadow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class DiskFiles:
    """The file layer of the segments on a disk of this kind. Implements `edge_agent.outbox.schema.Files`.

    Args:
        disk: the disk.
        wrote: called with the content of each durable write to the file of segments.
    """

    def __init__(self, disk: Disk, wrote: Callable[[bytes], object] = lambda _octets: None) -> None:
        self._disk = disk
        self._wrote = wrote
        self._open: dict[int, tuple[Shadow, bool]] = {}
        self._names: dict[int, str] = {}

    def open(self, path: Path, flags: int, mode: int) -> int:
        """See `Files`."""
        self._disk.ask(Call.OPEN, not path.exists())
        fd = os.open(path, flags, mode)
        self._names[fd] = path.name
        self._open[fd] = self._disk.shadow(path), bool(flags & os.O_DSYNC)
        return fd

    def pwrite(self, fd: int, octets: memoryview, at: int) -> int:
        """See `Files`. With O_DSYNC the block is durable when this returns; if it fails, it may be there or not."""
        shadow, dsync = self._open[fd]
        octets_ = bytes(octets)
        self._disk.ask(Call.WRITE, at + len(octets_) > os.fstat(fd).st_size)
        self._disk.note(shadow, at, octets_)
        written = os.pwrite(fd, octets_, at)
        if dsync:
            try:
                self._disk.ask(Call.SYNC)
            except OSError:
                if self._disk.power:
                    self._disk.give_up(shadow)
                raise
            self._disk.synced(shadow)
            if self._names[fd] == FILE:
                self._wrote(octets_)
        return written

    def close(self, fd: int) -> None:
        """See `Files`."""
        self._open.pop(fd, None)
        os.close(fd)

    def close_all(self) -> None:
        """Close what a process left open that is gone."""
        for fd in list(self._open):
            self.close(fd)

    def unlink(self, path: Path) -> None:
        """See `Files`."""
        self._disk.ask(Call.DELETE)
        path.unlink()

    def rename(self, path: Path, other: Path) -> None:
        """See `Files`. What was not synced follows the file."""
        self._disk.ask(Call.DELETE)
        path.rename(other)

    def read_bytes(self, path: Path) -> bytes:
        """See `Files`."""
        if path.exists():
            self._disk.ask(Call.READ)
        return path.read_bytes()
