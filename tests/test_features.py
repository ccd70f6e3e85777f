from __future__ import annotations

from dataclasses import astuple
from fractions import Fraction
from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.features import Features, describe_column
from edge_agent.reading import NOT_SENT, Flag, status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

S = 1_000_000_000


def root(number: Fraction) -> Fraction:
    """The square root to sixty digits."""
    return Fraction(isqrt(int(number * 10**120)), 10**60)


def exactly(times_ns: Sequence[int], values: Sequence[float], share_good: float = 1.0) -> Features:
    """What the definitions say, in fractions."""
    times = [Fraction(stamp, S) for stamp in times_ns]
    exact = [Fraction(value) for value in values]
    count = len(exact)
    mean, middle = sum(exact) / count, sum(times) / count
    spread = sum((time - middle) ** 2 for time in times)
    crossed = sum((time - middle) * (value - mean) for time, value in zip(times, exact, strict=True))
    points = sorted(zip(times, exact, strict=True), key=lambda point: point[0])
    gaps = [(after[0] - before[0], before[1], after[1]) for before, after in pairwise(points)]
    span = points[-1][0] - points[0][0]
    area: Fraction = sum((width * (left + right) / 2 for width, left, right in gaps), Fraction(0))
    steps: Fraction = sum(((right - left) ** 2 for _, left, right in gaps), Fraction(0))
    median, p05, p95 = [float(np.percentile(np.array(values, dtype=np.longdouble), each)) for each in (50, 5, 95)]
    variance = Fraction(sum((value - mean) ** 2 for value in exact)) / count
    return Features(
        count,
        float(mean),
        float(root(variance)),
        min(values),
        max(values),
        float(crossed / spread) if spread else 0.0,
        float(area / span) if span else float(mean),
        median,
        p05,
        p95,
        float(root(Fraction(steps) / (count - 1))) if count > 1 else 0.0,
        share_good,
    )


def is_exact(times_ns: Sequence[int], values: Sequence[float]) -> None:
    """Compare to ten digits of the noise, whatever the offset."""
    found = describe_column(times_ns, values)
    assert found is not None
    meant = exactly(times_ns, values)
    noise = max(meant.range, 1e-6)
    assert astuple(found) == pytest.approx(astuple(meant), rel=1e-13, abs=1e-10 * noise)


NOISE = np.random.default_rng(1).normal(0, 0.1, 200).tolist()


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e5])
def test_a_tenth_of_a_pascal_on_any_offset_keeps_its_digits(offset: float) -> None:
    is_exact([10**15 + row * S for row in range(200)], [offset + each for each in NOISE])


def test_irregular_times_and_gaps_are_exact() -> None:
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.integers(1, 3 * S, 200)) + 10**15
    times[100:] += 12 * 3600 * S
    is_exact(times.tolist(), [1e5 + each for each in NOISE])


def test_a_line_has_its_slope_and_its_mean_over_real_times() -> None:
    seconds = [0.0, 1.0, 5.0, 6.5]
    window = describe_column(
        [int(second * S) + 10**15 for second in seconds], [3.0 + 0.25 * second for second in seconds]
    )
    assert window is not None
    assert window.slope_per_s == pytest.approx(0.25, rel=1e-12)
    assert window.time_weighted_mean == pytest.approx(3.0 + 0.25 * 3.25, rel=1e-12)
    assert (window.count, window.minimum, window.maximum, window.range) == (4, 3.0, 4.625, 1.625)


def test_a_short_burst_weighs_as_much_as_it_lasts() -> None:
    times = [0, 10 * S, 10 * S + 1000, 10 * S + 2000, 20 * S]
    window = describe_column(times, [1.0, 1.0, 50.0, 1.0, 1.0])
    assert window is not None
    assert window.mean == 10.8
    assert window.time_weighted_mean == pytest.approx(1.0, abs=1e-5)


def test_missing_bad_and_absent_readings_are_left_out() -> None:
    statuses = [0, status_of(Flag.NO_VALUE), status_of(Flag.OUT_OF_RANGE), NOT_SENT, status_of(Flag.TOO_FAST)]
    window = describe_column([S, 2 * S, 3 * S, 4 * S, 5 * S], [1.0, None, 999.0, 5.0, 3.0], statuses)
    assert window == Features(2, 2.0, 1.0, 1.0, 3.0, 0.5, 2.0, 2.0, 1.1, 2.9, 2.0, 0.25)


def test_nothing_left_gives_none() -> None:
    assert describe_column([], []) is None
    assert describe_column([1], [None]) is None


def test_one_reading_is_all_there_is_to_know() -> None:
    assert describe_column([7], [1.5]) == Features(1, 1.5, 0.0, 1.5, 1.5, 0.0, 1.5, 1.5, 1.5, 1.5, 0.0, 1.0)


def test_where_time_stands_still_there_is_no_slope_and_nothing_to_weigh_by() -> None:
    window = describe_column([7, 7], [1.0, 2.0])
    assert window is not None
    assert (window.slope_per_s, window.time_weighted_mean, window.rms_difference) == (0.0, 1.5, 1.0)


def test_time_that_runs_backwards_is_put_in_order() -> None:
    times, values = [3 * S, S, 2 * S, 5 * S], [3.0, 1.0, 2.0, 5.0]
    is_exact(times, values)
    window, sorted_window = describe_column(times, values), describe_column(sorted(times), sorted(values))
    assert window == sorted_window


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(-(10**6), 10**6)), min_size=1, max_size=30))
def test_any_window_is_what_the_definitions_say(rows: list[tuple[int, int]]) -> None:
    is_exact([stamp * 1000 for stamp, _ in rows], [1e5 + number / 100 for _, number in rows])
