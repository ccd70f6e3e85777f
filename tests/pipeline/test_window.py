from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S, Anchor, ClockQuality, SimulatedClock
from edge_agent.outbox.worker import Commit, SaveState, Store, StoreSegment
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.settings import BatchSettings, ChannelSettings
from edge_agent.reading import Measurement, RecordKind
from edge_agent.stages.validate import Limits
from edge_agent.wire.batch import Batch
from edge_agent.wire.codec import decode_message, encode_message
from edge_agent.wire.envelope import Envelope

S = NS_PER_S
T = "temperature_c"
START_NS = 1_000_000_123
WALL_NS = 1_767_225_617_250_000_000
"""17.25 s past a full minute, when the first reading is taken."""
MS = 1_000_000


@dataclass
class Bench:
    """A pipeline with aligned batches of a minute, fed in the order in which sensors deliver."""

    sensors: tuple[str, ...] = ("air",)
    batch_s: float = 60
    quality: ClockQuality = ClockQuality.SYNCED
    stored: list[Store] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SimulatedClock(WALL_NS, start_ns=START_NS)
        self.clock.set_anchor(Anchor(WALL_NS - START_NS, self.quality, 0))
        self.pipeline = Pipeline(
            {name: [ChannelSettings(T, Limits(-40.0, 85.0), resolution=0.01)] for name in self.sensors},
            BatchSettings(round(self.batch_s * S), 10 * S, align=True),
            clock=self.clock,
            store=self._store,
        )

    def _store(self, message: Store | StoreSegment | SaveState | Commit) -> bool:
        if isinstance(message, Store):
            self.stored.append(message)
        return True

    def advance(self, to_ns: int) -> None:
        """Let time pass, stepping whenever that is due."""
        while (due_ns := self.pipeline.step()) is not None and due_ns <= to_ns:
            self.clock.advance_to(due_ns)
        self.clock.advance_to(to_ns)

    def play(self, readings: list[tuple[int, int, str]]) -> list[list[int]]:
        """Deliver readings, (when it is delivered, when it was taken, sensor), both since the start. Then end."""
        for delivered_ns, taken_ns, sensor in sorted(readings):
            self.advance(START_NS + delivered_ns)
            self.pipeline.deliver(Measurement(sensor, START_NS + taken_ns, (T,), (20.0,)))
            self.pipeline.step()
        self.pipeline.finish()
        return self.windows()

    def windows(self) -> list[list[int]]:
        """Stamps of each batch since the start, in order."""
        return [
            sorted(stamp - START_NS for group in batch.groups for stamp in group.times_ns)
            for each in self.stored
            if isinstance(batch := decoded(each), Batch)
        ]


def decoded(each: Store) -> object:
    envelope = Envelope("n", 1, 1, 1, 0, ClockQuality.SYNCED)
    return decode_message(encode_message(RecordKind.BATCH, envelope, each.content.body)).content


def minute(stamp_ns: int, batch_s: float = 60) -> int:
    return (WALL_NS + stamp_ns) // round(batch_s * S)


def every(period_s: float, until_s: float, sensor: str = "air", late_s: float = 0.0) -> list[tuple[int, int, str]]:
    count = int(until_s / period_s)
    stamps = [round(turn * period_s * S) for turn in range(count)]
    return [(stamp + round(late_s * S), stamp, sensor) for stamp in stamps]


def test_batches_begin_and_end_on_the_minute_and_the_first_is_short() -> None:
    first, *rest = Bench().play(every(1, 300))
    assert len(first) == 43
    assert [len(window) for window in rest] == [60, 60, 60, 60, 17]
    assert all(minute(window[0]) == minute(window[-1]) for window in (first, *rest))


def test_a_batch_leaves_within_a_second_of_its_end() -> None:
    bench = Bench()
    for delivered_ns, taken_ns, sensor in every(1, 43):
        bench.advance(START_NS + delivered_ns)
        bench.pipeline.deliver(Measurement(sensor, START_NS + taken_ns, (T,), (20.0,)))
    bench.advance(START_NS + round(43.74 * S))
    assert not bench.stored
    bench.advance(START_NS + round(43.76 * S))
    assert len(bench.stored) == 1


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 1, 7, 60, 100]), st.floats(0, 0.99)), min_size=1, max_size=4),
    st.sampled_from([10, 60, 90]),
)
def test_no_batch_reaches_across_a_multiple_whatever_the_sensors(
    sensors: list[tuple[float, float]], batch_s: int
) -> None:
    names = tuple(f"s{number}" for number in range(len(sensors)))
    readings = [
        each
        for name, (period_s, late_s) in zip(names, sensors, strict=True)
        for each in every(period_s, 400, name, late_s)
    ]
    windows = Bench(names, batch_s=batch_s).play(readings)
    numbers = [{minute(stamp, batch_s) for stamp in window} for window in windows]
    assert all(len(each) == 1 for each in numbers), "a batch holds two windows"
    assert len(set.union(*numbers)) == len(windows), "a window is in two batches"
    assert sorted(stamp for window in windows for stamp in window) == sorted(
        (START_NS + taken) // MS * MS - START_NS for _, taken, _ in readings
    )


@pytest.mark.parametrize("step_s", [-3600.5, -20, 7, 25, 86_400.25])
def test_when_the_clock_steps_only_the_next_window_has_another_length(step_s: float) -> None:
    bench = Bench()
    readings = every(1, 300)
    for delivered_ns, taken_ns, sensor in readings:
        bench.advance(START_NS + delivered_ns)
        if delivered_ns == 130 * S:
            anchor = bench.clock.anchor()
            bench.clock.set_anchor(Anchor(anchor.offset_ns + round(step_s * S), ClockQuality.SYNCED, 0))
        bench.pipeline.deliver(Measurement(sensor, START_NS + taken_ns, (T,), (20.0,)))
    bench.pipeline.finish()
    before, after = [43, 60, 60], bench.windows()[3:]
    assert [len(window) for window in bench.windows()[:3]] == before
    changed, *rest = after
    assert 30 <= len(changed) <= 90
    assert all(len(window) == 60 for window in rest[:-1])
    assert all((WALL_NS + round(step_s * S) + window[0]) % (60 * S) < S for window in rest)


def test_time_since_boot_counts_while_nobody_knows_the_time() -> None:
    windows = Bench(quality=ClockQuality.NONE).play(every(1, 200))
    assert [len(window) for window in windows] == [59, 60, 60, 21]


def test_a_sensor_that_is_slower_than_the_window_fills_those_that_it_measures_in() -> None:
    windows = Bench(batch_s=60).play(every(150, 900))
    assert [len(window) for window in windows] == [1] * 6


def test_a_reading_that_comes_long_after_its_window_is_in_the_one_that_is_open() -> None:
    (window,) = Bench().play([(45 * S, 45 * S, "air"), (50 * S, 10 * S, "air")])
    assert len(window) == 2
