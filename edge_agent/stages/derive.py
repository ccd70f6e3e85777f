"""Quantities computed from temperature, humidity and pressure of one place and moment. Pure, stateless.

Every formula names its source and its range of validity; outside of that range the result is None. Uncertainties are
propagated to first order, for independent errors of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, exp, hypot, log, sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Saturation vapour pressure over water: Alduchov and Eskridge, J. Appl. Meteor. 35 (1996) 601, equation 21:
# within 0.4 % from -40 to 50 °C.
_MAGNUS_PA: Final = 610.94
_MAGNUS_A: Final = 17.625
_MAGNUS_B_C: Final = 243.04
_MAGNUS_RANGE_C: Final = (-40.0, 50.0)

_KELVIN: Final = 273.15
_VAPOUR_J_KG_K: Final = 461.523
"""Gas constant of water vapour: 8.314463 J/(mol K) / 0.018015 kg/mol."""
_LAPSE_K_M: Final = 0.0065
"""Decrease of temperature with height in the standard atmosphere (ISO 2533)."""
_BAROMETRIC_EXPONENT: Final = 5.25588


def saturation_pa(temperature_c: float) -> float | None:
    """Pressure of water vapour over water at saturation, Pa; None outside of -40 to 50 °C."""
    low, high = _MAGNUS_RANGE_C
    if not low <= temperature_c <= high:
        return None
    return _MAGNUS_PA * exp(_MAGNUS_A * temperature_c / (_MAGNUS_B_C + temperature_c))


def dew_point_c(temperature_c: float, humidity_pct: float) -> float | None:
    """Dew point: temperature at which water vapour starts to condense, °C.

    Inverse of the Magnus form above. -40 to 50 °C, 1 to 100 %RH. Below 0 °C: over supercooled water, not over ice.
    """
    if saturation_pa(temperature_c) is None or not 1.0 <= humidity_pct <= 100.0:
        return None
    gamma = log(humidity_pct / 100.0) + _MAGNUS_A * temperature_c / (_MAGNUS_B_C + temperature_c)
    return _MAGNUS_B_C * gamma / (_MAGNUS_A - gamma)


def absolute_humidity_g_m3(temperature_c: float, humidity_pct: float) -> float | None:
    """Mass of water vapour per volume of air, g/m³: ideal gas and Magnus form. -40 to 50 °C, 0 to 100 %RH."""
    saturation = saturation_pa(temperature_c)
    if saturation is None or not 0.0 <= humidity_pct <= 100.0:
        return None
    return 1000.0 * humidity_pct / 100.0 * saturation / (_VAPOUR_J_KG_K * (temperature_c + _KELVIN))


def vapour_pressure_deficit_pa(temperature_c: float, humidity_pct: float) -> float | None:
    """Saturation vapour pressure minus actual vapour pressure, Pa; used in horticulture. -40 to 50 °C, 0 to 100 %RH."""
    saturation = saturation_pa(temperature_c)
    if saturation is None or not 0.0 <= humidity_pct <= 100.0:
        return None
    return saturation * (1.0 - humidity_pct / 100.0)


def wet_bulb_c(temperature_c: float, humidity_pct: float) -> float | None:
    """Wet-bulb temperature: temperature of a wetted thermometer in moving air, °C.

    Stull, J. Appl. Meteor. Climatol. 50 (2011) 2267, equation 1: error -1.0 to +0.65 °C at 1013 hPa. -20 to 50 °C,
    5 to 99 %RH.
    """
    if not (-20.0 <= temperature_c <= 50.0 and 5.0 <= humidity_pct <= 99.0):
        return None
    t, rh = temperature_c, humidity_pct
    return (
        t * atan(0.151977 * sqrt(rh + 8.313659))
        + atan(t + rh)
        - atan(rh - 1.676331)
        + 0.00391838 * rh * sqrt(rh) * atan(0.023101 * rh)
        - 4.686035
    )


def heat_index_c(temperature_c: float, humidity_pct: float) -> float | None:
    """Heat index: perceived temperature in the shade, °C.

    Rothfusz, NWS Technical Attachment SR 90-23 (1990), with the adjustments of the US Weather Prediction Center; below
    about 27 °C the simpler formula of that centre, after Steadman. 20 to 50 °C, 0 to 100 %RH.
    """
    if not (20.0 <= temperature_c <= 50.0 and 0.0 <= humidity_pct <= 100.0):
        return None
    t, rh = temperature_c * 1.8 + 32.0, humidity_pct
    index = 0.5 * (t + 61.0 + (t - 68.0) * 1.2 + rh * 0.094)
    if (index + t) / 2.0 >= 80.0:
        index = (
            -42.379
            + 2.04901523 * t
            + 10.14333127 * rh
            - 0.22475541 * t * rh
            - 6.83783e-3 * t * t
            - 5.481717e-2 * rh * rh
            + 1.22874e-3 * t * t * rh
            + 8.5282e-4 * t * rh * rh
            - 1.99e-6 * t * t * rh * rh
        )
        if rh < 13.0 and 80.0 <= t <= 112.0:
            index -= (13.0 - rh) / 4.0 * sqrt((17.0 - abs(t - 95.0)) / 17.0)
        elif rh > 85.0 and 80.0 <= t <= 87.0:
            index += (rh - 85.0) / 10.0 * (87.0 - t) / 5.0
    return (index - 32.0) / 1.8


def sea_level_pressure_pa(temperature_c: float, pressure_pa: float, altitude_m: float) -> float | None:
    """Pressure reduced to sea level, Pa; makes stations at different altitudes comparable.

    Barometric formula with the lapse rate of the standard atmosphere (ISO 2533), from the measured temperature of the
    outdoor air. -50 to 50 °C, -500 to 3000 m; above some hundred metres the result depends strongly on the temperature.
    """
    if not (-50.0 <= temperature_c <= 50.0 and -500.0 <= altitude_m <= 3000.0):
        return None
    below_k = temperature_c + _KELVIN + _LAPSE_K_M * altitude_m
    return pressure_pa * exp(-_BAROMETRIC_EXPONENT * log(1.0 - _LAPSE_K_M * altitude_m / below_k))


@dataclass(frozen=True, slots=True)
class Derived:
    """A quantity that is computed from others.

    Attributes:
        quantity: its name.
        inputs: names of the input quantities, in the order of the arguments of `compute`.
        compute: the formula, canonical units; returns None where it is not valid.
    """

    quantity: str
    inputs: tuple[str, ...]
    compute: Callable[..., float | None]


_AIR: Final = ("temperature_c", "humidity_pct")
_OF_AIR: Final = {
    "dew_point_c": dew_point_c,
    "absolute_humidity_g_m3": absolute_humidity_g_m3,
    "vapour_pressure_deficit_pa": vapour_pressure_deficit_pa,
    "wet_bulb_c": wet_bulb_c,
    "heat_index_c": heat_index_c,
}
SEA_LEVEL: Final = "sea_level_pressure_pa"
DERIVED: Final = (*_OF_AIR, SEA_LEVEL)
"""Names of all quantities that can be derived."""


def derivation(quantity: str, altitude_m: float | None) -> Derived:
    """Return the formula of one of `DERIVED`, for a place at `altitude_m` metres above sea level.

    Raises:
        ValueError: the quantity is SEA_LEVEL and the altitude is None.
    """
    if quantity in _OF_AIR:
        return Derived(quantity, _AIR, _OF_AIR[quantity])
    if altitude_m is None:
        raise ValueError("the pressure at sea level needs the altitude")

    def at_sea_level(temperature_c: float, pressure_pa: float) -> float | None:
        return sea_level_pressure_pa(temperature_c, pressure_pa, altitude_m)

    return Derived(quantity, ("temperature_c", "pressure_pa"), at_sea_level)


def derive(derived: Derived, inputs: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Compute a block.

    Args:
        derived: quantity to compute.
        inputs: one block per input, in the order of `derived.inputs`, canonical units; None where there is no number.

    Returns:
        One value per row; None where an input is missing or the formula is not valid.
    """
    compute = derived.compute
    return [None if None in values else compute(*values) for values in zip(*inputs, strict=True)]


def uncertainty(derived: Derived, values: Sequence[float], sigmas: Sequence[float]) -> float | None:
    """Standard deviation of a derived value from those of its inputs, by central differences of one sigma.

    Returns:
        Canonical unit; None where the formula is not valid one sigma below or above the values.
    """
    total = 0.0
    for position, sigma in enumerate(sigmas):
        shifted = [
            derived.compute(*values[:position], values[position] + step, *values[position + 1 :])
            for step in (-sigma, sigma)
        ]
        low, high = shifted
        if low is None or high is None:
            return None
        total = hypot(total, (high - low) / 2.0)
    return total
