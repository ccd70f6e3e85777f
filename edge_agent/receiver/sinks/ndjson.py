"""Writes what the database has got as lines of JSON, to a file or standard output. At least once.

Lines are read back from the database after the commit. How far they were written is stored after that, so a program
that is killed in between writes some lines again at its next start, and never leaves one out.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any, Final, Self

from edge_agent.errors import Unavailable
from edge_agent.reading import Flag
from edge_agent.wire.rows import iso_utc

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from types import TracebackType

STDOUT: Final = "-"
_RECORDS_AT_ONCE: Final = 256


class NdjsonFeed:
    """Lines of JSON in the order in which records were stored.

    Args:
        db: the database of the receiver.
        target: path of a file to append to, or `-`.

    Raises:
        Unavailable: the file cannot be opened.
    """

    def __init__(self, db: sqlite3.Connection, target: str) -> None:
        self._db = db
        self._name = f"ndjson:{target}"
        self._is_file = target != STDOUT
        try:
            self._out: IO[str] = open(target, "a", encoding="utf-8") if self._is_file else sys.stdout  # noqa: SIM115, PTH123 open as long as the receiver
        except OSError as error:
            raise Unavailable(f"{target} cannot be written: {error.strerror}") from None
        row = db.execute("SELECT record FROM feed WHERE name = ?", (self._name,)).fetchone()
        self._done: int = 0 if row is None else row[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._is_file:
            self._out.close()

    def feed(self) -> None:
        """Write what is new.

        Raises:
            Unavailable: it cannot be written.
        """
        while True:
            query = "SELECT id, kind FROM record WHERE id > ? ORDER BY id LIMIT ?"
            records = self._db.execute(query, (self._done, _RECORDS_AT_ONCE)).fetchall()
            if not records:
                return
            first, last = records[0][0], records[-1][0]
            try:
                for line in lines(self._db, first, last):
                    self._out.write(json.dumps(line, ensure_ascii=False) + "\n")
                self._out.flush()
                if self._is_file:
                    os.fsync(self._out.fileno())
            except BrokenPipeError:
                raise
            except OSError as error:
                raise Unavailable(f"{self._name} cannot be written: {error.strerror}") from None
            self._done = last
            self._db.execute("INSERT OR REPLACE INTO feed VALUES (?, ?)", (self._name, last))


def lines(db: sqlite3.Connection, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Make the objects of stored records.

    Args:
        db: the database.
        first: number of the first record.
        last: number of the last one.

    Yields:
        Per reading the object that `edge-agent decode` prints, with `row`; then events and tombstones, with `kind`.
    """
    span = (first, last)
    bounds = db.execute(
        "SELECT min(first_reading), max(last_reading) FROM record WHERE id BETWEEN ? AND ? AND kind = 0", span
    ).fetchone()
    if bounds[0] is not None:
        yield from _readings(db, bounds)
    for name, query in _OTHERS.items():
        cursor = db.execute(query, span)
        keys = [column[0] for column in cursor.description]
        for row in cursor:
            yield {"kind": name, **dict(zip(keys, row, strict=True))}


_READINGS: Final = (
    "SELECT node, epoch, seq, row, sensor, quantity, wall_ns, time_quality, value, raw, sigma, quality, flags"
    " FROM readings WHERE id BETWEEN ? AND ? ORDER BY id"
)
_OTHERS: Final = {
    "event": "SELECT node, epoch, seq, event, subject, state, cause, errno, severity, boot, wall_ns AS t_ns FROM events"
    " WHERE record BETWEEN ? AND ? ORDER BY record",
    "time-fix": "SELECT name AS node, time_fix.epoch AS epoch, seq, boot, from_ns, to_ns, old_offset_ns, new_offset_ns"
    " FROM time_fix JOIN node ON node.id = time_fix.node WHERE record BETWEEN ? AND ? ORDER BY record",
    "tombstone": "SELECT node, epoch, seq, of_epoch, first_seq, last_seq, rows, records, readings, reason"
    " FROM tombstones WHERE record BETWEEN ? AND ? ORDER BY record",
}


def _readings(db: sqlite3.Connection, span: tuple[int, int]) -> Iterator[dict[str, Any]]:
    for node, epoch, seq, row, sensor, quantity, wall_ns, time_quality, *judged in db.execute(_READINGS, span):
        value, raw, sigma, quality, flags = judged
        yield {
            "node": node,
            "epoch": epoch,
            "seq": seq,
            "row": row,
            "sensor": sensor,
            "quantity": quantity,
            "t": None if wall_ns is None else iso_utc(wall_ns),
            "t_ns": wall_ns,
            "t_quality": time_quality,
            "value": _finite(value),
            "raw": _finite(raw),
            **({} if sigma is None else {"sigma": sigma}),
            "quality": quality,
            "flags": [str(flag.name).lower() for flag in Flag if flag in Flag(flags)],
        }


def _finite(number: float | None) -> float | None:
    return number if number is not None and abs(number) != float("inf") else None
