"""Recorded readings, from a CSV file into the pipeline at the times that the file tells.

The file has a header with `timestamp_ms`, optionally `sensor_id`, and one column per recorded field. A mapping says
what a column is: `column=sensor.quantity[:unit]`; with a `sensor_id` column the sensor's name gets it appended.
"""

from __future__ import annotations

import csv
import logging
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import Inbox
from edge_agent.errors import DataError
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_agent.clock import SimulatedClock

log = logging.getLogger(__name__)

NS_PER_MS: Final = 1_000_000
MAX_LINE_CHARS: Final = 65_536

_UNITS: Final[dict[str, dict[str, tuple[Decimal, Decimal]]]] = {
    # unit: (factor, offset) with canonical = value × factor + offset; decimal, so that 1021.76 hPa is 102176 Pa exactly
    "temperature_c": {
        "c": (Decimal(1), Decimal(0)),
        "k": (Decimal(1), Decimal("-273.15")),
        "f": (Decimal(5) / 9, Decimal(-160) / 9),
    },
    "humidity_pct": {"pct": (Decimal(1), Decimal(0)), "fraction": (Decimal(100), Decimal(0))},
    "pressure_pa": {
        "pa": (Decimal(1), Decimal(0)),
        "hpa": (Decimal(100), Decimal(0)),
        "mbar": (Decimal(100), Decimal(0)),
        "kpa": (Decimal(1000), Decimal(0)),
        "mmhg": (Decimal("133.322387415"), Decimal(0)),
        "inhg": (Decimal("3386.388640341"), Decimal(0)),
    },
    "co2_ppm": {"ppm": (Decimal(1), Decimal(0))},
    "illuminance_lx": {"lx": (Decimal(1), Decimal(0))},
}
_MAPPING: Final = re.compile(
    r"(?P<column>[^=]+)=(?P<sensor>[a-z0-9-]{1,64})\.(?P<quantity>[a-z0-9_]+)(:(?P<unit>\w+))?"
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """What one column of the file is."""

    column: str
    sensor: str
    quantity: str
    factor: Decimal
    offset: Decimal


def parse_mapping(text: str) -> Mapping:
    """Parse `column=sensor.quantity[:unit]`.

    Raises:
        ValueError: with one sentence that says what is wrong.
    """
    match = _MAPPING.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not column=sensor.quantity[:unit], e.g. temp=air.temperature_c:c")
    quantity, unit = match["quantity"], (match["unit"] or "").lower()
    if quantity not in QUANTITIES:
        raise ValueError(f"{quantity!r} in {text!r} is not a quantity; known: {', '.join(QUANTITIES)}")
    units = _UNITS[quantity]
    if unit and unit not in units:
        raise ValueError(f"{match['unit']!r} in {text!r} is not a unit of {quantity}; known: {', '.join(units)}")
    factor, offset = units[unit or next(iter(units))]
    return Mapping(match["column"], match["sensor"], quantity, factor, offset)


@dataclass(frozen=True, slots=True)
class Row:
    """The measurements of one line of the file. `wall_ns` is the file's own time."""

    line: int
    wall_ns: int
    values: dict[str, tuple[tuple[str, ...], tuple[float | None, ...]]]


class Recording:
    """A CSV file.

    Args:
        path: of the file.
        mappings: what its columns are.
        broken: called with a sentence for each row that cannot be used.

    Raises:
        DataError: the header is unusable.
    """

    def __init__(self, path: Path, mappings: Sequence[Mapping], broken: Callable[[str], object]) -> None:
        self.path = path
        self.skipped = 0
        self._mappings = mappings
        self._broken = broken
        with self._open() as file:
            header = next(csv.reader(file), [])
        self._columns = {name.strip(): index for index, name in enumerate(header)}
        if "timestamp_ms" not in self._columns:
            raise DataError(f"{path}:1: there is no column timestamp_ms; found: {', '.join(header) or 'nothing'}")
        for mapping in mappings:
            if mapping.column not in self._columns:
                raise DataError(f"{path}:1: there is no column {mapping.column!r}; found: {', '.join(header)}")
        self._sensor_column = self._columns.get("sensor_id")

    def sensors(self) -> dict[str, list[str]]:
        """Every sensor that the file's usable rows speak of, with its quantities. Reads the file through."""
        found: dict[str, list[str]] = {}
        for row in self._rows(lambda _sentence: None):
            for sensor, (quantities, _values) in row.values.items():
                known = found.setdefault(sensor, [])
                known += [quantity for quantity in quantities if quantity not in known]
        return found

    def first_ns(self) -> int | None:
        """Time of the first usable row, ns since 1970; None if there is none."""
        row = next(self._rows(lambda _sentence: None), None)
        return None if row is None else row.wall_ns

    def rows(self) -> Iterator[Row]:
        """Usable rows in the order of the file; tells of the others."""
        return self._rows(self._complain)

    def _complain(self, sentence: str) -> None:
        self.skipped += 1
        self._broken(sentence)

    def _rows(self, complain: Callable[[str], object]) -> Iterator[Row]:
        with self._open() as file:
            reader = csv.reader(file)
            next(reader, None)
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except (csv.Error, UnicodeDecodeError) as error:
                    complain(f"{self.path}:{reader.line_num}: {error}")
                    continue
                try:
                    yield self._row(reader.line_num, cells)
                except ValueError as error:
                    complain(f"{self.path}:{reader.line_num}: {error}")

    def _row(self, line: int, cells: list[str]) -> Row:
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} cells where the header has {len(self._columns)}")
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

    def _open(self) -> Any:
        csv.field_size_limit(MAX_LINE_CHARS)
        try:
            return self.path.open(newline="", encoding="utf-8-sig")
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}") from None


def _whole_ms(text: str) -> int:
    try:
        milliseconds = int(text)
    except ValueError:
        raise ValueError(f"timestamp_ms is {text!r}, expected whole milliseconds since 1970") from None
    if not 0 <= milliseconds < 1 << 43:
        raise ValueError(f"timestamp_ms is {milliseconds}, which is not a time between 1970 and 2248")
    return milliseconds


def _sensor_suffix(text: str) -> str:
    suffix = re.sub("[^a-z0-9-]", "-", text.strip().lower())
    if not 0 < len(suffix) <= 32:
        raise ValueError(f"sensor_id is {text!r}, expected 1 to 32 characters")
    return suffix


def _value(text: str, mapping: Mapping) -> float | None:
    """The number in canonical units; None for an explicit not-a-number."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{mapping.column} is {text!r}, expected a number") from None
    if not value.is_finite():
        return None
    return float(value * mapping.factor + mapping.offset)


class ReplayWorker:
    """Delivers rows when their time has come.

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
        self.rows = 0
        self._clock = clock
        self._deliver = deliver
        self._ended = ended
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
            self.rows += 1
            self._next = next(self._rows, None)
        if self._next is None:
            self._ended()
            return None
        return self._next.wall_ns - offset_ns
