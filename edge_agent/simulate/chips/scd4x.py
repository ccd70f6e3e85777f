"""Sensirion SCD41, command by command; the SCD40 is the same without single shots and sleep.

Source: Sensirion datasheet SCD4x version 1.7, sections 2.1 (accuracy, times) and 3.2 to 3.12 (commands, CRC).

Limits: pressure, altitude and self-calibration are stored but have no effect; no forced recalibration. Self-heating
equals the temperature offset of 4 °C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.chips.sensirion import SensirionChip, of_full_scale, sensirion_crc, word

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

_MS: Final = 1_000_000
_INTERVAL_MS: Final = {0x21B1: 5_000, 0x21AC: 30_000}
_READ_MEASUREMENT: Final = 0xEC05
_STOP: Final = 0x3F86
_DATA_READY: Final = 0xE4B8
_SINGLE_SHOT: Final = {0x219D: 5_000, 0x2196: 50}
"""Command → duration in ms; the second measures no carbon dioxide, and gives 0."""
_PRESSURE: Final = 0xE000
"""Reads without a value, writes with one; both also while measuring."""
_GET: Final = {0x2318: 0x241D, 0x2322: 0x2427, 0x2313: 0x2416, 0x233F: 0x243A, 0x2340: 0x2445, 0x234B: 0x244E}
"""Command that reads a setting → command that writes it."""
_TEMPERATURE_OFFSET: Final = 0x241D
_FACTORY: Final = {_TEMPERATURE_OFFSET: 0x05DA, 0x2427: 0, 0x2416: 1, 0x243A: 400, 0x2445: 44, 0x244E: 156}
"""The offset is 4 °C in 1/65535 of 175 °C."""
_PERSIST: Final = 0x3615
_SERIAL: Final = 0x3682
_SELF_TEST: Final = 0x3639
_FACTORY_RESET: Final = 0x3632
_REINIT: Final = 0x3646
_VARIANT: Final = 0x202F
_SCD41: Final = 0x1440
_SLEEP: Final = 0x36E0
_WAKE: Final = 0x36F6
_SELF_HEATING_C: Final = 4.0
_START_MS: Final = 30


class Scd4x(SensirionChip):
    """One SCD41. While it measures, all but a few commands are refused."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.serial = part.random.getrandbits(48)
        self.stored = dict(_FACTORY)
        """Settings in the EEPROM."""
        self._reload(busy_ms=0)
        self._asleep = False

    def write(self, data: bytes) -> None:
        """Take a command with or without a value. Raises Nack while busy or asleep, and if it is not allowed now."""
        if self._asleep and data[:2] == _WAKE.to_bytes(2, "big"):
            self._asleep = False
            self._restart(_START_MS * _MS)
        self._refuse_while_busy()
        if self._asleep:
            raise Nack
        if len(data) < 2:
            return
        command = int.from_bytes(data[:2], "big")
        self._reply = b""
        if len(data) == 5:
            self._set(command, data[2:])
        elif command == _READ_MEASUREMENT:
            self._fetch()
        elif command == _DATA_READY:
            self._reply = word(0x8006 if self._is_ready() else 0x8000)
        elif command == _PRESSURE:
            self._reply = word(self._pressure_hpa)
        elif command == _STOP:
            self._interval_ns = 0
            self._restart(500 * _MS)
        elif self._interval_ns:
            raise Nack
        else:
            self._idle_command(command)

    def read(self, count: int) -> bytes:
        """Give the reply once. Raises Nack when there is none, while busy, and asleep."""
        if self._asleep:
            raise Nack
        return super().read(count)

    def power_cycle(self) -> None:
        """Start: idle, with the settings of the EEPROM, after 30 ms without an answer."""
        self._asleep = False
        self._reload(busy_ms=_START_MS)

    def _reload(self, busy_ms: int) -> None:
        self._settings = dict(self.stored)
        self._pressure_hpa = 1013
        self._interval_ns = 0
        self._started_ns = 0
        self._fetched = 0
        self._buffer = b""
        self._restart(busy_ms * _MS)

    def _idle_command(self, command: int) -> None:
        if command in _INTERVAL_MS:
            self._interval_ns = _INTERVAL_MS[command] * _MS
            self._started_ns, self._fetched, self._buffer = self._clock.now_ns(), 0, b""
        elif command in _SINGLE_SHOT:
            self._restart(_SINGLE_SHOT[command] * _MS)
            self._buffer = self._measure(self._clock.now_ns(), with_co2=command == 0x219D)
        elif command == _SELF_TEST:
            self._restart(10_000 * _MS)
            self._reply = word(0)
        elif command == _SLEEP:
            self._asleep = True
        elif command in {_PERSIST, _FACTORY_RESET, _REINIT}:
            self._eeprom_command(command)
        else:
            self._reply = self._answer(command)

    def _eeprom_command(self, command: int) -> None:
        if command == _PERSIST:
            self.stored = dict(self._settings)
            self._restart(800 * _MS)
            return
        if command == _FACTORY_RESET:
            self.stored = dict(_FACTORY)
        self._reload(busy_ms=1_200 if command == _FACTORY_RESET else 20)

    def _answer(self, command: int) -> bytes:
        if command in _GET:
            return word(self._settings[_GET[command]])
        if command == _SERIAL:
            return b"".join(word(self.serial >> shift & 0xFFFF) for shift in (32, 16, 0))
        if command == _VARIANT:
            return word(_SCD41)
        raise Nack

    def _set(self, command: int, value: bytes) -> None:
        if sensirion_crc(value[:2]) != value[2]:
            raise Nack
        number = int.from_bytes(value[:2], "big")
        if command == _PRESSURE:
            self._pressure_hpa = number
        elif command in self._settings and not self._interval_ns:
            self._settings[command] = number
        else:
            raise Nack

    def _latest(self) -> int:
        """Number of measurements since the start."""
        return (self._clock.now_ns() - self._started_ns) // self._interval_ns if self._interval_ns else 0

    def _is_ready(self) -> bool:
        return bool(self._buffer) or self._latest() > self._fetched

    def _fetch(self) -> None:
        """Make the newest measurement the reply, readable half a millisecond later."""
        if self._latest() > self._fetched:
            self._fetched = self._latest()
            self._buffer = self._measure(self._started_ns + self._fetched * self._interval_ns, with_co2=True)
        self._reply, self._buffer = self._buffer, b""
        self._busy_until_ns = self._clock.now_ns() + _MS // 2

    def _measure(self, boot_ns: int, *, with_co2: bool) -> bytes:
        if self._fixed is not None:
            return self._fixed
        air = self._air(boot_ns)
        noise = self._random.gauss
        offset_c = self._settings[_TEMPERATURE_OFFSET] * 175.0 / 65_535.0
        celsius = air.temperature_c + _SELF_HEATING_C - offset_c + noise(0.0, 0.03)
        percent = air.humidity_pct + noise(0.0, 0.13)
        ppm = of_full_scale((air.co2_ppm + noise(0.0, 3.0)) / 65_535.0) if with_co2 else 0
        return word(ppm) + word(of_full_scale((celsius + 45.0) / 175.0)) + word(of_full_scale(percent / 100.0))


CHIPS: Final[Makers] = {"scd4x": Scd4x}
