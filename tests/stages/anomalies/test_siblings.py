from __future__ import annotations

import numpy as np
import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.siblings import Siblings

DAY = 1440
STAMPS = [minute * 60 * NS_PER_S for minute in range(6 * DAY)]


def readings(seed: int, offset: float = 0.0) -> list[float | None]:
    """Six days, once a minute, of one thermometer of a pair."""
    rng = np.random.default_rng(seed)
    air = 20.0 + 4.0 * np.sin(2.0 * np.pi * np.arange(6 * DAY) / DAY)
    return [float(each) for each in air + offset + rng.normal(0.0, 0.05, 6 * DAY)]


def found(first: list[float | None], second: list[float | None], pair: Siblings | None = None) -> list[Anomaly]:
    pair, anomalies = pair or Siblings(5.0), []
    for at in range(0, len(first), 60):
        stamps = STAMPS[at : at + 60]
        anomalies += pair.take(0, stamps, first[at : at + 60]) + pair.take(1, stamps, second[at : at + 60])
    return anomalies


def test_a_constant_difference_is_usual() -> None:
    assert found(readings(1), readings(2, offset=3.0)) == []


def test_a_difference_that_comes_every_day_is_usual() -> None:
    sunny = readings(2)
    for row in range(6 * DAY):
        if 600 <= row % DAY < 800:
            sunny[row] = (sunny[row] or 0.0) + 2.0
    assert found(readings(1), sunny) == []


@pytest.mark.parametrize("side", [0, 1])
def test_a_drift_is_told_when_it_begins_and_when_it_ends(side: int) -> None:
    drifting = readings(2)
    for row in range(4 * DAY, 5 * DAY):
        drifting[row] = (drifting[row] or 0.0) + (row - 4 * DAY) / 500.0
    began, ended = found(drifting, readings(1)) if side == 0 else found(readings(1), drifting)
    assert (began.kind, began.phase, ended.phase) == (AnomalyKind.DRIFT, Phase.BEGAN, Phase.ENDED)
    assert 4 * DAY * 60 * NS_PER_S < began.at_ns < (4 * DAY + 720) * 60 * NS_PER_S
    assert ended.at_ns >= 5 * DAY * 60 * NS_PER_S
    assert (began.value - began.expected > 0.0) is (side == 0)


def test_a_restart_goes_on_with_what_was_learned() -> None:
    first, second = readings(1), readings(2)
    before, after = Siblings(5.0), Siblings(5.0)
    found(first, second, before)
    after.restore(before.state())
    assert after.state() == before.state()
    with pytest.raises(ValueError, match="no state of a pair"):
        after.restore((1.0,))


def test_a_reading_without_value_and_another_boot_do_no_harm() -> None:
    first = readings(1)
    first[100:200] = [None] * 100
    pair = Siblings(5.0)
    assert found(first, readings(2), pair) == []
    assert found(readings(1), readings(2), pair) == []
