from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S
from edge_agent.pipeline.sensor_batch import set_apart

STEP_NS = 1_000_000


def test_stamps_that_repeat_the_one_before_are_moved_to_the_next_step() -> None:
    assert set_apart([5, 5, 5, 9], 4, 1) == [5, 6, 7, 9]
    assert set_apart([5, 6], 5, 1) == [6, 7]


def test_a_recording_that_goes_back_keeps_its_stamps() -> None:
    back_ns = 100 * NS_PER_S
    assert set_apart([back_ns, back_ns + 1], 200 * NS_PER_S, 1) == [back_ns, back_ns + 1]


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(0, 50))
def test_no_two_are_the_same_and_none_moves_further_than_there_are_repetitions(steps: list[int], last: int) -> None:
    times_ns = [step * STEP_NS for step in sorted(steps)]
    apart = set_apart(times_ns, last * STEP_NS, STEP_NS)
    assert len({last * STEP_NS, *apart}) == len(apart) + 1
    assert apart == sorted(apart)
    assert all(stamp_ns % STEP_NS == 0 for stamp_ns in apart)
    assert all(after - before >= 0 for before, after in zip(times_ns, apart, strict=True))
