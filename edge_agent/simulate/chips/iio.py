"""Chips as the Industrial I/O subsystem of the kernel shows them: processed values, or counts with scale and offset.

Source: Linux Documentation/ABI/testing/sysfs-bus-iio, drivers/iio/pressure/bmp280-core.c, humidity/si7020.c,
chemical/scd30_core.c (units: m°C, kPa, m%, %).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part, Subsystem

_SIGMA_C: Final = 0.01
_SIGMA_PCT: Final = 0.03
_SIGMA_PA: Final = 2.0
_SIGMA_PPM: Final = 3.0

_BOSCH: Final = ("in_temp_input", "in_humidityrelative_input", "in_pressure_input")
_SI7020: Final = (
    "in_temp_raw", "in_temp_offset", "in_temp_scale",
    "in_humidityrelative_raw", "in_humidityrelative_offset", "in_humidityrelative_scale",
)  # fmt: skip
_SCD30: Final = (
    "in_temp_input",
    "in_humidityrelative_input",
    "in_concentration_co2_raw",
    "in_concentration_co2_scale",
)
FILES: Final = {
    "bme280": _BOSCH,
    "bmp280": ("in_temp_input", "in_pressure_input"),
    "dht11": ("in_temp_input", "in_humidityrelative_input"),
    "si7020": _SI7020,
    "scd30": _SCD30,
}
"""Files by the kernel's name of the chip; any other name has those of a BME280."""
_CONSTANTS: Final = {
    "in_temp_scale": "10.725097656",
    "in_temp_offset": "-4368",
    "in_humidityrelative_scale": "7.629394531",
    "in_humidityrelative_offset": "-786",
    "in_concentration_co2_scale": "0.000100000",
}


class IioChip:
    """One device as the kernel shows it.

    Attributes:
        old_percent: whether humidity is in percent as a decimal number, as in kernels of 2016.
    """

    subsystem: Subsystem = "iio"

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self.name: str = part.options.get("name") or "bme280"
        self.device: str = part.options.get("device") or "1-0077"
        self.old_percent = False
        self._skipped = False

    def files(self) -> tuple[str, ...]:
        """Names of the files other than `name`."""
        return FILES.get(self.name, _BOSCH)

    def power_cycle(self) -> None:
        """Let the next read find no conversion, which the kernel driver reports as EIO."""
        self._skipped = True

    def show(self, file: str) -> str:
        """The text of a file. Raises OSError 5 once after a power cycle."""
        if file in _CONSTANTS:
            return f"{_CONSTANTS[file]}\n"
        if self._skipped:
            self._skipped = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        air = self._air(self._clock.now_ns())
        celsius = air.temperature_c + self._random.gauss(0.0, _SIGMA_C)
        percent = air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT)
        texts = {
            "in_temp_input": f"{round(celsius * 1000)}",
            "in_temp_raw": f"{round((celsius + 46.85) / 175.72 * 16384)}",  # Si7020 datasheet section 5.1.2, 14 bits
            "in_humidityrelative_input": f"{percent:.9f}" if self.old_percent else f"{round(percent * 1000)}",
            "in_humidityrelative_raw": f"{round((percent + 6.0) / 125.0 * 16384)}",  # section 5.1.1
            "in_pressure_input": f"{(air.pressure_pa + self._random.gauss(0.0, _SIGMA_PA)) / 1000:.9f}",
            "in_concentration_co2_raw": f"{round(air.co2_ppm + self._random.gauss(0.0, _SIGMA_PPM))}",
        }
        return f"{texts[file]}\n"


CHIPS: Final[Makers] = {"iio": IioChip}
