from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.reading import Flag
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.estimates import Model
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings
from edge_agent.stages.filters.smooth import smooth
from tests.stages.scenarios import OTHERS, SCENARIOS, filtered_and_smoothed, rmse

if TYPE_CHECKING:
    from edge_agent.stages.filters.estimates import Filter

S = 1_000_000_000
MODEL = Model(noise=0.04, level_per_s=0.001, slope_per_s=1e-5)
ALL = SCENARIOS | OTHERS


def posterior_mean(model: Model, times_s: list[float], values: list[float | None]) -> list[float]:
    """The same by brute force: the mean of all levels given all readings, of one normal distribution."""
    rows = len(values)
    prior = np.zeros((2 * rows, 2 * rows))  # covariance of level, slope, level, slope …
    first = next(value for value in values if value is not None)
    mean = np.zeros(2 * rows)
    mean[0] = first
    transitions = [np.eye(2)]
    prior[:2, :2] = np.diag([model.noise, model.noise])
    for row in range(1, rows):
        dt = times_s[row] - times_s[row - 1]
        step = np.array([[1.0, dt], [0.0, 1.0]])
        drift = model.slope_per_s * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        drift[0, 0] += model.level_per_s * dt
        before, here = slice(2 * row - 2, 2 * row), slice(2 * row, 2 * row + 2)
        mean[here] = step @ mean[before]
        prior[here, : 2 * row] = step @ prior[before, : 2 * row]
        prior[: 2 * row, here] = prior[here, : 2 * row].T
        prior[here, here] = step @ prior[before, before] @ step.T + drift
        transitions.append(step)
    seen = [row for row in range(1, rows) if values[row] is not None]  # the first is the prior's mean
    look = np.zeros((len(seen), 2 * rows))
    look[range(len(seen)), [2 * row for row in seen]] = 1.0
    readings = np.array([values[row] for row in seen], dtype=np.float64)
    gain = prior @ look.T @ np.linalg.inv(look @ prior @ look.T + model.noise * np.eye(len(seen)))
    levels: list[float] = (mean + gain @ (readings - look @ mean))[::2].tolist()
    return levels


@given(
    st.lists(st.tuples(st.integers(1, 30), st.none() | st.floats(-0.5, 0.5)), min_size=2, max_size=15),
    st.floats(-0.5, 0.5),
)
def test_it_is_the_mean_given_all_readings(rows: list[tuple[int, float | None]], first: float) -> None:
    times = [0.0, *np.cumsum([float(step) for step, _ in rows]).tolist()]
    values = [first, *[value for _, value in rows]]
    found = smooth(MODEL, [round(second * S) for second in times], values)
    assert found == pytest.approx(posterior_mean(MODEL, times, values), abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_what_was_filtered_is_nowhere_worse_for_being_seen_from_the_end(name: str) -> None:
    errors = []
    for seed in range(3):
        course = ALL[name].course(seed, 2400)
        filtered, smoothed = filtered_and_smoothed(course)
        errors.append(rmse(smoothed, course.truth) / rmse(filtered, course.truth))
    assert np.mean(errors) < 1.01


def test_a_step_is_not_smeared() -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.05, 60)
    truth = np.where(np.arange(60) < 30, 20.0, 23.0)
    found = smooth(Model(0.0025, 1e-5, 0.0), [second * S for second in range(60)], (truth + noise).tolist())
    assert rmse(found, truth) < 0.02


def test_where_nothing_is_believed_yet_there_is_nothing_and_gaps_are_filled() -> None:
    found = smooth(MODEL, [0, S, 2 * S, 3 * S, 4 * S], [None, 1.0, None, 1.5, None])
    assert found[0] is None
    assert None not in found[1:]
    assert found[1] is not None
    assert found[3] is not None
    assert found[1] < (found[2] or 0.0) < found[3] < (found[4] or 0.0)
    assert smooth(MODEL, [], []) == []
    assert smooth(MODEL, [0, S], [None, None]) == [None, None]


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    st.floats(-1e5, 1e5),
    st.integers(0, 10**17),
)
def test_neither_offset_nor_time_matters(values: list[float], offset: float, start_ns: int) -> None:
    times_ns = [row * S for row in range(len(values))]
    plain = smooth(MODEL, times_ns, values)
    moved = smooth(MODEL, [now_ns + start_ns for now_ns in times_ns], [value + offset for value in values])
    assert [(value or 0.0) - offset for value in moved] == pytest.approx(plain, abs=1e-6)


@given(st.lists(st.tuples(st.integers(-5, 5), st.floats(-1e6, 1e6) | st.none()), max_size=40))
def test_whatever_the_stamps_it_gives_finite_numbers(rows: list[tuple[int, float | None]]) -> None:
    times_ns = [100 * S + int(seconds) * S for seconds in np.cumsum([step for step, _ in rows])]
    found = smooth(MODEL, times_ns, [value for _, value in rows])
    assert len(found) == len(rows)
    assert all(value is None or np.isfinite(value) for value in found)


def test_without_noise_what_was_measured_is_true() -> None:
    assert smooth(Model(0.0, 0.0, 0.0), [0, S, 2 * S], [1.0, None, 5.0]) == [1.0, None, 5.0]


def test_filters_say_what_they_take_a_channel_for() -> None:
    assert KalmanSettings(0.5, 1e-3).build().model() == (0.25, 0.0, 1e-6)
    none: Filter = MedianSettings(0.5).build()
    assert none.model() is None
    auto = AutoSettings().build()
    assert auto.model() is None
    noise = np.random.default_rng(2).normal(0.0, 0.3, 2000)
    auto.run([10 * second * S for second in range(2000)], (20.0 + noise).tolist(), [Flag(0)] * 2000)
    model = auto.model()
    assert model is not None
    assert model.noise == pytest.approx(0.09, rel=0.25)
    assert 10 * model.level_per_s < 0.02
