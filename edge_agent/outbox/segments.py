"""Segments: rows of the open batch, secured until the batch is sealed. One interface with one implementation.

Rows are secured every few seconds, so this determines the wear of the card. A commit of SQLite writes its journal, its
index and the journal of the file system; `FileSegments` only overwrites one block of a file whose blocks exist already.
The database keeps one number, the generation of the batch that was sealed last: blocks of that generation and of older
ones are in a record already.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

from edge_agent.outbox.schema import REPLACE_STATE, Files, SystemFiles

if TYPE_CHECKING:
    import random
    import sqlite3
    from pathlib import Path

FILE: Final = "segments.bin"
STATE: Final = "segments"
"""Name under which the database keeps the generation that was sealed last."""
BLOCK_BYTES: Final = 4096
FIRST_BLOCKS: Final = 32
"""Initial size of the file in blocks; it grows when a batch needs more."""
_MAGIC: Final = 0x4541_5348
_OLD_MAGIC: Final = 0x4541_5347
"""Of blocks without epoch, seq and mark."""
_RUN_BITS: Final = 15
"""Low bits of a generation that count batches; the high bits identify the run."""
_HEADER: Final = struct.Struct("<IQIqIqqII")
"""Magic, generation, number of the segment in it, boot, readings, first and last stamp, body length and CRC-32."""
_IDENTITY: Final = struct.Struct("<qqq")
"""Epoch and seq of the batch, and the highest seq that was committed before."""
_CRC: Final = struct.Struct("<I")
_TAKE_OLD: Final = "DELETE FROM segment RETURNING rowid, boot, readings, first_ns, last_ns, crc, body"


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of an open batch.

    Attributes:
        boot: number of the boot that their stamps belong to.
        readings: number of readings.
        first_ns, last_ns: stamps of the first and the last of them, nanoseconds since boot.
        body: the encoded rows.
        epoch, seq: identity that the batch will have; 0 if it has reserved none.
        mark: highest seq of `epoch` that was committed when the segment was written.
        intact: whether the body is complete and its checksum is correct.
    """

    boot: int
    readings: int
    first_ns: int
    last_ns: int
    body: bytes
    epoch: int = 0
    seq: int = 0
    mark: int = 0
    intact: bool = True


class Segments(Protocol):
    """Secures rows of the open batch; one batch after the other.

    Attributes:
        secured, written_bytes: how often rows were secured, and bytes of the blocks that were written for them.
    """

    secured: int
    written_bytes: int

    def secure(self, segment: Segment) -> None:
        """Store a segment; it is durable when this returns. Raises OSError."""

    def mark_sealed(self, db: sqlite3.Connection) -> None:
        """Mark the segments of the open batch as sealed, inside the transaction that stores the batch."""

    def start_batch(self) -> None:
        """Start the next batch; called when the transaction with `mark_sealed` is durable."""

    def take_all(self, db: sqlite3.Connection) -> list[Segment]:
        """Return the segments of an interrupted run, oldest first, and mark them as sealed, inside a transaction."""

    def marks(self) -> dict[int, int]:
        """Highest seq per epoch of which the segments know that it was committed, whatever the database says."""

    def discard_damaged(self) -> None:
        """Delete a file of which the first segment cannot be read, when this was told."""

    def has_damage(self) -> bool:
        """Whether the first segment of the batch that was open last cannot be read."""

    def close(self) -> None:
        """Close the file. May be called more than once."""


class FileSegments:
    """Segments in a file of blocks that are overwritten in place. Implements `Segments`.

    Args:
        directory: directory of the file.
        rng: draws the first generation, so that it differs from those of earlier runs.
        durable: whether `secure` waits until the disk has stored the segment.
        files: calls of the file system.

    Attributes:
        secured, written_bytes: see `Segments`.
    """

    def __init__(
        self, directory: Path, rng: random.Random, *, durable: bool = True, files: Files | None = None
    ) -> None:
        self._path = directory / FILE
        self._files: Files = files or SystemFiles()
        self._flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_DSYNC if durable else 0)
        self._generation = rng.getrandbits(48) << _RUN_BITS  # the high bits differ from those of earlier runs
        self.secured = self.written_bytes = 0
        self._number = 0
        self._is_used = False
        self._at = 0
        self._size = 0
        self._fd: int | None = None

    def secure(self, segment: Segment) -> None:
        """See `Segments`."""
        header = _HEADER.pack(
            _MAGIC,
            self._generation,
            self._number,
            segment.boot,
            segment.readings,
            segment.first_ns,
            segment.last_ns,
            len(segment.body),
            crc32(segment.body),
        )
        header += _IDENTITY.pack(segment.epoch, segment.seq, segment.mark)
        block = header + _CRC.pack(crc32(header)) + segment.body
        block += bytes(-len(block) % BLOCK_BYTES)
        try:
            fd = self._open(self._at + len(block))
            self._is_used = True  # a write that fails may have written
            self._write(fd, block, self._at)
        except OSError:
            self.close()
            raise
        self._at += len(block)
        self._number += 1
        self.secured += 1
        self.written_bytes += len(block)

    def mark_sealed(self, db: sqlite3.Connection) -> None:
        """See `Segments`. Nothing is written if nothing was secured."""
        if self._is_used:
            _save_generation(db, self._generation)

    def start_batch(self) -> None:
        """See `Segments`."""
        if self._is_used:
            self._generation += 1
            self._number = self._at = 0
            self._is_used = False

    def take_all(self, db: sqlite3.Connection) -> list[Segment]:
        """See `Segments`. Releases before 0.2 kept theirs in a table of the database."""
        rows = sorted(db.execute(_TAKE_OLD).fetchall())
        old = [
            Segment(boot, readings, first_ns, last_ns, body, intact=crc32(body) == crc)
            for _rowid, boot, readings, first_ns, last_ns, crc, body in rows
        ]
        row = db.execute("SELECT body FROM state WHERE name = ?", (STATE,)).fetchone()
        sealed = int.from_bytes(row[0], "big") if row is not None and isinstance(row[0], bytes) else -1
        generation, found = self._read(sealed)
        if found:
            _save_generation(db, generation)
        return old + found

    def discard_damaged(self) -> None:
        """See `Segments`."""
        with suppress(OSError):
            if self._fd is None and self.has_damage():
                self._files.unlink(self._path)

    def unsealed(self, sealed: int) -> list[Segment]:
        """Segments that are not in a record yet, oldest first; changes nothing.

        Args:
            sealed: generation that was sealed last, as the database says; -1: it does not.
        """
        return self._read(sealed)[1]

    def has_damage(self) -> bool:
        """See `Segments`."""
        content = self._content()
        if not content:
            return False
        first = _block_at(content, 0)
        return first is None or first[0] != max(generation for generation, _, _ in self._blocks())

    def marks(self) -> dict[int, int]:
        """See `Segments`."""
        marks: dict[int, int] = {}
        for _generation, _number, segment in self._blocks():
            marks[segment.epoch] = max(segment.mark, marks.get(segment.epoch, 0))
        marks.pop(0, None)
        return marks

    def close(self) -> None:
        """See `Segments`."""
        if self._fd is not None:
            with suppress(OSError):
                self._files.close(self._fd)
            self._fd = None

    def _open(self, size: int) -> int:
        """Open the file and extend it to `size` bytes, so that later writes only overwrite existing blocks.

        The first `secure` of a run deletes the file of earlier runs: their segments are in records by then, and in a
        file with blocks of one run only, missing segments can be detected.
        """
        if self._fd is None:
            if not self._number:
                with suppress(FileNotFoundError):
                    self._files.unlink(self._path)
            self._fd = self._files.open(self._path, self._flags, 0o600)
            self._size = os.fstat(self._fd).st_size
        if size > self._size:
            grown = max(size, 2 * self._size, FIRST_BLOCKS * BLOCK_BYTES) // BLOCK_BYTES * BLOCK_BYTES
            # Block by block: the kernel handles one large write as a unit, and would write all of it back later.
            for at in range(self._size, grown, BLOCK_BYTES):
                self._write(self._fd, bytes(BLOCK_BYTES), at)
            self.written_bytes += grown - self._size
            self._size = grown
        return self._fd

    def _write(self, fd: int, octets: bytes, at: int) -> None:
        """Write all octets; one call of the kernel may write fewer."""
        view = memoryview(octets)
        while view:
            written = self._files.pwrite(fd, view, at)
            view, at = view[written:], at + written

    def _content(self) -> bytes:
        try:
            return self._files.read_bytes(self._path)
        except FileNotFoundError:
            return b""

    def _blocks(self) -> list[tuple[int, int, Segment]]:
        """Generation, number and segment of all blocks that can be read."""
        content = self._content()
        return [block for at in range(0, len(content), BLOCK_BYTES) if (block := _block_at(content, at)) is not None]

    def _read(self, sealed: int) -> tuple[int, list[Segment]]:
        """The generation that is not sealed yet, and its segments; missing ones among them are given as not intact.

        Args:
            sealed: generation that was sealed last, by the run that wrote the file or by an earlier one.
        """
        blocks = self._blocks()
        same_run = [generation for generation, _, _ in blocks if generation >> _RUN_BITS == sealed >> _RUN_BITS]
        after = sealed if same_run else -1
        generation = max((generation for generation, _, _ in blocks), default=-1)
        found = {number: segment for own, number, segment in blocks if own == generation and own > after}
        if not found:
            return 0, []
        # One whose write was interrupted cannot be told from one that was damaged afterwards: both are told as lost.
        lost = replace(next(iter(found.values())), readings=0, body=b"", intact=False)
        return generation, [found.get(number, lost) for number in range(max(found) + 1)]


def _block_at(content: bytes, at: int) -> tuple[int, int, Segment] | None:
    """Generation, number and segment of the block that begins at `at`; None if none begins there."""
    if len(content) < at + BLOCK_BYTES:
        return None
    magic, generation, number, boot, readings, first_ns, last_ns, length, crc = _HEADER.unpack_from(content, at)
    if magic not in {_MAGIC, _OLD_MAGIC}:
        return None
    end = at + _HEADER.size
    identity = (0, 0, 0)
    if magic == _MAGIC:
        identity = _IDENTITY.unpack_from(content, end)
        end += _IDENTITY.size
    if _CRC.unpack_from(content, end) != (crc32(content[at:end]),):
        return None
    body = content[end + _CRC.size : end + _CRC.size + length]
    intact = len(body) == length and crc32(body) == crc
    return generation, number, Segment(boot, readings, first_ns, last_ns, body, *identity, intact=intact)


def _save_generation(db: sqlite3.Connection, generation: int) -> None:
    body = _generation_bytes(generation)
    db.execute(REPLACE_STATE, (STATE, crc32(body), body))


def _generation_bytes(generation: int) -> bytes:
    return generation.to_bytes(8, "big")
