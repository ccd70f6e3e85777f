from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from edge_agent.errors import Truncated
from edge_agent.outbox.outbox import Content, Encode, Tally
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import PAGE_BYTES, VERSION
from edge_agent.outbox.segments import BLOCK_BYTES, FILE
from edge_agent.reading import Lane, RecordKind
from tests.outbox.conftest import told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_agent.outbox.outbox import Outbox

COUNT = 300


def seqs(outbox: Outbox) -> list[int]:
    """What can be sent, damaged ones left out."""
    return [record.seq for _lane, record in outbox.hand_out(10_000) if record.kind is not RecordKind.TOMBSTONE]


def healed(outbox: Outbox) -> Outbox:
    """As the worker does: read everything; at damage, open again and salvage."""
    try:
        while outbox.check():
            pass
    except sqlite3.DatabaseError:
        outbox.reopen()
    while outbox.salvage():
        add_up(outbox)
    assert not outbox.salvage_part().name
    return outbox


def salvaged(outbox: Outbox) -> Outbox:
    """Finish the salvage, and see that there was one."""
    healed(outbox)
    states = [news.state for news in outbox.news]
    assert states == ["reset", "salvaged"], "whoever runs it hears of it"
    return outbox


def told_of(outbox: Outbox) -> list[tuple[int, int, int]]:
    """First and last seq and number of records of all tombstones."""
    bodies = [record.body for _lane, record in outbox.hand_out(10_000) if record.kind is RecordKind.TOMBSTONE]
    words = [body.split(b" ") for body in bodies]
    return [(int(first), -1 if last == b"None" else int(last), int(count)) for _, first, last, count, *_ in words]


def add_up(outbox: Outbox) -> None:
    tally = outbox.tally()
    assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending
    assert tally.pending == outbox.count_pending() + outbox.salvage_part().remaining


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
    assert not outbox.salvage_part().name
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
    for records in (1, 1):
        outbox = open_outbox(directory=tmp_path / "copy", boot_id="boot-b")
        offered = [record for _lane, record in outbox.hand_out(9)]
        assert [record.body for record in offered] == [b"1 " + bytes(100) + b"+2 " + bytes(100)]
        assert [(record.boot, record.epoch, record.seq) for record in offered] == [(running.boot, running.epoch, 1)]
        assert outbox.tally().carried_over == records
        outbox.close()


def test_segments_that_one_commit_secures_are_all_there(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    """As after a while in which the disk took nothing in."""
    running = open_outbox()
    for name in (1, 2, 3):
        running.add_segment(batch(name, 2))
    running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    ((_lane, record),) = open_outbox(directory=tmp_path / "copy").hand_out(9)
    assert record.body == b"1 \0\0+2 \0\0+3 \0\0"


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


def test_a_segment_that_was_being_written_is_told_as_lost(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    for name in (1, 2):
        running.add_segment(batch(name))
        running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    damage(tmp_path / "copy" / FILE, BLOCK_BYTES + 100, b"\x01")
    outbox = open_outbox(directory=tmp_path / "copy")
    (_lane, record), (_other, tombstone) = outbox.hand_out(9)
    assert record.body == b"1 " + bytes(100)
    assert tombstone.body == b"%d 0 0 0 10 damaged in the store" % running.epoch
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
    def encode(_bodies: Sequence[bytes]) -> bytes:
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
    assert not outbox.salvage_part().name
    assert seqs(outbox) == [seq for seq in range(1, COUNT + 1) if seq != 123]
    outbox.commit()
    assert outbox.tally().tombstoned == 1
    add_up(outbox)


def test_a_zeroed_page_costs_only_its_records(filled: Path, open_outbox: Callable[..., Outbox]) -> None:
    content = filled.read_bytes()
    damage(filled, content.index(b"150 " + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    outbox = open_outbox()
    assert outbox.tally().pending == COUNT, "they are known before they are found"
    salvaged(outbox)
    assert (outbox.tally().pending, outbox.tally().tombstoned) == (COUNT - 1, 1)
    add_up(outbox)
    assert seqs(outbox) == [seq for seq in range(1, COUNT + 1) if seq != 150]
    outbox.rewind()
    assert told_of(outbox) == [(150, 150, 1)]


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
    outbox = salvaged(open_outbox())
    assert outbox.saved_state("stages") == b"learned"
    records = [record for _lane, record in outbox.hand_out(99) if record.kind is not RecordKind.TOMBSTONE]
    names = [int(record.body.split()[0]) for record in records]
    assert names == [40, *range(1, 20), *range(21, 40), 42]
    add_up(outbox)


def test_rows_between_two_damaged_pages_are_salvaged(filled: Path, open_outbox: Callable[..., Outbox]) -> None:
    content = filled.read_bytes()
    for name in (b"50 ", b"150 ", b"299 "):
        damage(filled, content.index(name + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    assert set(range(1, COUNT + 1)) - set(seqs(salvaged(open_outbox()))) == {50, 150, 299}


def test_every_page_may_be_the_damaged_one(filled: Path, open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    content = filled.read_bytes()
    for page in range(0, len(content) // PAGE_BYTES, 23):
        directory = tmp_path / f"page-{page}"
        directory.mkdir()
        (directory / DATABASE).write_bytes(content)
        damage(directory / DATABASE, page * PAGE_BYTES, bytes(PAGE_BYTES))
        outbox = open_outbox(directory=directory)
        healed(outbox)
        assert len(seqs(outbox)) >= COUNT - 1
        outbox.commit()
        add_up(outbox)
        outbox.rewind()
        gone = {seq for first, last, _count in told_of(outbox) for seq in range(first, last + 1)}
        outbox.rewind()
        assert gone | set(seqs(outbox)) == set(range(1, COUNT + 1))
        outbox.close()


@pytest.mark.parametrize("begin", range(0, 110, 10))
def test_a_damaged_header_costs_nothing(
    filled: Path, open_outbox: Callable[..., Outbox], tmp_path: Path, begin: int
) -> None:
    content = filled.read_bytes()
    damages = [(at, bytes([content[at] ^ flip])) for at in range(begin, begin + 10) for flip in (1, 64, 255)]
    for at, octets in [*damages, (0, bytes(100)), (0, content[:16] + bytes(84))]:
        filled.write_bytes(content)
        damage(filled, at, octets)
        outbox = healed(open_outbox(directory=shutil.copytree(filled.parent, tmp_path / f"{at} {octets.hex()[:9]}")))
        outbox.add(Content(RecordKind.EVENT, 0, 0, 0, b"after"))
        outbox.commit()
        assert not outbox.volatile
        assert sorted(seqs(outbox)) == [1, *range(1, COUNT + 1)], at
        assert outbox.tally().tombstoned == 0
        add_up(outbox)
        outbox.close()


@pytest.mark.parametrize("keep", [100, 1024, 5000, 250_000])
def test_what_a_truncated_file_has_goes_on_and_the_rest_is_told(
    filled: Path, open_outbox: Callable[..., Outbox], keep: int
) -> None:
    filled.write_bytes(filled.read_bytes()[:keep])
    outbox = open_outbox()
    healed(outbox)
    add_up(outbox)
    kept = seqs(outbox)
    outbox.rewind()
    told = told_of(outbox)
    if keep == 250_000:
        assert len(kept) > 200
    if keep == 250_000:
        assert outbox.tally().committed == COUNT
        assert {seq for first, last, _ in told for seq in range(first, last + 1)} == set(range(1, COUNT + 1)) - set(
            kept
        )


def test_garbage_opens_and_is_kept_aside(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "damaged-of-anna.db").write_bytes(b"hers")
    for number in range(1, 5):
        (tmp_path / "state" / DATABASE).write_bytes(b"garbage " * 1000)
        outbox = salvaged(open_outbox())
        assert (tmp_path / "state" / f"salvaged-{number}.db").read_bytes().startswith(b"garbage")
        outbox.close()
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert names == ["damaged-of-anna.db", DATABASE, "salvaged-4.db"]


def test_a_journal_without_a_readable_header_is_told(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    running.add(batch(1))
    running.commit()
    running._store.writable().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for name in (2, 3):
        running.add(batch(name))
        running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    damage(tmp_path / "copy" / f"{DATABASE}-wal", 5, b"\x55")
    outbox = open_outbox(directory=tmp_path / "copy")
    assert [record.seq for _lane, record in outbox.hand_out(1)] == [1]
    assert told_of(outbox) == [(2, -1, 0)]
    assert [news.state for news in outbox.news] == ["rolled-back"]
    add_up(outbox)


def test_segments_prove_what_a_lost_journal_held(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    running = open_outbox()
    for name in (1, 2):
        running.add(batch(name))
    running.commit()
    running.add_segment(batch(3))
    running.commit()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    (tmp_path / "copy" / f"{DATABASE}-wal").unlink()
    (tmp_path / "copy" / DATABASE).unlink()
    outbox = open_outbox(directory=tmp_path / "copy")
    offered = outbox.hand_out(9)
    assert (offered[0][1].epoch, offered[0][1].seq) == (running.epoch, 3), "as it would have been"
    outbox.rewind()
    assert told_of(outbox) == [(1, -1, 2)]
    add_up(outbox)


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
    salvaged(open_outbox())


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_an_interrupted_salvage_goes_on(
    filled: Path, open_outbox: Callable[..., Outbox], tmp_path: Path, steps: int
) -> None:
    damage(filled, filled.read_bytes().index(b"150 " + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    first = open_outbox()
    first._store.note(fetch_error())
    first.reopen()
    for _ in range(steps):
        assert first.salvage()
    for _lane, record in first.hand_out(10):
        first.confirm(record)
    first.commit()
    confirmed = first.tally().confirmed
    assert confirmed == (10 if steps else 0)
    shutil.copytree(filled.parent, tmp_path / "copy")
    outbox = open_outbox(directory=tmp_path / "copy")
    assert outbox.tally().pending == COUNT - confirmed
    while outbox.salvage():
        add_up(outbox)
    assert seqs(outbox) == [seq for seq in range(1 + confirmed, COUNT + 1) if seq != 150]
    add_up(outbox)


def test_what_is_confirmed_before_it_is_found_is_not_sent_again(
    filled: Path, open_outbox: Callable[..., Outbox]
) -> None:
    outbox = open_outbox()
    in_flight = [record for _lane, record in outbox.hand_out(3)]
    damage(filled, 0, bytes(100))
    outbox._store.note(fetch_error())
    outbox.reopen()
    for record in in_flight:
        outbox.confirm(record)
    outbox.commit()
    salvaged(outbox)
    assert (outbox.tally().confirmed, outbox.tally().pending) == (3, COUNT - 3)
    add_up(outbox)
    outbox.rewind()
    assert seqs(outbox) == list(range(4, COUNT + 1))


def fetch_error() -> sqlite3.DatabaseError:
    """What SQLite raises at a damaged page."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


@pytest.mark.parametrize("made", ["file", "link"])
def test_a_directory_that_cannot_be_used_leaves_memory(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path, made: str
) -> None:
    if made == "file":
        (tmp_path / "state").touch()
    else:
        (tmp_path / "state").symlink_to("/proc/nowhere")
    outbox = open_outbox()
    assert outbox.volatile
    assert outbox.failure
    outbox.add(batch(1))
    with pytest.raises((OSError, sqlite3.Error)):
        outbox.commit()
    ((lane, record),) = outbox.hand_out(9)
    assert (lane, record.seq, record.epoch) == (Lane.LIVE, 1, outbox.epoch)
    outbox.confirm(record)
    assert outbox.tally() == Tally(committed=1, confirmed=1, tombstoned=0, pending=0, carried_over=0)
    outbox.add(batch(2))
    (tmp_path / "state").unlink()
    outbox.commit()
    assert [news.state for news in outbox.news] == ["volatile", "durable"]
    assert [record.seq for _lane, record in outbox.hand_out(9)] == [2]
    add_up(outbox)


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
    outbox._store.writable().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = filled.read_bytes()
    damage(filled, content.index(b"150 " + bytes(100)) // PAGE_BYTES * PAGE_BYTES, bytes(PAGE_BYTES))
    outbox.add(batch(1001))
    outbox._store.note(fetch_error())
    outbox.reopen()
    outbox.add(batch(1002))
    outbox.commit()
    add_up(outbox)
    salvaged(outbox)
    add_up(outbox)
    assert outbox.tally().tombstoned == 1
    assert outbox.tally().committed == COUNT + 3
    assert told_of(outbox) == [(150, 150, 1)]


def test_numbers_add_up_after_the_file_was_taken_away(
    filled: Path, open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1000))
    for part in filled.parent.iterdir():
        part.unlink()
    outbox.check_files()
    outbox.commit()
    add_up(outbox)
    salvaged(outbox)
    assert (outbox.tally().tombstoned, outbox.tally().pending) == (0, COUNT + 1), "it was still open"
    offered = [record for _lane, record in outbox.hand_out(9)]
    assert {record.offset_ns for record in offered} == {1_000}, "the boot is known in the new file, too"
