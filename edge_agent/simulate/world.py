"""The true air: weather in a greenhouse as a closed-form function of time. Pure.

Every value is a sum of sines with phases from the seed: times can be asked for in any order, and the answer is the
same on every machine.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final, NamedTuple

_DAY_NS: Final = 86_400_000_000_000
_DAY_S: Final = 86_400.0
_TWO_PI: Final = 2.0 * math.pi

# Magnus over water, Alduchov and Eskridge 1996: within 0.4 % from -40 to 50 °C.
_MAGNUS_A: Final = 17.625
_MAGNUS_B_C: Final = 243.04

_PASCAL_PER_METRE: Final = 12.0
"""Fall of pressure with height near the ground (ISA, 0..500 m: 11.4..12.0)."""

_WARMEST_S: Final = 14.5 * 3600.0
"""Time of day of the highest temperature, s since midnight UTC."""

Wave = tuple[float, float, float]
"""Amplitude in the unit of what it is added to, angular frequency in rad/s, phase in rad."""
Waves = tuple[Wave, Wave, Wave]


class Air(NamedTuple):
    """The air at one place and moment. A named tuple, because simulations make millions of them.

    Attributes:
        temperature_c: °C.
        humidity_pct: relative over water, 5..100 %.
        pressure_pa: Pa, at the place, not reduced to sea level.
        co2_ppm: carbon dioxide, ppm by volume; by default that of outdoor air.
    """

    temperature_c: float
    humidity_pct: float
    pressure_pa: float
    co2_ppm: float = 420.0


class World:
    """One greenhouse and the weather outside it.

    Args:
        seed: the same seed gives the same weather, everywhere and always.
        start_wall_ns: UNIX time in ns from which the slow waves are counted. The time of day is that of UTC.
        altitude_m: height above the sea, m.
    """

    def __init__(self, seed: int, start_wall_ns: int, *, altitude_m: float = 120.0) -> None:
        draw = random.Random(f"{seed}/world")
        self._start_wall_ns = start_wall_ns
        self._mean_c = draw.uniform(19.0, 23.0)
        self._swing_c = draw.uniform(5.0, 8.0)
        self._dew_point_c = self._mean_c - draw.uniform(7.0, 10.0)
        self._pressure_pa = 101_325.0 * (1.0 - 2.25577e-5 * altitude_m) ** 5.25588
        # Differences between days; vents, doors and clouds; water vapour; air pressure.
        self._slow_c = _waves(draw, (1.2, 3.1 * _DAY_S), (0.6, 0.43 * _DAY_S), (0.35, 5_100.0))
        self._quick_c = _waves(draw, (0.35, 1_900.0), (0.2, 760.0), (0.08, 240.0))
        self._moisture_c = _waves(draw, (1.0, 2.3 * _DAY_S), (0.4, 0.29 * _DAY_S), (0.12, 2_700.0))
        self._weather_pa = _waves(draw, (550.0, 6.7 * _DAY_S), (240.0, 2.9 * _DAY_S), (12.0, 9_000.0))
        # A generator of its own, so that the values drawn above stay as they are.
        draw = random.Random(f"{seed}/co2")
        self._mean_ppm = draw.uniform(850.0, 1_000.0)
        self._swing_ppm = draw.uniform(170.0, 230.0)
        self._vents_ppm = _waves(draw, (60.0, 2.1 * _DAY_S), (30.0, 0.31 * _DAY_S), (10.0, 1_700.0))

    def air(self, wall_ns: int) -> Air:
        """The air in the middle of the greenhouse at a UNIX time in ns."""
        temperature_c, dew_point_c, pressure_pa = self.state(wall_ns)
        return Air(temperature_c, humidity_pct(temperature_c, dew_point_c), pressure_pa, self.co2_ppm(wall_ns))

    def co2_ppm(self, wall_ns: int) -> float:
        """Carbon dioxide at a UNIX time in ns, 400..1500 ppm: leaves take it up by day and give it off at night."""
        of_day = (wall_ns % _DAY_NS) * 1e-9 / _DAY_S * _TWO_PI
        sun = math.cos(of_day - _WARMEST_S / _DAY_S * _TWO_PI)
        elapsed_s = (wall_ns - self._start_wall_ns) * 1e-9
        return self._mean_ppm - self._swing_ppm * sun + _sum(self._vents_ppm, elapsed_s)

    def state(self, wall_ns: int) -> tuple[float, float, float]:
        """Temperature, water vapour and pressure at a UNIX time in ns.

        Returns:
            Temperature in °C, dew point in °C, pressure in Pa.
        """
        elapsed_s = (wall_ns - self._start_wall_ns) * 1e-9
        of_day = (wall_ns % _DAY_NS) * 1e-9 / _DAY_S * _TWO_PI
        sun = math.cos(of_day - _WARMEST_S / _DAY_S * _TWO_PI)
        # Under glass it warms up fast in the morning and cools slowly at night: the second harmonic.
        temperature_c = self._mean_c + self._swing_c * (sun + 0.18 * math.cos(2.0 * of_day - 1.1))
        temperature_c += _sum(self._slow_c, elapsed_s)
        temperature_c += (0.55 + 0.45 * sun) * _sum(self._quick_c, elapsed_s)
        # Plants transpire by day.
        dew_point_c = self._dew_point_c + 0.8 * sun + _sum(self._moisture_c, elapsed_s)
        # Atmospheric tide, about 1 hPa at middle latitudes: highest at 10 h and at 22 h.
        tide_pa = 65.0 * math.cos(2.0 * of_day - 20.0 / 24.0 * _TWO_PI)
        return temperature_c, dew_point_c, self._pressure_pa + tide_pa + _sum(self._weather_pa, elapsed_s)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a sensor in a world.

    Attributes:
        world: gives the weather.
        temperature_offset_c: added to the temperature of the middle; the dew point stays.
        lag_s: delay against the middle.
        height_m: height above the middle, for the pressure.
    """

    world: World
    temperature_offset_c: float = 0.0
    lag_s: float = 0.0
    height_m: float = 0.0

    def air(self, wall_ns: int) -> Air:
        """The air at this spot at a UNIX time in ns."""
        then_ns = wall_ns - round(self.lag_s * 1e9)
        temperature_c, dew_point_c, pressure_pa = self.world.state(then_ns)
        temperature_c += self.temperature_offset_c
        return Air(
            temperature_c,
            humidity_pct(temperature_c, dew_point_c),
            pressure_pa - _PASCAL_PER_METRE * self.height_m,
            self.world.co2_ppm(then_ns),
        )


def humidity_pct(temperature_c: float, dew_point_c: float) -> float:
    """Relative humidity of air at a temperature and dew point in °C, limited to 5..100 %."""
    exponent = (
        _MAGNUS_A * dew_point_c / (_MAGNUS_B_C + dew_point_c)
        - _MAGNUS_A * temperature_c / (_MAGNUS_B_C + temperature_c)
    )  # fmt: skip
    return min(100.0, max(5.0, 100.0 * math.exp(exponent)))


def _waves(
    draw: random.Random, first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]
) -> Waves:
    """Waves near the given amplitudes and periods in s; amplitude, period and phase are drawn at random."""
    return _wave(draw, *first), _wave(draw, *second), _wave(draw, *third)


def _wave(draw: random.Random, amplitude: float, period_s: float) -> Wave:
    return (
        amplitude * draw.uniform(0.6, 1.4),
        _TWO_PI / (period_s * draw.uniform(0.8, 1.25)),
        draw.uniform(0.0, _TWO_PI),
    )


def _sum(waves: Waves, elapsed_s: float) -> float:
    """Added from left to right: the builtin `sum` gives other last bits from Python 3.12 on."""
    (amplitude_1, omega_1, phase_1), (amplitude_2, omega_2, phase_2), (amplitude_3, omega_3, phase_3) = waves
    return (
        amplitude_1 * math.sin(omega_1 * elapsed_s + phase_1)
        + amplitude_2 * math.sin(omega_2 * elapsed_s + phase_2)
        + amplitude_3 * math.sin(omega_3 * elapsed_s + phase_3)
    )
