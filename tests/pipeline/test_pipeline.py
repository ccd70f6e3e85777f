from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.outbox.worker import Commit, SaveState, Store, StoreSegment
from edge_agent.pipeline import pipeline as pipeline_module
from edge_agent.pipeline.memory import read_memory, write_memory
from edge_agent.pipeline.open_rows import promote_rows
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.recorder import STORE_FULL
from edge_agent.pipeline.settings import MAX_OPEN_CELLS, BatchSettings, ChannelSettings
from edge_agent.reading import (
    NOT_SENT,
    Event,
    EventKind,
    Flag,
    Measurement,
    Quality,
    RecordKind,
    flags_of,
    quality_of,
    status_of,
)
from edge_agent.stages.alerts import AlertSettings, parse_condition
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.derive import derivation
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.reduce import ReduceSettings
from edge_agent.stages.validate import Limits
from edge_agent.wire.batch import Batch, Column, Group, Tombstone
from edge_agent.wire.codec import decode_message, encode_message
from edge_agent.wire.envelope import Envelope

S = NS_PER_S
START_NS = 10 * S
T, H, P = "temperature_c", "humidity_pct", "pressure_pa"
PLAIN = ChannelSettings(T, Limits(-40.0, 85.0), resolution=0.01)
ALL = {
    "air": [PLAIN, replace(PLAIN, quantity=H), replace(PLAIN, quantity=P, limits=Limits(3e4, 1.1e5), resolution=1.0)]
}


@dataclass
class Bench:
    """A pipeline on a clock that stands still, with a list as the store."""

    sensors: dict[str, list[ChannelSettings]] = field(default_factory=lambda: {"air": [PLAIN]})
    batch_s: int = 60
    durability_s: int = 10
    features: bool = True
    stored: list[Store | StoreSegment | SaveState | Commit] = field(default_factory=list)
    refusing: bool = False
    max_cells: int = MAX_OPEN_CELLS
    alerts: list[AlertSettings] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SimulatedClock(0, start_ns=START_NS)
        self.pipeline = Pipeline(
            self.sensors,
            BatchSettings(self.batch_s * S, self.durability_s * S, features=self.features, max_cells=self.max_cells),
            clock=self.clock,
            store=self._store,
            alerts=self.alerts,
        )

    def _store(self, message: Store | StoreSegment | SaveState | Commit) -> bool:
        if not self.refusing:
            self.stored.append(message)
        return not self.refusing

    def measure(
        self, at_s: float, *values: float | None, sensor: str = "air", quantities: tuple[str, ...] = (T,)
    ) -> int | None:
        """Let time pass, deliver, step. Returns when the next step is due."""
        self.clock.advance_to(START_NS + round(at_s * S))
        self.pipeline.deliver(Measurement(sensor, START_NS + round(at_s * S), quantities, values))
        return self.pipeline.step()

    def contents(self, kind: type[Store | StoreSegment]) -> list[Batch | Event | Tombstone]:
        """What was stored that way, decoded."""
        return [
            decoded(each.content.kind, promote_rows([each.content.body]) if kind is StoreSegment else each.content.body)
            for each in self.stored
            if isinstance(each, kind)
        ]

    def batches(self, kind: type[Store | StoreSegment] = Store) -> list[Batch]:
        """The batches of them."""
        return [content for content in self.contents(kind) if isinstance(content, Batch)]

    def column(self, quantity: str = T) -> Column:
        """Of the only batch, after the end."""
        self.pipeline.finish()
        ((group,),) = [batch.groups for batch in self.batches()]
        return next(column for column in group.columns if column.quantity == quantity)

    def bodies(self) -> list[bytes]:
        """Everything stored, encoded."""
        return [each.content.body for each in self.stored if isinstance(each, Store | StoreSegment)]


def decoded(kind: RecordKind, body: bytes) -> Batch | Event | Tombstone:
    clock_quality = SimulatedClock(0).anchor().quality
    return decode_message(encode_message(kind, Envelope("n", 1, 1, 1, 0, clock_quality), body)).content


def rows_of(batch: Batch) -> list[int]:
    return [(time_ns - START_NS) // S for group in batch.groups for time_ns in group.times_ns]


def test_a_batch_is_sealed_when_its_oldest_reading_is_a_batch_period_old() -> None:
    bench = Bench(durability_s=3600)
    for second in range(60):
        assert bench.measure(second, 20.0) == START_NS + 60 * S
    assert bench.stored == []
    bench.measure(60, 20.0)
    (batch,) = bench.batches()
    assert rows_of(batch) == list(range(61))
    assert bench.pipeline.snapshot().batches == 1


def test_rows_that_the_store_refused_are_secured_the_next_time() -> None:
    bench = Bench()
    for second in range(35):
        bench.refusing = 10 <= second < 20
        bench.measure(second, 20.0)
    assert [rows_of(batch) for batch in bench.batches(StoreSegment)] == [list(range(22)), list(range(22, 33))]


def test_the_oldest_reading_counts_whoever_arrives_first() -> None:
    bench = Bench({"air": [PLAIN], "soil": [PLAIN]}, durability_s=3600)
    bench.measure(5, 20.0)
    bench.pipeline.deliver(Measurement("soil", START_NS + 4 * S, (T,), (15.0,)))
    assert bench.pipeline.step() == START_NS + 64 * S


def test_segments_follow_the_durability_period_and_cover_each_reading_once_between_seals() -> None:
    bench = Bench()
    for second in range(61):
        bench.measure(second, 20.0 + second)
    segments = bench.batches(StoreSegment)
    assert [rows_of(segment)[0] for segment in segments] == [0, 11, 22, 33, 44]
    assert [row for segment in segments for row in rows_of(segment)] == list(range(55))
    assert all(column.features is None for segment in segments for column in segment.groups[0].columns)
    assert [type(each) for each in bench.stored] == [StoreSegment, Commit] * 5 + [Store]
    assert rows_of(bench.batches()[0]) == list(range(61))
    bench.measure(65, 20.0)
    assert bench.stored[-1] == Commit()  # what was sealed is durable in time, though no segment was due
    assert rows_of(bench.batches(StoreSegment)[-1]) == [65]


def test_finish_leaves_nothing() -> None:
    bench = Bench()
    bench.measure(0, 20.0)
    bench.pipeline.deliver(Measurement("air", START_NS + S, (T,), (21.0,)))
    bench.pipeline.finish()
    assert rows_of(bench.batches()[0]) == [0, 1]
    assert bench.stored[-1] == Commit()
    bench.pipeline.finish()
    assert len(bench.batches()) == 1
    assert bench.pipeline.step() is None or len(bench.batches()) == 1


def test_a_step_without_mail_and_without_deadline_does_nothing() -> None:
    bench = Bench()
    assert bench.pipeline.step() is None
    bench.pipeline.seal()
    assert bench.stored == []


def test_counts_add_up() -> None:
    filtered = replace(PLAIN, filter=KalmanSettings(0.02, 2e-4), limits=Limits(-40.0, 85.0, max_rate_per_s=50.0))
    bench = Bench({"air": [filtered]})
    for second, value in enumerate([20.0] * 20 + [25.0, 20.0, None, 200.0, 20.0, math.nan, 20.0]):
        bench.measure(second, value)
    bench.measure(26, 20.0)  # the same moment again: its stamp is moved to the next step
    bench.pipeline.finish()
    counts = bench.pipeline.counts
    assert (counts.sampled, counts.good, counts.estimated, counts.suspect, counts.bad) == (28, 24, 1, 0, 3)
    assert counts.sampled == counts.good + counts.estimated + counts.suspect + counts.bad


def test_sensors_of_different_periods_share_a_batch() -> None:
    bench = Bench({"air": [PLAIN], "soil": [PLAIN]}, durability_s=3600)
    for second in range(61):
        if second % 30 == 0:
            bench.measure(second, 15.0, sensor="soil")
        if second < 60:
            bench.measure(second, 20.0)
    (batch,) = bench.batches()
    assert {group.sensor: len(group.times_ns) for group in batch.groups} == {"air": 60, "soil": 3}


def test_a_chip_that_turns_out_to_measure_less_keeps_its_rows_together() -> None:
    bench = Bench(ALL)
    bench.measure(0, 20.0, 50.0, 1e5, quantities=(T, H, P))
    bench.measure(1, 21.0, 100_001.0, quantities=(T, P))
    bench.measure(2, 22.0, 52.0, 100_002.0, quantities=(T, H, P))
    assert bench.column(H).statuses == (0, NOT_SENT, 0)
    (group,) = bench.batches()[0].groups
    assert {column.quantity: tuple(column.values) for column in group.columns} == {
        T: (20.0, 21.0, 22.0),
        H: (50.0, None, 52.0),
        P: (1e5, 100_001.0, 100_002.0),
    }


def test_a_quantity_that_was_never_measured_does_not_travel() -> None:
    bench = Bench(ALL)
    bench.measure(0, 20.0, 1e5, quantities=(T, P))
    bench.pipeline.finish()
    assert [column.quantity for column in bench.batches()[0].groups[0].columns] == [T, P]


@pytest.mark.parametrize("kalman", [None, KalmanSettings(0.02, 2e-4)])
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_no_number_travels_as_a_bad_reading_without_value(
    value: float | None, kalman: KalmanSettings | None
) -> None:
    bench = Bench({"air": [replace(PLAIN, filter=kalman)]})
    for second, each in enumerate([20.0, value, 20.0]):
        bench.measure(second, each)
    column = bench.column()
    assert column.values == column.raws == (20.0, None, 20.0)
    assert column.statuses == (0, status_of(Flag.NO_VALUE), 0)


def test_what_was_odd_at_the_chip_makes_a_reading_suspect_and_leaves_its_value() -> None:
    bench = Bench()
    for second, flags in enumerate([Flag.UNSETTLED, Flag(0), Flag.STUCK]):
        bench.clock.advance_to(START_NS + second * S)
        bench.pipeline.deliver(Measurement("air", bench.clock.now_ns(), (T,), (20.0,), flags))
        bench.pipeline.step()
    column = bench.column()
    assert column.values == (20.0, 20.0, 20.0)
    assert column.statuses == (status_of(Flag.UNSETTLED), 0, status_of(Flag.STUCK))
    assert bench.pipeline.counts.suspect == 2
    assert bench.pipeline.counts.reasons == {"unsettled": 1, "stuck": 1}


def test_what_is_derived_stands_beside_what_it_comes_from_and_shares_its_doubts() -> None:
    dew = ChannelSettings("dew_point_c", Limits(-90.0, 100.0), resolution=0.01, derived=derivation("dew_point_c", None))
    humidity = ChannelSettings("humidity_pct", Limits(0.0, 100.0))
    bench = Bench({"air": [PLAIN, humidity, dew]})
    for second, (celsius, percent) in enumerate([(25.0, 50.0), (None, 50.0), (25.0, 120.0), (60.0, 50.0)]):
        bench.measure(second, celsius, percent, quantities=(T, "humidity_pct"))
    column = bench.column("dew_point_c")
    assert column.values == (13.86, None, None, None)
    bad = [quality_of(status) for status in column.statuses]
    assert bad == [Quality.GOOD, Quality.BAD, Quality.BAD, Quality.BAD]
    assert flags_of(column.statuses[2]) == Flag.NO_VALUE | Flag.OUT_OF_RANGE


def test_nothing_is_derived_where_the_chip_turns_out_to_measure_less() -> None:
    dew = ChannelSettings("dew_point_c", Limits(-90.0, 100.0), derived=derivation("dew_point_c", None))
    humidity = ChannelSettings("humidity_pct", Limits(0.0, 100.0))
    bench = Bench({"air": [PLAIN, humidity, dew]})
    bench.measure(0, 25.0)
    bench.pipeline.finish()
    ((group,),) = [batch.groups for batch in bench.batches()]
    assert [column.quantity for column in group.columns] == [T]


def test_a_value_out_of_range_is_shown_and_marked_bad() -> None:
    bench = Bench({"air": [replace(PLAIN, filter=KalmanSettings(0.02, 2e-4))]})
    for second, value in enumerate([20.0, 120.0, 20.0]):
        bench.measure(second, value)
    column = bench.column()
    assert column.values == column.raws == (20.0, 120.0, 20.0)
    assert column.statuses == (0, status_of(Flag.OUT_OF_RANGE), 0)
    assert column.features is not None
    assert column.features.maximum == 20.0


def test_features_are_of_suppressed_readings_as_well() -> None:
    steady = replace(PLAIN, reduce=ReduceSettings(0.5, 300 * S))
    bench = Bench({"air": [steady]}, batch_s=120)
    noise = random.Random(1)
    values = [20.0, *[round(noise.uniform(19.5, 20.5), 2) for _ in range(119)]]
    for second, value in enumerate(values):
        bench.measure(second, value)
    column = bench.column()
    assert column.statuses == (0, *(NOT_SENT,) * 119)
    assert column.features is not None
    assert (column.features.count, column.features.share_good) == (120, 1.0)
    assert column.features.maximum == pytest.approx(max(values))


def test_sigmas_travel_where_they_are_asked_for() -> None:
    filtered = replace(PLAIN, filter=KalmanSettings(0.02, 2e-4))
    bench = Bench({"air": [replace(filtered, send_sigma=True), replace(filtered, quantity=H)]})
    for second in range(30):
        bench.measure(second, *((20.0 + second % 3 / 100, 50.0) if second != 7 else (None, 50.0)), quantities=(T, H))
    sigmas = bench.column().sigmas
    assert sigmas is not None
    assert sigmas[7] is None
    assert 0.002 < min(sigma for sigma in sigmas if sigma is not None) < 0.02
    assert next(column for column in bench.batches()[0].groups[0].columns if column.quantity == H).sigmas is None


def test_an_outlier_is_replaced_by_the_estimate_and_stays_beside_it_as_raw() -> None:
    bench = Bench({"air": [replace(PLAIN, filter=KalmanSettings(0.02, 2e-4))]})
    for second in range(30):
        bench.measure(second, 27.0 if second == 20 else 20.0)
    column = bench.column()
    assert (column.values[20], column.raws and column.raws[20]) == (20.0, 27.0)
    assert column.statuses[20] == status_of(Flag.OUTLIER)
    assert bench.pipeline.counts.estimated == 1


@pytest.mark.parametrize("lines", [False, True])
def test_what_tells_nothing_new_is_left_out_where_that_makes_the_message_smaller(lines: bool) -> None:
    reduced = Bench({"air": [replace(PLAIN, reduce=ReduceSettings(0.5, 300 * S, lines))]}, features=False)
    whole = Bench({"air": [PLAIN]}, features=False)
    noise = random.Random(1)
    values = [20.0 + noise.uniform(-0.2, 0.2) + (5.0 if second >= 30 else 0.0) for second in range(60)]
    for second, value in enumerate(values):
        reduced.measure(second, value)
        whole.measure(second, value)
    column = reduced.column()
    sent = [row for row, status in enumerate(column.statuses) if status != NOT_SENT]
    assert {0, 29, 30} <= set(sent)
    assert len(sent) < 15
    counts = reduced.pipeline.counts
    assert (counts.sampled, counts.suppressed) == (60, 60 - len(sent))
    whole.pipeline.finish()
    (store,) = [each for each in reduced.stored if isinstance(each, Store)]
    assert store.content.readings == len(sent)
    (other,) = [each for each in whole.stored if isinstance(each, Store)]
    assert len(store.content.body) < len(other.content.body) / 2


def test_nothing_is_left_out_where_that_would_take_more_room() -> None:
    coarse = replace(PLAIN, reduce=ReduceSettings(0.5, 300 * S), resolution=0.5, raw_resolution=0.5)
    bench = Bench({"air": [coarse]}, features=False)
    choice = random.Random(1)
    for second in range(60):
        bench.measure(second, choice.choice([20.0, 20.5, 20.5, 21.0, 21.5]))
    assert NOT_SENT not in bench.column().statuses
    assert bench.pipeline.counts.suppressed == 0


def test_of_refused_readings_the_first_and_the_last_of_each_run_travel_even_if_none_else_does() -> None:
    limits = Limits(-40.0, 85.0)
    bench = Bench({"air": [replace(PLAIN, limits=limits, send_raw=False)]}, features=False)
    values = [20.0, 99.0, 98.0, 97.0, 20.0, -60.0, 20.0, 90.0, 91.0]
    for second, value in enumerate(values):
        bench.measure(second, value)
    column = bench.column()
    assert column.raws == (None, 99.0, None, 97.0, None, -60.0, None, 90.0, 91.0)
    assert bench.pipeline.counts.reasons == {"out_of_range": 6}


@pytest.mark.parametrize(
    ("resolution", "measured", "sent"),
    [
        (0.01, 21.234999, 21.23),
        (0.01, 0.285, round(0.285 * 100) / 100),
        (0.0625, 21.06, 21.0625),
        (0.1, -0.04, 0.0),
        (1.0, 20.5, 20.0),
        (5.0, 23.0, 25.0),
        (None, 21.234999, 21.234999),
    ],
)
def test_rounding_gives_exactly_the_doubles_of_decimals(resolution: float | None, measured: float, sent: float) -> None:
    bench = Bench({"air": [replace(PLAIN, resolution=resolution)]})
    bench.measure(0, measured)
    column = bench.column()
    assert column.values == (sent,)
    assert math.copysign(1.0, column.values[0] or 0.0) == 1.0


@given(st.floats(-1e9, 1e9), st.sampled_from([0.001, 0.01, 0.0625, 0.1, 0.5]))
def test_rounding_is_that_of_round(value: float, resolution: float) -> None:
    bench = Bench({"air": [replace(PLAIN, limits=Limits(-1e9, 1e9), resolution=resolution)]})
    bench.measure(0, value)
    steps = round(1 / resolution)
    assert bench.column().values == (round(value * steps) / steps,)


def test_what_finds_the_inbox_full_leaves_a_tombstone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "INBOX_LIMIT", 3)
    bench = Bench(ALL)
    for second in range(5):
        bench.pipeline.deliver(Measurement("air", START_NS + second * S, (T, H, P), (20.0, 50.0, 1e5)))
    bench.pipeline.step()
    (tombstone,) = bench.contents(Store)
    assert isinstance(tombstone, Tombstone)
    assert (tombstone.records, tombstone.readings) == (0, 6)
    assert (tombstone.first_ns, tombstone.last_ns) == (START_NS + 3 * S, START_NS + 4 * S)
    assert bench.pipeline.counts.dropped == 6
    bench.pipeline.finish()
    assert (bench.pipeline.counts.sampled, rows_of(bench.batches()[0])) == (9, [0, 1, 2])


def test_events_that_find_the_inbox_full_are_in_its_tombstone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "INBOX_LIMIT", 1)
    bench = Bench()
    for second in range(1, 4):
        bench.pipeline.deliver(Event(EventKind.SENSOR_STATE, START_NS + second * S, "air", "offline", "gone"))
    bench.pipeline.deliver(Measurement("air", START_NS, (T,), (20.0,)))
    bench.pipeline.step()
    event, tombstone = bench.contents(Store)
    assert isinstance(event, Event)
    assert isinstance(tombstone, Tombstone)
    assert (tombstone.records, tombstone.readings) == (2, 1)
    assert (tombstone.first_ns, tombstone.last_ns) == (START_NS, START_NS + 3 * S)
    bench.pipeline.step()
    assert len(bench.contents(Store)) == 2, "a loss is accounted for once"


@pytest.mark.parametrize("alert", [False, True])
def test_an_event_that_the_store_refuses_leaves_a_tombstone(alert: bool) -> None:
    when = "air.temperature_c > 30"
    bench = Bench(alerts=[AlertSettings("hot", when, parse_condition(when))] if alert else [])
    bench.refusing = True
    if alert:
        bench.measure(5, 31.0)
    else:
        bench.pipeline.deliver(Event(EventKind.SENSOR_STATE, START_NS + 5 * S, "air", "offline", "gone"))
        bench.pipeline.step()
    bench.refusing = False
    bench.pipeline.step()
    (tombstone,) = bench.contents(Store)
    assert tombstone == Tombstone(0, 0, 1, 0, STORE_FULL, START_NS + 5 * S, START_NS + 5 * S)
    assert bench.pipeline.counts.dropped == 0, "it counts readings"


def test_a_batch_that_the_store_refuses_is_counted() -> None:
    bench = Bench()
    bench.measure(0, 20.0)
    bench.refusing = True
    bench.pipeline.finish()
    assert bench.pipeline.counts.dropped == 1


def test_a_batch_that_the_store_refuses_leaves_a_tombstone_at_the_next_step_at_which_there_is_room() -> None:
    bench = Bench()
    bench.measure(0, 20.0)
    bench.measure(1, 20.0)
    bench.refusing = True
    bench.pipeline.seal()
    bench.pipeline.step()
    bench.refusing = False
    bench.pipeline.step()
    (tombstone,) = bench.contents(Store)
    assert isinstance(tombstone, Tombstone)
    assert (tombstone.readings, tombstone.first_ns, tombstone.last_ns) == (2, START_NS, START_NS + S)


def test_events_keep_their_place_among_records() -> None:
    bench = Bench(durability_s=3600)
    for second in (0, 30, 60, 90, 120):
        bench.measure(second, 20.0)
        bench.pipeline.deliver(Event(EventKind.SENSOR_STATE, bench.clock.now_ns(), "air", f"at-{second}", ""))
        bench.pipeline.step()
    told = [content.state if isinstance(content, Event) else "batch" for content in bench.contents(Store)]
    assert told == ["at-0", "at-30", "batch", "at-60", "at-90", "at-120"]


def test_a_batch_with_too_many_cells_is_sealed_early() -> None:
    bench = Bench(ALL, durability_s=3600, max_cells=30)
    for second in range(25):
        bench.measure(second, 20.0, 50.0, 1e5, quantities=(T, H, P))
    assert [len(rows_of(batch)) for batch in bench.batches()] == [11, 11]


def latest(bench: Bench) -> list[tuple[str, float | None, Quality]]:
    (sensor,) = bench.pipeline.snapshot().latest
    return [(each.quantity, each.value, each.quality) for each in sensor.channels]


def test_the_latest_values_are_those_of_the_last_measurement() -> None:
    bench = Bench(ALL)
    bench.measure(0, 20.0, 50.0, 1e5, quantities=(T, H, P))
    bench.measure(1, 21.0, None, 200.0, quantities=(T, H, P))
    shown = [(T, 21.0, Quality.GOOD), (H, None, Quality.BAD), (P, 200.0, Quality.BAD)]
    bench.pipeline.process()
    assert latest(bench) == shown
    bench.pipeline.finish()
    assert latest(bench) == shown


def test_stamps_are_rounded_down_to_the_configured_step() -> None:
    bench = Bench()
    bench.measure(0.0019, 20.0)
    bench.pipeline.finish()
    assert bench.batches()[0].groups[0].times_ns == (START_NS + 1_000_000,)


_CHANNELS = st.builds(
    replace,
    st.just(PLAIN),
    filter=st.sampled_from([None, KalmanSettings(0.02, 2e-4), KalmanSettings(0.5, 1e-2)]),
    resolution=st.sampled_from([None, 0.01, 0.0625, 1.0]),
    reduce=st.sampled_from(
        [ReduceSettings(0.0, S), ReduceSettings(0.3, 20 * S), ReduceSettings(0.3, 20 * S, lines=True)]
    ),
    send_raw=st.booleans(),
    send_sigma=st.booleans(),
    limits=st.sampled_from([Limits(-40.0, 85.0), Limits(-40.0, 85.0, max_rate_per_s=0.5)]),
)
_VALUES = st.floats(19.0, 21.0) | st.sampled_from([None, math.nan, 25.0, 200.0])
_ROWS = st.lists(
    st.tuples(st.sampled_from(["air", "soil"]), st.integers(0, 3), _VALUES, st.none() | _VALUES),
    min_size=1,
    max_size=90,
)


@given(st.tuples(_CHANNELS, _CHANNELS), _ROWS)
def test_a_block_gives_the_bytes_that_single_readings_give(
    channels: tuple[ChannelSettings, ChannelSettings], rows: list[tuple[str, int, float | None, float | None]]
) -> None:
    sensors = {name: [channels[0], replace(channels[1], quantity=H)] for name in ("air", "soil")}
    single, block = Bench(sensors, 10**6, 10**6), Bench(sensors, 10**6, 10**6)
    now_s = 0
    for sensor, step_s, value, other in rows:
        now_s += step_s
        quantities, values = ((T,), (value,)) if other is None else ((T, H), (value, other))
        single.measure(now_s, *values, sensor=sensor, quantities=quantities)
        single.pipeline.process()
        block.pipeline.deliver(Measurement(sensor, START_NS + now_s * S, quantities, values))
    single.pipeline.finish()
    block.pipeline.finish()
    assert single.bodies() == block.bodies()
    assert single.pipeline.counts == block.pipeline.counts
    counts = block.pipeline.counts
    assert counts.sampled == counts.good + counts.estimated + counts.suspect + counts.bad


@given(st.lists(st.tuples(st.floats(-40, 85), st.floats(0, 85)), min_size=1, max_size=70))
def test_a_decoded_batch_equals_what_went_in(rows: list[tuple[float, float]]) -> None:
    bench = Bench({"air": [replace(PLAIN, resolution=None), replace(PLAIN, quantity=H, resolution=None)]}, 10**6, 10**6)
    bench.features = False
    for second, (temperature, humidity) in enumerate(rows):
        bench.measure(second, temperature, humidity, quantities=(T, H))
    bench.pipeline.finish()
    (batch,) = bench.batches()
    times_ns = tuple(START_NS + second * S for second in range(len(rows)))
    told = [column._replace(features=None) for column in batch.groups[0].columns]
    expected = [
        Column(name, values, values, (0,) * len(rows), None)
        for name, values in zip((T, H), zip(*rows, strict=True), strict=True)
    ]
    assert batch.groups[0]._replace(columns=tuple(told)) == Group("air", times_ns, tuple(expected))


# What leaves at once, and what is remembered


def test_an_alert_is_committed_at_once_together_with_the_word_that_it_was_told() -> None:
    rule = AlertSettings("hot", "air.temperature_c > 40", parse_condition("air.temperature_c > 40"))
    bench = Bench(alerts=[rule])
    assert bench.measure(0, 39.0) == START_NS + 10 * S
    assert bench.stored == []
    bench.measure(1, 41.0)
    event, state, commit = bench.stored
    assert isinstance(event, Store)
    assert event.content.urgent
    assert isinstance(state, SaveState)
    assert isinstance(commit, Commit)

    again = Bench(alerts=[rule])
    again.pipeline.restore([None, state.body])
    again.measure(2, 42.0)
    assert again.stored == [], "a restart is no reason to tell it again"
    again.measure(3, 20.0)
    (over,) = again.contents(Store)
    assert isinstance(over, Event)
    assert (over.kind, over.state) == (EventKind.ALERT, "resolved")


def test_events_of_other_kinds_are_not_urgent() -> None:
    bench = Bench()
    bench.pipeline.deliver(Event(EventKind.SENSOR_STATE, START_NS, "air", "offline", "gone"))
    bench.pipeline.step()
    (stored,) = bench.stored
    assert isinstance(stored, Store)
    assert not stored.content.urgent


def test_what_a_filter_has_learned_is_saved_every_hour_and_at_the_end() -> None:
    bench = Bench({"air": [replace(PLAIN, filter=AutoSettings(0.5, 0.01))]})
    for second in range(7400):
        bench.measure(second, 20.0 + 0.1 * (second % 2))
    saved = [each for each in bench.stored if isinstance(each, SaveState)]
    assert [each.name for each in saved] == ["stages", "stages"]
    bench.pipeline.finish()
    (last,) = [each for each in bench.stored if isinstance(each, SaveState)][2:]

    again = Bench({"air": [replace(PLAIN, filter=AutoSettings(0.5, 0.01))], "new": [PLAIN]})
    again.pipeline.restore([last.body, None])
    again.measure(7400, 20.0)
    again.pipeline.finish()
    (batch,) = again.batches()
    # One that had just begun would take the first reading as it is.
    assert batch.groups[0].columns[0].values[0] == pytest.approx(20.05, abs=0.02)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\x00", b'{"version":9}'])
def test_a_damaged_memory_is_no_reason_not_to_start(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.pipeline.restore([body, body])
    bench.measure(0, 20.0)
    bench.pipeline.finish()
    assert len(bench.batches()) == 1
    assert "learned anew" in caplog.text


def test_one_damaged_state_is_named_and_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    filtered = replace(PLAIN, filter=KalmanSettings(0.5, 1e-3))
    bench = Bench({"air": [filtered, replace(filtered, quantity=H)]})
    for second in range(60):
        bench.measure(second, 20.0, 50.0, quantities=(T, H))
    bench.pipeline.finish()
    (saved,) = [each for each in bench.stored if isinstance(each, SaveState)]
    first, *others = read_memory(saved.body, bench.clock).states
    assert first.owner == f"air.{T}"
    body = write_memory(bench.clock, [replace(first, numbers=(7.0,)), *others])

    again = Bench({"air": [filtered, replace(filtered, quantity=H)]})
    again.pipeline.restore([body])
    again.measure(61, 20.5, 50.5, quantities=(T, H))
    again.pipeline.finish()
    columns = again.batches()[0].groups[0].columns
    assert columns[0].values == (20.5,)
    assert columns[1].values[0] == pytest.approx(50.0, abs=0.3)
    assert f"what was remembered of air.{T} cannot be used, and is learned anew stage=kalman" in caplog.text


def test_what_belongs_to_another_kind_of_filter_is_left_alone() -> None:
    bench = Bench({"air": [replace(PLAIN, filter=AutoSettings(0.5, 0.01))]})
    bench.measure(0, 20.0)
    bench.pipeline.finish()
    (saved,) = [each for each in bench.stored if isinstance(each, SaveState)]
    for kind in (KalmanSettings(0.1, 1e-3), None):
        again = Bench({"air": [replace(PLAIN, filter=kind)]})
        again.pipeline.restore([saved.body])
        again.measure(1, 25.0)
        again.pipeline.finish()
        assert again.batches()[0].groups[0].columns[0].values == (25.0,)


@pytest.mark.parametrize("smoothed", [False, True])
def test_smoothed_values_know_what_came_after_them(smoothed: bool) -> None:
    bench = Bench({"air": [replace(PLAIN, filter=AutoSettings(0.1, 0.01), smoothed=smoothed)]})
    noise = random.Random(4)
    for second in range(240):
        spike = 30.0 if second == 200 else 0.0
        bench.measure(second, 20.0 + 0.02 * second + noise.gauss(0.0, 0.1) + spike)
    bench.pipeline.finish()
    columns = [batch.groups[0].columns[0] for batch in bench.batches()]
    errors = [
        (value or 0.0) - 20.0 - 0.02 * second
        for second, value in enumerate(value for column in columns for value in column.values)
    ]
    error = math.sqrt(sum(each * each for each in errors[60:]) / len(errors[60:]))
    assert error < 0.025 if smoothed else error > 0.03
    statuses = [status for column in columns for status in column.statuses]
    assert statuses[200] == status_of(Flag.OUTLIER), "what stands in for a refused reading is still no measurement"
    assert abs(errors[200]) < 0.1


WATCHED = replace(PLAIN, filter=AutoSettings(0.1, 0.01), anomaly=AnomalySettings(5.0, 0.01))


@pytest.mark.parametrize("boot", ["simulated", "another"])
def test_what_a_detector_has_learned_goes_on_in_another_run_and_another_boot(boot: str) -> None:
    noise = random.Random(3)
    sensors = {"air": [WATCHED], "twin": [replace(WATCHED, sibling="air.temperature_c")]}
    bench = Bench(sensors, batch_s=600, durability_s=600)
    for second in range(3000):
        for sensor in sensors:
            bench.measure(second, 20.0 + noise.gauss(0.0, 0.1), sensor=sensor)
    bench.pipeline.finish()
    assert bench.pipeline.findings.counts.total() == 0
    (body,) = [each.body for each in bench.stored if isinstance(each, SaveState)][-1:]

    # Ten minutes of wall time later; the machine may have been up for 70 s only.
    start_ns = START_NS + 3600 * S if boot == "simulated" else 70 * S
    wall_ns = START_NS + 3600 * S - start_ns + bench.clock.anchor().offset_ns
    again = Bench(sensors, batch_s=600, durability_s=600)
    again.clock = SimulatedClock(wall_ns + start_ns, start_ns=start_ns, boot_id=boot)
    again.pipeline._clock = again.clock
    again.pipeline.restore([body])
    for second in range(12):
        again.clock.advance_to(start_ns + second * S)
        value = 25.0 if second == 5 else 20.0 + noise.gauss(0.0, 0.1)
        again.pipeline.deliver(Measurement("air", start_ns + second * S, (T,), (value,)))
        again.pipeline.step()
    again.pipeline.finish()
    told = [each for each in again.contents(Store) if isinstance(each, Event)]
    # One that had just begun would know neither how often readings come nor how large their noise is.
    assert [(event.subject, event.state) for event in told] == [
        ("air.temperature_c", "gap"),
        ("air.temperature_c", "surprise"),
    ]
    gap, surprise = told
    assert "no reading for 601 s" in gap.cause
    assert gap.boot_ns == start_ns
    assert surprise.boot_ns == start_ns + 5 * S


@given(
    st.permutations(["air", "canopy", "soil"]),
    st.lists(st.tuples(st.integers(0, 2), st.floats(19, 21), st.floats(40, 60)), min_size=1, max_size=150),
)
def test_neither_the_order_of_sensors_nor_that_of_their_channels_matters(
    order: list[str], rows: list[tuple[int, float, float]]
) -> None:
    names = ["air", "canopy", "soil"]
    watched = replace(WATCHED, limits=Limits(-40.0, 120.0))

    def columns(sensors: list[str], quantities: tuple[str, ...]) -> dict[tuple[str, str], Column]:
        settings = [replace(watched, quantity=quantity) for quantity in quantities]
        bench = Bench(dict.fromkeys(sensors, settings), 10**6, 10**6)
        for second, (sensor, temperature, humidity) in enumerate(rows):
            values = {T: temperature, H: humidity}
            measured = tuple(values[quantity] for quantity in quantities)
            bench.measure(second, *measured, sensor=names[sensor], quantities=quantities)
        bench.pipeline.finish()
        (batch,) = bench.batches()
        return {(group.sensor, column.quantity): column for group in batch.groups for column in group.columns}

    assert columns(order, (H, T)) == columns(names, (T, H))
