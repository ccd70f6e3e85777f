"""Divides a stored batch by rows: into parts that are small enough to send, or to every n-th row. Pure.

Rows are counted from 0 over the groups in their order. A part names the rows of the original batch that it holds, so a
receiver that gets parts, thinned copies and the whole batch in any order keeps each row once.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from edge_agent.errors import WireError
from edge_agent.wire.batch import Batch, Column, Group, RowsOfBatch
from edge_agent.wire.decode import decode_batch
from edge_agent.wire.encode import encode_batch

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    waiting = [(0, rows.count)]
    while waiting:
        start, end = waiting.pop()
        part = body if end - start == rows.count else encode_batch(_cut(batch, range(start, end)))
        if len(part) <= max_bytes:
            parts.append((_within(rows, start, 1, end - start), part))
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
    kept = range(0, rows.count, step)
    return _within(rows, 0, step, len(kept)), encode_batch(_cut(batch, kept))


def _opened(body: bytes, rows: RowsOfBatch | None) -> tuple[Batch, RowsOfBatch]:
    batch = decode_batch(body)
    count = sum(len(group.times_ns) for group in batch.groups)
    if count == 0:
        raise WireError("a batch without rows cannot be divided")
    rows = rows or RowsOfBatch(count, 0, 1, count)
    if rows.count != count:
        raise WireError(f"the body has {count} rows, not {rows.count}")
    return batch, rows


def _within(rows: RowsOfBatch, first: int, step: int, count: int) -> RowsOfBatch:
    """Rows `first`, `first + step`, … of what `rows` holds, as rows of the original batch."""
    return RowsOfBatch(rows.total, rows.first + first * rows.step, rows.step * step, count)


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
            columns = tuple(_column(column, chosen) for column in group.columns)
            groups.append(Group(group.sensor, group.times_ns[chosen], columns))
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
