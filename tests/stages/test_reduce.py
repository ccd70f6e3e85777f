from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.stages.reduce import ReduceSettings, SwingingDoor

S = 1_000_000_000
DEADBAND, DOOR = ReduceSettings(0.1, 60 * S), ReduceSettings(0.1, 60 * S, lines=True)
BOTH = pytest.mark.parametrize("settings", [DEADBAND, DOOR], ids=["deadband", "swinging-door"])


def kept(
    settings: ReduceSettings, values: list[float | None], statuses: list[int] | None = None, start_s: int = 0
) -> list[bool]:
    reducer = settings.build()
    assert reducer is not None
    return reducer.run([(start_s + row) * S for row in range(len(values))], values, statuses or [0] * len(values))


def test_only_change_is_sent_and_the_reading_before_it() -> None:
    assert kept(DEADBAND, [20.0, 20.05, 20.06, 20.25, 20.2, 20.2]) == [True, False, True, True, False, False]


def test_drift_is_measured_from_the_last_that_was_sent() -> None:
    assert kept(DEADBAND, [20.0, 20.03, 20.06, 20.09, 20.12]) == [True, False, False, True, True]


def test_a_straight_line_needs_two_readings_however_steep() -> None:
    assert kept(DOOR, [20.0 + row for row in range(6)]) == [True, False, False, False, False, True]


def test_a_bend_is_sent() -> None:
    values: list[float | None] = [20.0, 21.0, 22.0, 23.0, 22.0, 21.0, 20.0]
    assert kept(DOOR, values) == [True, False, False, True, False, False, True]


@BOTH
def test_a_changed_status_is_sent(settings: ReduceSettings) -> None:
    assert kept(settings, [20.0] * 6, [0, 0, 18, 18, 18, 0]) == [True, True, True, False, True, True]


@BOTH
def test_a_value_that_vanishes_or_appears_is_sent(settings: ReduceSettings) -> None:
    values = [20.0, None, None, None, 20.0, 20.0]
    assert kept(settings, values, [0, 7, 7, 7, 0, 0])[:5] == [True, True, False, True, True]


@BOTH
def test_the_heartbeat_sends_what_does_not_change(settings: ReduceSettings) -> None:
    every = ReduceSettings(0.1, 3 * S, settings.lines)
    assert kept(every, [20.0] * 7) == [True, False, False, True, False, False, True]


def test_without_a_bound_there_is_nothing_to_leave_out() -> None:
    assert ReduceSettings(0.0, 60 * S).build() is None
    assert ReduceSettings(0.0, 60 * S, lines=True).build() is None


@BOTH
def test_time_that_runs_backwards_is_sent(settings: ReduceSettings) -> None:
    reducer = settings.build()
    assert reducer is not None
    assert reducer.run([10 * S, 5 * S, 5 * S], [1.0, 1.0, 1.0], [0, 0, 0])[:2] == [True, True]
    assert reducer.run([4 * S, 6 * S], [1.0, 1.0], [0, 0])[0] is True


def test_a_line_goes_on_into_the_next_batch_and_none_is_left_open() -> None:
    door = SwingingDoor(DOOR)
    for batch in range(3):
        seconds = range(10 * batch, 10 * batch + 10)
        keep = door.run([second * S for second in seconds], [0.5 * second for second in seconds], [0] * 10)
        assert keep == [batch == 0, *[False] * 8, True]


ROWS = st.lists(st.tuples(st.integers(0, 100), st.none() | st.floats(19, 21), st.sampled_from([0, 0, 18])), max_size=40)


@given(ROWS)
def test_who_holds_the_last_value_is_never_further_off_than_the_deadband(
    rows: list[tuple[int, float | None, int]],
) -> None:
    reducer = DEADBAND.build()
    assert reducer is not None
    keep = reducer.run([t * S for t, _, _ in rows], [v for _, v, _ in rows], [s for _, _, s in rows])
    # What is sent only because a change follows is followed by that.
    sent: float | None = None
    for (_, value, _), kept_ in zip(rows, keep, strict=True):
        if kept_:
            sent = value
        elif value is not None:
            assert sent is not None
            assert abs(value - sent) <= DEADBAND.max_error


@given(
    st.lists(st.tuples(st.integers(1, 30), st.floats(19, 21)), min_size=1, max_size=120),
    st.integers(1, 50),
    st.sampled_from([0.01, 0.1, 1.0]),
)
def test_who_draws_lines_is_never_further_off_than_the_bound(
    rows: list[tuple[int, float]], batch: int, max_error: float
) -> None:
    door = SwingingDoor(ReduceSettings(max_error, 10**6 * S, lines=True))
    times = np.cumsum([step for step, _ in rows])
    values = np.array([value for _, value in rows])
    keep: list[bool] = []
    for first in range(0, len(rows), batch):
        stamps = [int(second) * S for second in times[first : first + batch]]
        keep += door.run(stamps, values[first : first + batch].tolist(), [0] * len(stamps))
    sent = np.nonzero(np.array(keep))[0]
    assert keep[0]
    assert keep[-1]
    drawn = np.interp(times, times[sent], values[sent])
    assert np.abs(drawn - values).max() <= max_error * (1 + 1e-9)
    # And so the mean over time is not further off either.
    assert abs(np.trapezoid(drawn, times) - np.trapezoid(values, times)) <= max_error * (times[-1] - times[0]) + 1e-9


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_slow_air_takes_a_tenth_by_lines_and_its_mean_stays(noise: float) -> None:
    rng = np.random.default_rng(3)
    values = 20 + 3 * np.sin(np.arange(3600) / 600) + rng.uniform(-noise, noise, 3600)
    door = SwingingDoor(DOOR)
    keep = [
        each
        for first in range(0, 3600, 60)
        for each in door.run(
            [second * S for second in range(first, first + 60)], values[first : first + 60].tolist(), [0] * 60
        )
    ]
    sent = np.nonzero(np.array(keep))[0]
    assert len(sent) <= 360
    assert np.interp(np.arange(3600), sent, values[sent]).mean() == pytest.approx(values.mean(), abs=0.02)
