"""What leaves first, and what is kept for the next run."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING

import pytest

from edge_agent.outbox.outbox import Content, Outbox
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import VERSION
from edge_agent.reading import Lane, RecordKind
from tests.outbox.failing import check_sums, fail_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALERT = Content(RecordKind.EVENT, 0, 1, 1, b"fire", urgent=True)


def seqs(outbox: Outbox, limit: int = 100) -> list[int]:
    return [record.seq for _lane, record in outbox.hand_out(limit)]


def test_an_urgent_record_leaves_before_all_others_and_once(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    for content in (batch(1), batch(2), ALERT, batch(4)):
        outbox.add(content)
    outbox.commit()
    assert seqs(outbox, 2) == [3, 1]
    assert seqs(outbox) == [2, 4]
    outbox.rewind()
    assert seqs(outbox) == [3, 1, 2, 4]


def test_it_is_still_urgent_after_a_restart_and_goes_live(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    outbox = open_outbox()
    for content in (batch(1), ALERT, batch(3)):
        outbox.add(content)
    outbox.close()
    outbox = open_outbox(rng=random.Random(9))
    outbox.rewind()
    assert [(lane, record.seq) for lane, record in outbox.hand_out(9)] == [
        (Lane.LIVE, 2),
        (Lane.BACKLOG, 1),
        (Lane.BACKLOG, 3),
    ]


def test_one_that_arrived_is_forgotten(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    outbox = open_outbox()
    outbox.add(ALERT)
    outbox.commit()
    ((_lane, record),) = outbox.hand_out(1)
    outbox.confirm(record)
    outbox.rewind()
    assert seqs(outbox) == []
    outbox.commit()
    assert outbox._lanes._urgent == set(), "a daemon that runs for years must not remember each"
    outbox.close()
    with sqlite3.connect(tmp_path / "state" / DATABASE) as db:
        assert db.execute("SELECT count(*) FROM urgent").fetchone() == (0,)
    db.close()


@pytest.mark.parametrize(
    ("verb", "after"), [("INSERT OR IGNORE INTO urgent", False), ("COMMIT", False), ("COMMIT", True)]
)
def test_a_commit_that_fails_makes_nobody_forget_what_is_urgent(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], verb: str, after: bool
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.add(ALERT)
    outbox.save_state("rules", b"firing")
    fail_once(outbox, verb, after=after)
    with pytest.raises(sqlite3.Error):
        outbox.commit()
    outbox.commit()
    assert seqs(outbox) == [2, 1]
    assert outbox.saved_state("rules") == b"firing"
    check_sums(outbox)


def test_what_stages_remember_is_there_after_the_commit_and_the_last_word_counts(
    open_outbox: Callable[..., Outbox],
) -> None:
    outbox = open_outbox()
    outbox.save_state("stages", b"one")
    outbox.save_state("stages", b"two")
    outbox.save_state("rules", b"three")
    assert outbox.dirty
    outbox.close()
    outbox = open_outbox()
    assert [outbox.saved_state(name) for name in ("stages", "rules", "other")] == [b"two", b"three", None]


def test_a_damaged_state_is_none(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    outbox = open_outbox()
    outbox.save_state("stages", b"one")
    outbox.close()
    with sqlite3.connect(tmp_path / "state" / DATABASE) as db:
        db.execute("UPDATE state SET body = x'00'")
    db.close()
    assert open_outbox().saved_state("stages") is None


def test_an_outbox_of_the_version_before_keeps_its_records(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content], tmp_path: Path
) -> None:
    outbox = open_outbox()
    outbox.add(batch(1))
    outbox.close()
    with sqlite3.connect(tmp_path / "state" / DATABASE) as db:
        db.executescript(
            "DROP TABLE urgent; DROP TABLE state; PRAGMA user_version=1;"
            "DELETE FROM _sqlite_migrations WHERE name = 'urgent_records_and_states';"
        )
    db.close()
    outbox = open_outbox()
    outbox.add(ALERT)
    outbox.commit()
    outbox.rewind()
    assert len(seqs(outbox)) == 2
    outbox.close()
    with sqlite3.connect(tmp_path / "state" / DATABASE) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    db.close()
