from __future__ import annotations

import random

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.iio import FILES, IioChip
from edge_agent.simulate.world import Air

AIR = Air(21.5, 46.3, 101_435.3, 640.0)


def chip(name: str | None = None) -> IioChip:
    return IioChip(Part(SimulatedClock(0), lambda _: AIR, random.Random(3), options={"name": name}))


@pytest.mark.parametrize("name", [*FILES, "hts221"])
def test_every_file_that_a_chip_has_holds_a_plain_number(name: str) -> None:
    for file in chip(name).files():
        assert float(chip(name).show(file)) > -5000


def test_counts_offset_and_scale_of_a_si7020_give_the_air_in_thousandths() -> None:
    si7020 = chip("si7020")
    for stem, thousandths in (("in_temp", 21_500), ("in_humidityrelative", 46_300)):
        raw, offset, scale = (float(si7020.show(f"{stem}_{what}")) for what in ("raw", "offset", "scale"))
        assert (raw + offset) * scale == pytest.approx(thousandths, abs=150)


def test_carbon_dioxide_is_in_percent_when_it_is_scaled() -> None:
    scd30 = chip("scd30")
    counts, scale = (float(scd30.show(f"in_concentration_co2_{what}")) for what in ("raw", "scale"))
    assert counts * scale == pytest.approx(0.064, abs=0.002)


def test_the_kernel_of_2016_writes_percent_with_a_point() -> None:
    old = chip()
    old.old_percent = True
    text = old.show("in_humidityrelative_input").strip()
    assert float(text) == pytest.approx(46.3, abs=0.2)
    assert len(text.partition(".")[2]) == 9


def test_the_first_reading_after_power_on_is_skipped() -> None:
    bme280 = chip()
    bme280.power_cycle()
    with pytest.raises(OSError, match="Errno 5"):
        bme280.show("in_temp_input")
    assert bme280.show("in_temp_input")
