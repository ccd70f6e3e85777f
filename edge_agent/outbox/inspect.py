"""Looks into the directory of an outbox without changing it, also while an agent uses it.

Files are read page by page (`pages`), so no lock is taken and no journal is emptied. What an agent writes meanwhile can
be seen by the times of the files: then everything is read again.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from edge_agent.clock import Anchor, ClockQuality
from edge_agent.errors import DataError, Unavailable
from edge_agent.outbox.boots import Boots
from edge_agent.outbox.opening import promote_segments
from edge_agent.outbox.pages import Found, Gap, PageFile
from edge_agent.outbox.recovery import DATABASE, asides
from edge_agent.outbox.rows import Small, StoredRow, read_small_tables
from edge_agent.outbox.salvage import STATE as SALVAGE
from edge_agent.outbox.salvage import Progress
from edge_agent.outbox.schema import COLUMNS, PAGE_BYTES
from edge_agent.outbox.segments import STATE as SEALED
from edge_agent.outbox.segments import FileSegments, Segment
from edge_agent.reading import Record, RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")

NODE: Final = "node"
"""Name under which the database keeps the id of the gateway whose records wait in it."""
_LOCK: Final = struct.Struct("@hhqqi4x")
"""`struct flock` of the kernel: type, whence, start, length, process."""
_LOCKED_AT: Final = 0x4000_0000
_LOCKED_BYTES: Final = 512
"""Bytes of a database that SQLite locks (its file format, section 1.4)."""
_TRIES: Final = 5
_UNKNOWN: Final = Anchor(0, ClockQuality.NONE, 0)


class Unreadable(NamedTuple):
    """A record, or several, that cannot be read: one sentence."""

    sentence: str


@dataclass(frozen=True, slots=True)
class EpochContents:
    """The records of one epoch that wait.

    Attributes:
        epoch, boot: its number, and the boot in which it began.
        mark: highest seq that was committed in it.
        counted: records that it has by the outbox's own count.
        batches, events, tombstones: records that were found.
        readings: in the batches.
        first_ns, last_ns: UNIX time of the oldest and the newest reading or event, nanoseconds; None: not known.
        bytes: of the bodies.
    """

    epoch: int
    boot: int
    mark: int
    counted: int
    batches: int = 0
    events: int = 0
    tombstones: int = 0
    readings: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    bytes: int = 0

    @property
    def records(self) -> int:
        """All records that were found."""
        return self.batches + self.events + self.tombstones


@dataclass(frozen=True, slots=True)
class Aside:
    """A damaged database that was set aside: its name, its size, and whether something is to be found in it yet."""

    name: str
    bytes: int
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """What an outbox holds.

    Attributes:
        node: id of the gateway that took the records in; empty: not stored yet.
        process: number of the process that uses it; 0: one that is not to be seen from here; None: none does.
        written_ns: UNIX time of the last write to its files, nanoseconds.
        is_steady: whether nothing was written while it was read; if not, numbers may not add up.
        epochs: those of which records wait, oldest first.
        secured: readings of the open batch that are secured and not in a record yet.
        unreadable: one sentence for each record, or run of records, that cannot be read.
        asides: damaged databases.
        file_bytes: of all files together.
    """

    node: str
    process: int | None
    written_ns: int
    is_steady: bool
    epochs: tuple[EpochContents, ...]
    secured: int
    unreadable: tuple[str, ...]
    asides: tuple[Aside, ...]
    file_bytes: int


def contents_of(directory: Path) -> Contents:
    """Read what waits in a directory.

    Raises:
        DataError: there is no outbox.
        Unavailable: it may not be read.
    """
    (small, epochs, unreadable, secured), is_steady = steadily(directory, _read)
    files = [file for file in directory.iterdir() if file.is_file()]
    return Contents(
        node=_state(small, NODE).decode(errors="replace"),
        process=process_of(directory),
        written_ns=max(file.stat().st_mtime_ns for file in files),
        is_steady=is_steady,
        epochs=epochs,
        secured=secured,
        unreadable=unreadable,
        asides=tuple(Aside(path.name, path.stat().st_size, waits) for path, waits in asides(directory)),
        file_bytes=sum(file.stat().st_size for file in files),
    )


def process_of(directory: Path) -> int | None:
    """Number of the process that uses the outbox in a directory; 0: it is not to be seen from here; None: none does."""
    try:
        descriptor = os.open(directory / DATABASE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_AT, _LOCKED_BYTES, 0)
        kind, _, _, _, process = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else max(0, process)


def steadily(directory: Path, read: Callable[[Path], T]) -> tuple[T, bool]:
    """Read until nothing was written to the database meanwhile. Returns the result, and whether that was so.

    New commits go to the end of the journal, and what was read of it before stays true; only when the journal is
    emptied into the database, pages of two states could be mixed.

    Raises:
        DataError: there is no outbox.
        Unavailable: it may not be read.
    """
    try:
        for _ in range(_TRIES):
            before = database_state(directory)
            result = read(directory)
            if database_state(directory) == before:
                return result, True
    except FileNotFoundError:
        raise DataError(f"{directory} holds no outbox; give the directory of one with --state-dir") from None
    except PermissionError as error:
        raise Unavailable(
            f"{error.filename}: permission denied; run this as root or as the user of the agent"
        ) from None
    return result, False


def database_state(directory: Path) -> tuple[int, int]:
    """Which file the database is, and when it was last written; a commit that only the journal holds changes neither.

    Raises:
        OSError: it is not there.
    """
    status = (directory / DATABASE).stat()
    return status.st_ino, status.st_mtime_ns


def rows_in(path: Path, after: int = 0) -> Iterator[StoredRow | Unreadable]:
    """Rows of the records in a database, perhaps damaged ones, above a rowid; and where some cannot be read.

    Raises:
        OSError: the file cannot be opened.
    """
    with PageFile(path, PAGE_BYTES) as file:
        for item in file.rows("record", COLUMNS, after + 1):
            if isinstance(item, Found) and len(item.values) == COLUMNS:
                row = StoredRow(item.rowid, *item.values[1:])
                yield (
                    row
                    if row.is_intact()
                    else Unreadable(
                        f"{path.name}: the record in row {row.rowid} is damaged (epoch {row.epoch}, seq {row.seq})"
                    )
                )
            elif isinstance(item, Gap):
                yield Unreadable(f"{path.name}: rows {item.first_rowid} to {item.last_rowid} cannot be read")


def waiting_records(
    directory: Path, encode: Callable[[Sequence[bytes]], bytes] | None
) -> Iterator[Record | Unreadable]:
    """All records that wait, in the order in which they were stored, those of damaged databases first.

    Args:
        directory: of the outbox.
        encode: makes a batch of secured rows, as the next start does; None: leave them out.

    Raises:
        OSError: a file cannot be opened.
    """
    own = read_small_tables(directory / DATABASE)
    for path in [path for path, is_waiting in asides(directory) if is_waiting]:
        small, after = read_small_tables(path), _salvaged_upto(own, path)
        yield from _records_in(path, boots_of(own, small), after)
    yield from _records_in(directory / DATABASE, boots_of(own), 0)
    if encode is None:
        return
    segments = [segment for segment in open_segments(directory, own) if segment.seq]
    boots = boots_of(own)
    promoted, _losses = promote_segments(segments, fresh=lambda: (0, 0), encode=encode)
    for each in promoted:
        anchor = boots.anchor(each.boot, each.first_ns)
        time = (each.boot, anchor.offset_ns, anchor.quality)
        yield Record(0, each.epoch, each.seq, RecordKind.BATCH, *time, each.readings, each.body)


def boots_of(*tables: Small) -> Boots:
    """The boots that the small tables of databases know."""
    boots = Boots("", _UNKNOWN)
    for small in tables:
        boots.learn(small.boots, small.anchors)
    return boots


def open_segments(directory: Path, small: Small) -> list[Segment]:
    """Secured rows that are not in a record yet."""
    sealed = _state(small, SEALED)
    segments = FileSegments(directory, random.Random(0))  # noqa: S311 draws a number that is not used
    return segments.unsealed(int.from_bytes(sealed, "big") if sealed else -1)


def _records_in(path: Path, boots: Boots, after: int) -> Iterator[Record | Unreadable]:
    for row in rows_in(path, after):
        yield row if isinstance(row, Unreadable) else row.record(boots.anchor(row.boot, row.first_ns))


def _salvaged_upto(own: Small, path: Path) -> int:
    """Rowid up to which the records of a damaged database are in the new one already, or were delivered."""
    try:
        progress = Progress.from_bytes(_state(own, SALVAGE))
    except (TypeError, KeyError, ValueError):
        return 0
    return progress.after if progress.name == path.name else 0


def _state(small: Small, name: str) -> bytes:
    return next((body for own, _crc, body in small.states if own == name), b"")


def _read(directory: Path) -> tuple[Small, tuple[EpochContents, ...], tuple[str, ...], int]:
    path = directory / DATABASE
    small = read_small_tables(path)
    boots, unreadable = boots_of(small), list[str]()
    known = sorted(small.epochs, key=lambda row: int(row[2]))
    found = {row[0]: EpochContents(row[0], row[1], row[3], row[5]) for row in known}
    for row in rows_in(path):
        if isinstance(row, Unreadable):
            unreadable.append(row.sentence)
            continue
        epoch = found.get(row.epoch) or EpochContents(row.epoch, row.boot, 0, 0)
        found[row.epoch] = _with(epoch, row, boots)
    epochs = tuple(epoch for epoch in found.values() if epoch.records or epoch.counted)
    return small, epochs, tuple(unreadable), sum(segment.readings for segment in open_segments(directory, small))


def _with(epoch: EpochContents, row: StoredRow, boots: Boots) -> EpochContents:
    """The contents with one more record. A tombstone has no times of its own."""
    if row.kind == RecordKind.TOMBSTONE:
        return replace(epoch, tombstones=epoch.tombstones + 1, bytes=epoch.bytes + len(row.body))
    is_batch = row.kind == RecordKind.BATCH
    first_ns, last_ns = epoch.first_ns, epoch.last_ns
    first, last = boots.anchor(row.boot, row.first_ns), boots.anchor(row.boot, row.last_ns)
    if first.quality is not ClockQuality.NONE and last.quality is not ClockQuality.NONE:
        from_ns, to_ns = row.first_ns + first.offset_ns, row.last_ns + last.offset_ns
        first_ns = from_ns if first_ns is None else min(first_ns, from_ns)
        last_ns = to_ns if last_ns is None else max(last_ns, to_ns)
    return replace(
        epoch,
        batches=epoch.batches + is_batch,
        events=epoch.events + (not is_batch),
        readings=epoch.readings + (row.readings if is_batch else 0),
        first_ns=first_ns,
        last_ns=last_ns,
        bytes=epoch.bytes + len(row.body),
    )
