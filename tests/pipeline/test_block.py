"""Both roads of a reading lead to the same: many channels at once, and one after the other."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.outbox.worker import Commit, SaveState, Store, StoreSegment
from edge_agent.pipeline import block
from edge_agent.pipeline.pipeline import ChannelSettings, Pipeline
from edge_agent.reading import Flag, Measurement
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.calibrate import Calibration
from edge_agent.stages.derive import derivation
from edge_agent.stages.filters.auto import Auto, AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.validate import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.reading import Event, Taken
    from edge_agent.stages.filters.estimates import Estimates

S: Final = NS_PER_S
START_NS: Final = 10 * S
T, H, P, D = "temperature_c", "humidity_pct", "pressure_pa", "dew_point_c"
AIR: Final = ChannelSettings(
    T,
    Limits(-40.0, 85.0),
    filter=AutoSettings(0.02, 0.01),
    resolution=0.01,
    raw_resolution=0.01,
    anomaly=AnomalySettings(resolution=0.01),
)
DAMP: Final = replace(AIR, quantity=H, limits=Limits(0.0, 100.0, max_rate_per_s=5.0, free_step=0.3), send_sigma=True)
HEAVY: Final = replace(
    AIR,
    quantity=P,
    limits=Limits(3e4, 1.1e5),
    filter=AutoSettings(),
    resolution=1.0,
    raw_resolution=None,
    calibration=Calibration(offset=-3.0, gain=1.01),
)
SENSORS: Final = {
    "air": [AIR, DAMP],
    "attic": [AIR, replace(DAMP, send_sigma=False, send_raw=False), HEAVY],
    "cellar": [replace(AIR, filter=None), replace(DAMP, filter=KalmanSettings(0.01, 0.1))],
    "hall": [replace(AIR, calibration=Calibration(points=((0.0, 0.5), (50.0, 50.0)))), DAMP],
    "roof": [AIR, DAMP, replace(AIR, quantity=D, derived=derivation(D, 0.0), filter=None)],
    "well": [HEAVY],
}
USUAL: Final = {T: (20.0, 0.02), H: (50.0, 0.05), P: (1e5, 8.0)}


class Air:
    """What the sensors deliver: a noisy walk, with as many oddities as the seed and the rate say."""

    def __init__(self, seed: int, oddities: float) -> None:
        self._rng = random.Random(seed)
        self._oddities = oddities
        self._levels = {
            name: {each.quantity: USUAL[each.quantity][0] for each in channels if each.derived is None}
            for name, channels in SENSORS.items()
        }
        self._now_ns = dict.fromkeys(SENSORS, START_NS)

    def rows(self, sensor: str, count: int) -> Iterator[Measurement]:
        """So many measurements of a sensor."""
        rng, levels = self._rng, self._levels[sensor]
        for _ in range(count):
            self._now_ns[sensor] += S + rng.randrange(3) * 1_000_000
            odd = rng.random() < self._oddities
            what = rng.choice(("spike", "jump", "none", "flag", "gap", "late", "range", "partial")) if odd else ""
            at_ns = self._now_ns[sensor]
            if what == "gap":
                self._now_ns[sensor] += 40 * S
            values: list[float | None] = []
            for quantity in levels:
                noise = USUAL[quantity][1]
                levels[quantity] += rng.gauss(0, noise / 10) + (30 * noise if what == "jump" else 0.0)
                value = levels[quantity] + rng.gauss(0, noise) + (20 * noise if what == "spike" else 0.0)
                values.append(None if what == "none" else -1e9 if what == "range" else round(value, 3))
            quantities = tuple(levels)
            if what == "partial":
                quantities, values = quantities[:1], values[:1]
            late_ns = 3 * S if what == "late" else 0
            flags = Flag.UNSETTLED if what == "flag" else Flag(0)
            yield Measurement(sensor, at_ns - late_ns, quantities, tuple(values), flags)


class Run:
    """A pipeline that remembers what left it, and what its witness saw."""

    def __init__(self) -> None:
        self.stored: list[object] = []
        self.saw_blocks: list[object] = []
        self.sigmas: list[float] = []
        self.clock = SimulatedClock(0, start_ns=START_NS)
        self.start()

    def start(self) -> None:
        """Begin anew, with what is saved."""
        self.pipeline = Pipeline(
            SENSORS,
            clock=self.clock,
            batch_ns=10**6 * S,
            durability_ns=10**6 * S,
            time_step_ns=1_000_000,
            features=True,
            store=self._store,
            witness=self,
        )
        saved = [each.body for each in self.stored if isinstance(each, SaveState)]
        self.pipeline.restore(saved[-1:])

    def _store(self, message: Store | StoreSegment | SaveState | Commit) -> bool:
        self.stored.append(message)
        return True

    def saw(self, sensor: str, quantity: str, taken: Taken) -> None:
        """As a witness."""
        self.saw_blocks.append(
            (sensor, quantity, *map(list, (taken.times_ns, taken.raws, taken.values, taken.statuses)))
        )
        self.sigmas += [-1.0 if each is None else each for each in taken.sigmas]

    def heard(self, event: Event) -> None:
        """As a witness."""
        self.saw_blocks.append(event)

    def states(self) -> list[tuple[str, str, list[float]]]:
        """What all stages know."""
        return [
            (each.owner, each.stage, list(each.numbers))
            for name, batch in self.pipeline._sensors.items()
            for channel in batch.channels.values()
            for each in channel.remembered(name)
        ]


def drive(run: Run, seed: int, oddities: float, blocks: list[tuple[int, bool]]) -> None:
    """Let it seal after each block; after some, it is started anew."""
    air = Air(seed, oddities)
    for rows, restarts in blocks:
        for place, sensor in enumerate(SENSORS):
            for measurement in air.rows(sensor, rows if place < 4 else max(1, rows // 3)):
                run.pipeline.deliver(measurement)
        if restarts:
            run.pipeline.finish()
            run.start()
        else:
            run.pipeline.step()
            run.pipeline.seal()


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10**6),
    st.sampled_from((0.0, 0.002, 0.02)),
    st.sampled_from((1, 300, 3000)),
    st.lists(st.tuples(st.sampled_from((8, 23, 60, 61, 140)), st.booleans()), min_size=2, max_size=8),
)
def test_all_channels_at_once_come_to_what_each_by_itself_comes_to(
    seed: int, oddities: float, slab: int, blocks: list[tuple[int, bool]]
) -> None:
    together, apart = Run(), Run()
    for run, least in ((together, 0), (apart, 10**9)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(block, "LEAST_CELLS", least)
            patch.setattr(block, "SLAB_CELLS", slab)
            drive(run, seed, oddities, blocks)
    assert together.pipeline.counts == apart.pipeline.counts
    assert together.saw_blocks == apart.saw_blocks
    assert together.sigmas == pytest.approx(apart.sigmas, rel=1e-9)
    bodies = [
        [each.content for each in run.stored if isinstance(each, Store | StoreSegment)] for run in (together, apart)
    ]
    assert bodies[0] == bodies[1]
    for (owner, stage, numbers), other in zip(together.states(), apart.states(), strict=True):
        assert (owner, stage) == other[:2]
        assert numbers == pytest.approx(other[2], rel=1e-9, abs=1e-9), (owner, stage)


def test_hardly_any_reading_of_calm_channels_is_filtered_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "LEAST_CELLS", 0)
    run = Run()
    drive(run, 1, 0.0, [(60, False)] * 2)
    alone: list[int] = []
    filtered = Auto.run

    def counted(self: Auto, times_ns: Sequence[int], values: Sequence[float | None], flags: list[Flag]) -> Estimates:
        alone.append(len(times_ns))
        return filtered(self, times_ns, values, flags)

    monkeypatch.setattr(Auto, "run", counted)
    before = run.pipeline.counts.sampled
    drive(run, 1, 0.0, [(60, False)] * 10)
    assert sum(alone) < (run.pipeline.counts.sampled - before) / 3
