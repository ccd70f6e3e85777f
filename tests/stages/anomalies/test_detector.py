from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.detector import AnomalySettings, Detector
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.median import MedianSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOUR = 3600
WEEK = 7 * 24 * HOUR
NO_FLAG = Flag(0)


def air(seed: int, rows: int, step: float = 0.002, noise: float = 0.02) -> list[float]:
    """A room at 1 Hz."""
    rng = np.random.default_rng(seed)
    return plain(20.0 + np.cumsum(rng.normal(0.0, step, rows)) + rng.normal(0.0, noise, rows))


def plain(values: NDArray[np.float64]) -> list[float]:
    return [float(each) for each in values]


def every_second(rows: int, since: int = 0) -> list[int]:
    return [(since + row) * NS_PER_S for row in range(rows)]


def found(
    values: Sequence[float | None],
    times_ns: Sequence[int] | None = None,
    known: AnomalySettings | None = None,
    rows: int = 600,
) -> list[Anomaly]:
    """What a detector finds behind an automatic filter, in blocks of so many rows."""
    times_ns = every_second(len(values)) if times_ns is None else times_ns
    filter_, detector, anomalies = AutoSettings().build(), (known or AnomalySettings()).build(), []
    for at in range(0, len(values), rows):
        block, stamps = values[at : at + rows], times_ns[at : at + rows]
        flags = [NO_FLAG if value is not None else Flag.NO_VALUE for value in block]
        anomalies += detector.run(stamps, block, flags, filter_.run(stamps, block, flags))
    return anomalies


def told(anomalies: list[Anomaly]) -> list[tuple[AnomalyKind, Phase]]:
    return [(each.kind, each.phase) for each in anomalies]


def test_a_spike_is_told_once_with_what_was_expected() -> None:
    values = air(1, 3 * HOUR)
    values[2 * HOUR] += 1.0
    (spike,) = found(values)
    assert (spike.kind, spike.phase) == (AnomalyKind.SURPRISE, Phase.ONCE)
    assert spike.at_ns == spike.since_ns == 2 * HOUR * NS_PER_S
    assert spike.value == values[2 * HOUR]
    assert spike.expected == pytest.approx(values[2 * HOUR] - 1.0, abs=0.1)
    assert 5.0 <= spike.score <= 12.0


def test_a_level_that_moves_and_stays_is_one_jump_and_no_row_of_surprises() -> None:
    values = air(2, 3 * HOUR)
    moved = [value + (0.6 if row >= 2 * HOUR else 0.0) for row, value in enumerate(values)]
    assert told(found(moved)) == [(AnomalyKind.JUMP, Phase.ONCE)]


def test_a_stuck_chip_is_told_when_it_begins_and_when_it_ends() -> None:
    values = air(3, 3 * HOUR)
    stuck = HOUR + 7
    values[stuck : stuck + 1800] = [values[stuck]] * 1800
    flat = [each for each in found(values) if each.kind is AnomalyKind.FLATLINE]
    assert [each.phase for each in flat] == [Phase.BEGAN, Phase.ENDED]
    assert flat[0].at_ns < (stuck + 900) * NS_PER_S
    assert abs(flat[0].since_ns - stuck * NS_PER_S) <= 60 * NS_PER_S
    assert flat[1].at_ns == (stuck + 1800) * NS_PER_S


def test_a_channel_that_never_moves_is_not_stuck() -> None:
    assert found([21.5] * 6 * HOUR) == []


def test_a_coarse_chip_that_often_repeats_itself_is_not_stuck() -> None:
    values = [round(value * 4.0) / 4.0 for value in air(4, 12 * HOUR)]
    assert [each for each in found(values) if each.kind is AnomalyKind.FLATLINE] == []


def test_noise_that_grows_is_told_when_it_begins_and_when_it_ends() -> None:
    values = air(5, 3 * HOUR)
    rng = np.random.default_rng(6)
    for row in range(2 * HOUR, 2 * HOUR + 900):
        values[row] += rng.normal(0.0, 0.08)
    noisy = [each for each in found(values) if each.kind is AnomalyKind.NOISE_BURST]
    assert [each.phase for each in noisy] == [Phase.BEGAN, Phase.ENDED]
    assert noisy[0].value > 2.0 * noisy[0].expected
    assert noisy[0].at_ns - 2 * HOUR * NS_PER_S <= 180 * NS_PER_S


def test_a_gap_is_told_with_its_length_and_surprises_nobody() -> None:
    values = air(7, 3 * HOUR)
    later = [value + 0.5 for value in values[2 * HOUR :]]  # the air went on meanwhile
    stamps = every_second(2 * HOUR) + every_second(HOUR, since=2 * HOUR + 600)
    (gap,) = found(values[: 2 * HOUR] + later, stamps)
    assert gap.kind is AnomalyKind.GAP
    assert gap.value == pytest.approx(601.0)
    assert gap.expected == pytest.approx(1.0, abs=0.05)
    assert gap.at_ns - gap.since_ns == 601 * NS_PER_S


def test_an_unusual_level_is_told_once_in_half_a_day() -> None:
    rng, rows = np.random.default_rng(8), 10 * 288
    day = 2.0 * np.sin(2.0 * np.pi * np.arange(rows) / 288.0)
    values = (20.0 + day + rng.normal(0.0, 0.1, rows)).tolist()
    for row in range(8 * 288, 8 * 288 + 60):
        values[row] += min(8.0, (row - 8 * 288) / 4.0)
    stamps = [row * 300 * NS_PER_S for row in range(rows)]
    anomalies = found(values, stamps, AnomalySettings(3.0), rows=1)
    unusual = [each for each in anomalies if each.kind is AnomalyKind.LEVEL]
    assert unusual
    assert all(later.score > earlier.score for earlier, later in pairwise(unusual))
    assert {each.at_ns // (24 * HOUR * NS_PER_S) for each in unusual} == {8}


def well_behaved(kind: str, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    seconds, noise = np.arange(WEEK), rng.normal(0.0, 1.0, WEEK)
    match kind:
        case "noise":
            return plain(20.0 + 0.05 * noise)
        case "walk":
            return air(seed, WEEK, step=0.005, noise=0.05)
        case "day":
            return plain(20.0 + 4.0 * np.sin(2.0 * np.pi * seconds / 86_400.0) + 0.02 * noise)
        case _:
            wave = 20.0 + 4.0 * np.sin(2.0 * np.pi * seconds / 86_400.0)
            return plain(np.round((wave + 0.02 * noise) * 16.0) / 16.0)


@pytest.mark.parametrize("kind", ["noise", "walk", "day", "day in sixteenths"])
def test_well_behaved_air_gives_no_more_than_one_false_alarm_in_a_week_at_1_hz(kind: str) -> None:
    assert len(found(well_behaved(kind, 11))) <= 1


FAULTY = st.lists(
    st.tuples(
        st.integers(0, 899), st.sampled_from(["spike", "step", "stuck", "noise", "gap", "none"]), st.integers(1, 64)
    ),
    max_size=4,
)


def faulty(faults: list[tuple[int, str, int]], seed: int) -> tuple[list[int], list[float | None]]:
    """Forty-five minutes with faults, in whole sixty-fourths, so that offsets are exact."""
    rng = np.random.default_rng(seed)
    counts: list[int | None] = (
        np.round(np.cumsum(rng.normal(0.0, 1.0, 2700)) + rng.normal(0.0, 4.0, 2700)).astype(int).tolist()
    )
    steps = [NS_PER_S] * 2700
    for place, kind, size in faults:
        row = 1700 + place
        match kind:
            case "spike":
                counts[row] = (counts[row] or 0) + 8 * size
            case "step":
                counts[row:] = [None if each is None else each + 4 * size for each in counts[row:]]
            case "stuck":
                counts[row : row + 10 * size] = [counts[row]] * len(counts[row : row + 10 * size])
            case "noise":
                for at in range(row, min(2700, row + 120)):
                    counts[at] = (counts[at] or 0) + int(rng.normal(0.0, size))
            case "gap":
                steps[row] = 10 * size * NS_PER_S
            case _:
                counts[row] = None
    return np.cumsum(steps, dtype=np.int64).tolist(), [None if each is None else each / 64.0 for each in counts]


SENSITIVE = AnomalySettings(2.5)


def alike(one: list[Anomaly], other: list[Anomaly]) -> None:
    """Fail unless both are the same to 1e-9; what is found of one moment may come in any order."""
    one, other = (
        sorted(each, key=lambda each: (each.at_ns, each.kind.value, each.phase.value)) for each in (one, other)
    )
    assert [(each.kind, each.phase, each.at_ns, each.since_ns) for each in one] == [
        (each.kind, each.phase, each.at_ns, each.since_ns) for each in other
    ]
    for left, right in zip(one, other, strict=True):
        assert (left.score, left.value, left.expected) == pytest.approx(
            (right.score, right.value, right.expected), rel=1e-9, abs=1e-9
        )


@settings(max_examples=25, deadline=None)
@given(FAULTY, st.integers(0, 9), st.sampled_from([1, 7, 60, 97]))
def test_blocks_of_any_size_give_the_same(faults: list[tuple[int, str, int]], seed: int, rows: int) -> None:
    stamps, values = faulty(faults, seed)
    alike(found(values, stamps, SENSITIVE, rows=rows), found(values, stamps, SENSITIVE, rows=2700))


@settings(max_examples=25, deadline=None)
@given(FAULTY, st.integers(0, 9), st.sampled_from([-273, 32, 1024]), st.sampled_from([0.5, 1.0, 4.0]))
def test_neither_offset_nor_unit_matters(
    faults: list[tuple[int, str, int]], seed: int, offset: int, scale: float
) -> None:
    stamps, values = faulty(faults, seed)
    elsewhere = found([None if each is None else scale * (each + offset) for each in values], stamps, SENSITIVE)
    level = {AnomalyKind.NOISE_BURST: 0, AnomalyKind.GAP: 0}
    back = [
        each
        if each.kind is AnomalyKind.GAP
        else replace(
            each,
            value=each.value / scale - level.get(each.kind, offset),
            expected=each.expected / scale - level.get(each.kind, offset),
        )
        for each in elsewhere
    ]
    alike(back, found(values, stamps, SENSITIVE))


@settings(max_examples=25, deadline=None)
@given(FAULTY, st.integers(0, 9), st.integers(1, 10**9))
def test_the_time_since_boot_does_not_matter(faults: list[tuple[int, str, int]], seed: int, later_s: int) -> None:
    stamps, values = faulty(faults, seed)
    shifted = found(values, [each + later_s * NS_PER_S for each in stamps], SENSITIVE)
    back = [
        replace(each, at_ns=each.at_ns - later_s * NS_PER_S, since_ns=each.since_ns - later_s * NS_PER_S)
        for each in shifted
    ]
    alike(back, found(values, stamps, SENSITIVE))


@settings(max_examples=25, deadline=None)
@given(FAULTY, st.integers(0, 9), st.integers(1, 2699))
def test_a_restart_changes_nothing(faults: list[tuple[int, str, int]], seed: int, cut: int) -> None:
    stamps, values = faulty(faults, seed)
    flags = [NO_FLAG if value is not None else Flag.NO_VALUE for value in values]
    estimates = AutoSettings().build().run(stamps, values, flags)

    def run(detector: Detector, first: int, last: int) -> list[Anomaly]:
        part = type(estimates)(*(each[first:last] for each in estimates))
        return detector.run(stamps[first:last], values[first:last], flags[first:last], part)

    before, after = SENSITIVE.build(), SENSITIVE.build()
    anomalies = run(before, 0, cut)
    state = before.state()
    assert all(isfinite(each) for each in state)
    assert len(state) < 400
    after.restore(state)
    alike(anomalies + run(after, cut, 2700), found(values, stamps, SENSITIVE, rows=2700))


def test_another_boot_begins_without_a_gap_and_keeps_what_was_learned() -> None:
    values = air(9, 4 * HOUR)
    values[3 * HOUR] += 1.0
    stamps = every_second(2 * HOUR, since=10 * HOUR) + every_second(2 * HOUR, since=5)
    assert told(found(values, stamps)) == [(AnomalyKind.SURPRISE, Phase.ONCE)]


@pytest.mark.parametrize("state", [(), (1.0, 2.0), tuple([0.0] * 320)])
def test_what_is_no_state_is_refused(state: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no state of an anomaly detector"):
        AnomalySettings().build().restore(state)


@pytest.mark.parametrize("median", [True, False])
def test_without_innovations_a_reading_is_expected_to_be_as_the_one_before(median: bool) -> None:
    values: list[float | None] = list(air(10, 2 * HOUR))
    values[HOUR] = air(10, 2 * HOUR)[HOUR] + 2.0
    stamps, flags = every_second(len(values)), [NO_FLAG] * len(values)
    estimates = MedianSettings(0.05).build().run(stamps, values, list(flags)) if median else None
    anomalies = AnomalySettings().build().run(stamps, values, flags, estimates)
    assert [(each.kind, each.at_ns) for each in anomalies] == [(AnomalyKind.SURPRISE, HOUR * NS_PER_S)]


def test_readings_without_a_value_are_passed_over() -> None:
    values: list[float | None] = list(air(12, 2 * HOUR))
    for row in range(HOUR, HOUR + 300, 7):
        values[row] = None
    assert found(values) == []
