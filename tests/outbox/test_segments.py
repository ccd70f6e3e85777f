from __future__ import annotations

import errno
import os
import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox.schema import StoreSettings, SystemFiles, open_database
from edge_agent.outbox.segments import BLOCK_BYTES, FILE, FIRST_BLOCKS, FileSegments, Segment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path / "outbox.db", StoreSettings(1 << 20))) as connection:
        yield connection


def rows(number: int, size: int = 100) -> Segment:
    return Segment(3, 10 + number, number * 1000, number * 1000 + 9, b"%d:" % number + bytes(size))


def left_by(directory: Path, db: sqlite3.Connection) -> list[Segment]:
    """What another run finds, twice: what it took is not found again."""
    found = FileSegments(directory, random.Random(9)).take_all(db)
    assert FileSegments(directory, random.Random(10)).take_all(db) == []
    return found


def test_what_was_secured_is_found_by_the_next_run_as_it_was(tmp_path: Path, db: sqlite3.Connection) -> None:
    segments = FileSegments(tmp_path, random.Random(1))
    secured = [rows(1), rows(2, 3 * BLOCK_BYTES), rows(3, 0)]
    for segment in secured:
        segments.secure(segment)
    segments.close()
    assert left_by(tmp_path, db) == secured


def test_a_file_that_was_never_written_holds_nothing(tmp_path: Path, db: sqlite3.Connection) -> None:
    FileSegments(tmp_path, random.Random(1)).close()
    assert not (tmp_path / FILE).exists()
    assert left_by(tmp_path, db) == []


@given(batches=st.lists(st.lists(st.integers(0, 9000), max_size=4), max_size=6), ends_sealed=st.booleans())
def test_only_rows_of_the_batch_that_is_not_sealed_are_left(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], ends_sealed: bool
) -> None:
    directory = tmp_path_factory.mktemp("state")
    with closing(open_database(directory / "outbox.db", StoreSettings(1 << 20))) as connection:
        segments, secured = FileSegments(directory, random.Random(1), durable=False), list[Segment]()
        for place, sizes in enumerate(batches):
            secured = [rows(number, size) for number, size in enumerate(sizes)]
            for segment in secured:
                segments.secure(segment)
            if place < len(batches) - 1 or ends_sealed:
                segments.mark_sealed(connection)
                segments.start_batch()
                secured = []
        segments.close()
        assert left_by(directory, connection) == secured


def test_rows_of_a_batch_whose_transaction_did_not_hold_are_still_there(tmp_path: Path, db: sqlite3.Connection) -> None:
    segments = FileSegments(tmp_path, random.Random(1))
    segments.secure(rows(1))
    db.execute("BEGIN")
    segments.mark_sealed(db)
    db.execute("ROLLBACK")
    segments.secure(rows(2))
    segments.close()
    assert left_by(tmp_path, db) == [rows(1), rows(2)]


def test_the_file_keeps_its_size_as_long_as_batches_fit(tmp_path: Path, db: sqlite3.Connection) -> None:
    segments = FileSegments(tmp_path, random.Random(1), durable=False)
    for number in range(200):
        segments.secure(rows(number))
        if number % 6 == 5:
            segments.mark_sealed(db)
            segments.start_batch()
    assert (tmp_path / FILE).stat().st_size == FIRST_BLOCKS * BLOCK_BYTES
    segments.secure(rows(1, 2 * FIRST_BLOCKS * BLOCK_BYTES))
    segments.close()
    assert (tmp_path / FILE).stat().st_size % BLOCK_BYTES == 0
    assert left_by(tmp_path, db)[-1] == rows(1, 2 * FIRST_BLOCKS * BLOCK_BYTES)


@pytest.mark.parametrize("at", [0, 4, 12, 20, 60, 64])
def test_a_damaged_header_costs_one_segment_and_is_not_passed_over(
    tmp_path: Path, db: sqlite3.Connection, at: int
) -> None:
    for damaged in range(3):
        segments = FileSegments(tmp_path, random.Random(damaged))
        for number in range(3):
            segments.secure(rows(number))
        segments.close()
        content = bytearray((tmp_path / FILE).read_bytes())
        content[damaged * BLOCK_BYTES + at] ^= 0x10
        (tmp_path / FILE).write_bytes(content)
        found = left_by(tmp_path, db)
        if damaged == 2:  # it may have been cut short while it was being written
            assert found == [rows(0), rows(1)]
        else:
            assert [segment.intact for segment in found] == [number != damaged for number in range(3)]
            assert found[2] == rows(2)


def test_a_first_segment_that_was_cut_short_does_not_bring_back_what_is_sealed(
    tmp_path: Path, db: sqlite3.Connection
) -> None:
    segments = FileSegments(tmp_path, random.Random(1))
    for number in range(3):
        segments.secure(rows(number))
    segments.mark_sealed(db)
    segments.start_batch()
    segments.secure(rows(7))
    segments.close()
    content = bytearray((tmp_path / FILE).read_bytes())
    content[10] ^= 1
    (tmp_path / FILE).write_bytes(content)
    assert left_by(tmp_path, db) == []


def test_a_failed_write_is_raised_and_can_be_tried_again(
    tmp_path: Path, db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = FileSegments(tmp_path, random.Random(1))
    segments.secure(rows(1))
    write: Callable[..., int] = os.pwrite

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        segments.secure(rows(2))

    def piece(fd: int, octets: bytes, at: int) -> int:
        return write(fd, octets[:1000], at)

    monkeypatch.setattr(os, "pwrite", piece)
    segments.secure(rows(2))
    segments.close()
    assert left_by(tmp_path, db) == [rows(1), rows(2)]


class WritesAndFails(SystemFiles):
    """A disk whose flush fails: the block is there nevertheless."""

    def pwrite(self, fd: int, octets: memoryview, at: int) -> int:
        """Write, and fail."""
        super().pwrite(fd, octets, at)
        if bytes(octets).strip(b"\0"):
            raise OSError(errno.EIO, "Input/output error")
        return len(octets)


def test_rows_whose_write_failed_but_is_there_are_not_found_after_their_batch_was_sealed(
    tmp_path: Path, db: sqlite3.Connection
) -> None:
    segments = FileSegments(tmp_path, random.Random(1), files=WritesAndFails())
    with pytest.raises(OSError, match="Input/output error"):
        segments.secure(rows(1))
    segments.mark_sealed(db)
    segments.start_batch()
    segments.close()
    assert left_by(tmp_path, db) == []
