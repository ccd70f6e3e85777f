"""Checks every page and every record of an outbox without changing it; one sentence for each thing that is damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

from edge_agent.outbox import journal
from edge_agent.outbox.inspect import Unreadable, open_segments, process_of, rows_in, steadily
from edge_agent.outbox.pages import header_problem
from edge_agent.outbox.recovery import DATABASE, asides
from edge_agent.outbox.rows import read_small_tables
from edge_agent.outbox.schema import PAGE_BYTES
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.outbox.rows import Small

_IMAGE_UPTO_BYTES: Final = 64 * 1_048_576
"""A database whose journal holds commits is put together in memory for SQLite's check, if it is no larger."""
_JOURNAL_VERSIONS_AT: Final = 18
"""Offset of the two versions in the header; 1 means without a journal."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a check.

    Attributes:
        records: number of records that are as they were stored.
        faults: one sentence for each that is not, and for everything else that is damaged.
        notes: sentences about what could not be checked.
    """

    records: int
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def verify(directory: Path) -> Verdict:
    """Check an outbox.

    Raises:
        DataError: there is none.
        Unavailable: it may not be read.
    """
    verdict, is_steady = steadily(directory, _verify)
    if is_steady:
        return verdict
    note = "the agent wrote while this was read, so what is called damaged may be whole; stop the agent and repeat"
    return Verdict(verdict.records, verdict.faults, (*verdict.notes, note))


def _verify(directory: Path) -> Verdict:
    path = directory / DATABASE
    faults, notes = list[str](), list[str]()
    if problem := header_problem(path):
        faults.append(f"{path.name}: {problem}")
    structure, note = _structure(path)
    faults += structure
    notes += [note] if note else []
    small = read_small_tables(path)
    faults += [
        f"{path.name}: the saved state {name!r} is damaged" for name, crc, body in small.states if crc32(body) != crc
    ]
    records, of_records = _records(path, small)
    faults += of_records
    if process_of(directory) is None and journal.lost_commits(path.with_name(f"{DATABASE}-wal"), PAGE_BYTES):
        faults.append(f"{DATABASE}-wal: the journal is damaged, and commits that were durable are lost")
    open_rows = [segment for segment in open_segments(directory, small) if not segment.intact]
    faults += ["segments.bin: secured rows of the open batch are damaged" for _ in open_rows]
    waiting = [aside.name for aside, is_waiting in asides(directory) if is_waiting]
    faults += [f"{name}: a damaged database; the agent moves what can be read of it, when it runs" for name in waiting]
    return Verdict(records, tuple(faults), tuple(notes))


def _records(path: Path, small: Small) -> tuple[int, list[str]]:
    """Compare every record with its checksum, and their numbers with those that the outbox keeps."""
    faults = list[str]()
    records, last_rowid = 0, 0
    counts: dict[int, list[int]] = {row[0]: [0, 0, 0] for row in small.epochs}
    for row in rows_in(path):
        if isinstance(row, Unreadable):
            faults.append(row.sentence)
            continue
        records += 1
        if row.rowid <= last_rowid:
            faults.append(f"{path.name}: row {row.rowid} follows row {last_rowid}")
        last_rowid = row.rowid
        count = counts.setdefault(row.epoch, [0, 0, 0])
        count[0] += row.kind != RecordKind.TOMBSTONE
        count[1] += 1
        count[2] = max(count[2], row.seq)
    if not faults:  # what is damaged is missing in the counts
        faults += _wrong_numbers(path.name, small, counts)
    return records, faults


def _wrong_numbers(name: str, small: Small, counts: dict[int, list[int]]) -> Iterator[str]:
    told = {row[0]: row for row in small.epochs}
    for epoch, (pending, waiting, mark) in counts.items():
        if epoch not in told:
            yield f"{name}: records of epoch {epoch} wait, and the outbox does not list it"
            continue
        _, _, _, own_mark, own_pending, own_waiting = told[epoch]
        if (pending, waiting) != (own_pending, own_waiting):
            yield f"{name}: {waiting} records of epoch {epoch} wait, and the outbox counts {own_waiting}"
        if mark > own_mark:
            yield f"{name}: epoch {epoch} has a record of seq {mark}, above its mark {own_mark}"


def _structure(path: Path) -> tuple[list[str], str]:
    """Let SQLite check the pages. Returns faults, and a sentence if it could not."""
    pages = journal.committed_pages(path.with_name(f"{path.name}-wal"), PAGE_BYTES)
    try:
        if not pages:
            with closing(sqlite3.connect(f"file:{_escaped(path)}?mode=ro&immutable=1", uri=True)) as db:
                return _quick_check(path.name, db), ""
        if path.stat().st_size > _IMAGE_UPTO_BYTES:
            return [], f"{path.name} is too large for SQLite's own check while an agent uses it; stop the agent first"
        with closing(sqlite3.connect(":memory:")) as db:
            db.deserialize(_image(path.read_bytes(), pages))
            return _quick_check(path.name, db), ""
    except sqlite3.Error as error:
        return [f"{path.name}: SQLite cannot read it: {error}"], ""


def _quick_check(name: str, db: sqlite3.Connection) -> list[str]:
    rows = db.execute("PRAGMA quick_check").fetchall()
    lines = [line for (text,) in rows for line in str(text).splitlines()]
    return [] if lines == ["ok"] else [f"{name}: {line}" for line in lines if not line.startswith("***")]


def _image(content: bytes, pages: dict[int, bytes]) -> bytes:
    """The database with the pages that its journal holds."""
    image = bytearray(content)
    for number, page in sorted(pages.items()):
        at = (number - 1) * PAGE_BYTES
        image.extend(bytes(max(0, at - len(image))))
        image[at : at + PAGE_BYTES] = page
    image[_JOURNAL_VERSIONS_AT : _JOURNAL_VERSIONS_AT + 2] = b"\1\1"
    return bytes(image)


def _escaped(path: Path) -> str:
    return path.resolve().as_uri().removeprefix("file:")
