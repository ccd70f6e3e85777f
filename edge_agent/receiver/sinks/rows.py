"""Turns the content of records into rows of the tables. Writes within a transaction."""

from __future__ import annotations

import json
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from edge_agent.reading import NOT_SENT, RecordKind
from edge_agent.receiver.ranges import ALL
from edge_agent.receiver.sinks.fixes import fixes_of, offsets_of, restate

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from edge_agent.reading import Event
    from edge_agent.receiver.sinks.books import Account, Books
    from edge_agent.wire.batch import Batch, Column, Message, Tombstone
    from edge_agent.wire.envelope import Envelope

_READING: Final = "INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_RECORD: Final = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FEATURE: Final = "INSERT OR IGNORE INTO feature VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class RowWriter:
    """Writes records that are new.

    Args:
        db: the database, in a transaction.
        books: nodes and channels.
        now_ns: wall time of the receiver, nanoseconds since 1970.

    `flush` has to be called before the transaction ends.
    """

    def __init__(self, db: sqlite3.Connection, books: Books, now_ns: int) -> None:
        self._db = db
        self._books = books
        self._now_ns = now_ns
        self._record = self._last("record")
        self._reading = self._last("reading")
        self._readings: list[tuple[Any, ...]] = []
        self._described: list[tuple[Any, ...]] = []

    def batch(self, node: int, account: Account, message: Message, new: int) -> None:
        """Write the rows of a batch that are new, their features and their digest."""
        batch, envelope = message.content, message.envelope
        if TYPE_CHECKING:
            assert isinstance(batch, Batch)
        first = self._reading + 1
        self._record += 1
        fixes = fixes_of(self._db, node, envelope.boot)
        numbers = iter(message.rows.numbers() if message.rows is not None else range(1 << 62))
        widths: list[tuple[int, int]] = []
        spans: list[int] = []
        for group in batch.groups:
            rows = [next(numbers) for _ in group.times_ns]
            offsets = offsets_of(fixes, group.times_ns, envelope.offset_ns)
            chosen = range(len(rows)) if new == ALL else [place for place, row in enumerate(rows) if new >> row & 1]
            if not chosen:
                continue
            spans += (min(group.times_ns), max(group.times_ns))
            channels = [self._books.channel(node, group.sensor, column.quantity) for column in group.columns]
            for column, channel in zip(group.columns, channels, strict=True):
                self._column(column, channel, rows, group.times_ns, offsets, chosen)
                if column.features is not None:  # those that are there already stay
                    self._features(account.id, envelope.seq, channel, column)
            widths += _widths(group.columns, rows, chosen)
        span = (min(spans), max(spans)) if spans else (None, None)
        self._write_record(account.id, envelope, RecordKind.BATCH, (first, self._reading), span)
        account.digest = account.digest.plus(envelope.seq, widths)

    def flush(self) -> None:
        """Write the readings and features of all batches since the last call. One call takes less time than many."""
        self._db.executemany(_READING, self._readings)
        self._db.executemany(_FEATURE, self._described)
        self._readings, self._described = [], []

    def event(self, node: int, account: Account, envelope: Envelope, event: Event) -> None:
        """Write an event; a time-fix is applied."""
        self._record += 1
        self._write_record(account.id, envelope, RecordKind.EVENT, (1, 0), (event.boot_ns, event.boot_ns))
        (offset_ns,) = offsets_of(fixes_of(self._db, node, envelope.boot), (event.boot_ns,), envelope.offset_ns)
        self._db.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(self._record, event.kind.value, event.boot_ns, offset_ns),
                *(event.subject, event.state, event.cause, event.errno, event.severity),
            ),
        )
        if event.fix is not None:
            fix = event.fix
            issued_ns = max(-(1 << 63), min(event.boot_ns + envelope.offset_ns, (1 << 63) - 1))
            self._db.execute(
                "INSERT INTO time_fix VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(self._record, node, fix.boot, fix.from_ns, fix.to_ns, fix.old_offset_ns, fix.new_offset_ns),
                    *(issued_ns, envelope.epoch, envelope.seq),
                ),
            )
            self.flush()
            restate(self._db, node, fix)

    def tombstone(self, account: Account, covered: Account, envelope: Envelope, tombstone: Tombstone) -> None:
        """Write a tombstone of the epoch of `account` that covers records of the epoch of `covered`."""
        self._record += 1
        self._write_record(account.id, envelope, RecordKind.TOMBSTONE, (1, 0), (None, None))
        rows = json.dumps([list(dropped) for dropped in tombstone.rows]) if tombstone.rows else None
        self._db.execute(
            "INSERT INTO tombstone VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(self._record, covered.id, tombstone.first_seq, tombstone.last_seq, rows),
                *(tombstone.records, tombstone.readings, tombstone.reason, tombstone.first_ns, tombstone.last_ns),
            ),
        )

    def _column(
        self,
        column: Column,
        channel: int,
        rows: Sequence[int],
        times_ns: Sequence[int],
        offsets: Iterable[int],
        chosen: Sequence[int],
    ) -> None:
        """Write the chosen cells of a column, without absent ones."""
        nothing = repeat(None)
        cells: Iterator[tuple[Any, ...]] = zip(
            rows,
            times_ns,
            offsets,
            column.values,
            column.raws or nothing,
            column.sigmas or nothing,
            column.statuses,
            strict=False,
        )
        if len(chosen) < len(rows):
            every = list(cells)
            cells = iter([every[place] for place in chosen])
        if NOT_SENT in column.statuses:
            cells = (cell for cell in cells if cell[-1] != NOT_SENT)
        record, at = self._record, self._reading
        written = [(at, record, cell[0], channel, *cell[1:]) for at, cell in enumerate(cells, at + 1)]
        self._readings += written
        self._reading += len(written)

    def _features(self, epoch: int, seq: int, channel: int, column: Column) -> None:
        told = column.features
        if TYPE_CHECKING:
            assert told is not None
        self._described.append(
            (
                *(epoch, seq, channel, self._record, told.count, told.mean, told.std, told.minimum, told.maximum),
                *(told.slope_per_s, told.time_weighted_mean, told.median, told.p05, told.p95),
                *(told.rms_difference, told.share_good),
            )
        )

    def _write_record(
        self,
        epoch: int,
        envelope: Envelope,
        kind: RecordKind,
        readings: tuple[int, int],
        span: tuple[int | None, int | None],
    ) -> None:
        self._db.execute(
            _RECORD,
            (
                *(self._record, epoch, envelope.seq, int(kind), envelope.boot, envelope.offset_ns),
                *(int(envelope.time_quality), *readings, *span, self._now_ns),
            ),
        )

    def _last(self, table: str) -> int:
        (last,) = self._db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()  # noqa: S608 our own names
        return int(last)


def _widths(columns: Sequence[Column], rows: Sequence[int], chosen: Iterable[int]) -> list[tuple[int, int]]:
    """How many readings each chosen row has."""
    partial = [column.statuses for column in columns if NOT_SENT in column.statuses]
    if not partial:
        return [(rows[place], len(columns)) for place in chosen]
    return [(rows[place], len(columns) - sum(statuses[place] == NOT_SENT for statuses in partial)) for place in chosen]
