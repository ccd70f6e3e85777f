"""Reserve: space on the disk that is given up when the disk is full, so that records can still be deleted.

On a full disk SQLite cannot even delete: its journal has no room.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "reserve.bin"


class Reserve:
    """A file without content that takes space.

    Args:
        directory: directory of the file.
        size_bytes: its size; 0: there is none.
    """

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self._path = directory / FILE
        self._size_bytes = size_bytes

    def take(self) -> None:
        """Allocate the file unless it exists, if more than twice its size is free."""
        with suppress(OSError):
            if not self._size_bytes or self._path.exists():
                return
            free = os.statvfs(self._path.parent)
            if free.f_bavail * free.f_frsize < 2 * self._size_bytes:
                return
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            except OSError:
                self.give_up()
            finally:
                os.close(descriptor)

    def give_up(self) -> bool:
        """Delete the file. Returns whether there was one."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
