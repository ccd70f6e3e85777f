from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.reading import Flag
from edge_agent.stages.filters.estimates import Estimates
from edge_agent.stages.filters.kalman import Kalman, KalmanSettings

S = 1_000_000_000
GOOD = Flag(0)
ROOM = KalmanSettings(sigma=0.05, drift_per_s=1e-3)


def filtered(settings: KalmanSettings, values: list[float]) -> tuple[list[float], list[Flag]]:
    flags = [GOOD] * len(values)
    estimates = Kalman(settings).run([S * (row + 1) for row in range(len(values))], list(values), flags).values
    return [estimate for estimate in estimates if estimate is not None], flags


def rmse(values: list[float], truth: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.sqrt(np.mean((np.array(values) - truth) ** 2)))


def sine(rows: int = 3000) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([20.0 + 2.0 * math.sin(math.tau * row / 1440.0) for row in range(rows)])


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_a_noisy_sine_is_smoothed_at_any_offset(offset: float) -> None:
    truth = sine() + offset
    noisy = truth + np.random.default_rng(1).normal(0, 0.05, len(truth))
    estimates, flags = filtered(ROOM, noisy.tolist())
    assert rmse(estimates, truth) < 0.5 * rmse(noisy.tolist(), truth)
    assert sum(map(bool, flags)) < 5


def test_spikes_are_refused_and_replaced_by_the_prediction() -> None:
    truth = sine()
    random = np.random.default_rng(2)
    noisy = truth + random.normal(0, 0.05, len(truth))
    struck = range(100, len(truth), 97)
    for row in struck:
        noisy[row] += random.choice([-5.0, 5.0])
    estimates, flags = filtered(ROOM, noisy.tolist())
    assert all(flags[row] is Flag.OUTLIER for row in struck)
    assert rmse(estimates, truth) < 0.5 * 0.05


@pytest.mark.parametrize("reacquire_after", [1, 2, 3, 5])
def test_a_true_step_is_followed_within_the_configured_readings(reacquire_after: int) -> None:
    truth = np.where(np.arange(1000) < 500, 20.0, 23.0)
    noisy = truth + np.random.default_rng(3).normal(0, 0.05, 1000)
    estimates, flags = filtered(KalmanSettings(0.05, 1e-3, reacquire_after=reacquire_after), noisy.tolist())
    refused = [row for row in range(490, 520) if flags[row]]
    assert refused == list(range(500, 500 + reacquire_after - 1))
    assert max(abs(estimate - 23.0) for estimate in estimates[500 + reacquire_after - 1 :]) < 0.2


def test_two_spikes_in_a_row_cost_one_wrong_estimate() -> None:
    noisy = 20.0 + np.random.default_rng(4).normal(0, 0.05, 300)
    noisy[200:202] += 5.0
    estimates, flags = filtered(ROOM, noisy.tolist())
    wrong = [row for row, estimate in enumerate(estimates) if abs(estimate - 20.0) > 0.3]
    assert wrong == [201]
    assert flags[200] is Flag.OUTLIER


def test_outliers_that_disagree_never_become_the_level() -> None:
    noisy = 20.0 + np.random.default_rng(5).normal(0, 0.05, 300)
    noisy[200:206] += [5.0, -5.0, 9.0, -7.0, 3.0, -3.0]
    estimates, _ = filtered(ROOM, noisy.tolist())
    assert max(abs(estimate - 20.0) for estimate in estimates[50:]) < 0.3


def test_a_long_gap_starts_anew_at_what_is_measured() -> None:
    flags = [GOOD] * 21
    times = [*(S * row for row in range(20)), S * 40_000]
    estimates = Kalman(ROOM).run(times, [20.0 + row / 100 for row in range(20)] + [7.0], flags).values
    assert estimates[-1] == 7.0
    assert flags == [GOOD] * 21


def test_unusable_readings_leave_the_filter_alone() -> None:
    times = [S * row for row in range(1, 7)]
    values = [20.0, 20.0, None, 900.0, 20.0, 20.0]
    flags = [GOOD, GOOD, Flag.NO_VALUE, Flag.OUT_OF_RANGE, GOOD, GOOD]
    assert Kalman(ROOM).run(times, values, flags).values == [20.0, 20.0, None, 900.0, 20.0, 20.0]
    assert flags[2:4] == [Flag.NO_VALUE, Flag.OUT_OF_RANGE]


def test_a_value_that_is_not_finite_is_not_shown() -> None:
    assert Kalman(ROOM).run([S], [math.nan], [Flag.NO_VALUE]).values == [None]


def test_an_outlier_keeps_the_flags_it_had() -> None:
    flags = [GOOD] * 20 + [Flag.TOO_FAST]
    Kalman(ROOM).run([S * row for row in range(21)], [20.0] * 20 + [50.0], flags)
    assert flags[-1] == Flag.TOO_FAST | Flag.OUTLIER


def test_time_that_stands_still_or_runs_back_predicts_nothing() -> None:
    ramp: list[float | None] = [20.0 + row * 0.1 for row in range(100)]
    kalman = Kalman(KalmanSettings(0.05, 1e-2))
    last = kalman.run([S * row for row in range(100)], ramp, [GOOD] * 100).values[-1]
    assert last is not None
    again = kalman.run([S * 99, S * 50], [last, last], [Flag.TIME_BACKWARDS] * 2).values
    assert again == pytest.approx([last, last], abs=1e-9)


ROWS = st.lists(
    st.tuples(
        st.integers(-1, 2000) | st.just(1),
        st.floats(19.0, 21.0) | st.sampled_from([20.0, 20.1, 35.0, 35.1]) | st.none(),
        st.sampled_from([GOOD, GOOD, GOOD, Flag.OUT_OF_RANGE, Flag.TOO_FAST]),
    ),
    max_size=60,
)


@given(ROWS, st.integers(1, 3))
def test_a_block_gives_what_single_readings_give(
    rows: list[tuple[int, float | None, Flag]], reacquire_after: int
) -> None:
    settings = KalmanSettings(0.05, 1e-3, reacquire_after=reacquire_after)
    times = np.cumsum([S * step for step, _, _ in rows], dtype=np.int64).tolist()
    values = [value for _, value, _ in rows]
    flags = [Flag.NO_VALUE if value is None else flag for _, value, flag in rows]
    whole_flags = list(flags)
    whole = Kalman(settings).run(times, values, whole_flags)
    live, live_estimates, live_flags = Kalman(settings), Estimates([], [], []), []
    for now_ns, value, flag in zip(times, values, flags, strict=True):
        one = [flag]
        for so_far, more in zip(live_estimates, live.run([now_ns], [value], one), strict=True):
            so_far.extend(more)
        live_flags += one
    assert (whole, whole_flags) == (live_estimates, live_flags)
    assert all(estimate is None or math.isfinite(estimate) for estimate in whole.values)


def test_a_restart_with_the_saved_state_changes_nothing() -> None:
    noisy = 20.0 + np.random.default_rng(9).normal(0, 0.05, 400)
    noisy[200:202] += 5.0
    noisy[300] += 5.0
    whole, live = Kalman(ROOM).run([S * row for row in range(400)], noisy.tolist(), [GOOD] * 400), Estimates([], [], [])
    state = Kalman(ROOM).state()
    for row, value in enumerate(noisy.tolist()):
        each = Kalman(ROOM)
        each.restore(state)
        for so_far, more in zip(live, each.run([S * row], [value], [GOOD]), strict=True):
            so_far.extend(more)
        state = each.state()
    assert live == whole


def test_sigma_is_that_of_the_error() -> None:
    truth = np.full(3000, 20.0)
    values, sigmas, _ = Kalman(KalmanSettings(0.05, 1e-4)).run(
        [S * row for row in range(3000)],
        (truth + np.random.default_rng(1).normal(0, 0.05, 3000)).tolist(),
        [GOOD] * 3000,
    )
    off = abs(np.array(values, dtype=np.float64) - truth)
    assert 0.9 < np.mean(off <= 2.0 * np.array(sigmas, dtype=np.float64)) < 0.99


def test_a_state_that_is_cut_short_is_not_taken() -> None:
    with pytest.raises(ValueError, match="no state"):
        Kalman(ROOM).restore((1, 2.0))
