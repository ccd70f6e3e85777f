from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from edge_agent.errors import Unavailable
from edge_agent.outbox.schema import PAGE_BYTES, SPARE_BYTES, VERSION, StoreSettings, open_database, used_bytes

if TYPE_CHECKING:
    from pathlib import Path


def asked(connection: sqlite3.Connection, pragma: str) -> object:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


@pytest.mark.parametrize("times", [1, 2])
def test_what_makes_a_commit_survive_power_loss_is_in_force(tmp_path: Path, times: int) -> None:
    for _ in range(times):
        connection = open_database(tmp_path / "o.db", StoreSettings(1 << 20))
        assert asked(connection, "synchronous") == 2
        assert asked(connection, "journal_mode") == "wal"
        assert asked(connection, "locking_mode") == "exclusive"
        assert asked(connection, "user_version") == VERSION
        assert asked(connection, "page_size") == PAGE_BYTES
        assert asked(connection, "max_page_count") == ((1 << 20) + SPARE_BYTES) // PAGE_BYTES
        connection.close()


def test_a_file_with_other_pages_keeps_them_and_is_bounded_all_the_same(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "o.db") as old:
        old.execute("PRAGMA page_size=4096")
        old.execute("PRAGMA journal_mode=WAL")
    old.close()
    connection = open_database(tmp_path / "o.db", StoreSettings(1 << 20))
    assert asked(connection, "page_size") == 4096
    assert asked(connection, "max_page_count") == ((1 << 20) + SPARE_BYTES) // 4096
    connection.close()


def test_no_shared_memory_file_is_made(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "o.db", StoreSettings(1 << 20))
    assert not (tmp_path / "o.db-shm").exists()
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "o.db", StoreSettings(1 << 20))
    connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('edge-agent', 'to_come', '')"
    )
    connection.close()
    with pytest.raises(Unavailable, match="newer edge-agent"):
        open_database(tmp_path / "o.db", StoreSettings(1 << 20))


def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "o.db", StoreSettings(1 << 20))
    with pytest.raises(Unavailable, match="another edge-agent is using"):
        open_database(tmp_path / "o.db", StoreSettings(1 << 20))
    connection.close()


def test_used_bytes_goes_down_with_what_is_deleted(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "o.db", StoreSettings(1 << 20))
    empty = used_bytes(connection)
    connection.execute("INSERT INTO segment VALUES (1, 1, 1, 1, 1, 1, zeroblob(100000))")
    assert used_bytes(connection) >= empty + 100_000
    connection.execute("DELETE FROM segment")
    assert used_bytes(connection) == empty
    connection.close()
