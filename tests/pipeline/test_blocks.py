"""Where blocks are cut changes nothing: neither what is sent, nor what is found, nor any state, to the bit."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.outbox.worker import Commit, SaveState, Store, StoreSegment
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.settings import BatchSettings, ChannelSettings
from edge_agent.reading import Flag, Measurement
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.calibrate import Calibration
from edge_agent.stages.derive import derivation
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings
from edge_agent.stages.reduce import ReduceSettings
from edge_agent.stages.validate import Limits

if TYPE_CHECKING:
    from edge_agent.pipeline.recorder import StoreRequest
    from edge_agent.reading import ChannelBlock, Event

S: Final = NS_PER_S
START_NS: Final = 100_000 * S
T, H, P, D = "temperature_c", "humidity_pct", "pressure_pa", "dew_point_c"
SENSITIVE: Final = AnomalySettings(1.5, z_score=3.0, jump_per_s=0.5)
AIR: Final = ChannelSettings(
    T, Limits(-40.0, 85.0, None, 20 / 60, 0.3), filter=AutoSettings(), resolution=0.01, anomaly=SENSITIVE
)
DAMP: Final = replace(AIR, quantity=H, limits=Limits(0.0, 100.0), filter=KalmanSettings(0.05, 1e-3), send_sigma=True)
HEAVY: Final = replace(
    AIR,
    quantity=P,
    limits=Limits(3e4, 1.1e5, None, 1000 / 60, 20.0),
    filter=MedianSettings(3.0, 5),
    resolution=1.0,
    calibration=Calibration(polynomial=(0.0, 1.0, 1e300)),
)
SENSORS: Final = {
    "air": [AIR, DAMP, replace(AIR, quantity=D, derived=derivation(D, 0.0), anomaly=None)],
    "attic": [
        replace(AIR, sibling="air.temperature_c", smoothed=True, calibration=Calibration(offset=0.1, gain=1.01)),
        replace(HEAVY, calibration=Calibration(offset=-3.0)),
    ],
    "well": [replace(AIR, filter=None, sibling="attic.temperature_c", reduce=ReduceSettings(0.1, 60 * S)), HEAVY],
}
USUAL: Final = {T: (20.0, 0.02), H: (50.0, 0.05), P: (1e5, 8.0)}
MOST_S: Final = 3600
"""Rows are secured at least every hour (`durability_s`), so no block is longer."""
ODDITIES: Final = (
    "spike",
    "jump",
    "none",
    "flag",
    "gap",
    "stuck",
    "range",
    "partial",
    "again",
    "late",
    "earlier",
    "boot",
)
BACK_S: Final = {"late": 3, "earlier": 70, "boot": 5000}


class Air:
    """What sensors deliver: a noisy walk with as many oddities as the rate says, time running back among them."""

    def __init__(self, seed: int, oddities: float, step_s: int) -> None:
        self._rng = random.Random(seed)
        self._oddities = oddities
        self._step_s = step_s
        self._now_ns = START_NS
        self._levels = {
            name: {each.quantity: USUAL[each.quantity][0] for each in channels if each.derived is None}
            for name, channels in SENSORS.items()
        }
        self._stuck: dict[str, int] = dict.fromkeys(SENSORS, 0)
        self._last: dict[str, tuple[float | None, ...]] = {}

    def row(self) -> list[Measurement]:
        """One measurement of each sensor."""
        rng, what = self._rng, ""
        if rng.random() < self._oddities:
            what = rng.choice(ODDITIES)
        self._now_ns += (600 if what == "gap" else self._step_s) * S + rng.randrange(3) * 1_000_000
        if what == "again":
            self._now_ns -= self._step_s * S
        self._now_ns -= BACK_S.get(what, 0) * S if what in {"earlier", "boot"} else 0
        return [self._measure(name, what) for name in SENSORS]

    def _measure(self, name: str, what: str) -> Measurement:
        rng = self._rng
        if rng.random() > 0.7:  # what happens, happens to some
            what = ""
        values: list[float | None] = []
        for quantity, level in self._levels[name].items():
            noise = USUAL[quantity][1]
            moved = level + rng.gauss(0, noise / 10) + (30 * noise if what == "jump" else 0.0)
            self._levels[name][quantity] = moved
            value = moved + rng.gauss(0, noise) + (20 * noise if what == "spike" else 0.0)
            values.append(None if what == "none" else -1e9 if what == "range" else round(value, 3))
        if what == "stuck":
            self._stuck[name] = 200
        if self._stuck[name] and name in self._last:
            self._stuck[name] -= 1
            values = list(self._last[name])
        self._last[name] = tuple(values)
        quantities = tuple(self._levels[name])
        if what == "partial":
            quantities, values = quantities[:1], values[:1]
        late_ns = BACK_S["late"] * S if what == "late" else 0
        flags = Flag.UNSETTLED if what == "flag" else Flag(0)
        return Measurement(name, self._now_ns - late_ns, quantities, tuple(values), flags)


class Run:
    """A pipeline that never seals by itself, and everything that comes out of it. A `Tap`."""

    prompt = False

    def __init__(self) -> None:
        self.stored: list[Store | SaveState] = []
        self.columns: dict[tuple[str, str], list[tuple[object, ...]]] = {}
        self.events: list[Event] = []
        self.pipeline = Pipeline(
            SENSORS,
            BatchSettings(10**7 * S, 10**7 * S),
            clock=SimulatedClock(0, start_ns=START_NS),
            store=self._store,
            taps=[self],
        )

    def _store(self, request: StoreRequest) -> bool:
        if not isinstance(request, StoreSegment | Commit):
            self.stored.append(request)
        return True

    def wants(self, _sensor: str, _quantity: str) -> bool:
        """Every channel."""
        return True

    def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
        """Keep each reading with all that is known of it."""
        self.columns.setdefault((sensor, quantity), []).extend(zip(*block, strict=True))

    def heard(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)

    def states(self) -> list[tuple[str, str, tuple[float, ...]]]:
        """What all stages know."""
        return [
            (state.owner, state.stage, tuple(state.numbers))
            for name, sensor in self.pipeline._sensors.items()
            for channel in sensor.channels.values()
            for state in channel.remembered()
        ]

    def outcome(self) -> tuple[object, ...]:
        """All of it. Events of several channels come in the order in which blocks are processed: by channel, they
        agree.
        """
        events = sorted(self.events, key=lambda event: (event.subject, event.state.startswith("drift")))
        batches = [
            request for request in self.stored if not (isinstance(request, Store) and request.content.readings == 0)
        ]
        return self.columns, events, self.states(), self.pipeline.counts, batches


def in_blocks(table: list[list[Measurement]], ends: list[int]) -> Run:
    """A run that takes the rows between two ends as blocks."""
    run = Run()
    for first, last in pairwise(ends):
        for row in table[first:last]:
            for measurement in row:
                run.pipeline.deliver(measurement)
        run.pipeline.step()
        run.pipeline.process()
    run.pipeline.finish()
    return run


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    oddities=st.sampled_from((0.0, 0.01, 0.08)),
    step_s=st.sampled_from((1, 1, 10, 400)),
    rows=st.sampled_from((70, 400, 1500)),
    cuts=st.lists(st.floats(0, 1), max_size=12),
)
def test_where_blocks_are_cut_changes_nothing(
    seed: int, oddities: float, step_s: int, rows: int, cuts: list[float]
) -> None:
    air = Air(seed, oddities, step_s)
    table = [air.row() for _ in range(rows)]
    longest = rows if step_s < MOST_S // rows else MOST_S // step_s
    ends = sorted({*range(0, rows, longest), rows, *(round(cut * rows) for cut in cuts)})
    assert in_blocks(table, list(range(rows + 1))).outcome() == in_blocks(table, ends).outcome()


def test_of_everything_that_can_be_found_each_is_found_alike() -> None:
    air = Air(7, 0.01, 1)
    table = [air.row() for _ in range(6_000)]
    runs = [in_blocks(table, [*range(0, len(table), rows), len(table)]) for rows in (1, 10, 997)]
    first, *others = [run.outcome() for run in runs]
    assert others == [first, first]
    kinds = {event.state for event in runs[0].events}
    assert kinds >= {"surprise", "jump", "flatline", "flatline-ended", "gap", "z-score"}
    assert runs[0].pipeline.counts.reasons.keys() >= {
        "no_value",
        "out_of_range",
        "too_fast",
        "outlier",
        "time_backwards",
        "unsettled",
    }
