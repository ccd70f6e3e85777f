"""Counts what commits write, in blocks of the file system: frames of the journal, and pages when it is emptied.

A count of our own, because the kernel's of a process (/proc/self/io) is off by a factor of two to five, and that of a
device has what all other programs write. What the file system writes beside it is in neither this nor the budget.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES: Final = 4096
_HEADER_BYTES: Final = 32
_SALTS: Final = slice(16, 24)
_FRAME: Final = struct.Struct(">2I8s")
"""Number of the page, size of the database after a commit, salts; two checksums follow."""
_FRAME_BYTES: Final = 24


class JournalMeter:
    """Follows the journal of a database from commit to commit.

    Args:
        path: path of the journal.
        page_bytes: size of a page.

    Attributes:
        written_bytes: bytes of all blocks written since it was made.
    """

    def __init__(self, path: Path, page_bytes: int) -> None:
        self.written_bytes = 0
        self._path = path
        self._page_bytes = page_bytes
        self._salts = b""
        self._frames = 0
        self._pages: set[int] = set()
        self._is_first = True

    def note_commit(self) -> None:
        """Count what was appended since the last call; the first call notes what is there already."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it is not there yet, or whoever commits hears of it
            self._is_first = False
            return
        try:
            self._follow(descriptor)
        except OSError:
            return
        finally:
            os.close(descriptor)

    def _follow(self, descriptor: int) -> None:
        salts = os.pread(descriptor, _HEADER_BYTES, 0)[_SALTS]
        if salts != self._salts:  # it was emptied into the database, and begins again
            self._count({(page - 1) * self._page_bytes // BLOCK_BYTES for page in self._pages})
            self._salts, self._frames = salts, 0
            self._pages.clear()
        step = _FRAME_BYTES + self._page_bytes
        begin = self._frames
        while True:
            head = os.pread(descriptor, _FRAME.size, _HEADER_BYTES + self._frames * step)
            if len(head) < _FRAME.size or head[8:] != salts:
                break
            self._pages.add(_FRAME.unpack(head)[0])
            self._frames += 1
        if self._frames > begin and not self._is_first:
            start = _HEADER_BYTES + begin * step if begin else 0
            end = _HEADER_BYTES + self._frames * step
            self._count(range(start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1))
        self._is_first = False

    def _count(self, blocks: range | set[int]) -> None:
        self.written_bytes += len(blocks) * BLOCK_BYTES
