"""What can be measured: name, unit, and how finely it is worth sending. One table. Pure.

Units are canonical everywhere in the program: °C, %RH, Pa, ppm. A name ends with its unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that a sensor can measure.

    Attributes:
        name: as it stands in config, code and messages, e.g. `temperature_c`.
        unit: for people, e.g. `°C`.
        minimum, maximum: no place where this program runs can be outside; a chip's own range is narrower.
        resolution: step of the values sent unless the sensor says otherwise, in the canonical unit.
        sigma: typical noise (one standard deviation) of a decent chip, in the canonical unit.
        max_rate_per_s: air does not change faster: what does is suspect; None where it may.
        free_step: a change so small may come at once: noise, coarse counts, a draught.
        drift_per_s: how fast the slope of the true value may wander: standard deviation of the slope
            gained in one second, in the canonical unit per second per sqrt(second).
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    resolution: float
    sigma: float
    drift_per_s: float
    max_rate_per_s: float | None = None
    free_step: float = 0.0


_ALL: Final = (
    Quantity("temperature_c", "°C", -90.0, 200.0, 0.01, 0.02, 2e-4, 20 / 60, 2.0),
    Quantity("humidity_pct", "%RH", 0.0, 100.0, 0.01, 0.1, 2e-3, 60 / 60, 6.0),
    # 1 Pa: the noise of a BME280 at ×1 oversampling is 3.3 Pa (datasheet table 15).
    Quantity("pressure_pa", "Pa", 1_000.0, 3_200_000.0, 1.0, 3.5, 5e-3, 1000 / 60, 100.0),
    Quantity("co2_ppm", "ppm", 0.0, 40_000.0, 1.0, 5.0, 5e-2),
    # What is derived from temperature, humidity and pressure (stages/derive.py).
    Quantity("dew_point_c", "°C", -90.0, 100.0, 0.01, 0.05, 5e-4),
    Quantity("absolute_humidity_g_m3", "g/m³", 0.0, 100.0, 0.01, 0.02, 3e-4),
    Quantity("vapour_pressure_deficit_pa", "Pa", 0.0, 15_000.0, 1.0, 5.0, 5e-2),
    Quantity("wet_bulb_c", "°C", -90.0, 100.0, 0.01, 0.03, 3e-4),
    Quantity("heat_index_c", "°C", 0.0, 120.0, 0.01, 0.05, 5e-4),
    Quantity("sea_level_pressure_pa", "Pa", 50_000.0, 120_000.0, 1.0, 4.0, 5e-3),
    # What people log beside the weather; for replayed recordings and serial boxes.
    Quantity("illuminance_lx", "lx", 0.0, 200_000.0, 0.01, 2.0, 1.0),
)

QUANTITIES: Final[Mapping[str, Quantity]] = {quantity.name: quantity for quantity in _ALL}
"""Every known quantity by name."""
