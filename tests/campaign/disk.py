"""A disk that fails, and that loses at a power cut what was not synced. One model below SQLite and the segments.

How: the standard sqlite3 module has no hook for file access, so `sqlite.py` opens the database with apsw, whose VFS is
subclassed here (`vfs.py`), and makes the connection look like `sqlite3.Connection`. The files are real ones, in a
directory in memory: what edge-agent does with paths (rename, unlink, glob, a plain `sqlite3.connect`) works unchanged.
Next to each file stands a list of the writes that no sync has made durable, each with the bytes that were there before.
A power cut undoes them all and then does some of them again: any subset, in any order, the last sectors torn.

Rules of the model:
- A write is in the file at once (page cache) and durable after a sync of that file.
- A sync that fails gives up its writes: they stay readable, and no later sync makes them durable (Linux marks the pages
  clean). Only a new write to the same place does.
- A file opened with O_DSYNC syncs each write.
- Creating, renaming and deleting files is durable at once, like the calls of recovery, which are not seen here. What
  the directory would have lost is therefore not tested.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

SECTOR: Final = 512
"""Bytes that a card writes as a unit."""


class Call(Enum):
    """A call that the disk sees."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"
    SYNC = "sync"
    TRUNCATE = "truncate"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One change of a file that is not durable; `old` and `old_size` were there before. Truncations have no `new`."""

    at: int
    old: bytes
    new: bytes
    old_size: int
    new_size: int


@dataclass(slots=True)
class Shadow:
    """What the disk knows of one file. The descriptor is its own, so that renaming the file changes nothing."""

    fd: int
    unsynced: list[Write] = field(default_factory=list)
    given_up: list[Write] = field(default_factory=list)


Judge = "Callable[[Call, bool], int]"


def allow(_call: Call, _grows: bool) -> int:
    """A disk without faults."""
    return 0


class Disk:
    """All files of one simulated machine.

    Args:
        rng: decides what a cut leaves.

    Attributes:
        judge: asked before each call, with whether it makes the file grow; returns the errno of its failure or 0.
        calls: number of calls so far, for a fault at the n-th.
        counts: number of calls by kind.
        power: whether the machine runs; without power every call fails and changes nothing.
        quiet: whether calls are not counted and do not fail, because the campaign itself looks.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._shadows: dict[tuple[int, int], Shadow] = {}
        self.judge: Callable[[Call, bool], int] = allow
        self.calls = 0
        self.counts: Counter[Call] = Counter()
        self.power = True
        self.quiet = False

    @property
    def is_durable(self) -> bool:
        """Whether a power cut would change nothing."""
        return not any(shadow.unsynced or shadow.given_up for shadow in self._shadows.values())

    # ---- called before and after the calls of SQLite and of the segments

    def ask(self, call: Call, grows: bool = False) -> None:
        """Count a call, and let it fail if it is to.

        Raises:
            OSError: it fails, and has done nothing.
        """
        if self.quiet:
            return
        if not self.power:
            raise OSError(errno.EIO, "the power is off")
        self.calls += 1
        self.counts[call] += 1
        code = self.judge(call, grows)
        if not self.power:  # the cut came with this call
            raise OSError(errno.EIO, "the power is off")
        if code:
            raise OSError(code, os.strerror(code))

    def shadow(self, path: Path | str) -> Shadow:
        """The shadow of an open file."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        status = os.fstat(fd)
        key = status.st_dev, status.st_ino
        known = self._shadows.get(key)
        if known is not None:
            os.close(fd)
            return known
        shadow = self._shadows[key] = Shadow(fd)
        return shadow

    def note(self, shadow: Shadow, at: int, new: bytes) -> None:
        """Remember what a write is about to replace."""
        size = os.fstat(shadow.fd).st_size
        old = os.pread(shadow.fd, len(new), at)
        shadow.unsynced.append(Write(at, old, new, size, max(size, at + len(new))))

    def note_truncation(self, shadow: Shadow, size: int) -> None:
        """Remember what a truncation is about to remove."""
        old_size = os.fstat(shadow.fd).st_size
        old = os.pread(shadow.fd, max(0, old_size - size), size)
        shadow.unsynced.append(Write(size, old, b"", old_size, size))

    def synced(self, shadow: Shadow) -> None:
        """A sync succeeded. What was given up stays lost, except where it was written again."""
        if shadow.given_up:
            for later in shadow.unsynced:
                shadow.given_up = [piece for each in shadow.given_up for piece in _outside(each, later)]
        shadow.unsynced.clear()

    def give_up(self, shadow: Shadow) -> None:
        """A sync failed: its writes will never be durable."""
        shadow.given_up += shadow.unsynced
        shadow.unsynced.clear()

    # ---- the end of a machine

    def kill(self) -> None:
        """The process dies, the machine lives: everything written stays."""
        self.power = False

    def cut(self) -> int:
        """The power goes: undo what was not synced, then do any part of it again. Returns how many writes that were."""
        self.power = False
        concerned = 0
        for shadow in self._shadows.values():
            concerned += len(shadow.given_up) + len(shadow.unsynced)
            _undo(shadow.unsynced, shadow.fd)
            _forget(shadow.given_up, shadow.fd)
            self._redo(shadow.unsynced, shadow.fd)
        return concerned

    def start(self) -> None:
        """The next process starts: page cache and card hold the same from here on."""
        for shadow in self._shadows.values():
            os.close(shadow.fd)
        self._shadows.clear()
        self.judge = allow
        self.power = True

    def close(self) -> None:
        """Close all descriptors."""
        self.start()
        self.power = False

    def _redo(self, writes: list[Write], fd: int) -> None:
        """Write back any subset, in any order, each as a whole or torn at a sector; no truncation."""
        style = self._rng.random()
        if style < 0.25:
            return  # nothing had reached the card
        kept = [each for each in writes if each.new]
        if style < 0.5:
            kept = kept[: self._rng.randrange(len(kept) + 1)]  # in order, as far as it came
        else:
            kept = [each for each in kept if self._rng.random() < 0.5]
            self._rng.shuffle(kept)
        for each in kept:
            new = each.new
            if self._rng.random() < 0.2:
                sectors = self._rng.randrange(len(new) // SECTOR + 1)
                new = new[: sectors * SECTOR]
            if new:
                os.pwrite(fd, new, each.at)


def _undo(writes: list[Write], fd: int) -> None:
    for each in reversed(writes):
        if os.fstat(fd).st_size != each.old_size:
            os.ftruncate(fd, each.old_size)
        if each.old:
            os.pwrite(fd, each.old, each.at)


def _forget(writes: list[Write], fd: int) -> None:
    """Put back what was there before writes that were given up. The size stays: later writes may be durable."""
    for each in reversed(writes):
        length = min(len(each.new), os.fstat(fd).st_size - each.at)
        if length > 0:
            os.pwrite(fd, each.old.ljust(length, b"\0")[:length], each.at)


def _outside(write: Write, later: Write) -> list[Write]:
    """The parts of a write that a later one did not replace."""
    first, last = later.at, later.at + len(later.new)
    end = write.at + len(write.new)
    if not later.new or last <= write.at or end <= first:
        return [write]
    pieces = [(write.at, min(first, end)), (max(last, write.at), end)]
    return [
        Write(at, write.old[at - write.at : upto - write.at], write.new[at - write.at : upto - write.at], 0, 0)
        for at, upto in pieces
        if at < upto
    ]


def damage(file: Path, rng: random.Random) -> None:
    """Invert bits of a few bytes next to each other."""
    at = rng.randrange(file.stat().st_size)
    with file.open("r+b") as opened:
        opened.seek(at)
        octets = opened.read(rng.randrange(1, 9))
        opened.seek(at)
        opened.write(bytes(octet ^ rng.randrange(1, 256) for octet in octets))
