"""Recorded readings: delivers the rows of a CSV file to the pipeline at their times.

The file has a header with `timestamp_ms`, optionally `sensor_id`, and one column per recorded field. Mappings describe
the columns: `column=sensor.quantity[:unit]`; if there is a `sensor_id`, it is appended to the name of the sensor.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from edge_agent.errors import DataError
from edge_agent.reading import Measurement
from edge_agent.runtime import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_agent.clock import SimulatedClock
    from edge_agent.quantity import ColumnMapping

NS_PER_MS: Final = 1_000_000
MAX_LINE_BYTES: Final = 65_536
_MOST_SHOWN: Final = 40
"""Most characters of an invalid cell that a message shows."""
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_NO_NUMBER: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_WHOLE: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Row:
    """The measurements of one line. `wall_ns` is its time in the file, ns since 1970."""

    line: int
    wall_ns: int
    values: dict[str, tuple[tuple[str, ...], tuple[float | None, ...]]]


class Recording:
    """A CSV file.

    Args:
        path: of the file.
        mappings: of its columns.
        broken: called with a sentence for each invalid row.

    Raises:
        DataError: the header is unusable.
    """

    def __init__(self, path: Path, mappings: Sequence[ColumnMapping], broken: Callable[[str], object]) -> None:
        self.path = path
        self.used = self.skipped = 0
        self._mappings = mappings
        self._broken = broken
        header = self._header()
        self._width = len(header)
        self._columns = {name: index for index, name in enumerate(header) if name}
        found = ", ".join(header)[:1000] or "nothing"
        for column in ("timestamp_ms", *(mapping.column for mapping in mappings)):
            if column not in self._columns:
                raise DataError(f"{path}:1: there is no column {column!r}; found: {found}")
        for column in ("timestamp_ms", "sensor_id", *(mapping.column for mapping in mappings)):
            if header.count(column) > 1:
                raise DataError(f"{path}:1: there are {header.count(column)} columns {column!r}")
        channels = [f"{mapping.sensor}.{mapping.quantity}" for mapping in mappings]
        for channel in channels:
            if channels.count(channel) > 1:
                raise DataError(f"{path}: two columns are said to be {channel}")
        self._sensor_column = self._columns.get("sensor_id")

    def sensors(self) -> dict[str, list[str]]:
        """All sensors of the valid rows, with their quantities. Reads the whole file."""
        found: dict[str, list[str]] = {}
        for row in self._rows(lambda _sentence: None):
            for sensor, (quantities, _values) in row.values.items():
                known = found.setdefault(sensor, [])
                known += [quantity for quantity in quantities if quantity not in known]
        return found

    def first_ns(self) -> int | None:
        """Time of the first valid row, ns since 1970; None if there is none."""
        row = next(self._rows(lambda _sentence: None), None)
        return None if row is None else row.wall_ns

    def rows(self) -> Iterator[Row]:
        """Valid rows in the order of the file; reports the others."""
        return self._rows(self._complain)

    def _complain(self, sentence: str) -> None:
        self.skipped += 1
        self._broken(sentence)

    def _header(self) -> list[str]:
        with self._open() as file:
            line = file.readline(MAX_LINE_BYTES + 1)
        try:
            return [name.strip() for name in _cells(line.removeprefix(codecs.BOM_UTF8))]
        except ValueError as error:
            raise DataError(f"{self.path}:1: {error}") from None

    def _rows(self, complain: Callable[[str], object]) -> Iterator[Row]:
        """The rows. Parses line by line, so that an error, e.g. an open quote, affects only its line."""
        with self._open() as file:
            _read_line(file)
            number = 1
            while line := _read_line(file):
                number += 1
                if line.isspace():
                    continue
                try:
                    yield self._row(number, _cells(line))
                except ValueError as error:
                    complain(f"{self.path}:{number}: {error}")

    def _row(self, line: int, cells: list[str]) -> Row:
        if len(cells) != self._width:
            raise ValueError(f"{len(cells)} cells where the header has {self._width}")
        wall_ns = _whole_ms(cells[self._columns["timestamp_ms"]]) * NS_PER_MS
        suffix = "" if self._sensor_column is None else f"-{_sensor_suffix(cells[self._sensor_column])}"
        values: dict[str, tuple[tuple[str, ...], tuple[float | None, ...]]] = {}
        for mapping in self._mappings:
            text = cells[self._columns[mapping.column]].strip()
            if text:
                quantities, measured = values.get(mapping.sensor + suffix, ((), ()))
                value = _value(text, mapping)
                values[mapping.sensor + suffix] = ((*quantities, mapping.quantity), (*measured, value))
        return Row(line, wall_ns, values)

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}") from None


def _read_line(file: BinaryIO) -> bytes:
    """The next line; of a line that is too long only the start. Empty at the end of the file."""
    line = rest = file.readline(MAX_LINE_BYTES + 1)
    while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
        rest = file.readline(MAX_LINE_BYTES + 1)
    return line


def _cells(line: bytes) -> list[str]:
    """Split one line.

    Raises:
        ValueError: it is too long, or is not CSV in UTF-8.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        return next(csv.reader([line.decode("utf-8").rstrip("\r\n")], strict=True), [])
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} of the line is not UTF-8") from None
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _whole_ms(text: str) -> int:
    if _WHOLE.fullmatch(text.strip()) is None:
        raise ValueError(f"timestamp_ms is {_shown(text)}, expected whole milliseconds since 1970")
    milliseconds = int(text)
    if milliseconds >= 1 << 43:
        raise ValueError(f"timestamp_ms is {milliseconds}, which is not a time between 1970 and 2248")
    return milliseconds


def _sensor_suffix(text: str) -> str:
    suffix = re.sub("[^a-z0-9-]", "-", text.strip().lower())
    if not 0 < len(suffix) <= 32:
        raise ValueError(f"sensor_id is {_shown(text)}, expected 1 to 32 characters")
    return suffix


def _value(text: str, mapping: ColumnMapping) -> float | None:
    """The number in canonical units; None for an explicit not-a-number."""
    if _NO_NUMBER.fullmatch(text):
        return None
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{mapping.column} is {_shown(text)}, expected a number")
    value = mapping.unit.canonical(Decimal(text))
    if not math.isfinite(value):
        raise ValueError(f"{mapping.column} is {_shown(text)}, which is too large")
    return value


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")


class ReplayWorker:
    """Delivers rows at their times.

    Args:
        recording: gives the rows.
        clock: set to the time of the first row.
        deliver: takes measurements.
        ended: called after the last row.
    """

    name = "replay"

    def __init__(
        self,
        recording: Recording,
        clock: SimulatedClock,
        deliver: Callable[[Measurement], bool],
        ended: Callable[[], object],
    ) -> None:
        self.inbox: Inbox[Any] = Inbox(1)
        self._clock = clock
        self._deliver = deliver
        self._ended = ended
        self._recording = recording
        self._rows = recording.rows()
        self._next = next(self._rows, None)

    def step(self) -> int | None:
        """Deliver every row up to now."""
        offset_ns = self._clock.anchor().offset_ns
        now_ns = self._clock.now_ns()
        while self._next is not None and self._next.wall_ns - offset_ns <= now_ns:
            boot_ns = self._next.wall_ns - offset_ns
            for sensor, (quantities, values) in self._next.values.items():
                self._deliver(Measurement(sensor, boot_ns, quantities, values))
            self._recording.used += 1
            self._next = next(self._rows, None)
        if self._next is None:
            self._ended()
            return None
        return self._next.wall_ns - offset_ns
