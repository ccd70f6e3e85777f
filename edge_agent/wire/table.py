"""Bytes back to the columns of all groups of a batch. Pure.

Heads come first, codes after the last head; so what a column is made of is noted while the heads are taken, and
filled in when all integers are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.reading import NOT_SENT, Features
from edge_agent.wire.batch import Column
from edge_agent.wire.column import (
    AS_DOUBLES,
    AS_INTEGERS,
    CELL_GOOD,
    CELL_OTHER,
    COMPUTED,
    FEATURES,
    GIVEN,
    HAS_CELLS,
    HAS_FEATURES,
    LIKE_RAWS,
    MOST_CELL,
    NO_RAWS,
    OWN_RAWS,
    RAWS_SHIFT,
    SAME_RAWS,
    SCALE_BITS,
)
from edge_agent.wire.floats import NOT_DECIMAL, check_scale, from_bytes, unscale
from edge_agent.wire.restore import Head, restore, take_head
from edge_agent.wire.window import features_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.cursor import Cursor
    from edge_agent.wire.known import Latest

    Ints = NDArray[np.int64]


class _Note(NamedTuple):
    """Where the parts of a column are: places among the integers (cells) and among the numbers."""

    values: int
    cells: int | None
    raws_mode: int
    raws: int
    raw_cells: int | None
    features: Features | None
    computed: bool


class Layout(NamedTuple):
    """One group before its codes are read.

    Attributes:
        sensor: its id.
        rows: 0..65536.
        quantities: a name per column.
        shared: the earlier group whose stamps it has; None if it has its own.
    """

    sensor: str
    rows: int
    quantities: Sequence[str]
    shared: int | None


class _Reader:
    """What the heads of a batch announce, and then hold."""

    def __init__(self, cursor: Cursor, latest: Latest) -> None:
        self.cursor = cursor
        self.latest = latest
        self.heads: list[Head] = []
        self.integers: list[Ints] = []
        self._numbers: list[tuple[int, int, int | Ints]] = []
        """Scale, what to add, and the place among the integers, or what was read already."""
        self._sensor = self._quantity = ""

    def block(self, count: int, leader: int | None = None) -> int:
        """Take a head, and return its place."""
        self.heads.append(take_head(self.cursor, count, leader))
        return len(self.heads) - 1

    def cells(self, rows: int) -> tuple[int, int]:
        """Take a head and how many numbers there are; return its place and that."""
        place = self.block(rows)
        present = self.cursor.varint()
        if present > rows:
            raise WireError(f"{rows} cells cannot hold {present} numbers")
        return place, present

    def numbers(self, scale: int, count: int, leader: int | None = None) -> int:
        """Take a head of numbers, and return their place."""
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
        """Place of the last head, for one that may follow it."""
        return len(self.heads) - 1 if self.heads else None

    def column(self, sensor: str, quantity: str, rows: int) -> _Note:
        """Take all heads of a column."""
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
        features, computed = None, False
        if head & HAS_FEATURES:
            way = self.cursor.byte()
            computed = way == COMPUTED
            if way == GIVEN:
                features = Features(*FEATURES.unpack(self.cursor.take(FEATURES.size)))
            elif not computed or cells is not None or scale == NOT_DECIMAL or not rows:
                raise WireError(f"features of {quantity} are sent in an unknown way")
        return _Note(values, cells, raws_mode, raws, raw_cells, features, computed)

    def finish(self) -> tuple[list[list[float]], list[int], list[Ints]]:
        """Read all codes; return the numbers, their scales and the integers behind them."""
        cursor = self.cursor
        self.integers = restore(self.heads, cursor.take(len(cursor.data) - cursor.at))
        scales = [scale for scale, _, _ in self._numbers]
        integers = [self.integers[place] if isinstance(place, int) else place for _, _, place in self._numbers]
        if not self.latest.empty:
            shifts = [shift for _, shift, _ in self._numbers]
            integers = [column + np.array([shift]) for column, shift in zip(integers, shifts, strict=True)]
        return unscale(integers, scales), scales, integers


def decode_groups(
    cursor: Cursor, layouts: Sequence[Layout], latest: Latest
) -> list[tuple[tuple[int, ...], tuple[Column, ...]]]:
    """Take stamps and columns of all groups from all that is left.

    Raises:
        WireError: it ends too early, is too long or contradicts itself.
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
    computed = _computed(notes, scales, integers, stamps)
    listed: list[tuple[int, ...]] = []
    groups = []
    for layout, times, mine in zip(layouts, stamps, notes, strict=True):
        listed.append(tuple(times.tolist()) if layout.shared is None else listed[layout.shared])
        columns = [
            _column(quantity, layout.rows, note, numbers, reader.integers, computed.get(note.values))
            for quantity, note in zip(layout.quantities, mine, strict=True)
        ]
        groups.append((listed[-1], tuple(columns)))
    return groups


def _stamps(
    layouts: Sequence[Layout], places: Sequence[int | None], integers: Sequence[Ints], since: int | None
) -> list[Ints]:
    """Find the stamps of each group, which count from an earlier batch or from the first stamp of all."""
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
            stamps.append(integers[place] + np.array([since]))
    return stamps


def _computed(
    notes: Sequence[Sequence[_Note]], scales: Sequence[int], integers: Sequence[Ints], stamps: Sequence[Ints]
) -> dict[int, Features]:
    """Compute the features that were left to us, by the place of the values."""
    alike: dict[int, list[tuple[int, Ints]]] = {}
    for mine, times in zip(notes, stamps, strict=True):
        for note in mine:
            if note.computed:
                alike.setdefault(len(times), []).append((note.values, times))
    computed: dict[int, Features] = {}
    for together in alike.values():
        places = [place for place, _ in together]
        table = np.array([integers[place] for place in places])
        found = features_of(table, [scales[place] for place in places], np.array([times for _, times in together]))
        for place, features in zip(places, found, strict=True):
            if features is None:
                raise WireError("features are left to be computed from numbers that are too large")
            computed[place] = features
    return computed


def _column(
    quantity: str,
    rows: int,
    note: _Note,
    numbers: Sequence[list[float]],
    integers: Sequence[Ints],
    computed: Features | None,
) -> Column:
    values: tuple[float | None, ...] = tuple(numbers[note.values])
    statuses: tuple[int, ...] = (0,) * rows
    present: NDArray[np.bool_] | None = None
    if note.cells is not None:
        cells = integers[note.cells]
        if not 0 <= int(cells.min()) <= int(cells.max()) <= MOST_CELL:
            raise WireError(f"a cell of {quantity} has an impossible status")
        other = cells >= CELL_OTHER
        present = (cells == CELL_GOOD) | (other & (cells & 1 == 0))
        values = _spread(values, present)
        judged = np.where(other, cells - CELL_OTHER >> 1, np.where(cells == CELL_GOOD, 0, NOT_SENT))
        statuses = tuple(judged.tolist())
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
    return Column(quantity, values, raws, statuses, computed or note.features)


def _spread(numbers: tuple[float | None, ...], present: NDArray[np.bool_]) -> tuple[float | None, ...]:
    """Put numbers where they are present, and None between them."""
    if int(np.count_nonzero(present)) != len(numbers):
        raise WireError("a column has another count of numbers than its cells")
    following = iter(numbers)
    return tuple([next(following) if here else None for here in present.tolist()])
