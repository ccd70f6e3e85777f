from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from edge_agent.errors import Truncated, Unavailable
from edge_agent.outbox.outbox import Encode
from edge_agent.outbox.recovery import DATABASE, open_or_set_aside
from edge_agent.outbox.schema import PAGE_BYTES, VERSION, StoreSettings
from edge_agent.outbox.segments import BLOCK_BYTES, FILE
from edge_agent.reading import RecordKind
from tests.outbox.conftest import told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.outbox.outbox import Content, Outbox

COUNT = 300


def seqs(outbox: Outbox) -> list[int]:
    """What can be sent, damaged ones left out."""
    return [record.seq for _lane, record in outbox.hand_out(10_000) if record.kind is not RecordKind.TOMBSTONE]


def add_up(outbox: Outbox) -> None:
    tally = outbox.tally()
    assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending
    assert tally.pending == outbox.count_pending()


@pytest.fixture
def filled(open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path) -> Path:
    """A cleanly closed outbox with COUNT records."""
    outbox = open_outbox()
    for name in range(1, COUNT + 1):
        outbox.add(batch(name, 700))
    outbox.close()
    return tmp_path / "state" / DATABASE


def damage(path: Path, at: int, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(what)


def test_a_kill_loses_nothing_that_was_committed(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    for name in range(1, 20):
        running.add(batch(name))
        running.commit()
    running.add(batch(20))
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    outbox = open_outbox(directory=tmp_path / "copy")
    assert outbox.salvage is None
    assert seqs(outbox) == list(range(1, 20))
    assert outbox.tally().carried_over == 19
    assert outbox.epoch != running.epoch


def test_unsealed_segments_become_records_exactly_once(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    for name in (1, 2):
        running.add_segment(batch(name))
        running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    for records in (2, 2):
        outbox = open_outbox(directory=tmp_path / "copy", boot_id="boot-b")
        offered = [record for _lane, record in outbox.hand_out(9)]
        assert [record.body[:2] for record in offered] == [b"1 ", b"2 "]
        assert {record.boot for record in offered} == {running.boot}
        assert outbox.tally().carried_over == records
        outbox.close()


def test_segments_of_a_sealed_batch_are_gone(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    running.add_segment(batch(1))
    running.commit()
    running.add_segment(batch(2))
    running.add(batch(12))
    running.add_segment(batch(3))
    running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    outbox = open_outbox(directory=tmp_path / "copy")
    assert [record.body.split()[0] for _lane, record in outbox.hand_out(9)] == [b"12", b"3"]


def test_a_damaged_segment_leaves_a_tombstone(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    for name in (1, 2):
        running.add_segment(batch(name))
        running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    damage(tmp_path / "copy" / FILE, 100, b"\x01")
    outbox = open_outbox(directory=tmp_path / "copy")
    assert [record.kind for _lane, record in outbox.hand_out(9)] == [RecordKind.BATCH, RecordKind.TOMBSTONE]
    add_up(outbox)


def test_a_segment_that_was_being_written_is_no_loss(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    for name in (1, 2):
        running.add_segment(batch(name))
        running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    damage(tmp_path / "copy" / FILE, BLOCK_BYTES + 100, b"\x01")
    outbox = open_outbox(directory=tmp_path / "copy")
    assert [record.body[:2] for _lane, record in outbox.hand_out(9)] == [b"1 "]
    add_up(outbox)


def test_segments_that_an_earlier_release_left_in_the_database_become_records(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    open_outbox().close()
    body = batch(7).body
    with closing(sqlite3.connect(tmp_path / "state" / DATABASE)) as db:
        db.execute("INSERT INTO segment VALUES (NULL, 1, 10, 5, 6, ?, ?)", (crc32(body), body))
        db.commit()
    outbox = open_outbox()
    assert [record.body for _lane, record in outbox.hand_out(9)] == [body]
    outbox.close()


def test_rows_that_cannot_be_read_leave_a_tombstone(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    def encode(_body: bytes) -> bytes:
        raise Truncated("too short")

    running = open_outbox()
    running.add_segment(batch(1))
    running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    outbox = open_outbox(directory=tmp_path / "copy", encode=Encode(told, encode))
    assert [record.kind for _lane, record in outbox.hand_out(9)] == [RecordKind.TOMBSTONE]
    add_up(outbox)


def test_a_flipped_byte_costs_one_record(filled: Path, open_outbox: Callable[..., Outbox]) -> None:
    content = filled.read_bytes()
    damage(filled, content.index(b"123 " + bytes(100)) + 50, b"\x01")
    outbox = open_outbox()
    assert outbox.salvage is None
    assert seqs(outbox) == [seq for seq in range(1, COUNT + 1) if seq != 123]
    outbox.commit()
    assert outbox.tally().tombstoned == 1
    add_up(outbox)


def test_a_zeroed_page_costs_only_its_records(filled: Path, open_outbox: Callable[..., Outbox]) -> None:
    content = filled.read_bytes()
    damage(filled, content.index(b"150 " + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    outbox = open_outbox()
    assert outbox.salvage is not None
    assert outbox.salvage.records == COUNT - 1
    assert seqs(outbox) == [seq for seq in range(1, COUNT + 1) if seq != 150]
    add_up(outbox)


def test_a_salvage_keeps_states_and_what_is_urgent_and_promotes_nothing_twice(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    for name in range(1, 40):
        running.add(batch(name, 700))
    running.add(replace(batch(40), kind=RecordKind.EVENT, urgent=True))
    running.save_state("stages", b"learned")
    running.add_segment(batch(41))
    running.commit()
    running.add(batch(42))  # holds the readings of that segment
    running.close()
    path = tmp_path / "state" / DATABASE
    content = path.read_bytes()
    damage(path, content.index(b"20 " + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    outbox = open_outbox()
    assert outbox.salvage is not None
    assert outbox.saved_state("stages") == b"learned"
    names = [int(record.body.split()[0]) for _lane, record in outbox.hand_out(99)]
    assert names == [40, *range(1, 20), *range(21, 40), 42]
    add_up(outbox)


def test_rows_between_two_damaged_pages_are_salvaged(filled: Path, open_outbox: Callable[..., Outbox]) -> None:
    content = filled.read_bytes()
    for name in (b"50 ", b"150 ", b"299 "):
        damage(filled, content.index(name + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    assert set(range(1, COUNT + 1)) - set(seqs(open_outbox())) == {50, 150, 299}


def test_every_page_may_be_the_damaged_one(filled: Path, open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    content = filled.read_bytes()
    for page in range(0, len(content) // PAGE_BYTES, 23):
        directory = tmp_path / f"page-{page}"
        directory.mkdir()
        (directory / DATABASE).write_bytes(content)
        damage(directory / DATABASE, page * PAGE_BYTES, bytes(PAGE_BYTES))
        outbox = open_outbox(directory=directory)
        assert len(seqs(outbox)) >= (0 if page == 0 else COUNT - 150)
        outbox.commit()
        add_up(outbox)
        outbox.close()


@pytest.mark.parametrize("keep", [100, 1024, 5000, 250_000])
def test_a_truncated_file_opens(filled: Path, open_outbox: Callable[..., Outbox], keep: int) -> None:
    filled.write_bytes(filled.read_bytes()[:keep])
    outbox = open_outbox()
    assert outbox.salvage is not None
    assert outbox.salvage.aside.exists()
    add_up(outbox)
    if keep == 250_000:
        assert len(seqs(outbox)) > 200


def test_garbage_opens_and_is_kept_aside(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "damaged-of-anna.db").write_bytes(b"hers")
    for _ in range(4):
        (tmp_path / "state" / DATABASE).write_bytes(b"garbage " * 1000)
        outbox = open_outbox()
        assert outbox.salvage is not None
        assert outbox.salvage.aside.read_bytes().startswith(b"garbage")
        outbox.close()
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert names == ["damaged-3.db", "damaged-4.db", "damaged-of-anna.db", DATABASE]


def test_an_empty_file_is_an_empty_outbox(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / DATABASE).touch()
    outbox = open_outbox()
    assert outbox.tally().committed == 0
    outbox.close()


def test_a_database_without_our_tables_is_set_aside(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    other = sqlite3.connect(tmp_path / "state" / DATABASE)
    other.execute("CREATE TABLE record (whatever)")
    other.execute(f"PRAGMA user_version={VERSION}")
    other.close()
    assert open_outbox().salvage is not None


@pytest.mark.parametrize("moved", [False, True])
def test_an_interrupted_salvage_is_finished_or_begun_again(
    filled: Path, open_outbox: Callable[..., Outbox], moved: bool
) -> None:
    salvaged = filled.with_name("salvage.db")
    if moved:
        filled.rename(salvaged)
    else:
        salvaged.write_bytes(b"half")
    assert len(seqs(open_outbox())) == COUNT
    assert not salvaged.exists()


def test_a_file_in_place_of_the_directory_is_told_in_a_sentence(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(Unavailable, match="cannot be used for the outbox: File exists; give a --state-dir"):
        open_outbox()


def test_a_folder_in_place_of_the_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / DATABASE).mkdir()
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_or_set_aside(tmp_path, StoreSettings(1 << 20))


def test_a_smaller_limit_than_what_is_stored_opens(filled: Path, open_outbox: Callable[..., Outbox]) -> None:
    assert filled.exists()
    outbox = open_outbox(max_bytes=64 * 1024)
    add_up(outbox)
    assert 0 < outbox.tally().pending < COUNT
    assert outbox.tally().carried_over == COUNT


def test_numbers_add_up_after_damage_while_running(
    filled: Path, open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1000))
    outbox.commit()
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = filled.read_bytes()
    damage(filled, content.index(b"150 " + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    outbox.add(batch(1001))
    outbox.reopen()
    outbox.add(batch(1002))
    outbox.commit()
    assert outbox.salvage is not None
    add_up(outbox)
    assert outbox.tally().tombstoned == 1
    assert outbox.tally().committed == COUNT + 3
    told = [record.body for _lane, record in outbox.hand_out(1000) if record.kind is RecordKind.TOMBSTONE]
    assert told == [b"%d 0 0 1 0 damaged in the store" % outbox.epoch]


def test_numbers_add_up_after_the_file_was_taken_away(
    filled: Path, open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1000))
    for part in filled.parent.iterdir():
        part.unlink()
    outbox.reopen()
    outbox.commit()
    add_up(outbox)
    assert (outbox.tally().tombstoned, outbox.tally().pending) == (COUNT, 1)
    offered = [record for _lane, record in outbox.hand_out(9)]
    assert {record.offset_ns for record in offered} == {1_000}, "the boot is known in the new file, too"
