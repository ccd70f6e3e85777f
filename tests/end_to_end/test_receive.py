"""Gateway, broker and receiver as programs: what was sampled is stored once, though the receiver is killed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.clock import NS_PER_S, SystemClock
from tests.end_to_end.program import edge_agent, report_of, start_receiver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto


@pytest.mark.broker
def test_every_reading_that_was_sampled_is_in_the_database_once(
    start_mosquitto: Callable[[str], Mosquitto], tmp_path: Path
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_queued_messages 0")
    database, report = tmp_path / "received.db", tmp_path / "report.json"
    first = start_receiver(broker, database)
    command = [sys.executable, "-m", "edge_agent", "--simulate", "--speed", "max", "--duration", "1800"]
    with (tmp_path / "agent.log").open("wb") as out:
        agent = subprocess.Popen(
            [*command, "--scenario", "bad-day", "--broker", broker.url, "--report", str(report)], stdout=out, stderr=out
        )
    clock, never = SystemClock(), threading.Event()
    end_ns = clock.now_ns() + 60 * NS_PER_S
    while first.poll() is None:
        assert clock.now_ns() < end_ns
        clock.wait(never, clock.now_ns() + NS_PER_S // 20)
        with closing(sqlite3.connect(database)) as db:
            if db.execute("SELECT count(*) FROM record").fetchone()[0]:
                first.kill()
                first.wait(10)
    second = start_receiver(broker, database)
    assert agent.wait(60) == 0
    told = report_of(report)
    asked: dict[str, Any] = {}
    for _ in range(50):
        ended = edge_agent("receive", "--report", "--json", "--to", f"sqlite:{database}")
        (asked,) = json.loads(ended.out)["nodes"][0]["epochs"]
        if asked["records"] >= told["records"]["committed"]:
            break
        clock.wait(never, clock.now_ns() + NS_PER_S // 5)
    second.terminate()
    assert second.wait(10) == 0
    assert (asked["epoch"], asked["state"], asked["missing"]) == (told["epoch"], "complete", [])
    assert asked["records"] == told["records"]["committed"]
    assert asked["digest"]["readings"] == told["readings"]["sampled"]
    with closing(sqlite3.connect(database)) as db:
        (stored,) = db.execute("SELECT count(*) FROM readings").fetchone()
        (different,) = db.execute(
            "SELECT count(*) FROM (SELECT DISTINCT epoch, seq, row, sensor, quantity FROM readings)"
        ).fetchone()
    assert stored == different == told["readings"]["sampled"]
