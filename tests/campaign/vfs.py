"""The file access of SQLite on a simulated disk: a VFS of apsw above the one of the system."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Final

import apsw

from tests.campaign.disk import Call, Disk, Shadow

_CODES: Final = {
    Call.OPEN: apsw.SQLITE_CANTOPEN,
    Call.READ: apsw.SQLITE_IOERR_READ,
    Call.WRITE: apsw.SQLITE_IOERR_WRITE,
    Call.SYNC: apsw.SQLITE_IOERR_FSYNC,
    Call.TRUNCATE: apsw.SQLITE_IOERR_TRUNCATE,
    Call.DELETE: apsw.SQLITE_IOERR_DELETE,
}
"""What SQLite's own VFS returns when the call fails; a full disk has a code of its own."""


def _failure(call: Call, error: OSError) -> Exception:
    """The exception that gives SQLite the result code of its own VFS."""
    full = error.errno == errno.ENOSPC and call is Call.WRITE
    code = apsw.SQLITE_FULL if full else _CODES[call]
    failure = apsw.exception_for(code & 0xFF)
    failure.extendedresult = code  # type: ignore[attr-defined] # what apsw documents for its own classes
    return failure


class DiskVfs(apsw.VFS):
    """SQLite's file access on one disk; registered under a name of its own."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.disk = disk
        self.name = name
        super().__init__(name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 apsw's name
        """Open a file of the database, or a temporary one, which is none of the disk's."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or flags[0] & (apsw.SQLITE_OPEN_TEMP_DB | apsw.SQLITE_OPEN_TEMP_JOURNAL):
            return apsw.VFSFile("", name, flags)
        self._ask(Call.OPEN, not Path(path).exists())
        return _File(self.disk, name, flags, path)

    def xDelete(self, path: str, syncdir: bool) -> None:  # noqa: N802
        """Delete a journal."""
        self._ask(Call.DELETE)
        super().xDelete(path, syncdir)

    def xSleep(self, microseconds: int) -> int:  # noqa: N802
        """Nobody else holds a lock that time would free."""
        return microseconds

    def excepthook(self, *_: object) -> bool:
        """Every failure here is meant."""
        return True

    def _ask(self, call: Call, grows: bool = False) -> None:
        try:
            self.disk.ask(call, grows)
        except OSError as error:
            raise _failure(call, error) from None


class _File(apsw.VFSFile):
    """One file of a database."""

    def __init__(self, disk: Disk, name: Any, flags: list[int], path: str) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._shadow: Shadow = disk.shadow(path)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        """Read from the page cache."""
        self._ask(Call.READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Write into the page cache."""
        octets = bytes(data)
        self._ask(Call.WRITE, offset + len(octets) > os.fstat(self._shadow.fd).st_size)
        self._disk.note(self._shadow, offset, octets)
        super().xWrite(octets, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Shorten the file in the page cache."""
        self._ask(Call.TRUNCATE)
        self._disk.note_truncation(self._shadow, newsize)
        super().xTruncate(newsize)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        """Make everything written so far durable."""
        try:
            self._disk.ask(Call.SYNC)
        except OSError as error:
            if self._disk.power:
                self._disk.give_up(self._shadow)
            raise _failure(Call.SYNC, error) from None
        self._disk.synced(self._shadow)

    def excepthook(self, *_: object) -> bool:
        """Every failure here is meant."""
        return True

    def _ask(self, call: Call, grows: bool = False) -> None:
        try:
            self._disk.ask(call, grows)
        except OSError as error:
            raise _failure(call, error) from None
