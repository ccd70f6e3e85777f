"""What the formats have in common: their result, and the names of qualities, flags and features. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.reading import NOT_SENT, Flag, flags_of, quality_of
from edge_agent.wire import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.features import Features
    from edge_agent.wire.batch import Column


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A record as it is published.

    Attributes:
        payload: the whole payload.
        content_type: for MQTT 5.
        version: version of the payload's layout, for the user property `v`.
        topic: last level of the topic, if the format cannot hold such a record; None: that of its lane.
    """

    payload: bytes
    content_type: str
    version: str = "1"
    topic: str | None = None


Rewrite = Callable[[bytes], Rewritten]
"""A function that rewrites one of our messages."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One reading of a column.

    Attributes:
        row: place in the column.
        value, raw: finite numbers; None where there is none.
        sigma: standard deviation of the error of the value, if one was sent.
        quality: `good`, `estimated`, `suspect` or `bad`.
        flags: why it is not good; never empty for a reading without value.
    """

    row: int
    value: float | None
    raw: float | None
    sigma: float | None
    quality: str
    flags: tuple[str, ...]


def cells(column: Column) -> Iterator[Cell]:
    """Every reading of a column that was sent, in its order."""
    judged: dict[int, tuple[str, tuple[str, ...]]] = {}
    nothing = [None] * len(column.values)
    raws = nothing if column.raws is None else column.raws
    sigmas = nothing if column.sigmas is None else column.sigmas
    for row, (value, raw, sigma, status) in enumerate(zip(column.values, raws, sigmas, column.statuses, strict=True)):
        if status == NOT_SENT:
            continue
        if status not in judged:
            judged[status] = judge(status)
        quality, flags = judged[status]
        number = finite(value)
        yield Cell(row, number, finite(raw), sigma, quality, flags if flags or number is not None else ("no_value",))


def judge(status: int) -> tuple[str, tuple[str, ...]]:
    """Name the quality and the flags in a cell's status."""
    flags = flags_of(status)
    return quality_of(status).name.lower(), tuple(str(flag.name).lower() for flag in Flag if flag in flags)


def statistics(features: Features) -> Iterator[tuple[str, float]]:
    """Yield name and number of each finite feature, named as by `edge-agent decode`; the count is an int."""
    for name, number in rows.statistics(features):
        if math.isfinite(number):
            yield name, number if name == "count" else float(number)


def finite(number: float | None) -> float | None:
    """Return the number, or None if it is not finite, which no text format can write."""
    return number if number is not None and math.isfinite(number) else None
