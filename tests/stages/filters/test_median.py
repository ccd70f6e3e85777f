from __future__ import annotations

import pytest

from edge_agent.reading import Flag
from edge_agent.stages.filters.median import Median, MedianSettings

S = 1_000_000_000
GOOD = Flag(0)


def median(values: list[float | None], of: int, flags: list[Flag] | None = None) -> list[float | None]:
    times = [S * row for row in range(len(values))]
    return Median(MedianSettings(0.1, of)).run(times, values, flags or [GOOD] * len(values)).values


def test_one_spike_of_three_is_outvoted_and_two_of_five() -> None:
    assert median([1, 2, 3, 90, 5, 6], 3) == [1, 2, 2, 3, 5, 6]
    assert median([1, 2, 3, 4, 5, 90, 80, 8], 5) == [1, 2, 3, 4, 3, 4, 5, 8]


def test_what_cannot_be_used_has_no_vote() -> None:
    flags = [GOOD, GOOD, Flag.NO_VALUE, Flag.OUT_OF_RANGE, GOOD]
    assert median([1, 2, None, 900, 3], 3, flags) == [1, 2, None, 900, 2]


def test_after_a_gap_the_past_has_no_vote() -> None:
    filtered = Median(MedianSettings(0.1)).run([0, S, 2 * S, 60 * S], [1, 1, 1, 7], [GOOD] * 4)
    assert filtered.values == [1, 1, 1, 7]


def test_blocks_and_restarts_change_nothing() -> None:
    values: list[float | None] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    live: list[float | None] = []
    state = Median(MedianSettings(0.1)).state()
    for row, value in enumerate(values):
        each = Median(MedianSettings(0.1))
        each.restore(state)
        live += each.run([S * row], [value], [GOOD]).values
        state = each.state()
    assert live == median(values, 3)


def test_a_state_of_another_filter_is_not_taken() -> None:
    with pytest.raises(ValueError, match="no state"):
        Median(MedianSettings(0.1)).restore((1.0,) * 9)
