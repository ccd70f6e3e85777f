"""Bosch BME680 and BME688, register by register.

Source: Bosch BST-BME680-DS001 sections 3 (modes, noise) and 5 (registers); BST-BME688-DS000 where the two differ.

Limits: forced mode only; the gas resistance is one fixed value; the heater does not warm the temperature sensor; the
filter settles at once. The datasheets leave open where the pointer goes from the last register; here it wraps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.bosch280 import FULL_SCALE_16_BIT, FULL_SCALE_20_BIT, counts_for
from edge_agent.simulate.chips.bosch680 import HIGH_BLOCK, LOW_BLOCK, Calibration
from edge_agent.simulate.chips.register_file import RegisterFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.simulate.chips.base import Makers, Part
    from edge_agent.simulate.world import Air

_FIELD: Final = 0x1D
_GAS_WAIT_0: Final = 0x64
_CTRL_GAS_0: Final = 0x70
_CTRL_GAS_1: Final = 0x71
_CTRL_HUM: Final = 0x72
_CTRL_MEAS: Final = 0x74
_CONFIG: Final = 0x75
_CHIP_ID: Final = 0xD0
_RESET: Final = 0xE0
_VARIANT: Final = 0xF0

_SETTINGS: Final = {_CTRL_GAS_0: 0x08, _CTRL_GAS_1: 0x3F, _CTRL_HUM: 0x47, _CONFIG: 0x1D}
_HEATER: Final = range(0x5A, 0x6E)
"""Resistances and times of the ten heater profiles."""
_RUN_GAS: Final = (0x10, 0x20)
_GAS_AT: Final = (0x2A, 0x2C)
_GAS: Final = bytes((0x4B, 0x36))
"""300 counts in range 6, valid, heater stable."""
_CALIBRATION: Final = (*range(0x05), *range(LOW_BLOCK, LOW_BLOCK + 23), *range(HIGH_BLOCK, HIGH_BLOCK + 14))
_NO_DATA: Final = bytes.fromhex("8000008000008000")
_NVM_COPY_NS: Final = 2_000_000
_SAMPLES: Final = (0, 1, 2, 4, 8, 16, 16, 16)

_SIGMA_X1_C: Final = 0.005
_SIGMA_X1_PA: Final = 3.3
_SIGMA_X1_PCT: Final = 0.02


class Bosch680(RegisterFile):
    """One chip.

    Args:
        part: what it is made from.
        variant: 0 is a BME680, 1 a BME688.
    """

    def __init__(self, part: Part, variant: int) -> None:
        super().__init__(pairs=True)
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._variant = variant
        self._nvm = bytearray(256)
        self.calibration = Calibration.of_some_part(part.random)
        self.calibration.write_to(self._nvm)
        # Gas heater: trim and the range of its resistor.
        self._nvm[0x00:0x05] = bytes((0x32, 0x00, 0x10, 0x00, 0x10))
        self._nvm[0xEB:0xEF] = bytes.fromhex("65cef412")
        self._nvm[_CHIP_ID], self._nvm[_VARIANT] = 0x61, variant
        self._fixed: bytes | None = None
        self._nvm_ready_ns: int | None = None
        self._started_ns = 0
        self._ends_ns: int | None = None
        self._reset(nvm_ready_ns=0)

    def load(self, blocks: Mapping[int, bytes]) -> None:
        """Set register contents, as from the factory; those at 0x1D become the result of every conversion."""
        for start, content in blocks.items():
            if start == _FIELD:
                self._fixed = content
            else:
                self._nvm[start : start + len(content)] = content
                self.registers[start : start + len(content)] = content
        self.calibration = Calibration.from_registers(self._nvm)

    def power_cycle(self) -> None:
        """Start: 2 ms until the calibration has been copied from the fuses."""
        self._reset(nvm_ready_ns=self._clock.now_ns() + _NVM_COPY_NS)

    def store(self, register: int, value: int) -> None:
        """Write a setting, a reset, or the mode, which starts a conversion."""
        if register == _RESET and value == 0xB6:
            self.power_cycle()
        elif register in _SETTINGS:
            self.registers[register] = value & _SETTINGS[register]
        elif register in _HEATER:
            self.registers[register] = value
        elif register == _CTRL_MEAS and self._ends_ns is None:
            self.registers[_CTRL_MEAS] = value & 0xFD  # there is no normal mode
            if value & 1:
                self.registers[_FIELD] = 0x20
                self._started_ns = self._clock.now_ns()
                self._ends_ns = self._started_ns + self._conversion_ns()

    def settle(self) -> None:
        """Finish a conversion or start-up that has ended."""
        now_ns = self._clock.now_ns()
        if self._nvm_ready_ns is not None and now_ns >= self._nvm_ready_ns:
            for register in _CALIBRATION:
                self.registers[register] = self._nvm[register]
            self._nvm_ready_ns = None
        if self._ends_ns is not None and now_ns >= self._ends_ns:
            field = self._fixed or self._measure(self._air(self._started_ns))
            self.registers[_FIELD : _FIELD + len(field)] = field
            self.registers[_CTRL_MEAS] &= 0xFC
            self._ends_ns = None

    def _reset(self, nvm_ready_ns: int) -> None:
        super().power_cycle()
        self.registers[_CHIP_ID], self.registers[_VARIANT] = self._nvm[_CHIP_ID], self._nvm[_VARIANT]
        self.registers[_FIELD + 2 : _FIELD + 10] = _NO_DATA
        self._nvm_ready_ns = nvm_ready_ns
        self._ends_ns = None
        self.settle()

    @property
    def _heats(self) -> bool:
        return bool(self.registers[_CTRL_GAS_1] & _RUN_GAS[self._variant])

    def _times(self) -> tuple[int, int, int]:
        """Oversampling of temperature, pressure and humidity."""
        ctrl_meas, ctrl_hum = self.registers[_CTRL_MEAS], self.registers[_CTRL_HUM]
        return _SAMPLES[ctrl_meas >> 5], _SAMPLES[ctrl_meas >> 2 & 7], _SAMPLES[ctrl_hum & 7]

    def _conversion_ns(self) -> int:
        """Somewhat less than the longest time that Bosch's own driver waits."""
        micros = 1_900 * sum(self._times()) + 4_000
        if self._heats:
            wait = self.registers[_GAS_WAIT_0]
            micros += 1000 * (wait & 0x3F) * 4 ** (wait >> 6) + 2_000
        return 1000 * micros

    def _measure(self, air: Air) -> bytes:
        """The field registers after a conversion in this air."""
        times_t, times_p, times_h = self._times()
        noise = self._random.gauss
        celsius = min(max(air.temperature_c + noise(0.0, _SIGMA_X1_C / (times_t or 1) ** 0.5), -40.0), 85.0)
        counts_t = counts_for(round(celsius * 5120), self.calibration.fine_temperature, 1 << 19, FULL_SCALE_20_BIT)
        # Pressure and humidity are corrected with the temperature that the driver will compute.
        fine = self.calibration.fine_temperature(counts_t)
        pascal = min(max(air.pressure_pa + noise(0.0, _SIGMA_X1_PA / (times_p or 1) ** 0.5), 30_000.0), 110_000.0)
        counts_p = counts_for(
            round(pascal), self.calibration.pressure_of(fine), 1 << 19, FULL_SCALE_20_BIT, rising=False
        )
        percent = min(max(air.humidity_pct + noise(0.0, _SIGMA_X1_PCT / (times_h or 1) ** 0.5), 0.0), 100.0)
        counts_h = counts_for(round(percent * 1000), self.calibration.humidity_of(fine), 1 << 15, FULL_SCALE_16_BIT)
        field = bytearray(17)
        field[0] = 0x80
        field[2:5] = (counts_p << 4).to_bytes(3, "big") if times_p else _NO_DATA[:3]
        field[5:8] = (counts_t << 4).to_bytes(3, "big") if times_t else _NO_DATA[:3]
        field[8:10] = counts_h.to_bytes(2, "big") if times_h else _NO_DATA[6:]
        if self._heats:
            at = _GAS_AT[self._variant] - _FIELD
            field[at : at + 2] = _GAS
        return bytes(field)


def _some_variant(part: Part) -> Bosch680:
    return Bosch680(part, part.random.choice((0, 1)))


CHIPS: Final[Makers] = {"bme680": _some_variant}
