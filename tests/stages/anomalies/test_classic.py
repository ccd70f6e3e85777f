from __future__ import annotations

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind
from edge_agent.stages.anomalies.classic import Classic


def found(values: list[float], classic: Classic, step_s: int = 1) -> list[Anomaly]:
    return [each for row, value in enumerate(values) for each in classic.take(row * step_s * NS_PER_S, value)]


CALM = [20.0, 20.1] * 10


def test_the_z_score_sees_a_spike_in_a_window_too_short_for_one_that_counts_it_in() -> None:
    (spike,) = found([*CALM[:10], 25.0], Classic(3.5, None, 0.0))
    assert (spike.kind, spike.value) == (AnomalyKind.Z_SCORE, 25.0)
    assert spike.expected == pytest.approx(20.05)
    assert spike.score == 12.0


def test_a_few_readings_are_no_window() -> None:
    assert found([20.0] * 8 + [25.0], Classic(3.0, None, 0.0)) == []


def test_one_count_of_a_chip_that_stood_still_is_not_odd() -> None:
    assert found([20.0] * 30 + [20.25], Classic(3.0, None, 0.25)) == []


def test_a_jump_is_by_the_second() -> None:
    assert found([20.0, 21.0, 25.0], Classic(None, 2.0, 0.0))[0].value == 25.0
    assert found([20.0, 21.0, 25.0], Classic(None, 2.0, 0.0), step_s=10) == []


def test_a_jump_does_not_latch() -> None:
    stays = [20.0] * 20 + [40.0] * 20 + [60.0] * 20
    jumps = found(stays, Classic(None, 5.0, 0.0))
    assert [each.at_ns // NS_PER_S for each in jumps] == [20, 40]


def test_a_restart_changes_nothing() -> None:
    values, one, other = [*CALM, 25.0, *CALM], Classic(3.0, 2.0, 0.0), Classic(3.0, 2.0, 0.0)
    whole = found(values, Classic(3.0, 2.0, 0.0))
    parts = found(values[:20], one)
    other.restore(one.state())
    for row in range(20, len(values)):
        parts += other.take(row * NS_PER_S, values[row])
    assert parts == whole
    assert len(whole) == 2
    with pytest.raises(ValueError, match="no state of the classic rules"):
        other.restore((0.0,))
