"""Decodes the columns of all groups of a batch. Pure.

All heads come first, all codes after them. So while the heads are read, a note says where the parts of each column will
be; columns are made from the notes when all integers are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.reading import NOT_SENT
from edge_agent.wire.batch import Column
from edge_agent.wire.column import (
    AS_DOUBLES,
    AS_INTEGERS,
    CELL_GOOD,
    CELL_OTHER,
    HAS_CELLS,
    HAS_EXTRAS,
    LIKE_RAWS,
    MOST_CELL,
    NO_RAWS,
    OWN_RAWS,
    RAWS_SHIFT,
    SAME_RAWS,
    SCALE_BITS,
)
from edge_agent.wire.extras import (
    COMPUTED,
    COMPUTED_IN_FULL,
    HAS_SIGMAS,
    NO_FEATURES,
    WAY_BITS,
    UsedReadings,
    compute,
    decode_features,
    sigmas_of,
    used_readings,
)
from edge_agent.wire.floats import NOT_DECIMAL, check_scale, from_bytes, unscale
from edge_agent.wire.restore import Head, restore, take_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.features import Features
    from edge_agent.wire.cursor import Cursor
    from edge_agent.wire.known import Latest

    Ints = NDArray[np.int64]


class _Note(NamedTuple):
    """Where the parts of a column are.

    Attributes:
        values: place of the values among the numbers.
        numbers: how many values have a number.
        cells: place of the cells among the integers; None: all are good.
        raws_mode: NO_RAWS to OWN_RAWS.
        raws: place of the raw values among the numbers.
        raw_cells: place among the integers of what says which raw values are missing; None: none is.
        features: those that were sent.
        way: how features were sent.
        sigmas: place of the codes of sigmas among the integers; None: not sent.
    """

    values: int
    numbers: int
    cells: int | None
    raws_mode: int
    raws: int
    raw_cells: int | None
    features: Features | None
    way: int
    sigmas: int | None


class _Cells(NamedTuple):
    """Statuses of a column, and which of its rows have a number; None: all of them."""

    statuses: tuple[int, ...]
    present: NDArray[np.bool_] | None


class Layout(NamedTuple):
    """A group before its codes are read.

    Attributes:
        sensor: its id.
        rows: 0..65536.
        quantities: a name per column.
        shared: place of the earlier group whose stamps it has; None if it has its own.
    """

    sensor: str
    rows: int
    quantities: Sequence[str]
    shared: int | None


class _Reader:
    """Reads the heads of a batch, then the numbers that they announce."""

    def __init__(self, cursor: Cursor, latest: Latest) -> None:
        self.cursor = cursor
        self.latest = latest
        self.heads: list[Head] = []
        self.integers: list[Ints] = []
        self._numbers: list[tuple[int, int, int | Ints]] = []
        """Per column of numbers: scale, number to add, and place among the integers or, if sent as doubles, bits."""
        self._sensor = self._quantity = ""

    def block(self, count: int, leader: int | None = None) -> int:
        """Read a head, and return its place."""
        self.heads.append(take_head(self.cursor, count, leader))
        return len(self.heads) - 1

    def cells(self, rows: int) -> tuple[int, int]:
        """Read the head of cells and the count of numbers behind it; return its place and the count."""
        place = self.block(rows)
        present = self.cursor.varint()
        if present > rows:
            raise WireError(f"{rows} cells cannot hold {present} numbers")
        return place, present

    def numbers(self, scale: int, count: int, leader: int | None = None) -> int:
        """Read the head of a column of numbers, and return their place."""
        place: int | Ints = np.empty(0, dtype=np.int64)
        if check_scale(scale) == NOT_DECIMAL and count:
            way = self.cursor.byte()
            if way not in {AS_DOUBLES, AS_INTEGERS}:
                raise WireError(f"numbers are sent in the unknown way {way}")
            place = from_bytes(self.cursor.take(8 * count)) if way == AS_DOUBLES else self.block(count)
        elif count:
            place = self.block(count, leader)
        shift = (
            0 if self.latest.empty or scale == NOT_DECIMAL else self.latest.integer(self._sensor, self._quantity, scale)
        )
        self._numbers.append((scale, shift, place))
        return len(self._numbers) - 1

    def last_block(self) -> int | None:
        """Place of the last head, whose column the next one may follow; None if there is none."""
        return len(self.heads) - 1 if self.heads else None

    def column(self, sensor: str, quantity: str, rows: int) -> _Note:
        """Read all heads of a column."""
        self._sensor, self._quantity = sensor, quantity
        head = self.cursor.byte()
        scale, raws_mode = head & SCALE_BITS, head >> RAWS_SHIFT & 3
        cells, count = self.cells(rows) if head & HAS_CELLS and rows else (None, rows)
        raws, raw_cells, leader = 0, None, None
        if raws_mode == LIKE_RAWS:
            if scale == NOT_DECIMAL:
                raise WireError(f"raw values of {quantity} are sent in an unknown way")
            raws = self.numbers(scale, count)
            leader = self.last_block() if count else None
        elif raws_mode == OWN_RAWS:
            own = self.cursor.byte()
            if own & ~(SCALE_BITS | HAS_CELLS):
                raise WireError(f"raw values have the unknown header {own:#04x}")
            raw_cells, raw_count = self.cells(rows) if own & HAS_CELLS and rows else (None, rows)
            raws = self.numbers(own & SCALE_BITS, raw_count)
        values = self.numbers(scale, count, leader)
        features, way, sigmas = None, NO_FEATURES, None
        if head & HAS_EXTRAS:
            extra = self.cursor.byte()
            way = extra & WAY_BITS
            whole = cells is None or way == COMPUTED_IN_FULL
            can = (whole and scale != NOT_DECIMAL and rows) or way not in {COMPUTED, COMPUTED_IN_FULL}
            if way > NO_FEATURES or extra > WAY_BITS | HAS_SIGMAS or not can or (extra & HAS_SIGMAS and not rows):
                raise WireError(f"features or sigmas of {quantity} are sent in an unknown way")
            features = decode_features(way, self.cursor)
            sigmas = self.block(rows) if extra & HAS_SIGMAS else None
        return _Note(values, count, cells, raws_mode, raws, raw_cells, features, way, sigmas)

    def finish(self) -> tuple[list[list[float]], list[int], list[Ints]]:
        """Read all codes; return the numbers, their scales and the integers behind them."""
        cursor = self.cursor
        self.integers = restore(self.heads, cursor.take(len(cursor.data) - cursor.at))
        scales = [scale for scale, _, _ in self._numbers]
        integers = [self.integers[place] if isinstance(place, int) else place for _, _, place in self._numbers]
        if not self.latest.empty:
            shifts = [shift for _, shift, _ in self._numbers]
            integers = [column + np.int64(shift) for column, shift in zip(integers, shifts, strict=True)]
        return unscale(integers, scales), scales, integers


def decode_groups(
    cursor: Cursor, layouts: Sequence[Layout], latest: Latest
) -> list[tuple[tuple[int, ...], tuple[Column, ...]]]:
    """Decode stamps and columns of all groups from all bytes that are left.

    Raises:
        WireError: the bytes end too early, are too many or contradict each other.
    """
    reader = _Reader(cursor, latest)
    stamp_places: list[int | None] = []
    notes: list[list[_Note]] = []
    for layout in layouts:
        own = layout.shared is None and layout.rows
        stamp_places.append(reader.block(layout.rows) if own else None)
        notes.append([reader.column(layout.sensor, quantity, layout.rows) for quantity in layout.quantities])
    numbers, scales, integers = reader.finish()
    stamps = _stamps(layouts, stamp_places, reader.integers, latest.stamp_ns)
    plain = {layout.rows: _Cells((0,) * layout.rows, None) for layout in layouts}
    cells = [
        [plain[layout.rows] if note.cells is None else _cells(reader.integers[note.cells], note) for note in mine]
        for layout, mine in zip(layouts, notes, strict=True)
    ]
    computed = _computed(notes, cells, stamps, scales, integers)
    listed: list[tuple[int, ...]] = []
    groups = []
    for layout, times, mine, judged in zip(layouts, stamps, notes, cells, strict=True):
        listed.append(tuple(times.tolist()) if layout.shared is None else listed[layout.shared])
        columns = [
            _column(quantity, note, own, numbers, reader.integers, computed.get(note.values))
            for quantity, note, own in zip(layout.quantities, mine, judged, strict=True)
        ]
        groups.append((listed[-1], tuple(columns)))
    return groups


def _stamps(
    layouts: Sequence[Layout], places: Sequence[int | None], integers: Sequence[Ints], since: int | None
) -> list[Ints]:
    """Find the stamps of each group; they are relative to an earlier batch or to the first stamp of this one."""
    stamps: list[Ints] = []
    for layout, place in zip(layouts, places, strict=True):
        if layout.shared is not None:
            stamps.append(stamps[layout.shared])
        elif place is None:
            stamps.append(np.empty(0, dtype=np.int64))
        elif since is None:
            stamps.append(integers[place])
            since = int(integers[place][0])
        else:
            stamps.append(integers[place] + np.int64(since))
    return stamps


def _computed(
    notes: Sequence[Sequence[_Note]],
    cells: Sequence[Sequence[_Cells]],
    stamps: Sequence[Ints],
    scales: Sequence[int],
    integers: Sequence[Ints],
) -> dict[int, Features]:
    """Compute the features that were not sent, by the place of the values."""
    used: dict[int, dict[int, UsedReadings]] = {COMPUTED: {}, COMPUTED_IN_FULL: {}}
    for mine, judged, times_ns in zip(notes, cells, stamps, strict=True):
        for note, (statuses, present) in zip(mine, judged, strict=True):
            if note.way in used:
                own = scales[note.values], integers[note.values], times_ns
                readings = UsedReadings(*own) if present is None else used_readings(*own, present, statuses)
                used[note.way][note.values] = readings
    computed: dict[int, Features] = {}
    for way, chosen in used.items():
        computed.update(zip(chosen, compute(list(chosen.values()), in_full=way != COMPUTED), strict=True))
    return computed


def _cells(cells: Ints, note: _Note) -> _Cells:
    if not 0 <= int(cells.min()) <= int(cells.max()) <= MOST_CELL:
        raise WireError("a cell has an impossible status")
    other = cells >= CELL_OTHER
    judged = np.where(other, cells - CELL_OTHER >> 1, np.where(cells == CELL_GOOD, 0, NOT_SENT))
    present = (cells == CELL_GOOD) | (other & (cells & 1 == 0))
    if int(np.count_nonzero(present)) != note.numbers:
        raise WireError("a column has another count of numbers than its cells")
    return _Cells(tuple(judged.tolist()), present)


def _column(
    quantity: str,
    note: _Note,
    cells: _Cells,
    numbers: Sequence[list[float]],
    integers: Sequence[Ints],
    computed: Features | None,
) -> Column:
    statuses, present = cells
    values: tuple[float | None, ...] = tuple(numbers[note.values])
    if present is not None:
        values = _spread(values, present)
    raws: tuple[float | None, ...] | None = None
    if note.raws_mode == SAME_RAWS:
        raws = values
    elif note.raws_mode != NO_RAWS:
        raws = tuple(numbers[note.raws])
        if note.raws_mode == LIKE_RAWS and present is not None:
            raws = _spread(raws, present)
        elif note.raw_cells is not None:
            missing = integers[note.raw_cells]
            if not 0 <= int(missing.min()) <= int(missing.max()) <= 1:
                raise WireError("raw values are marked by something else than 0 and 1")
            raws = _spread(raws, missing == 0)
    sigmas = None if note.sigmas is None else sigmas_of(integers[note.sigmas], statuses)
    return Column(quantity, values, raws, statuses, computed or note.features, sigmas)


def _spread(numbers: tuple[float | None, ...], present: NDArray[np.bool_]) -> tuple[float | None, ...]:
    """Put numbers where they are present, and None between them."""
    if int(np.count_nonzero(present)) != len(numbers):
        raise WireError("a column has another count of numbers than its cells")
    following = iter(numbers)
    return tuple([next(following) if here else None for here in present.tolist()])
