"""The disk, the file access and the connection that the campaign stands on."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from edge_agent.agent.messages import BODIES
from edge_agent.clock import Anchor, ClockQuality
from edge_agent.outbox.outbox import Content, Outbox
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import StoreSettings, open_database
from edge_agent.reading import RecordKind
from tests.campaign.disk import Call, Disk
from tests.campaign.disk_files import DiskFiles
from tests.campaign.history import History
from tests.campaign.vfs import DiskVfs
from tests.campaign.watch import StoreWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEEDS = range(24)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk(random.Random(1))
    yield made
    made.close()


@pytest.fixture
def store(disk: Disk, tmp_path: Path) -> Iterator[StoreWatch]:
    vfs = DiskVfs(disk, f"test-{tmp_path.name}-{os.getpid()}")
    watch = StoreWatch(vfs.name, disk, History(lambda: 0), lambda: None)
    yield watch
    disk.power = False
    watch.close()
    vfs.unregister()


def test_a_cut_undoes_any_part_of_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    """With O_DSYNC each block is durable; without, a block is there, torn, or not."""
    found = set()
    for seed in SEEDS:
        disk = Disk(random.Random(seed))
        files = DiskFiles(disk)
        path = tmp_path / f"file-{seed}"
        fd = files.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o600)
        files.pwrite(fd, memoryview(b"A" * 1024), 0)
        files.close(fd)
        fd = files.open(path, os.O_RDWR, 0o600)
        files.pwrite(fd, memoryview(b"B" * 1024), 1024)
        files.close(fd)
        disk.cut()
        content = path.read_bytes()
        assert content[:1024] == b"A" * 1024
        found.add(content[1024:])
        disk.close()
    assert found >= {b"", b"B" * 512, b"B" * 1024}


def test_what_a_failed_sync_gave_up_is_readable_until_the_cut(disk: Disk, tmp_path: Path) -> None:
    files = DiskFiles(disk)
    fd = files.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o600)
    disk.judge = lambda call, _grows: errno.EIO if call is Call.SYNC else 0
    with pytest.raises(OSError, match="Input/output"):
        files.pwrite(fd, memoryview(b"lost"), 0)
    disk.judge = lambda _call, _grows: 0
    files.pwrite(fd, memoryview(b"kept"), 100)
    assert os.pread(fd, 4, 0) == b"lost"
    assert not disk.is_durable
    files.close(fd)
    disk.cut()
    content = (tmp_path / "file").read_bytes()
    assert content[:4] != b"lost"
    assert content[100:] == b"kept"


@pytest.mark.parametrize(
    ("code", "call", "name"),
    [
        (errno.ENOSPC, Call.WRITE, "SQLITE_FULL"),
        (errno.EIO, Call.WRITE, "SQLITE_IOERR_WRITE"),
        (errno.EIO, Call.SYNC, "SQLITE_IOERR_FSYNC"),
    ],
)
def test_a_failing_call_becomes_the_error_of_the_standard_module(
    store: StoreWatch, disk: Disk, tmp_path: Path, code: int, call: Call, name: str
) -> None:
    connection = open_database(tmp_path / DATABASE, StoreSettings(1 << 20, connect=store.connect))  # type: ignore[arg-type]
    disk.judge = lambda asked, _grows: code if asked is call else 0
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("INSERT INTO epoch VALUES (1, 1, 1, 1, 0, 0)").connection.execute("COMMIT")
    assert caught.value.sqlite_errorname == name


def test_a_closed_connection_and_a_wrong_value_raise_what_the_standard_module_raises(
    store: StoreWatch, tmp_path: Path
) -> None:
    connection = open_database(tmp_path / DATABASE, StoreSettings(1 << 20, connect=store.connect))  # type: ignore[arg-type]
    connection.execute("INSERT INTO epoch VALUES (1, 1, 1, 1, 0, 0)")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO epoch VALUES (1, 1, 1, 1, 0, 0)")
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_a_commit_survives_every_cut(store: StoreWatch, disk: Disk, tmp_path: Path) -> None:
    for number in range(1, 25):
        settings = StoreSettings(1 << 20, connect=store.connect)  # type: ignore[arg-type]
        connection = open_database(tmp_path / DATABASE, settings)
        assert [epoch for (epoch,) in connection.execute("SELECT epoch FROM epoch")] == list(range(1, number))
        connection.execute("INSERT INTO epoch VALUES (?, 1, 1, 1, 0, 0)", (number,))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO epoch VALUES (?, 1, 1, 1, 0, 0)", (1000 + number,))  # not committed
        disk.cut()
        store.close()
        disk.start()


@pytest.mark.parametrize("fails", range(1, 5))
def test_what_is_handed_out_after_failed_syncs_survives_a_cut(
    store: StoreWatch, disk: Disk, tmp_path: Path, fails: int
) -> None:
    """The sync of a COMMIT fails, and those after it: what is read back then is in memory only."""

    def opened() -> Outbox:
        return Outbox(
            tmp_path,
            StoreSettings(1 << 20, connect=store.connect, files=DiskFiles(disk)),  # type: ignore[arg-type]
            boot_id="b",
            anchor=Anchor(1, ClockQuality.SYNCED, 0),
            rng=random.Random(),
            encode=BODIES,
        )

    left = fails

    def failing(call: Call, _grows: bool) -> int:
        nonlocal left
        left -= call is Call.SYNC
        return errno.EIO if call is Call.SYNC and left >= 0 else 0

    outbox = opened()
    outbox.add(Content(RecordKind.BATCH, 1, 5, 6, b"one"))
    outbox.commit()
    outbox.add(Content(RecordKind.BATCH, 1, 5, 6, b"two"))
    disk.judge = failing
    for name in (b"three", b"four", b"five", b"six", b"seven"):
        with suppress(sqlite3.Error, OSError):
            outbox.commit()
        outbox.add(Content(RecordKind.BATCH, 1, 5, 6, name))
    sent = [record.body for _lane, record in outbox.hand_out(9)]
    assert b"two" in sent
    disk.cut()
    store.close()
    disk.start()
    outbox = opened()
    there = [record.body for _lane, record in outbox.hand_out(9) if record.kind is RecordKind.BATCH]
    assert set(sent) <= set(there), "sent, and no sync had succeeded"
    outbox.close()
