"""What may stand in a message, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from edge_agent.clock import ClockQuality
from edge_agent.features import Features
from edge_agent.reading import NOT_SENT, Event, EventKind, TimeFix
from edge_agent.wire.batch import Batch, Column, Group, RowRange, Tombstone
from edge_agent.wire.envelope import Envelope
from edge_agent.wire.extras import SIGMAS

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
COUNT = st.integers(0, (1 << 63) - 1)
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
NUMBER = st.floats(allow_nan=False) | st.integers(-3000, 9000).map(lambda k: k / 100)
FEATURES = st.builds(Features, st.integers(0, 1 << 31), *[FLOAT32] * 5) | st.builds(
    Features, st.integers(0, 1 << 31), *[FLOAT32] * 11
)
SIGMA = st.sampled_from(SIGMAS)
STATUS = st.sampled_from([0, 0, 0, NOT_SENT, 7, 33, 0xFFFF])
QUANTITY = st.sampled_from(["temperature_c", "pressure_pa", "soil_pct"]) | NAME
TIMES = st.lists(INT64, max_size=20) | st.lists(st.sampled_from([0, 5, 10**9, 2 * 10**9]), max_size=20)


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Column:
    statuses = tuple(draw(st.lists(STATUS, min_size=rows, max_size=rows)) if draw(st.booleans()) else [0] * rows)
    cell = st.none() | NUMBER if draw(st.booleans()) else NUMBER
    values = draw(st.lists(cell, min_size=rows, max_size=rows))
    values = [None if status == NOT_SENT else value for value, status in zip(values, statuses, strict=True)]
    raws = draw(st.none() | st.just(values) | st.lists(cell, min_size=rows, max_size=rows))
    if raws is not None:
        raws = [None if status == NOT_SENT else raw for raw, status in zip(raws, statuses, strict=True)]
    return Column(
        draw(QUANTITY),
        tuple(values),
        None if raws is None else tuple(raws),
        statuses,
        draw(st.none() | FEATURES),
        draw(st.none() | sigmas(statuses)),
    )


@st.composite
def sigmas(draw: st.DrawFn, statuses: tuple[int, ...]) -> tuple[float | None, ...] | None:
    """Such as come back as they were: some, and none where nothing was measured."""
    drawn = draw(st.lists(SIGMA, min_size=len(statuses), max_size=len(statuses)))
    kept = tuple(None if status == NOT_SENT else sigma for sigma, status in zip(drawn, statuses, strict=True))
    return kept if any(kept) else None


def asking(batch: Batch) -> Batch:
    """The same, but whoever has no features asks for them."""
    return Batch(
        tuple(
            group._replace(columns=tuple(column._replace(describe=True) for column in group.columns))
            for group in batch.groups
        )
    )


@st.composite
def groups(draw: st.DrawFn, times: tuple[int, ...]) -> Group:
    return Group(draw(NAME), times, tuple(draw(st.lists(columns(len(times)), max_size=4))))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    times = [tuple(stamps) for stamps in draw(st.lists(TIMES, min_size=1, max_size=2))]
    return Batch(tuple(draw(groups(draw(st.sampled_from(times)))) for _ in range(draw(st.integers(0, 4)))))


ENVELOPES = st.builds(Envelope, NAME, COUNT, COUNT, COUNT, INT64, st.sampled_from(ClockQuality))
EVENTS = st.builds(Event, st.sampled_from(EventKind), INT64, NAME, NAME, NAME)
ROW = st.integers(0, (1 << 20) - 1)


@st.composite
def fixes(draw: st.DrawFn) -> TimeFix:
    """A restated span of a boot."""
    from_ns, to_ns = sorted(draw(st.tuples(INT64, INT64)))
    return TimeFix(draw(COUNT), from_ns, to_ns, draw(INT64), draw(INT64))


@st.composite
def row_ranges(draw: st.DrawFn) -> RowRange:
    """Some rows of a batch."""
    first, last = sorted(draw(st.tuples(ROW, ROW)))
    return RowRange(first, last, draw(st.integers(1, 1 << 20)))


@st.composite
def tombstones(draw: st.DrawFn) -> Tombstone:
    """Of records, of all from one on, or of rows of one."""
    first, last = sorted(draw(st.tuples(COUNT, COUNT)))
    rows = draw(st.lists(row_ranges(), max_size=5).map(tuple))
    until = first if rows else draw(st.sampled_from([last, first, None]))
    counts = draw(st.tuples(COUNT, COUNT))
    return Tombstone(first, until, *counts, draw(NAME), draw(INT64), draw(INT64), draw(st.none() | COUNT), rows)


TOMBSTONES = tombstones()
STEPS = st.sampled_from([1, 1000, 1_000_000]) | st.integers(1, (1 << 63) - 1)


def channels_of(batch: Batch) -> list[tuple[str, tuple[str, ...]]]:
    """Sensors and quantities of a batch, as an announcement would say them."""
    return [(group.sensor, tuple(column.quantity for column in group.columns)) for group in batch.groups]
