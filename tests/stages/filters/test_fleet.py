"""Many filters at once, against each by itself."""

from __future__ import annotations

import random
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag
from edge_agent.stages.filters.auto import Auto, AutoSettings
from edge_agent.stages.filters.fleet import MOST_ROWS, Sailed, sail

S: Final = NS_PER_S
CHANNELS: Final = 5
KNOWN: Final = AutoSettings(0.02, 0.01)


def readings(rng: random.Random, rows: int, spikes: float) -> list[list[float]]:
    """A noisy walk per channel, some of it odd: rows of channels."""
    level = [20.0 + 5.0 * channel for channel in range(CHANNELS)]
    table = []
    for _ in range(rows):
        level = [each + rng.gauss(0, 0.002) + 0.5 * (rng.random() < spikes / 4) for each in level]
        table.append([each + rng.gauss(0, 0.02) + 0.1 * (rng.random() < spikes) for each in level])
    return table


def experienced(table: list[list[float]], settings: AutoSettings = KNOWN) -> list[Auto]:
    """Filters that have seen a block, at 1 Hz."""
    autos = [settings.build() for _ in range(CHANNELS)]
    for auto, column in zip(autos, zip(*table, strict=True), strict=True):
        auto.run([row * S for row in range(len(table))], column, [Flag(0)] * len(table))
    return autos


def calm() -> list[Auto]:
    """Filters that all may take the quick road."""
    autos = experienced(readings(random.Random(3), 100, 0.0))
    assert all(auto.is_calm() for auto in autos)
    return autos


def sailed(autos: list[Auto], rows: list[list[float]], step_ns: int = S) -> Sailed:
    return sail(autos, np.full((len(rows), len(autos)), step_ns), np.array(rows))


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 10**6),
    st.sampled_from((0.0, 0.01)),
    st.integers(40, 200),
    st.sampled_from((1, 30, 59, 60, 61, 64, 200)),
    st.sampled_from((KNOWN, AutoSettings())),
    st.sampled_from((None, 0.05, 0.2)),
)
def test_a_fleet_comes_to_what_each_filter_comes_to(
    seed: int, spikes: float, before: int, rows: int, known: AutoSettings, coarse: float | None
) -> None:
    table = readings(random.Random(seed), before + rows, spikes)
    if coarse is not None:  # until now, and now and then a reading tells that the chip counts more finely
        rng = random.Random(seed)
        table = [
            [each if rng.random() < 0.02 and row > before else round(each / coarse) * coarse for each in line]
            for row, line in enumerate(table)
        ]
    alone, together = (experienced(table[:before], known) for _ in range(2))
    places = [place for place, auto in enumerate(together) if auto.is_calm()]
    if not places:
        return
    times_ns = [row * S for row in range(before, before + rows)]
    block = [[row[place] for place in places] for row in table[before:]]
    done = sailed([together[place] for place in places], block)
    for index, place in enumerate(places):
        column, gone, auto = [row[index] for row in block], done.done[index], together[place]
        flags = [Flag(0)] * rows
        expected = alone[place].run(times_ns, column, flags)
        assert done.values[:gone, index].tolist() == pytest.approx(expected.values[:gone], abs=1e-9)
        assert done.innovations[:gone, index].tolist() == pytest.approx(expected.innovations[:gone], abs=1e-9)
        assert done.sigmas_of(index)[:gone] == pytest.approx(expected.sigmas[:gone], rel=1e-9)
        if gone:
            auto.arrive(times_ns[gone - 1], done.ends[index], done.odd.get(index, ()))
        auto.run(times_ns[gone:], column[gone:], [Flag(0)] * (rows - gone))
        assert auto.state() == pytest.approx(alone[place].state(), rel=1e-9, abs=1e-9)


def test_quiet_channels_go_all_the_way() -> None:
    rows = 2 * MOST_ROWS + 7
    assert sailed(calm(), [[20.0 + 5.0 * channel for channel in range(CHANNELS)]] * rows).done == [rows] * CHANNELS


def test_an_outlier_ends_the_block_of_its_channel_alone() -> None:
    table = [[20.0 + 5.0 * channel for channel in range(CHANNELS)] for _ in range(60)]
    table[40][2] += 5.0
    assert sailed(calm(), table).done == [60, 60, 40, 60, 60]


def test_a_reading_that_is_merely_odd_is_passed_over() -> None:
    table = [[20.0 + 5.0 * channel for channel in range(CHANNELS)] for _ in range(30)]
    table[10][1] += 0.08
    done = sailed(calm(), table)
    assert done.done == [30] * CHANNELS
    assert [(place, len(odd), odd[0].upwards) for place, odd in done.odd.items()] == [(1, 1, True)]


def test_steps_that_are_not_the_usual_ones_are_left_to_the_filter_itself() -> None:
    table = [[20.0 + 5.0 * channel for channel in range(CHANNELS)]] * 30
    assert sailed(calm(), table, step_ns=2 * S).done == [0] * CHANNELS


def test_nothing_changes_before_arrival() -> None:
    autos = calm()
    before = [auto.state() for auto in autos]
    sailed(autos, [[20.0] * CHANNELS] * 60)
    assert [auto.state() for auto in autos] == before
