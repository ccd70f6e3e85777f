from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.reading import Flag
from edge_agent.stages.validate import Limits, Validator

S = 1_000_000_000
GOOD = Flag(0)


def judged(limits: Limits, values: list[float | None], times_s: list[float] | None = None) -> list[Flag]:
    times = [int(second * S) for second in times_s] if times_s else [S * (row + 1) for row in range(len(values))]
    return Validator(limits).run(times, values)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_has_no_value(value: float | None) -> None:
    assert judged(Limits(-40.0, 85.0), [20.0, value, 20.0]) == [GOOD, Flag.NO_VALUE, GOOD]


def test_limits_of_chip_and_configuration_both_hold_and_include_their_ends() -> None:
    limits = Limits(-40.0, 85.0, configured=(-50.0, 60.0))
    values: list[float | None] = [-40.0, -40.1, 60.0, 60.1, 90.0]
    bad = Flag.OUT_OF_RANGE
    assert judged(limits, values) == [GOOD, bad, GOOD, bad, bad]


def test_a_spike_is_too_fast_and_what_follows_is_not() -> None:
    limits = Limits(-40.0, 85.0, max_rate_per_s=1.0)
    assert judged(limits, [20.0, 50.0, 20.5, 21.0]) == [GOOD, Flag.TOO_FAST, GOOD, GOOD]


def test_after_a_true_jump_the_new_level_is_good() -> None:
    limits = Limits(-40.0, 85.0, max_rate_per_s=1.0)
    assert judged(limits, [20.0, 50.0, 50.1, 50.2, 50.0]) == [GOOD, Flag.TOO_FAST, GOOD, GOOD, GOOD]


def test_a_step_that_noise_or_a_draught_makes_is_free_and_a_greater_one_needs_its_time() -> None:
    limits = Limits(-40.0, 85.0, max_rate_per_s=0.5, free_step=2.0)
    assert judged(limits, [20.0, 22.0, 20.1]) == [GOOD] * 3
    assert judged(limits, [20.0, 24.0]) == [GOOD, Flag.TOO_FAST]
    assert judged(limits, [20.0, 24.0], [1, 6]) == [GOOD, GOOD]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_free_step_is_added_to_what_the_rate_allows_and_not_doubled(sign: float) -> None:
    limits = Limits(-40.0, 85.0, max_rate_per_s=0.5, free_step=2.0)
    for step, flag in ((2.0, GOOD), (2.5, GOOD), (2.625, Flag.TOO_FAST), (3.5, Flag.TOO_FAST)):
        assert judged(limits, [20.0, 20.0 + sign * step]) == [GOOD, flag]


def test_the_rate_is_per_second_of_real_time() -> None:
    limits = Limits(-40.0, 85.0, max_rate_per_s=1.0)
    assert judged(limits, [20.0, 50.0], [1, 31]) == [GOOD, GOOD]
    assert judged(limits, [20.0, 20.5], [1.0, 1.25]) == [GOOD, Flag.TOO_FAST]


def test_readings_out_of_range_do_not_count_for_the_rate() -> None:
    limits = Limits(-40.0, 85.0, max_rate_per_s=1.0)
    assert judged(limits, [20.0, 200.0, 20.5]) == [GOOD, Flag.OUT_OF_RANGE, GOOD]


def test_time_that_does_not_advance_is_flagged_and_never_locks_out() -> None:
    flags = judged(Limits(-40.0, 85.0), [20.0, 20.0, 20.0, 20.0], [5, 5, 3, 4])
    assert flags == [GOOD, Flag.TIME_BACKWARDS, Flag.TIME_BACKWARDS, GOOD]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.none() | st.floats(-60, 100) | st.floats(20, 23)), max_size=40),
    st.integers(0, 40),
    st.booleans(),
)
def test_blocks_give_what_single_readings_give(rows: list[tuple[int, float | None]], cut: int, rated: bool) -> None:
    limits = Limits(-40.0, 85.0, max_rate_per_s=0.5 if rated else None, free_step=2.0 if rated else 0.0)
    times = [S * seconds for seconds in accumulate(seconds for seconds, _ in rows)]
    values = [value for _, value in rows]
    live, blocks = Validator(limits), Validator(limits)
    flags = blocks.run(times[:cut], values[:cut]) + blocks.run(times[cut:], values[cut:])
    assert flags == [live.run([now_ns], [value])[0] for now_ns, value in zip(times, values, strict=True)]


@st.composite
def _block(draw: st.DrawFn) -> list[tuple[float | None, int]]:
    """Mostly calm readings and the seconds since the one before; perhaps one of them is odd."""
    level = draw(st.sampled_from([20.0, 20.0, 21.0, 59.75, -39.75]))
    block: list[tuple[float | None, int]] = [
        (level + offset, 1)
        for offset in draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, -0.5]), min_size=3, max_size=7))
    ]
    if draw(st.booleans()):
        odd = st.sampled_from([None, float("nan"), float("inf"), float("-inf"), level + 1.25, level - 1.25])
        row = draw(st.integers(0, len(block) - 1))
        block[row] = (draw(odd | st.just(block[row][0])), draw(st.sampled_from([0, 1, 5, -1])))
    return block


@settings(max_examples=400)
@given(st.lists(_block(), max_size=6), st.sampled_from([None, 0.25]))
def test_a_block_is_judged_like_its_readings_one_by_one(
    blocks: list[list[tuple[float | None, int]]], rate: float | None
) -> None:
    limits = Limits(-40.0, 60.0, max_rate_per_s=rate, free_step=1.0)
    at_once, one_by_one = Validator(limits), Validator(limits)
    now_s = 10
    for block in blocks:
        stamps = list(accumulate([step for _, step in block], initial=now_s))[1:]
        now_s = stamps[-1]
        times_ns, values = [second * S for second in stamps], [value for value, _ in block]
        singly = [one_by_one.run([now_ns], [value])[0] for now_ns, value in zip(times_ns, values, strict=True)]
        assert at_once.run(times_ns, values) == singly
