"""Readings of kernel drivers as small text files below one root. Holds no file open."""

from __future__ import annotations

import errno
import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from edge_agent.errors import BusDenied, BusError, BusGone

if TYPE_CHECKING:
    from collections.abc import Callable

W1_ROOT: Final = "/sys/bus/w1/devices"
_LONGEST_BYTES: Final = 4096
"""The kernel gives at most one page per attribute."""


def read_file(path: str) -> bytes:
    """The first 4096 bytes of a file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # One read only: the kernel makes the text at each read, and a second one would measure again.
        return os.read(descriptor, _LONGEST_BYTES)
    finally:
        os.close(descriptor)


def write_file(path: str, content: bytes) -> None:
    """Write to a file that exists. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


class SysfsTree:
    """The files below one folder of /sys.

    Args:
        root: the folder; another one in tests.
        read: reads a file, or raises OSError; replaced in simulation.
        write: writes a file, or raises OSError.
        label: what messages call the root; by default `root`.
    """

    def __init__(
        self,
        root: str = W1_ROOT,
        *,
        read: Callable[[str], bytes] = read_file,
        write: Callable[[str, bytes], None] = write_file,
        label: str = "",
    ) -> None:
        self._root = root
        self._label = label or root
        self._read_file, self._write_file = read, write

    def read(self, path: str) -> str:
        """Read the text at `path` below the root, at most 4096 bytes.

        Raises:
            BusGone: it is not there.
            BusDenied: it may not be read, or it lies outside the root.
            BusError: the kernel's driver failed; `errno` is its reason.
        """
        full = self._below_root(path)
        try:
            return self._read_file(full).decode("ascii", "replace")
        except OSError as error:
            raise self._explain(error, path) from error

    def write(self, path: str, text: str) -> None:
        """Write `text` to the existing file at `path` below the root. Raises as `read` does."""
        full = self._below_root(path)
        try:
            self._write_file(full, text.encode("ascii"))
        except OSError as error:
            raise self._explain(error, path) from error

    def names(self, path: str = "") -> list[str]:
        """Entries directly below the root or the folder at `path`, sorted; empty if it is not there."""
        full = self._below_root(path) if path else self._root
        try:
            return sorted(os.listdir(full))  # noqa: PTH208 names, not paths
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._explain(error, path) from error

    def resolve(self, path: str) -> str:
        """Follow the links of `path` to the device itself, e.g. `/sys/devices/…/i2c-1/1-0077/iio:device0`.

        Raises:
            BusGone: it is not there. BusDenied: it lies outside the root.
        """
        full = self._below_root(path)
        try:
            return os.path.realpath(full, strict=True)
        except OSError as error:
            raise self._explain(error, path) from error

    def close(self) -> None:
        """Does nothing: no file is held open."""

    def _below_root(self, path: str) -> str:
        """The full path. Links are not followed: the entries of /sys/bus are links that lead out of it by design."""
        inside = PurePosixPath(path)
        if not path or "\0" in path or inside.is_absolute() or ".." in inside.parts:
            raise BusDenied(f"{path!r} is not a path below {self._label}", errno=errno.EACCES)
        return str(PurePosixPath(self._root) / inside)

    def _explain(self, error: OSError, path: str) -> BusError:
        """The error class and message for an error of the kernel."""
        shown = f"{self._label}/{path}" if path else self._label
        match error.errno:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                return BusGone(f"{shown} is not there: the device or its kernel driver is gone", errno=error.errno)
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return BusDenied(f"{shown} may not be accessed: {error.strerror}", errno=error.errno)
            case _:
                return BusError(f"{shown}: the kernel driver failed: {error.strerror or error}", errno=error.errno)
