"""Chips as the hardware monitoring of the kernel shows them: an SHT3x, an LM75, a MAX31722 with a fault file.

Source: Linux Documentation/hwmon/sysfs-interface.rst, sht3x.rst, lm75.rst, max31722.rst (units: m°C, m%).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part, Subsystem

_SIGMA_C: Final = 0.02
_SIGMA_PCT: Final = 0.1
_SHT: Final = ("temp1_input", "temp1_max", "humidity1_input")
FILES: Final = {
    "lm75": ("temp1_input", "temp1_max"),
    "tmp102": ("temp1_input", "temp1_max"),
    "tmp421": ("temp1_input", "temp2_input", "temp2_fault"),
}
"""Files by the kernel's name of the chip; any other name has those of an SHT3x."""


class HwmonChip:
    """One device as the kernel shows it.

    Attributes:
        broken: whether the second element has an open circuit.
    """

    subsystem: Subsystem = "hwmon"

    def __init__(self, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        index = part.options.get("index", 1)
        self.name: str = part.options.get("name") or ("sht3x" if index == 1 else "tmp421")
        self.device: str = part.options.get("device") or "1-0044"
        self.broken = False
        self._lost = False

    def files(self) -> tuple[str, ...]:
        """Names of the files other than `name`."""
        return FILES.get(self.name, _SHT)

    def power_cycle(self) -> None:
        """Let the next read fail without an acknowledge, as while the chip starts."""
        self._lost = True

    def show(self, file: str) -> str:
        """The text of a file. Raises OSError 121 once after a power cycle."""
        if file == "temp1_max":
            return "80000\n"
        if file == "temp2_fault":
            return f"{int(self.broken)}\n"
        if self._lost:
            self._lost = False
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        air = self._air(self._clock.now_ns())
        if file == "humidity1_input":
            return f"{round((air.humidity_pct + self._random.gauss(0.0, _SIGMA_PCT)) * 1000)}\n"
        return f"{round((air.temperature_c + self._random.gauss(0.0, _SIGMA_C)) * 1000)}\n"


CHIPS: Final[Makers] = {"hwmon": HwmonChip}
