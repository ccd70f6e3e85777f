"""Lines of JSON come after the commit, at least once, and are what `edge-agent decode` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.errors import Unavailable
from edge_agent.receiver.sinks.ndjson import NdjsonFeed
from edge_agent.wire.codec import decode_message
from edge_agent.wire.rows import objects
from tests.receiver.gateway import OFFSET_NS, Bench, Gateway

if TYPE_CHECKING:
    from pathlib import Path

G = Gateway()


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def feed(bench: Bench, path: Path) -> None:
    """Write what is new, as a receiver that starts anew."""
    with NdjsonFeed(bench.sink.db, str(path)) as lines:
        lines.feed()


def test_lines_are_those_of_decode_and_name_the_row(bench: Bench, tmp_path: Path) -> None:
    bench.take(G.batch(1))
    feed(bench, tmp_path / "lines")
    lines = written(tmp_path / "lines")
    assert [line.pop("row") for line in lines] == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert lines == [row for row in objects(decode_message(G.batch(1))) if "kind" not in row]


def test_events_fixes_and_tombstones_have_a_kind(bench: Bench, tmp_path: Path) -> None:
    bench.take(G.event(1), G.fix(2, 0, 5, 7), G.tombstone(3, 9, None))
    feed(bench, tmp_path / "lines")
    lines = written(tmp_path / "lines")
    assert [line["kind"] for line in lines] == ["event", "event", "time-fix", "tombstone"]
    assert lines[2] == {
        "kind": "time-fix",
        "node": "n",
        "epoch": 77,
        "seq": 2,
        "boot": 5,
        "from_ns": 0,
        "to_ns": 5,
        "old_offset_ns": OFFSET_NS,
        "new_offset_ns": 7,
    }
    assert (lines[3]["of_epoch"], lines[3]["first_seq"], lines[3]["last_seq"]) == (77, 9, None)


def test_a_kill_between_writing_and_noting_it_repeats_and_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    bench.take(G.batch(1))
    feed(bench, path)
    bench.take(G.batch(2))
    bench.sink.db.execute("PRAGMA query_only=1")
    with pytest.raises(Exception, match="readonly"):
        feed(bench, path)
    bench.sink.db.execute("PRAGMA query_only=0")
    feed(bench, path)
    assert [(line["seq"], line["sensor"]) for line in written(path) if line["row"] == 3] == [
        *[(1, "roof")],
        *[(2, "roof")] * 2,
    ]
    feed(bench, path)
    assert len(written(path)) == 27


def test_each_target_has_its_own_place(bench: Bench, tmp_path: Path) -> None:
    bench.take(*(G.batch(seq) for seq in range(1, 300)))
    for name in ("a", "b"):
        feed(bench, tmp_path / name)
        assert len(written(tmp_path / name)) == 299 * 9


def test_a_file_that_cannot_be_written_is_said(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written: No such file"):
        NdjsonFeed(bench.sink.db, str(tmp_path / "no" / "such"))
