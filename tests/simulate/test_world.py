from __future__ import annotations

import itertools
import statistics
import subprocess
import sys

import pytest

from edge_agent.simulate.world import Place, World, humidity_pct

START_NS = 1_750_000_000_000_000_000
MINUTE_NS = 60_000_000_000
DAY = [START_NS + minute * MINUTE_NS for minute in range(0, 1440, 5)]


def test_same_seed_gives_same_air_in_any_order() -> None:
    forwards = [World(7, START_NS).air(moment) for moment in DAY]
    world = World(7, START_NS)
    backwards = [world.air(moment) for moment in reversed(DAY)]
    assert forwards == backwards[::-1]


def test_another_process_sees_the_same_air() -> None:
    program = f"from edge_agent.simulate.world import World; print(World(7, {START_NS}).air({DAY[9]}))"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": "."}
    )
    assert shown.stdout.strip() == str(World(7, START_NS).air(DAY[9]))


def test_different_seed_gives_different_air() -> None:
    assert World(7, START_NS).air(DAY[9]) != World(8, START_NS).air(DAY[9])


@pytest.mark.parametrize("seed", range(20))
def test_day_is_plausible(seed: int) -> None:
    day = [World(seed, START_NS).air(moment) for moment in DAY]
    temperature_c, humidity, pressure_pa, co2_ppm = zip(*day, strict=True)
    assert min(temperature_c) > 5
    assert max(temperature_c) < 42
    assert max(temperature_c) - min(temperature_c) > 6
    assert min(humidity) >= 5
    assert max(humidity) <= 100
    assert min(pressure_pa) > 97_000
    assert max(pressure_pa) < 103_000
    assert min(co2_ppm) > 400
    assert max(co2_ppm) < 1500
    assert max(co2_ppm) - min(co2_ppm) > 200


@pytest.mark.parametrize("seed", range(20))
def test_humidity_falls_when_temperature_rises(seed: int) -> None:
    day = [World(seed, START_NS).air(moment) for moment in DAY]
    assert statistics.correlation([air.temperature_c for air in day], [air.humidity_pct for air in day]) < -0.8


def test_weather_of_a_seed_is_what_it_was_before_carbon_dioxide_came() -> None:
    air = World(7, START_NS).air(DAY[9])
    assert air[:3] == (26.118440259703952, 47.91869793009813, 99162.84773324442)


@pytest.mark.parametrize("seed", range(20))
def test_carbon_dioxide_is_used_up_by_day(seed: int) -> None:
    world = World(seed, START_NS)
    midnight_ns = START_NS - START_NS % (1440 * MINUTE_NS)
    night, noon = (
        statistics.mean(world.air(midnight_ns + (day * 1440 + minute) * MINUTE_NS).co2_ppm for day in range(14))
        for minute in (3 * 60, 14 * 60)
    )
    assert 150 < night - noon < 600


def test_air_moves_smoothly() -> None:
    world = World(3, START_NS)
    seconds = [world.air(START_NS + second * 1_000_000_000).temperature_c for second in range(3600)]
    steps = [abs(b - a) for a, b in itertools.pairwise(seconds)]
    assert 0 < max(steps) < 0.02


def test_humidity_is_that_of_the_magnus_formula() -> None:
    assert humidity_pct(20.0, 20.0) == pytest.approx(100.0)
    assert humidity_pct(25.0, 10.0) == pytest.approx(38.8, abs=0.1)  # NOAA's table: 39 %
    assert humidity_pct(20.0, 25.0) == 100.0
    assert humidity_pct(60.0, -30.0) == 5.0


def test_warmer_place_in_the_same_world_is_drier() -> None:
    world = World(3, START_NS)
    warm = Place(world, temperature_offset_c=1.0).air(DAY[3])
    assert warm.temperature_c == pytest.approx(world.air(DAY[3]).temperature_c + 1.0)
    assert warm.humidity_pct < world.air(DAY[3]).humidity_pct


def test_place_without_offsets_is_the_world_and_lag_is_its_past() -> None:
    world = World(3, START_NS)
    assert Place(world).air(DAY[3]) == world.air(DAY[3])
    assert Place(world, lag_s=300.0).air(DAY[3]) == world.air(DAY[2])
    assert Place(world, height_m=2.0).air(DAY[3]).co2_ppm == world.air(DAY[3]).co2_ppm
    assert Place(world, height_m=2.0).air(DAY[3]).pressure_pa < world.air(DAY[3]).pressure_pa
