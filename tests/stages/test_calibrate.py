from __future__ import annotations

import pytest

from edge_agent.stages.calibrate import Calibration, calibrate


def test_gain_comes_before_offset() -> None:
    assert calibrate(Calibration(offset=1.0, gain=2.0), [3.0, None]) == [7.0, None]


def test_nothing_configured_changes_nothing() -> None:
    values = [-0.0, None, 1e300]
    assert repr(calibrate(Calibration(), values)) == repr(values)


def test_points_are_met_exactly_and_joined_by_lines() -> None:
    points = ((0.0, 0.5), (10.0, 10.0), (20.0, 21.0))
    assert calibrate(Calibration(points=points), [0.0, 5.0, 10.0, 15.0, 20.0, None]) == [
        0.5,
        5.25,
        10.0,
        15.5,
        21.0,
        None,
    ]


def test_end_segments_go_on_beyond_the_points() -> None:
    points = ((0.0, 0.0), (10.0, 20.0), (20.0, 30.0))
    assert calibrate(Calibration(points=points), [-5.0, 25.0]) == [-10.0, 35.0]


@pytest.mark.parametrize("points", [((1.0, 1.0),), ((1.0, 1.0), (1.0, 2.0)), ((2.0, 1.0), (1.0, 2.0))])
def test_impossible_points_are_refused(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="calibration point"):
        Calibration(points=points)


def test_a_polynomial_has_its_constant_first() -> None:
    assert calibrate(Calibration(polynomial=(1.0, 2.0, 0.5)), [0.0, 2.0, None, -1.0]) == [1.0, 7.0, None, -0.5]
