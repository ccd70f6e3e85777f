"""Rows of the tables as they are stored, perhaps damaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.outbox.pages import Found, PageFile
from edge_agent.outbox.part import without_rows
from edge_agent.outbox.schema import PAGE_BYTES, is_intact
from edge_agent.reading import Record, RecordKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.clock import Anchor

_KINDS: Final = frozenset(RecordKind)


class StoredRow(NamedTuple):
    """A row of the table of records, perhaps damaged."""

    rowid: int
    epoch: Any
    seq: Any
    kind: Any
    boot: Any
    readings: Any
    first_ns: Any
    last_ns: Any
    crc: Any
    body: Any

    def is_intact(self) -> bool:
        """Whether its checksum is that of its columns."""
        return self.kind in _KINDS and is_intact(self[1:8], self.crc, self.body)

    def record(self, anchor: Anchor) -> Record:
        """The record, if it is intact, with the wall time by an anchor."""
        time = (self.boot, anchor.offset_ns, anchor.quality)
        rows, body = without_rows(self.body)
        return Record(self.rowid, self.epoch, self.seq, RecordKind(self.kind), *time, self.readings, body, rows)


@dataclass(frozen=True, slots=True)
class Small:
    """The small tables of a damaged database, as far as they can be read."""

    boots: list[tuple[Any, ...]]
    anchors: list[tuple[Any, ...]]
    urgent: list[int]
    states: list[tuple[str, int, bytes]]
    epochs: list[tuple[Any, ...]]


def read_small_tables(path: Path) -> Small:
    """Read the small tables of a damaged database. Raises OSError: the file cannot be opened."""
    with PageFile(path, PAGE_BYTES) as file:
        boots = [(row.rowid, *row.values[1:]) for row in _found(file, "boot", 5)]
        anchors = [(row.rowid, *row.values[1:]) for row in _found(file, "anchor", 6)]
        states = [row.values for row in _found(file, "state", 3)]
        return Small(
            boots=[row for row in boots if isinstance(row[1], str) and all(isinstance(cell, int) for cell in row[2:])],
            anchors=[row for row in anchors if all(isinstance(cell, int) for cell in row)],
            urgent=[row.rowid for row in _found(file, "urgent", 1)],
            states=[
                (name, crc, body)
                for name, crc, body in states
                if isinstance(name, str) and isinstance(crc, int) and isinstance(body, bytes)
            ],
            epochs=_epochs(file),
        )


def _found(file: PageFile, table: str, columns: int) -> Iterator[Found]:
    for item in file.rows(table, columns):
        if isinstance(item, Found) and len(item.values) == columns:
            yield item


def _epochs(file: PageFile) -> list[tuple[Any, ...]]:
    rows = [(row.rowid, *row.values[1:]) for row in _found(file, "epoch", 6)]
    return [row for row in rows if all(isinstance(cell, int) for cell in row)]
