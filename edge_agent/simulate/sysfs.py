"""A simulated part of /sys: a real directory tree under the production code that reads it.

The text of a file is made when it is read, as in the kernel, so the moment of reading is what is measured. It goes to
the reader directly: the file on the disk shows that it exists, and holds a text only after `refresh`.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from edge_agent.bus.sysfs import SysfsTree, read_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class SimulatedTree:
    """Implements `bus.base.Sysfs`. Subclasses provide the texts of files and act on writes.

    Attributes:
        directory: root of the tree as drivers see it.

    Args:
        directory: its owner removes it.
        label: what messages call it; by default `directory`.
    """

    def __init__(self, directory: Path, label: str = "") -> None:
        self.directory = directory
        self._makers: dict[str, Callable[[], str]] = {}
        self._faults: defaultdict[str, deque[int]] = defaultdict(deque)
        self._tree = SysfsTree(str(directory), read=self._read_file, write=self._write_file, label=label)

    def fail_next(self, path: str, number: int, count: int = 1) -> None:
        """Let the next `count` reads of a file fail with an error code; with 0 they give an empty text."""
        self._faults[path].extend([number] * count)

    def refresh(self, path: str) -> None:
        """Write to the disk what the file holds now, for programs that read the tree by themselves."""
        full = self.directory / path
        make = self._makers.get(os.path.realpath(full))
        if make is not None and full.exists():
            full.write_text(make(), encoding="ascii")

    def read(self, path: str) -> str:
        """The text that the file has now. Raises as the production tree."""
        return self._tree.read(path)

    def write(self, path: str, text: str) -> None:
        """Write a file as the kernel permits it. Raises as the production tree."""
        self._tree.write(path, text)

    def names(self, path: str = "") -> list[str]:
        """Entries of the tree or of a folder in it, sorted."""
        return self._tree.names(path)

    def resolve(self, path: str) -> str:
        """The path of an entry with all links followed. Raises as the production tree."""
        return self._tree.resolve(path)

    def close(self) -> None:
        """Does nothing: no file is held open, and the owner of the directory removes it."""

    def _provide(self, file: Path, make: Callable[[], str]) -> None:
        """Create a file whose text is made at each read."""
        file.touch()
        self._makers[os.path.realpath(file)] = make

    def _stored(self, path: str, content: bytes) -> None:
        """Act on a write. Raises OSError where the kernel would; here every write is refused."""
        del content
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    def _read_file(self, path: str) -> bytes:
        faults = self._faults.get(path.removeprefix(f"{self.directory}/"))
        if faults:
            number = faults.popleft()
            if number:
                raise OSError(number, os.strerror(number), path)
            return b""
        make = self._makers.get(os.path.realpath(path, strict=True))
        return read_file(path) if make is None else make().encode("ascii")

    def _write_file(self, path: str, content: bytes) -> None:
        if not os.path.isfile(path):  # noqa: PTH113 called at every conversion
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._stored(path, content)
