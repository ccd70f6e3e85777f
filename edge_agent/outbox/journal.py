"""The journal of the database (SQLite's write-ahead log): what is committed in it, and whether some of it is damaged.

Layout: <https://www.sqlite.org/fileformat2.html>, section 4.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.outbox.schema import Files

_HEADER: Final = struct.Struct(">8I")
"""Magic, version, page size, number of the checkpoint, two salts, two checksums."""
_FRAME: Final = struct.Struct(">6I")
"""Number of the page, size of the database after a commit (0: no commit), two salts, two checksums."""
_MAGIC: Final = 0x377F0682
_VERSION: Final = 3_007_000
_PIECE: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame whose salts are those of the header."""

    page: int
    is_commit: bool
    is_intact: bool
    content: bytes


def committed_pages(path: Path, page_bytes: int) -> dict[int, bytes]:
    """Newest content of each page that the journal holds and a commit completed, by number of the page.

    Args:
        path: path of the journal.
        page_bytes: size of a page; a journal with other pages is ignored.
    """
    pages: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for frame in _frames(_content(path), page_bytes):
        if not frame.is_intact:
            break
        pending[frame.page] = frame.content
        if frame.is_commit:
            pages |= pending
            pending = {}
    return pages


def lost_commits(path: Path, page_bytes: int) -> bool:
    """Whether the journal shows that SQLite will not read commits which were durable.

    A frame is written after all earlier commits are on the disk. So one that follows a damaged commit proves that this
    commit was durable. A damaged last commit proves nothing: power may have failed while it was written.
    """
    content = _content(path)
    if not content.strip(b"\0"):
        return False
    if _sums_of_header(content) is None:
        return len(content) > _HEADER.size
    broken = ended = False
    for frame in _frames(content, page_bytes):
        if ended:
            return True
        broken = broken or not frame.is_intact
        ended = broken and frame.is_commit
    return False


def rewrite(path: Path, files: Files) -> None:
    """Write the journal again over itself, and wait until it is on the disk.

    After a failed flush the kernel takes pages for written that are not. What is read back then comes from memory, so
    it proves nothing; what was written again and flushed is durable.

    Raises:
        OSError: it cannot be written.
    """
    try:
        content = files.read_bytes(path)
    except FileNotFoundError:
        return
    descriptor = files.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DSYNC, 0o600)
    try:
        at = 0
        while at < len(content):
            at += files.pwrite(descriptor, memoryview(content)[at : at + _PIECE], at)
    finally:
        files.close(descriptor)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _sums_of_header(content: bytes) -> tuple[int, int] | None:
    """Checksums of an intact header; None if it is damaged or missing."""
    if len(content) < _HEADER.size:
        return None
    magic, version, _size, _number, _salt, _other, first, second = _HEADER.unpack_from(content)
    if magic & ~1 != _MAGIC or version != _VERSION:
        return None
    sums = _sums(content[: _HEADER.size - 8], (0, 0), big_endian=bool(magic & 1))
    return sums if sums == (first, second) else None


def _frames(content: bytes, page_bytes: int) -> Iterator[_Frame]:
    """Frames of the current generation of the journal, in their order; later ones of an earlier generation are not."""
    sums = _sums_of_header(content)
    if sums is None:
        return
    magic, _version, size, _number, *salts = _HEADER.unpack_from(content)[:6]
    if size != page_bytes:
        return
    is_intact = True
    for at in range(_HEADER.size, len(content) - _FRAME.size - size + 1, _FRAME.size + size):
        page, database_pages, *own_salts, first, second = _FRAME.unpack_from(content, at)
        if is_intact:
            body = content[at + _FRAME.size : at + _FRAME.size + size]
            sums = _sums(content[at : at + 8] + body, sums, big_endian=bool(magic & 1))
            is_intact = own_salts == salts and sums == (first, second)
        if own_salts == salts:
            yield _Frame(page, database_pages != 0, is_intact, content[at + _FRAME.size : at + _FRAME.size + size])


def _sums(octets: bytes, sums: tuple[int, int], *, big_endian: bool) -> tuple[int, int]:
    """Continue the checksums of the journal over a multiple of eight bytes."""
    first, second = sums
    words = struct.unpack(f"{'>' if big_endian else '<'}{len(octets) // 4}I", octets)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFF_FFFF
        second = (second + odd + first) & 0xFFFF_FFFF
    return first, second
