"""Divides a stored batch by rows: into parts that are small enough to send, or to every n-th row. Pure.

Rows are counted from 0 over the groups in their order. A part names the rows of the original batch that it holds, so a
receiver that gets parts, thinned copies and the whole batch in any order keeps each row once.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.errors import WireError
from edge_agent.wire.batch import Batch, Column, Group, RowRange, RowsOfBatch
from edge_agent.wire.decode import decode_batch
from edge_agent.wire.encode import encode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Selection(NamedTuple):
    """Some rows of a batch.

    Attributes:
        rows, body, readings: what is kept; rows None: nothing.
        dropped, dropped_readings: what is not.
        first_ns, last_ns: stamps of the first and the last row that is not kept, nanoseconds since boot.
    """

    rows: RowsOfBatch | None
    body: bytes
    readings: int
    dropped: tuple[RowRange, ...]
    dropped_readings: int
    first_ns: int
    last_ns: int


def split_batch(body: bytes, max_bytes: int, rows: RowsOfBatch | None = None) -> list[tuple[RowsOfBatch, bytes]]:
    """Divide a batch into parts of consecutive rows.

    Features of a column go with the part that holds the first row of its group. They still describe all rows.

    Args:
        body: of a self-contained batch.
        max_bytes: most bytes of the body of a part.
        rows: which rows of its batch the body holds; None: all.

    Returns:
        The rows of each part, and its body. A batch that is small enough is one part.

    Raises:
        WireError: the body is damaged, has no rows, or one row alone is larger.
    """
    batch, rows = _opened(body, rows)
    parts: list[tuple[RowsOfBatch, bytes]] = []
    waiting = [(0, rows.size)]
    while waiting:
        start, end = waiting.pop()
        part = body if end - start == rows.size else encode_batch(_cut(batch, range(start, end)))
        if len(part) <= max_bytes:
            parts.append((_within(rows, range(start, end)), part))
        elif end - start == 1:
            raise WireError(f"one row of the batch takes {len(part)} bytes, more than {max_bytes}")
        else:
            # As many equal pieces as its size asks for; pieces that are still too large are divided again.
            pieces = min(end - start, -(-len(part) // max(1, max_bytes)))
            cuts = [start + (end - start) * piece // pieces for piece in range(pieces + 1)]
            waiting += reversed(list(pairwise(cuts)))
    return parts


def thin_batch(body: bytes, step: int, rows: RowsOfBatch | None = None) -> tuple[RowsOfBatch, bytes]:
    """Keep every `step`-th row of a batch, the first included.

    Args:
        body: of a self-contained batch.
        step: 1 or more.
        rows: which rows of its batch the body holds; None: all.

    Raises:
        WireError: the body is damaged, or has no rows.
    """
    batch, rows = _opened(body, rows)
    kept = range(0, rows.size, step)
    return _within(rows, kept), encode_batch(_cut(batch, kept))


def keep_rows(body: bytes, step_of: Callable[[str], int], rows: RowsOfBatch | None = None) -> Selection | None:
    """Keep every n-th row of each sensor of a batch, the first of each group included.

    Args:
        body: of a self-contained batch.
        step_of: n by sensor id, in rows of the original batch: 1 keeps all, 0 none. What is thinner already stays.
        rows: which rows of its batch the body holds; None: all.

    Returns:
        What is kept and what is dropped; None if nothing is dropped.

    Raises:
        WireError: the body is damaged, or has no rows.
    """
    batch, rows = _opened(body, rows)
    numbers, kept, dropped = rows.numbers(), list[int](), list[RowRange]()
    groups, lost = list[Group](), list[Group]()
    start = 0
    for group in batch.groups:
        own = numbers[start : start + len(group.times_ns)]
        start += len(own)
        wanted = step_of(group.sensor)
        spacing = own[1] - own[0] if len(own) > 1 else 1
        step = max(1, wanted // spacing) if wanted else len(own) + 1
        first = 0 if wanted else len(own)
        places = range(first, len(own), step)
        kept += own[first::step]
        if places:
            groups.append(_chosen(group, slice(first, None, step)))
        rest = [place for place in range(len(own)) if place not in places]
        if rest:
            dropped += _least([_runs([own[place] for place in rest]), _strides(own, first, step)])
            lost.append(Group(group.sensor, [group.times_ns[place] for place in rest], _columns_of(group, rest)))
    if not lost:
        return None
    stamps = [stamp for group in lost for stamp in group.times_ns]
    return Selection(
        rows=_rows(rows.total, kept) if kept else None,
        body=encode_batch(Batch(tuple(groups))) if kept else b"",
        readings=_readings(groups),
        dropped=tuple(dropped),
        dropped_readings=_readings(lost),
        first_ns=min(stamps),
        last_ns=max(stamps),
    )


def other_rows(rows: RowsOfBatch) -> tuple[RowRange, ...]:
    """The rows of the batch that `rows` does not hold."""
    held = set(rows.numbers())
    return tuple(_runs([row for row in range(rows.total) if row not in held]))


def _opened(body: bytes, rows: RowsOfBatch | None) -> tuple[Batch, RowsOfBatch]:
    batch = decode_batch(body)
    count = sum(len(group.times_ns) for group in batch.groups)
    if count == 0:
        raise WireError("a batch without rows cannot be divided")
    rows = rows or RowsOfBatch(count, 0, 1, count)
    if rows.size != count:
        raise WireError(f"the body has {count} rows, not {rows.size}")
    return batch, rows


def _within(rows: RowsOfBatch, places: range) -> RowsOfBatch:
    """Some of what `rows` holds, by place, as rows of the original batch."""
    return _rows(rows.total, rows.numbers()[places.start : places.stop : places.step])


def _rows(total: int, numbers: Sequence[int]) -> RowsOfBatch:
    """Ascending rows of a batch of `total` rows."""
    if isinstance(numbers, range):
        return RowsOfBatch(total, numbers[0], numbers.step, len(numbers))
    first, *more = _runs(numbers)
    return RowsOfBatch(total, first.first, first.step, len(first.numbers()), tuple(more))


def _runs(numbers: Sequence[int]) -> list[RowRange]:
    """Ascending numbers as few runs of equal steps."""
    runs: list[RowRange] = []
    for number in numbers:
        last = runs[-1] if runs else None
        if last is not None and (last.first == last.last or number - last.last == last.step):
            runs[-1] = RowRange(last.first, number, number - last.last)
        else:
            runs.append(RowRange(number, number))
    return runs


def _strides(own: Sequence[int], first: int, step: int) -> list[RowRange]:
    """What is left of evenly spaced rows when every `step`-th is taken: a run for each other remainder."""
    rests = [own[first + rest :: step] for rest in range(1, min(step, len(own)))] if first < len(own) else [own]
    return [run for rest in rests for run in _runs(rest)]


def _least(ways: Sequence[list[RowRange]]) -> list[RowRange]:
    return min(ways, key=len)


def _columns_of(group: Group, places: Sequence[int]) -> tuple[Column, ...]:
    """The columns of some rows, only to count readings in them."""
    return tuple(
        Column(each.quantity, (), None, [each.statuses[place] for place in places], None) for each in group.columns
    )


def _readings(groups: Sequence[Group]) -> int:
    return sum(column.cells_sent() for group in groups for column in group.columns)


def _chosen(group: Group, chosen: slice) -> Group:
    return Group(group.sensor, group.times_ns[chosen], tuple(_column(column, chosen) for column in group.columns))


def _cut(batch: Batch, kept: range) -> Batch:
    """The batch with some of its rows, without groups that have none of them."""
    ends = list(accumulate(len(group.times_ns) for group in batch.groups))
    groups: list[Group] = []
    for group, end in zip(batch.groups, ends, strict=True):
        start = end - len(group.times_ns)
        first = max(kept.start, start + (kept.start - start) % kept.step)
        mine = range(first - start, min(kept.stop, end) - start, kept.step)
        if mine:
            chosen = slice(mine.start, mine.stop, mine.step)
            groups.append(_chosen(group, chosen))
    return Batch(tuple(groups))


def _column(column: Column, chosen: slice) -> Column:
    return Column(
        column.quantity,
        column.values[chosen],
        _some(column.raws, chosen),
        column.statuses[chosen],
        column.features if chosen.start == 0 else None,
        _some(column.sigmas, chosen),
    )


def _some(numbers: Sequence[float | None] | None, chosen: slice) -> Sequence[float | None] | None:
    return None if numbers is None else numbers[chosen]
