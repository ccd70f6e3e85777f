"""How fast the receiver stores records, against SQLite's own bulk path with the same rows and commits.

    python tests/bench/bench_receiver.py [--messages N] [--turns N]

Both write to files on the disk of the working directory, with WAL and FULL, one commit per group of messages.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge_agent.receiver.inbound import Inbound
from edge_agent.receiver.sinks.sqlite import SqliteSink
from tests.receiver.gateway import START_NS, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.receiver.arrival import Arrival

GROUP: Final = 64
ROWS: Final = 60
"""Messages per commit, and rows of each of the two sensors in a message."""
CHANNELS: Final = 3


def decoded(messages: Sequence[bytes]) -> list[Arrival]:
    """What the receiver makes of messages."""
    inbound = Inbound()
    return [arrival for message in messages for arrival in inbound.take("edge/n/live", message)]


def store(path: Path, arrivals: Sequence[Arrival]) -> None:
    """Store as the receiver does, ledger included."""
    with SqliteSink(path) as sink:
        for start in range(0, len(arrivals), GROUP):
            sink.store(arrivals[start : start + GROUP], START_NS)


def bulk(path: Path, rows: Sequence[tuple[object, ...]], schema: str, index: str = "") -> None:
    """Insert the same rows with as many commits, and nothing else."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL").fetchall()
        db.execute("PRAGMA synchronous=FULL")
        db.execute(schema)
        if index:
            db.execute(index)
        step = GROUP * ROWS * CHANNELS
        for start in range(0, len(rows), step):
            db.execute("BEGIN")
            db.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows[start : start + step])
            db.execute("COMMIT")


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    before = time.perf_counter()
    act()
    return time.perf_counter() - before


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1500)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    gateway = Gateway()
    messages = [gateway.batch(seq, ROWS) for seq in range(1, asked.messages + 1)]
    readings = asked.messages * ROWS * CHANNELS
    taken: dict[str, list[float]] = {"decode": [], "store": [], "bulk": [], "bulk with an index": []}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for turn in range(asked.turns):
            arrivals = decoded(messages)
            taken["decode"].append(seconds(lambda: decoded(messages)))
            path = Path(folder) / f"{turn}.db"
            taken["store"].append(seconds(lambda path=path, arrivals=arrivals: store(path, arrivals)))  # type: ignore[misc]
            with closing(sqlite3.connect(path)) as db:
                rows = db.execute("SELECT * FROM reading").fetchall()
                (schema,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'reading'").fetchone()
            index = "CREATE INDEX reading_channel ON reading (channel, boot_ns)"
            for name, more in (("bulk", ""), ("bulk with an index", index)):
                other = Path(folder) / f"{turn}-{name}.db"
                taken[name].append(
                    seconds(lambda other=other, rows=rows, schema=schema, more=more: bulk(other, rows, schema, more))  # type: ignore[misc]
                )
    for name, times in taken.items():
        print(f"{name:20} {asked.messages / median(times):8.0f} messages/s {readings / median(times):9.0f} readings/s")
    ratios = [fast / slow for fast, slow in zip(taken["bulk"], taken["store"], strict=True)]
    both = [b / (d + s) for b, d, s in zip(taken["bulk"], taken["decode"], taken["store"], strict=True)]
    print(f"store / bulk: {median(ratios):.2f}; with decoding: {median(both):.2f}")


if __name__ == "__main__":
    main()
