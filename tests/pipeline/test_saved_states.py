"""Saved states of an earlier release are restored, because names and layouts of states do not change.

The files in `saved_by_ae1e2e0` were written by commit ae1e2e0. Its pipeline had the channels and the rule below. It
processed 1000 rows with a step of 30 s, one at a time. A channel measured 20 + k + 0.0001 · row + noise, rounded to
0.01, with noise = ((7919 + 2 · k) · row mod 101 - 50) / 1000 and k = 0, 30, 3 (air), 1 (attic, a second later); for the
pressure 100000 plus ten times that, rounded to 1. `finish` saved stages.bin and alerts.bin. Another pipeline of that
commit restored them in the same boot and processed 20 more rows; batch.bin is the body of its batch record, with all
measured values, estimates and sigmas.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from edge_agent.clock import NS_PER_S, ClockQuality, SimulatedClock
from edge_agent.outbox.worker import SaveState, Store
from edge_agent.pipeline.memory import read_memory
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.settings import BatchSettings, ChannelSettings
from edge_agent.reading import Measurement, RecordKind
from edge_agent.stages.alerts import AlertSettings, parse_condition
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings
from edge_agent.stages.validate import Limits
from edge_agent.wire.batch import Batch
from edge_agent.wire.codec import decode_message, encode_message
from edge_agent.wire.envelope import Envelope

if TYPE_CHECKING:
    from edge_agent.pipeline.recorder import StoreRequest

S: Final = NS_PER_S
T, H, P = "temperature_c", "humidity_pct", "pressure_pa"
WARM: Final = Limits(-40.0, 85.0)
SENSORS: Final = {
    "air": [
        ChannelSettings(T, WARM, filter=AutoSettings(), send_sigma=True, anomaly=AnomalySettings(z_score=6.0)),
        ChannelSettings(H, Limits(0.0, 100.0), filter=KalmanSettings(0.05, 1e-3), send_sigma=True),
        ChannelSettings(P, Limits(3e4, 1.1e5), filter=MedianSettings(3.0, 5), send_sigma=True),
    ],
    "attic": [
        ChannelSettings(
            T,
            WARM,
            filter=AutoSettings(0.02, 0.01),
            send_sigma=True,
            anomaly=AnomalySettings(),
            sibling="air.temperature_c",
        )
    ],
}
RULE: Final = AlertSettings("warm", "air.temperature_c > 15", parse_condition("air.temperature_c > 15"), for_ns=10**15)
FIRST_NS: Final = 31_000 * S
"""Stamp of the first row of batch.bin."""
FOLDER: Final = Path(__file__).parent / "saved_by_ae1e2e0"
NAMES: Final = {
    ("air.temperature_c", "auto"),
    ("air.temperature_c", "anomaly"),
    ("air.humidity_pct", "kalman"),
    ("air.pressure_pa", "median"),
    ("attic.temperature_c", "auto"),
    ("attic.temperature_c", "anomaly"),
    ("attic.temperature_c", "sibling air.temperature_c"),
    ("", "timeline"),
    ("warm", "alert"),
}
UNUSED: Final = {"anomaly": (10, 11, 12), "sibling air.temperature_c": (1,)}
"""Positions of numbers that only the earlier release used, by stage."""


class Run:
    """A pipeline in the boot of the saved states, with a list as the store."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(0, start_ns=FIRST_NS - S, boot_id="saved")
        self.stored: list[StoreRequest] = []
        self.pipeline = Pipeline(
            SENSORS,
            BatchSettings(3600 * S, 600 * S, features=False),
            clock=self.clock,
            store=self._store,
            alerts=[RULE],
        )

    def _store(self, request: StoreRequest) -> bool:
        self.stored.append(request)
        return True

    def measure(self, sensor: str, boot_ns: int, quantities: tuple[str, ...], values: tuple[float | None, ...]) -> None:
        """Advance the clock, deliver, step."""
        self.clock.advance_to(boot_ns)
        self.pipeline.deliver(Measurement(sensor, boot_ns, quantities, values))
        self.pipeline.step()

    def saved(self) -> dict[str, bytes]:
        """Bodies of all states saved so far, by name."""
        return {request.name: request.body for request in self.stored if isinstance(request, SaveState)}


def earlier() -> dict[str, bytes]:
    """Bodies of the states that the earlier release saved, by name."""
    return {name: (FOLDER / f"{name}.bin").read_bytes() for name in ("stages", "alerts")}


def restored() -> Run:
    """A run that has restored them."""
    run = Run()
    run.pipeline.restore(earlier().values())
    return run


def numbers_of(bodies: dict[str, bytes]) -> dict[tuple[str, str], list[float]]:
    """States by owner and stage, without unused numbers."""
    states = [state for body in bodies.values() for state in read_memory(body, SimulatedClock(0)).states]
    return {
        (state.owner, state.stage): [
            number for place, number in enumerate(state.numbers) if place not in UNUSED.get(state.stage, ())
        ]
        for state in states
    }


def decoded(body: bytes) -> Batch:
    envelope = Envelope("n", 1, 1, 1, 0, ClockQuality.SYNCED)
    content = decode_message(encode_message(RecordKind.BATCH, envelope, body)).content
    assert isinstance(content, Batch)
    return content


def test_states_are_saved_under_the_names_that_earlier_releases_know() -> None:
    run = Run()
    run.measure("air", FIRST_NS, (T, H, P), (20.0, 50.0, 1e5))
    run.measure("attic", FIRST_NS, (T,), (21.0,))
    run.pipeline.finish()
    assert run.saved().keys() == {"stages", "alerts"}
    assert numbers_of(run.saved()).keys() == NAMES


def test_states_of_an_earlier_release_are_restored_number_by_number(caplog: pytest.LogCaptureFixture) -> None:
    run = restored()
    assert caplog.records == []
    run.pipeline.finish()
    again = numbers_of(run.saved())
    assert again == numbers_of(earlier())
    assert again.keys() == NAMES
    readings, _, step_ns, last = again["air.temperature_c", "auto"][:4]
    assert (readings, step_ns, last) == (1000, 30 * S, 19.96)
    assert again["attic.temperature_c", "sibling air.temperature_c"][0] == 100, "compared slots"
    assert again["warm", "alert"] == [1, 1000 * S], "pending since the first reading"


def test_filters_continue_from_the_states_of_an_earlier_release() -> None:
    expected = decoded((FOLDER / "batch.bin").read_bytes())
    run = restored()
    rows = [
        (boot_ns, group.sensor, tuple(column.quantity for column in group.columns), values)
        for group in expected.groups
        for boot_ns, *values in zip(group.times_ns, *[column.raws or () for column in group.columns], strict=True)
    ]
    assert len(rows) == 40
    for boot_ns, sensor, quantities, values in sorted(rows):
        run.measure(sensor, boot_ns, quantities, tuple(values))
    run.pipeline.finish()
    (body,) = [request.content.body for request in run.stored if isinstance(request, Store)]
    for group, expected_group in zip(decoded(body).groups, expected.groups, strict=True):
        assert group.times_ns == expected_group.times_ns
        for column, expected_column in zip(group.columns, expected_group.columns, strict=True):
            assert column.statuses == expected_column.statuses
            assert column.values == pytest.approx(expected_column.values, rel=1e-12)
            assert column.sigmas == pytest.approx(expected_column.sigmas, rel=1e-9)


def test_detectors_continue_from_the_states_of_an_earlier_release() -> None:
    found = []
    for run in (restored(), Run()):
        for row in range(8):
            run.measure("air", FIRST_NS + 30 * row * S, (T,), (22.0 if row == 2 else 20.1,))
            run.measure("attic", FIRST_NS + 30 * row * S, (T,), (21.1,))
        run.pipeline.finish()
        found.append(dict(run.pipeline.findings.counts))
    assert found == [{"z-score": 1, "surprise": 1}, {}], "only learned states know that the reading is unusual"
