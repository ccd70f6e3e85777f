# ruff: noqa: D102 small helpers whose names say what they do
"""A disk that is full, read-only or gone, and works again."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.reserve import FILE, Reserve
from edge_agent.outbox.schema import StoreSettings, settings_within
from edge_agent.outbox.worker import Commit, Confirm, HandOut, Store, StoreWorker
from edge_agent.reading import Lane, Record, RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_agent.outbox.outbox import Content, News, Outbox

RESERVE_BYTES = 65_536


@dataclass
class Disk:
    """A disk that takes nothing in while `error` names an error of SQLite; with a reserve given up it does again."""

    directory: Path
    error: str = ""
    is_helped_by_reserve: bool = True

    def connect(self, path: Path, **given: Any) -> sqlite3.Connection:
        if self.error == "SQLITE_CANTOPEN":
            raise failed(self.error)
        return sqlite3.connect(path, factory=self.connection(), **given)

    def connection(self) -> type[sqlite3.Connection]:
        disk = self

        class Failing(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                if sql.startswith(("INSERT", "DELETE", "UPDATE", "COMMIT")):
                    disk.check()
                return super().execute(sql, parameters)

        return Failing

    def check(self) -> None:
        has_room = self.is_helped_by_reserve and not (self.directory / FILE).exists()
        if self.error and not (self.error == "SQLITE_FULL" and has_room):
            raise failed(self.error)


def failed(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"it fails with {name}")
    error.sqlite_errorname = name
    return error


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "state")


@pytest.fixture
def open_on(open_outbox: Callable[..., Outbox], disk: Disk) -> Callable[..., Outbox]:
    def open_(**given: Any) -> Outbox:
        settings = StoreSettings(1 << 20, reserve_bytes=RESERVE_BYTES, connect=disk.connect)
        return open_outbox(settings=settings, **given)

    return open_


def seqs(handed_out: Sequence[tuple[Lane, Record]]) -> list[int]:
    return [record.seq for _lane, record in handed_out]


def adds_up(outbox: Outbox) -> None:
    tally = outbox.tally()
    assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending


def test_the_reserve_is_given_up_first(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    outbox = open_on()
    assert (disk.directory / FILE).stat().st_size == RESERVE_BYTES
    assert (disk.directory / FILE).stat().st_blocks * 512 >= RESERVE_BYTES, "it takes the space, and not only the name"
    outbox.add(batch(1))
    disk.error = "SQLITE_FULL"
    outbox.commit()
    assert not (disk.directory / FILE).exists()
    assert seqs(outbox.hand_out(9)) == [1]
    disk.error = ""
    outbox.check_files()
    assert (disk.directory / FILE).exists(), "for the next time"


def test_what_is_kept_for_inspection_goes_before_the_reserve(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    outbox = open_on()
    kept = disk.directory / "salvaged-1.db"
    kept.touch()
    outbox.add(batch(1))
    disk.error = "SQLITE_FULL"
    outbox.commit()
    assert not kept.exists()


def test_a_start_on_a_full_disk_gives_up_the_reserve_too(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    first = open_on()
    first.add(batch(1))
    first.close()
    disk.error = "SQLITE_FULL"
    outbox = open_on()
    assert not outbox.volatile
    assert seqs(outbox.hand_out(9)) == [1]


def test_there_is_no_reserve_where_it_would_fill_the_disk(tmp_path: Path) -> None:
    Reserve(tmp_path, 1 << 60).take()
    Reserve(tmp_path, 0).take()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", ["SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR_WRITE", "SQLITE_CANTOPEN"])
def test_a_start_without_a_disk_sends_what_it_can_read_and_what_is_in_memory(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content], error: str
) -> None:
    first = open_on()
    for name in (1, 2, 3):
        first.add(batch(name))
    first.close()
    disk.error, disk.is_helped_by_reserve = error, False
    outbox = open_on(boot_id="boot-b")
    assert outbox.volatile
    assert outbox.tally().pending == outbox.tally().carried_over == 3
    outbox.add(batch(4))
    with pytest.raises(sqlite3.OperationalError):
        outbox.commit()
    offered = outbox.hand_out(9)
    assert [(lane, record.epoch, record.seq) for lane, record in offered] == [
        (Lane.BACKLOG, first.epoch, 1),
        (Lane.BACKLOG, first.epoch, 2),
        (Lane.BACKLOG, first.epoch, 3),
        (Lane.LIVE, outbox.epoch, 1),
    ]
    assert {record.offset_ns for _lane, record in offered} == {1_000}, "the anchor of the earlier boot is known"
    for _lane, record in offered[1:]:
        outbox.confirm(record)
    outbox.add(batch(5))
    disk.error = ""
    outbox.commit()
    assert [news.state for news in outbox.news] == ["volatile", "durable"]
    adds_up(outbox)
    assert outbox.tally().confirmed == 3
    outbox.rewind()
    assert [(record.epoch, record.seq) for _lane, record in outbox.hand_out(9)] == [(first.epoch, 1), (outbox.epoch, 2)]
    assert outbox.count_pending() == outbox.tally().pending == 2


def test_what_was_sent_from_memory_is_not_sent_again_when_it_is_stored(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    outbox = open_on()
    disk.error, disk.is_helped_by_reserve = "SQLITE_FULL", False
    outbox.add(batch(1))
    outbox.work_in_memory()
    ((_lane, record),) = outbox.hand_out(9)
    assert outbox.hand_out(9) == []
    disk.error = ""
    outbox.add(batch(2))
    outbox.commit()
    assert seqs(outbox.hand_out(9)) == [2]
    outbox.confirm(record)
    outbox.commit()
    assert (outbox.tally().confirmed, outbox.tally().pending) == (1, 1)
    adds_up(outbox)


def test_urgent_records_go_first_from_memory_too(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    outbox = open_on()
    disk.error, disk.is_helped_by_reserve = "SQLITE_FULL", False
    outbox.add(batch(1))
    outbox.add(replace(batch(2, kind=RecordKind.EVENT), urgent=True))
    outbox.work_in_memory()
    assert seqs(outbox.hand_out(1)) == [2]


def test_memory_is_bounded_and_what_it_drops_is_told_when_the_disk_works(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    outbox = open_on(max_waiting_bytes=20_000)
    disk.error, disk.is_helped_by_reserve = "SQLITE_FULL", False
    outbox.work_in_memory()
    outbox.add(batch(1, 800))
    sent = outbox.hand_out(1)[0][1]
    for name in range(2, 101):
        outbox.add(batch(name, 800))
    assert outbox.in_memory()[0] < 25
    disk.error = ""
    outbox.confirm(sent)
    outbox.commit()
    adds_up(outbox)
    assert outbox.tally().committed == 100
    assert outbox.tally().confirmed == 1, "what is being sent is not dropped"
    assert outbox.tally().tombstoned == 99 - outbox.in_memory()[0] - outbox.tally().pending


def test_much_that_waited_is_stored_in_small_transactions(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    outbox = open_outbox(max_bytes=1 << 23)
    for name in range(1, 2001):
        outbox.add(batch(name, 1000))
    outbox.add_segment(batch(2001))
    outbox.commit()
    assert (tmp_path / "state" / f"{DATABASE}-wal").stat().st_size < 700_000, "the journal stays small"
    assert seqs(outbox.hand_out(3000)) == list(range(1, 2001))
    adds_up(outbox)


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_failure_between_two_of_them_loses_nothing(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], fails_at: int
) -> None:
    from tests.outbox.failing import fail_once  # noqa: PLC0415 only here

    outbox = open_outbox(max_bytes=1 << 23)
    for name in range(1, 501):
        outbox.add(batch(name, 1000))
    fail_once(outbox, "COMMIT", skip=fails_at - 1)
    with pytest.raises(sqlite3.OperationalError):
        outbox.commit()
    some = seqs(outbox.hand_out(9_999))
    assert len(some) < 500
    outbox.commit()
    assert some + seqs(outbox.hand_out(9_999)) == list(range(1, 501))
    adds_up(outbox)


def test_everything_fits_into_the_limit() -> None:
    for mib in (1, 2, 16, 256):
        total = mib << 20
        settings = settings_within(total)
        assert settings.reserve_bytes <= total // 8
        assert settings.max_bytes + 2 * settings.journal_pages * 1024 + settings.reserve_bytes + 131_072 <= total
        assert settings.max_bytes >= total // 2


class Bench:
    """A worker on a disk that fails."""

    def __init__(self, outbox: Outbox) -> None:
        self.clock = SimulatedClock(0)
        self.offers: list[list[int]] = []
        self.told: list[News] = []
        self.outbox = outbox
        self.stored = 0
        self.worker = StoreWorker(
            outbox,
            self.clock,
            durability_ns=10 * NS_PER_S,
            offer=self._offer,
            committed=self._committed,
            tell=self.told.append,
        )

    def _offer(self, records: Sequence[tuple[Lane, Record]]) -> None:
        self.offers.append(seqs(records))
        self.records = [record for _lane, record in records]

    def _committed(self) -> None:
        self.stored += 1

    def tell(self, *messages: Any, after_s: float = 0) -> None:
        self.clock.advance_to(self.clock.now_ns() + round(after_s * NS_PER_S))
        for message in messages:
            self.worker.inbox.put(message)
        self.worker.step()


def test_the_worker_sends_from_memory_after_the_second_failure_and_says_both(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    bench = Bench(open_on())
    disk.error, disk.is_helped_by_reserve = "SQLITE_FULL", False
    bench.tell(Store(batch(1)), Commit())
    bench.tell(HandOut(5))
    assert bench.offers == [[]]
    before = bench.stored
    bench.tell(after_s=5)
    assert bench.stored > before, "the uplink is told to ask"
    bench.tell(HandOut(5))
    assert bench.offers[-1] == [1]
    bench.tell(Confirm(bench.records[0]))
    assert [news.state for news in bench.told] == ["volatile"]
    assert "SQLITE_FULL" in bench.told[0].cause
    before = bench.stored
    bench.tell(Store(batch(2)), Commit())
    assert bench.stored > before, "what is new is offered at once"
    part = bench.worker.snapshot()
    assert (part.volatile, part.in_memory, part.last_seq) == (True, 1, 2)
    disk.error = ""
    bench.tell(after_s=5)
    assert [news.state for news in bench.told] == ["volatile", "durable"]
    assert bench.worker.snapshot().failure == ""
    adds_up(bench.outbox)


def test_what_is_only_in_memory_at_the_end_is_counted_as_lost(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    bench = Bench(open_on())
    disk.error, disk.is_helped_by_reserve = "SQLITE_FULL", False
    bench.tell(Store(batch(1)), Store(batch(2)))
    bench.worker.close()
    part = bench.worker.snapshot()
    assert part.lost_at_exit == (2, 20)
    assert "SQLITE_FULL" in part.failure


def test_damage_is_answered_at_once_by_a_new_database_and_a_salvage(
    open_on: Callable[..., Outbox], disk: Disk, batch: Callable[..., Content]
) -> None:
    first = open_on()
    for name in range(1, 301):
        first.add(batch(name, 700))
    first.close()
    path = disk.directory / DATABASE
    content = bytearray(path.read_bytes())
    at = content.index(b"150 " + bytes(100)) // 1024 * 1024
    content[at : at + 1024] = bytes(1024)
    path.write_bytes(content)
    bench = Bench(open_on())
    for _ in range(40):
        bench.tell(after_s=0.1)
    assert [news.state for news in bench.told] == ["reset", "salvaged"]
    bench.tell(HandOut(1000))
    assert bench.offers[-1] == [1, *(seq for seq in range(1, 301) if seq != 150)], "first the tombstone, which is new"
    assert bench.worker.snapshot().salvage.lost == 1
