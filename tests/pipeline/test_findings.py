from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.pipeline.findings import MOST_IN_AN_HOUR, Findings, Watch, describe
from edge_agent.reading import Event, EventKind, Flag
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.detector import AnomalySettings

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "air.temperature_c"


def anomaly(kind: AnomalyKind, at_s: int, phase: Phase = Phase.ONCE) -> Anomaly:
    return Anomaly(kind, at_s * NS_PER_S, (at_s - 60) * NS_PER_S, 7.25, 25.5, 20.0, phase)


def telling() -> tuple[Findings, list[Event]]:
    events: list[Event] = []
    return Findings(events.append), events


def test_a_finding_becomes_an_event_about_its_channel() -> None:
    findings, events = telling()
    findings.report(NAME, anomaly(AnomalyKind.SURPRISE, 100))
    cause = "a reading of 25.5 °C where 20 °C was expected, and it did not stay there; score 7.2"
    assert events == [Event(EventKind.ANOMALY, 100 * NS_PER_S, NAME, "surprise", cause)]
    assert findings.counts == {"surprise": 1}


def test_a_broken_sensor_is_told_of_a_few_times_an_hour() -> None:
    findings, events = telling()
    for second in range(0, 2 * 3600, 10):
        findings.report(NAME, anomaly(AnomalyKind.SURPRISE, second))
    findings.report("canopy.temperature_c", anomaly(AnomalyKind.SURPRISE, 20))
    states = [event.state for event in events if event.subject == NAME]
    assert states == (["surprise"] * MOST_IN_AN_HOUR + ["more"]) * 2
    assert [event.state for event in events if event.subject != NAME] == ["surprise"]
    assert findings.counts == {"surprise": 721}


@pytest.mark.parametrize(("before", "told"), [(0, True), (MOST_IN_AN_HOUR, False)])
def test_an_end_is_told_if_its_beginning_was(before: int, told: bool) -> None:
    findings, events = telling()
    for second in range(before):
        findings.report(NAME, anomaly(AnomalyKind.SURPRISE, second))
    findings.report(NAME, anomaly(AnomalyKind.FLATLINE, 100, Phase.BEGAN))
    findings.report(NAME, anomaly(AnomalyKind.FLATLINE, 200, Phase.ENDED))
    states = [event.state for event in events]
    assert ("flatline" in states) is told
    assert ("flatline-ended" in states) is told
    assert findings.counts["flatline"] == 1


@pytest.mark.parametrize("kind", AnomalyKind)
@pytest.mark.parametrize("phase", Phase)
def test_every_kind_has_a_sentence_with_its_score(kind: AnomalyKind, phase: Phase) -> None:
    said = describe(NAME, anomaly(kind, 100, phase))
    assert "7.2" in said
    assert "\n" not in said


def wander(seed: int) -> Callable[[int], list[float | None]]:
    rng = np.random.default_rng(seed)
    return lambda rows: [float(each) for each in 20.0 + rng.normal(0.0, 0.05, rows)]


def test_siblings_are_compared_across_sensors() -> None:
    findings, events = telling()
    one = Watch(NAME, AnomalySettings(), findings.report)
    other = Watch("canopy.temperature_c", AnomalySettings(), findings.report)
    one.pair(other)
    mine, theirs = wander(1), wander(2)
    for hour in range(4 * 24):
        stamps = [(hour * 60 + minute) * 60 * NS_PER_S for minute in range(60)]
        flags = [Flag(0)] * 60
        lifted = [(each or 0.0) + (0.02 * (hour - 72) if hour > 72 else 0.0) for each in mine(60)]
        one.take(stamps, lifted, flags, None)
        other.take(stamps, theirs(60), flags, None)
    drifts = [event for event in events if event.state == "drift"]
    assert [event.subject for event in drifts] == [NAME]
    assert 72 * 3600 * NS_PER_S < drifts[0].boot_ns < 96 * 3600 * NS_PER_S
