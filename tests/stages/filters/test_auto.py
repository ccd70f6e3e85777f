from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.reading import Flag
from edge_agent.stages.filters.auto import Auto, AutoSettings
from edge_agent.stages.filters.estimates import Estimates
from tests.stages.scenarios import OTHERS, SCENARIOS, Course, fixed, rmse

S = 1_000_000_000
GOOD = Flag(0)


def run(course: Course, settings: AutoSettings = AutoSettings()) -> tuple[Estimates, list[Flag]]:  # noqa: B008 frozen
    flags = [GOOD] * len(course.times_ns)
    return settings.build().run(course.times_ns, course.readings.tolist(), flags), flags


def every_second(values: list[float]) -> tuple[list[float | None], list[Flag]]:
    flags = [GOOD] * len(values)
    return Auto(AutoSettings()).run([S * (row + 1) for row in range(len(values))], values, flags).values, flags


def times_better(name: str, seeds: range) -> float:
    """Mean error of the fixed filter over that of `auto`."""
    courses = [(SCENARIOS | OTHERS)[name].course(seed) for seed in seeds]
    ours = sum(rmse(run(course)[0].values, course.truth) for course in courses)
    return sum(rmse(fixed(course.readings), course.truth) for course in courses) / ours


@pytest.mark.parametrize("name", [*SCENARIOS, *OTHERS])
def test_it_is_never_worse_than_the_fixed_filter(name: str) -> None:
    assert times_better(name, range(100, 103)) >= 1 / 1.05


@pytest.mark.parametrize("name", "CDEG")
def test_it_is_twice_as_good_where_there_are_spikes_ramps_and_changing_noise(name: str) -> None:
    assert times_better(name, range(200, 206)) >= 2.0


def test_a_step_costs_one_reading() -> None:
    truth = np.where(np.arange(1000) < 500, 20.0, 23.0)
    estimates, flags = every_second((truth + np.random.default_rng(3).normal(0, 0.05, 1000)).tolist())
    assert [row for row in range(400, 1000) if flags[row]] == [500]
    assert max(abs((estimate or 0.0) - 23.0) for estimate in estimates[501:]) < 0.2


def test_a_step_too_small_to_refuse_is_followed_within_a_few_readings() -> None:
    truth = np.where(np.arange(1000) < 500, 20.0, 20.22)
    estimates, _ = every_second((truth + np.random.default_rng(3).normal(0, 0.05, 1000)).tolist())
    assert max(abs((estimate or 0.0) - 20.22) for estimate in estimates[506:]) < 0.12


def test_where_spikes_come_in_pairs_a_pair_is_soon_no_step() -> None:
    noisy = 20.0 + np.random.default_rng(4).normal(0, 0.05, 1000)
    for row in range(100, 1000, 90):
        noisy[row : row + 2] += 5.0
    estimates, _ = every_second(noisy.tolist())
    wrong = [row for row, estimate in enumerate(estimates) if abs((estimate or 0.0) - 20.0) > 0.3]
    assert wrong == [101]


def test_a_step_among_spikes_is_believed_all_the_same() -> None:
    noisy = np.where(np.arange(1000) < 500, 20.0, 26.0) + np.random.default_rng(4).normal(0, 0.05, 1000)
    noisy[50:1000:70] += 9.0
    estimates, flags = every_second(noisy.tolist())
    assert all(flags[row] for row in range(50, 1000, 70))
    assert max(abs((estimate or 0.0) - 26.0) for estimate in estimates[502:]) < 0.3


def test_outliers_that_go_on_are_noise_and_not_refused_for_long() -> None:
    random = np.random.default_rng(5)
    noisy = 20.0 + np.concatenate([random.normal(0, 0.02, 500), random.normal(0, 1.0, 1500)])
    estimates, flags = every_second(noisy.tolist())
    assert sum(map(bool, flags[600:])) < 5
    assert rmse(estimates[700:], np.full(1300, 20.0)) < 0.4


def test_counts_of_a_coarse_chip_are_no_outliers() -> None:
    values = [20.0] * 500 + [20.0625] + [20.0] * 300 + [20.0625] * 200
    _, flags = every_second(values)
    assert not any(flags)


def test_a_value_that_is_refused_is_a_prediction_and_says_so() -> None:
    noisy = 20.0 + np.random.default_rng(6).normal(0, 0.05, 200)
    noisy[150] = 60.0
    flags = [GOOD] * 150 + [Flag.TOO_FAST] + [GOOD] * 49
    values, sigmas, innovations = Auto(AutoSettings()).run([S * row for row in range(200)], noisy.tolist(), flags)
    assert flags[150] == Flag.TOO_FAST | Flag.OUTLIER
    assert values[150] == pytest.approx(20.0, abs=0.1)
    assert innovations[150] == pytest.approx(40.0, abs=0.2)
    assert (sigmas[150] or 0.0) > (sigmas[149] or 1.0)


def test_a_gap_widens_what_is_believed_and_a_long_one_starts_anew() -> None:
    random = np.random.default_rng(7)
    values = (20.0 + random.normal(0, 0.05, 300)).tolist()
    times = [S * row for row in range(300)]
    short, long = Auto(AutoSettings()), Auto(AutoSettings())
    for each in (short, long):
        each.run(times, values, [GOOD] * 300)
    flags = [GOOD]
    before = short.run([S * 300], [20.0], [GOOD]).sigmas[0]
    after = short.run([S * 330], [20.3], flags)
    assert (after.sigmas[0] or 0.0) > (before or 1.0)
    assert flags == [GOOD]
    assert long.run([S * 40_000], [7.0], flags).values == [7.0]
    assert flags == [GOOD]


def test_unusable_readings_leave_the_filter_alone() -> None:
    times = [S * row for row in range(1, 7)]
    flags = [GOOD, GOOD, Flag.NO_VALUE, Flag.OUT_OF_RANGE, GOOD, GOOD]
    values, sigmas, innovations = Auto(AutoSettings()).run(times, [20.0, 20.0, None, 900.0, 20.0, 20.0], flags)
    assert values == [20.0, 20.0, None, 900.0, 20.0, 20.0]
    assert [sigmas[2:4], innovations[2:4]] == [[None, None]] * 2
    assert flags[2:4] == [Flag.NO_VALUE, Flag.OUT_OF_RANGE]


@pytest.mark.parametrize("name", ["A", "B", "E", "F", "uneven"])
def test_the_truth_is_within_two_sigma_about_as_often_as_it_should_be(name: str) -> None:
    course = (SCENARIOS | OTHERS)[name].course(300)
    estimates, _ = run(course)
    off = abs(np.array(estimates.values, dtype=np.float64) - course.truth)
    assert 0.88 < np.mean(off <= 2.0 * np.array(estimates.sigmas, dtype=np.float64)) < 0.99


@pytest.mark.parametrize("sigma", [0.0005, 2.0])
def test_a_wrong_idea_of_the_noise_is_soon_forgotten(sigma: float) -> None:
    course = SCENARIOS["B"].course(301, 1500)
    estimates, flags = run(course, AutoSettings(sigma, 0.01))
    assert rmse(estimates.values, course.truth) < 0.025
    assert sum(map(bool, flags)) < 5


ROWS = st.lists(
    st.tuples(
        st.sampled_from([S] * 6 + [0, -S, S // 3, S + 1_000_000, 7 * S, 4000 * S, -90_000 * S]),
        st.floats(19.9, 20.1) | st.sampled_from([20.0, 20.1, 25.0, 25.1, -1e12, 1e12]) | st.none(),
        st.sampled_from([GOOD, GOOD, GOOD, Flag.OUT_OF_RANGE, Flag.TOO_FAST]),
    ),
    min_size=1,
    max_size=120,
)


def split(rows: list[tuple[int, float | None, Flag]]) -> tuple[list[int], list[float | None], list[Flag]]:
    times = np.cumsum([step for step, _, _ in rows], dtype=np.int64).tolist()
    return times, [value for _, value, _ in rows], [Flag.NO_VALUE if v is None else flag for _, v, flag in rows]


@given(ROWS, st.integers(0, 2**32 - 1), st.integers(0, 200))
def test_a_block_gives_what_single_readings_give_even_across_a_restart(
    rows: list[tuple[int, float | None, Flag]], seed: int, before: int
) -> None:
    warm = (20.0 + np.random.default_rng(seed).normal(0, 0.05, before)).tolist()
    times, values, flags = split([(S, value, GOOD) for value in warm] + rows)
    whole_flags, live_flags, live = list(flags), [], Estimates([], [], [])
    whole = Auto(AutoSettings()).run(times, values, whole_flags)
    state = Auto(AutoSettings()).state()
    for now_ns, value, flag in zip(times, values, flags, strict=True):
        one, each = [flag], Auto(AutoSettings())
        each.restore(state)
        for so_far, more in zip(live, each.run([now_ns], [value], one), strict=True):
            so_far.extend(more)
        live_flags += one
        state = each.state()
    assert (whole, whole_flags) == (live, live_flags)
    numbers = [number for column in whole for number in column if number is not None]
    assert all(map(math.isfinite, [*numbers, *state]))
    assert len(state) < 60


@pytest.mark.parametrize("name", ["C", "G", "H", "uneven"])
def test_unit_and_start_of_time_do_not_matter(name: str) -> None:
    course = (SCENARIOS | OTHERS)[name].course(302, 1500)
    plain, flags = run(course)
    later, _ = run(Course([now_ns + 10**17 for now_ns in course.times_ns], course.truth, course.readings))
    scaled, scaled_flags = run(Course(course.times_ns, course.truth, course.readings * 1024.0))
    shifted, shifted_flags = run(Course(course.times_ns, course.truth, course.readings + 64.0))
    assert later == plain
    assert [(value or 0.0) / 1024.0 for value in scaled.values] == plain.values
    assert [(sigma or 0.0) / 1024.0 for sigma in scaled.sigmas] == plain.sigmas
    assert [(value or 0.0) - 64.0 for value in shifted.values] == pytest.approx(plain.values, abs=1e-9)
    assert flags == scaled_flags == shifted_flags


def test_a_state_that_is_cut_short_is_not_taken() -> None:
    auto = Auto(AutoSettings())
    with pytest.raises(ValueError, match="no state"):
        auto.restore(auto.state()[:20])
