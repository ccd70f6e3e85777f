"""Bosch BME280 and BMP280, register by register.

Source: Bosch BST-BME280-DS002 sections 3.3 (modes), 3.4 and 3.5.3 (noise, filter), 4 and 5.4 (registers),
6.2 (I2C), 9.1 (times); BST-BMP280-DS001 where the two differ.

Limits: SPI is not modelled. The datasheets leave open where the pointer goes from the last register; here
it wraps. Self-heating is not modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.bosch280 import (
    FULL_SCALE_16_BIT,
    FULL_SCALE_20_BIT,
    HIGH_BLOCK,
    LOW_BLOCK,
    Calibration,
    counts_for,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.simulate.chips.base import Makers, Part
    from edge_agent.simulate.world import Air

_CHIP_ID: Final = 0xD0
_RESET: Final = 0xE0
_CTRL_HUM: Final = 0xF2
_STATUS: Final = 0xF3
_CTRL_MEAS: Final = 0xF4
_CONFIG: Final = 0xF5
_DATA: Final = 0xF7

_SLEEP, _FORCED, _NORMAL = 0, 1, 3
_NVM_COPY_NS: Final = 2_000_000
_CALIBRATION: Final = (*range(LOW_BLOCK, LOW_BLOCK + 26), *range(HIGH_BLOCK, HIGH_BLOCK + 7))
_NO_DATA: Final = bytes.fromhex("8000008000008000")

_OVERSAMPLING: Final = (0, 1, 2, 4, 8, 16, 16, 16)
_FILTER: Final = (1, 2, 4, 8, 16, 16, 16, 16)
_STANDBY_US: Final = (500, 62_500, 125_000, 250_000, 500_000, 1_000_000)
_STANDBY_END_US: Final = {"bme280": (10_000, 20_000), "bmp280": (2_000_000, 4_000_000)}
_IDS: Final = {"bme280": 0x60, "bmp280": 0x58}

_SIGMA_PA: Final = {1: 3.3, 2: 2.6, 4: 2.1, 8: 1.6, 16: 1.3}
"""Noise by oversampling without filter, BME280 table 15."""
_SIGMA_X1_C: Final = 0.005
_SIGMA_X1_PCT: Final = 0.02


class Bosch280:
    """One chip. `name` is `bme280` or `bmp280`, which lacks humidity and has other standby times."""

    def __init__(self, name: str, part: Part) -> None:
        self._clock, self._air, self._random = part.clock, part.air, part.random
        self._has_humidity = name == "bme280"
        self._standby_us = _STANDBY_US + _STANDBY_END_US[name]
        self.calibration = Calibration.of_some_part(part.random)
        low, high = self.calibration.to_registers()
        self._nvm = bytearray(256)
        self._nvm[_CHIP_ID] = _IDS[name]
        # The BMP280 has neither H1, which ends the low block, nor the high block.
        self._nvm[LOW_BLOCK : LOW_BLOCK + 26] = low if self._has_humidity else low[:24] + bytes(2)
        if self._has_humidity:
            self._nvm[HIGH_BLOCK : HIGH_BLOCK + 7] = high
        self._fixed: bytes | None = None
        self._counts = (FULL_SCALE_20_BIT // 2, FULL_SCALE_20_BIT // 2, FULL_SCALE_16_BIT // 2)
        self._reset(nvm_ready_ns=0)

    def load(self, blocks: Mapping[int, bytes]) -> None:
        """Set register contents, as from the factory; those at 0xF7 become the result of every conversion."""
        for start, content in blocks.items():
            self._nvm[start : start + len(content)] = content
            self._registers[start : start + len(content)] = content
            if start == _DATA:
                self._fixed = content
        self.calibration = Calibration.from_registers(
            bytes(self._nvm[LOW_BLOCK : LOW_BLOCK + 26]), bytes(self._nvm[HIGH_BLOCK : HIGH_BLOCK + 7])
        )

    def write(self, data: bytes) -> None:
        """Pairs of register and value (section 6.2.1); a single byte at the end moves the pointer."""
        self._settle()
        for register, value in zip(data[::2], data[1::2], strict=False):
            self._pointer = register
            self._set(register, value)
        if len(data) % 2:
            self._pointer = data[-1]

    def read(self, count: int) -> bytes:
        """Registers from the pointer on. The pointer then follows the last one."""
        self._settle()
        start, self._pointer = self._pointer, (self._pointer + count) % 256
        if start + count <= len(self._registers):
            return bytes(self._registers[start : start + count])
        return bytes(self._registers[(start + offset) % 256] for offset in range(count))

    def power_cycle(self) -> None:
        """Start: 2 ms until the calibration has been copied from the fuses."""
        self._reset(nvm_ready_ns=self._clock.now_ns() + _NVM_COPY_NS)

    def _reset(self, nvm_ready_ns: int) -> None:
        self._registers = bytearray(256)
        self._registers[_CHIP_ID] = self._nvm[_CHIP_ID]
        self._registers[_DATA : _DATA + 8] = _NO_DATA if self._has_humidity else _NO_DATA[:6] + bytes(2)
        self._nvm_ready_ns: int | None = nvm_ready_ns
        self._pointer = 0
        self._osrs_h = 0
        self._started_ns: int | None = None
        self._queued: int | None = None
        self._conversion_ends_ns = 0
        self._finished = -1
        self._filtered: tuple[float, float] | None = None
        self._settle()

    def _set(self, register: int, value: int) -> None:
        if register == _RESET and value == 0xB6:
            self.power_cycle()
        elif register == _CTRL_HUM and self._has_humidity:
            self._registers[_CTRL_HUM] = value & 0x07
        elif register == _CONFIG and self._registers[_CTRL_MEAS] & 3 != _NORMAL:
            # In normal mode writes to config may be ignored (section 5.4.6); this model always ignores them.
            self._registers[_CONFIG] = value & 0xFD
            self._filtered = None
        elif register == _CTRL_MEAS:
            if self._registers[_STATUS] & 0x08:
                # A change of mode waits for the end of the conversion; more of them are ignored (3.3.1).
                self._queued = value if self._queued is None else self._queued
            else:
                self._start(value, self._clock.now_ns())
            self._settle()

    def _start(self, ctrl_meas: int, now_ns: int) -> None:
        """Latch the oversampling and enter the mode."""
        self._registers[_CTRL_MEAS] = ctrl_meas
        self._osrs_h = self._registers[_CTRL_HUM]
        self._finished = -1
        self._started_ns = None if ctrl_meas & 3 == _SLEEP else now_ns

    def _settle(self) -> None:
        """Bring the registers up to the present moment."""
        if self._started_ns is None and self._nvm_ready_ns is None and self._queued is None:
            return  # it sleeps
        now_ns = self._clock.now_ns()
        if self._nvm_ready_ns is not None and now_ns >= self._nvm_ready_ns:
            for register in _CALIBRATION:
                self._registers[register] = self._nvm[register]
            self._nvm_ready_ns = None
        if self._queued is not None and now_ns >= self._conversion_ends_ns:
            ctrl_meas, self._queued = self._queued, None
            self._advance(self._conversion_ends_ns)
            self._start(ctrl_meas, self._conversion_ends_ns)
        measuring = self._advance(now_ns)
        self._registers[_STATUS] = measuring << 3 | (self._nvm_ready_ns is not None)

    def _advance(self, now_ns: int) -> bool:
        """Finish the conversions that have ended by `now_ns`. Returns whether another is running."""
        if self._started_ns is None:
            return False
        ctrl_meas = self._registers[_CTRL_MEAS]
        conversion_ns = self._conversion_ns(ctrl_meas)
        elapsed_ns = now_ns - self._started_ns
        if ctrl_meas & 3 == _NORMAL:
            period_ns = conversion_ns + self._standby_us[self._registers[_CONFIG] >> 5] * 1_000
            last = (elapsed_ns - conversion_ns) // period_ns
            if last > self._finished:
                self._convert(self._started_ns + last * period_ns, last - self._finished)
                self._finished = last
            into_ns = elapsed_ns % period_ns
        else:
            into_ns = elapsed_ns
            if into_ns >= conversion_ns:
                self._convert(self._started_ns, 1)
                self._registers[_CTRL_MEAS] = ctrl_meas & 0xFC
                self._started_ns = None
        self._conversion_ends_ns = now_ns - into_ns + conversion_ns
        return into_ns < conversion_ns

    def _conversion_ns(self, ctrl_meas: int) -> int:
        """Typical duration (section 9.1); a driver that waits for the maximum finds it done."""
        times_t, times_p = _OVERSAMPLING[ctrl_meas >> 5], _OVERSAMPLING[ctrl_meas >> 2 & 7]
        half_ms = 2 + 4 * times_t + (4 * times_p + 1 if times_p else 0)
        if self._has_humidity and self._osrs_h:
            half_ms += 4 * _OVERSAMPLING[self._osrs_h] + 1
        return half_ms * 500_000

    def _convert(self, boot_ns: int, conversions: int) -> None:
        """Put the air at `boot_ns` into the data registers, as the last of `conversions` conversions."""
        data = self._fixed or self._measure(self._air(boot_ns), conversions)
        self._registers[_DATA : _DATA + len(data)] = data

    def _measure(self, air: Air, conversions: int) -> bytes:
        ctrl_meas = self._registers[_CTRL_MEAS]
        times_t, times_p = _OVERSAMPLING[ctrl_meas >> 5], _OVERSAMPLING[ctrl_meas >> 2 & 7]
        noise = self._random.gauss
        celsius = air.temperature_c + noise(0.0, _SIGMA_X1_C / (times_t or 1) ** 0.5)
        fine = round(min(max(celsius, -40.0), 85.0) * 5120.0)
        guess_t, guess_p, guess_h = self._counts
        counts_t = counts_for(fine, self.calibration.fine_temperature, guess_t, FULL_SCALE_20_BIT)
        # Pressure and humidity are corrected with the temperature that the driver will compute.
        fine = self.calibration.fine_temperature(counts_t)
        pascal = min(max(air.pressure_pa + noise(0.0, _SIGMA_PA[times_p or 1]), 30_000.0), 110_000.0)
        counts_p = counts_for(
            round(pascal * 256.0),
            self.calibration.pressure_of(fine),
            guess_p,
            FULL_SCALE_20_BIT,
            rising=False,
        )
        self._counts = (counts_t, counts_p, guess_h)
        counts_t, counts_p = self._filter(counts_t, counts_p, conversions)
        data = (
            _skipped_or(_resolved(counts_p, times_p, self._registers[_CONFIG]), times_p)
            + _skipped_or(_resolved(counts_t, times_t, self._registers[_CONFIG]), times_t)
        )  # fmt: skip
        if not self._has_humidity:
            return data
        if not self._osrs_h:
            return data + _NO_DATA[6:]
        percent = air.humidity_pct + noise(0.0, _SIGMA_X1_PCT / _OVERSAMPLING[self._osrs_h] ** 0.5)
        counts_h = counts_for(
            round(min(max(percent, 0.0), 100.0) * 1024.0),
            self.calibration.humidity_of(fine),
            guess_h,
            FULL_SCALE_16_BIT,
        )
        self._counts = (*self._counts[:2], counts_h)
        return data + counts_h.to_bytes(2, "big")

    def _filter(self, counts_t: int, counts_p: int, conversions: int) -> tuple[int, int]:
        """The IIR filter (section 3.4.4), which humidity does not pass.

        Conversions that were not read are treated as if they had measured the same air as the last one.
        """
        coefficient = _FILTER[self._registers[_CONFIG] >> 2 & 7]
        if coefficient == 1:
            return counts_t, counts_p
        old_t, old_p = self._filtered or (counts_t, counts_p)
        weight = 1.0 - (1.0 - 1.0 / coefficient) ** conversions
        self._filtered = (old_t + weight * (counts_t - old_t), old_p + weight * (counts_p - old_p))
        return round(self._filtered[0]), round(self._filtered[1])


def _resolved(counts: int, times: int, config: int) -> int:
    """Drop the bits that the converter does not have: 16 at x1 up to 20 at x16, or 20 with the filter on."""
    missing = 0 if config >> 2 & 7 else 4 - (max(times, 1).bit_length() - 1)
    return min((counts + (1 << missing >> 1)) >> missing << missing, FULL_SCALE_20_BIT >> missing << missing)


def _skipped_or(counts: int, times: int) -> bytes:
    return (counts << 4).to_bytes(3, "big") if times else _NO_DATA[:3]


def _bme280(part: Part) -> Bosch280:
    return Bosch280("bme280", part)


def _bmp280(part: Part) -> Bosch280:
    return Bosch280("bmp280", part)


CHIPS: Final[Makers] = {"bme280": _bme280, "bmp280": _bmp280}
