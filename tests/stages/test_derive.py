from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.stages.derive import (
    DERIVED,
    absolute_humidity_g_m3,
    derivation,
    derive,
    dew_point_c,
    heat_index_c,
    saturation_pa,
    sea_level_pressure_pa,
    uncertainty,
    vapour_pressure_deficit_pa,
    wet_bulb_c,
)

CELSIUS = st.floats(-40, 50)
PERCENT = st.floats(1, 100)


@pytest.mark.parametrize(("temperature_c", "pascal"), [(0.0, 611.2), (20.0, 2339.2), (25.0, 3169.7), (40.0, 7384.9)])
def test_saturation_is_that_of_the_steam_tables(temperature_c: float, pascal: float) -> None:
    assert saturation_pa(temperature_c) == pytest.approx(pascal, rel=0.003)


@pytest.mark.parametrize(
    ("temperature_c", "humidity_pct", "dew_c"), [(25.0, 50.0, 13.86), (20.0, 100.0, 20.0), (30.0, 70.0, 23.93)]
)
def test_dew_points_of_psychrometric_tables(temperature_c: float, humidity_pct: float, dew_c: float) -> None:
    assert dew_point_c(temperature_c, humidity_pct) == pytest.approx(dew_c, abs=0.03)


@given(CELSIUS, PERCENT)
def test_air_at_its_dew_point_is_saturated(temperature_c: float, humidity_pct: float) -> None:
    dew, at_air = dew_point_c(temperature_c, humidity_pct), saturation_pa(temperature_c)
    assert dew is not None
    assert at_air is not None
    assert dew <= temperature_c + 1e-9
    at_dew = 610.94 * math.exp(17.625 * dew / (243.04 + dew))
    assert at_dew == pytest.approx(at_air * humidity_pct / 100, rel=1e-9)


def test_grams_and_pascals_of_water_in_a_room() -> None:
    assert absolute_humidity_g_m3(25.0, 50.0) == pytest.approx(11.5, abs=0.05)
    assert absolute_humidity_g_m3(0.0, 100.0) == pytest.approx(4.85, abs=0.02)
    assert vapour_pressure_deficit_pa(25.0, 50.0) == pytest.approx(1584, abs=6)
    assert vapour_pressure_deficit_pa(25.0, 100.0) == 0.0


def psychrometer_c(temperature_c: float, humidity_pct: float) -> float:
    """What a ventilated wet thermometer shows at 1013 hPa, by bisection of its equation (A = 6.62e-4 per K)."""

    def pascal(celsius: float) -> float:
        return 610.94 * math.exp(17.625 * celsius / (243.04 + celsius))

    vapour, low, high = pascal(temperature_c) * humidity_pct / 100, temperature_c - 50, temperature_c
    for _ in range(60):
        middle = (low + high) / 2
        too_warm = pascal(middle) - 6.62e-4 * 101_325 * (temperature_c - middle) > vapour
        low, high = (low, middle) if too_warm else (middle, high)
    return low


def test_the_wet_bulb_is_that_of_the_papers_example() -> None:
    assert wet_bulb_c(20.0, 50.0) == pytest.approx(13.7, abs=0.05)


@given(st.floats(0, 40), st.floats(20, 99))
def test_the_wet_bulb_is_as_close_to_a_psychrometer_as_the_paper_says(
    temperature_c: float, humidity_pct: float
) -> None:
    wet = wet_bulb_c(temperature_c, humidity_pct)
    assert wet is not None
    assert -1.1 <= wet - psychrometer_c(temperature_c, humidity_pct) <= 0.85


@pytest.mark.parametrize(
    ("fahrenheit", "humidity_pct", "index_f"),
    [(80, 40, 80), (90, 70, 105), (100, 50, 118), (86, 90, 105), (72, 50, 71)],
)
def test_heat_indices_are_those_of_the_weather_services_chart(
    fahrenheit: float, humidity_pct: float, index_f: float
) -> None:
    index_c = heat_index_c((fahrenheit - 32) / 1.8, humidity_pct)
    assert index_c is not None
    assert index_c * 1.8 + 32 == pytest.approx(index_f, abs=1.3)


@pytest.mark.parametrize(
    ("altitude_m", "temperature_c", "pressure_pa"), [(0, 15.0, 101_325), (500, 11.75, 95_461), (2000, 2.0, 79_495)]
)
def test_the_standard_atmosphere_has_one_pressure_at_sea_level(
    altitude_m: float, temperature_c: float, pressure_pa: float
) -> None:
    assert sea_level_pressure_pa(temperature_c, pressure_pa, altitude_m) == pytest.approx(101_325, abs=3)


@pytest.mark.parametrize("name", DERIVED)
@given(data=st.data())
def test_a_formula_gives_a_finite_number_or_none_wherever_it_is_asked(name: str, data: st.DataObject) -> None:
    ranges = {"temperature_c": (-90, 200), "humidity_pct": (0, 100), "pressure_pa": (1_000, 120_000)}
    derived = derivation(name, 100.0)
    values = [data.draw(st.floats(*ranges[quantity])) for quantity in derived.inputs]
    result = derived.compute(*values)
    assert result is None or math.isfinite(result)


def test_the_pressure_at_sea_level_needs_an_altitude() -> None:
    with pytest.raises(ValueError, match="altitude"):
        derivation("sea_level_pressure_pa", None)
    assert derivation("sea_level_pressure_pa", 120.0).inputs == ("temperature_c", "pressure_pa")


def test_a_block_has_a_value_where_all_inputs_have() -> None:
    dew = derivation("dew_point_c", None)
    assert derive(dew, [[25.0, None, 25.0, 60.0], [50.0, 50.0, None, 50.0]]) == [
        pytest.approx(13.86, abs=0.01),
        None,
        None,
        None,
    ]


def test_uncertainty_grows_with_that_of_the_inputs() -> None:
    dew = derivation("dew_point_c", None)
    # Of a dew point at 25 °C and 50 %RH: 0.93 °C per °C, 0.30 °C per %RH.
    assert uncertainty(dew, (25.0, 50.0), (0.2, 0.0)) == pytest.approx(0.187, abs=0.005)
    assert uncertainty(dew, (25.0, 50.0), (0.0, 2.0)) == pytest.approx(0.60, abs=0.03)
    assert uncertainty(dew, (25.0, 50.0), (0.2, 2.0)) == pytest.approx(0.63, abs=0.03)
    assert uncertainty(dew, (25.0, 100.0), (0.2, 2.0)) is None
