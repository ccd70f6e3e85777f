from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.reading import NOT_SENT, Features, Flag, status_of
from edge_agent.stages.features import features, features_table

S = 1_000_000_000


def test_a_line_has_its_slope_on_real_times() -> None:
    seconds = [0.0, 1.0, 5.0, 6.5]
    window = features([int(second * S) + 10**15 for second in seconds], [3.0 + 0.25 * second for second in seconds])
    assert window is not None
    assert window.slope_per_s == pytest.approx(0.25, rel=1e-12)
    assert (window.count, window.minimum, window.maximum) == (4, 3.0, 4.625)


def test_small_noise_on_a_large_offset_keeps_its_digits() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 60)
    times = [row * S for row in range(60)]
    low, high = features(times, noise.tolist()), features(times, (noise + 1e5).tolist())
    assert low is not None
    assert high is not None
    assert high.std == pytest.approx(low.std, rel=1e-9)
    assert high.slope_per_s == pytest.approx(low.slope_per_s, rel=1e-7)
    assert high.mean == pytest.approx(1e5 + low.mean, abs=1e-10)


def test_missing_bad_and_absent_readings_are_left_out() -> None:
    statuses = [0, status_of(Flag.NO_VALUE), status_of(Flag.OUT_OF_RANGE), NOT_SENT, status_of(Flag.TOO_FAST)]
    window = features([S, 2 * S, 3 * S, 4 * S, 5 * S], [1.0, None, 999.0, 5.0, 3.0], statuses)
    assert window == Features(2, 2.0, 1.0, 1.0, 3.0, 0.5)


def test_nothing_left_gives_none() -> None:
    assert features([], []) is None
    assert features([1], [None]) is None


@pytest.mark.parametrize("times", [[7], [7, 7, 7]])
def test_one_moment_has_no_slope(times: list[int]) -> None:
    window = features(times, [1.0, 2.0, 4.5][: len(times)])
    assert window is not None
    assert window.slope_per_s == 0.0


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=20))
def test_the_table_gives_what_single_channels_give(rows: list[list[float]]) -> None:
    times = [row * S for row in range(len(rows))]
    for channel, window in enumerate(features_table(times, rows)):
        alone = features(times, [row[channel] for row in rows])
        assert alone is not None
        for mine, its in zip(
            (window.mean, window.std, window.minimum, window.maximum, window.slope_per_s),
            (alone.mean, alone.std, alone.minimum, alone.maximum, alone.slope_per_s),
            strict=True,
        ):
            assert math.isclose(mine, its, rel_tol=1e-9, abs_tol=1e-8)
