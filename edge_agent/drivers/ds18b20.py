"""Maxim DS18B20 and its relatives DS18S20, DS1822, DS1825 and DS28EA00, through the kernel's 1-Wire driver.

Sources: DS18B20 datasheet 19-7487 rev. 6 (memory map, table 1); DS18S20 datasheet 19-5474 (equation 1); Linux
drivers/w1/slaves/w1_therm.c and its documentation. No address: the sensor is named by its serial number. The nine bytes
of the scratchpad are checked and converted here, because the kernel computes `t=` also from damaged bytes.

Limits:
    Bulk conversion needs kernel 5.10 and root. Without it each read blocks for 750 ms.
    A DS18S20 at exactly 85.0 °C cannot be told from one at power-on, and gives no value.
    The thermocouple converter MAX31850 has the family code of the DS1825; here its range ends at 125 °C.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Found, Measured
from edge_agent.drivers.checksum import crc8_dallas
from edge_agent.errors import BadReply, BusDenied, BusGone, ChecksumMismatch, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import Sysfs

# Files below /sys/bus/w1/devices.
MASTER: Final = "w1_bus_master1"
BULK: Final = f"{MASTER}/therm_bulk_read"
"""Writing `trigger` starts a conversion on all sensors; reads 0 (idle), -1 (running), 1 (done, not read yet)."""
BULK_COMMAND: Final = "trigger\n"
_SERIAL: Final = re.compile(r"(10|22|28|3b|42)-[0-9a-f]{12}")
_ANY_SLAVE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{12}")

CONVERSION_NS: Final = 750_000_000
"""t_CONV at 12 bits (AC electrical characteristics)."""

_SCRATCHPAD_LINE: Final = re.compile(r"((?:[0-9a-f]{2} ){9}): crc=([0-9a-f]{2}) (YES|NO)")

_RESET_RAW: Final = 0x0550
"""85.0 °C: contents of the register after power-up (table 1, note)."""
_RESET_BYTE_6: Final = 0x0C
"""Reserved byte 6 of genuine chips that have not converted since power-up; w1_therm.c checks it too."""
_S20_RESET_RAW: Final = 0x00AA
"""85.0 °C of a DS18S20."""
_OTHER_CHIP: Final = 0x80
"""Bit of the configuration that is 0 in Maxim's thermometers (w1_therm.c)."""
_SUPPLY_FAULT_RAW: Final = 0x07FF
"""127.94 °C: conversion with a failing parasite supply (w1_therm.c)."""

# Datasheet maths


def scratchpad(text: str) -> bytes:
    """Take the nine bytes of the scratchpad from the text of `w1_slave`, and check them.

    Raises:
        NotReady: the text is empty: the kernel got no answer in five tries, or is still converting.
        ChecksumMismatch: the bytes were damaged on the wire.
        BadReply: not the expected text, or the bytes of a line that is held low or is not driven.
    """
    if not text.strip("\0 \n"):
        raise NotReady("the kernel has no data of this sensor: cable length, pull-up (4.7 kΩ), or still converting")
    match = _SCRATCHPAD_LINE.match(text)
    if match is None:
        raise BadReply(f"w1_slave does not hold nine bytes and a checksum: {text[:60]!r}")
    raw = bytes.fromhex(match[1])
    if raw == bytes(9):
        raise BadReply("the scratchpad is all zeros (its checksum agrees): the data line is held low")
    if raw == b"\xff" * 9:
        raise BadReply("the scratchpad is all ones: the sensor does not answer")
    expected = crc8_dallas(raw[:8])
    if match[3] != "YES" and raw[8] == expected:
        expected = int(match[2], 16)  # the kernel checked other bytes than it shows
    if raw[8] != expected or match[3] != "YES":
        raise ChecksumMismatch(expected=expected, received=raw[8], raw=raw)
    return raw


def temperature_c(raw: bytes, family: str = "28") -> float | None:
    """Temperature in °C (section Operation: measuring temperature).

    Args:
        raw: the nine bytes of the scratchpad.
        family: first part of the serial number; families 10 and 3b have other layouts.

    Returns:
        None for the value after a reset, that of a failing supply, and that of a broken thermocouple. A true 85.0 °C
        differs from the reset value in byte 6, except in family 10.
    """
    count = int.from_bytes(raw[:2], "little", signed=True)
    if family == "10":
        return _of_half_degrees(count, raw[6], raw[7])
    if count == _SUPPLY_FAULT_RAW or (count == _RESET_RAW and raw[6] == _RESET_BYTE_6):
        return None
    if raw[4] & _OTHER_CHIP and family == "3b":  # a MAX31850: bit 0 tells of a fault, bit 1 means nothing
        return None if count & 1 else (count & ~3) / 16.0
    if raw[4] & _OTHER_CHIP:  # a GX20MH01, which keeps two bits more in the configuration
        return (count << 2 | raw[4] & 3) / 64.0
    undefined_bits = 3 - (raw[4] >> 5 & 3)
    return (count >> undefined_bits << undefined_bits) / 16.0


def _of_half_degrees(count: int, remain: int, per_degree: int) -> float | None:
    """Temperature of a DS18S20 in °C: half degrees, refined by the remaining count (equation 1)."""
    if per_degree == 0 or (count == _S20_RESET_RAW and remain == _RESET_BYTE_6):
        return None
    return (count >> 1) - 0.25 + (per_degree - remain) / per_degree


# The chip


@dataclass(frozen=True, slots=True)
class Ds18b20Options:
    """Which sensor, e.g. `28-0123456789ab`; not needed where the bus has only one."""

    serial: str | None = None

    def __post_init__(self) -> None:
        """Check the form of the serial number.

        Raises:
            ValueError: it is not one.
        """
        if self.serial is not None and not _ANY_SLAVE.fullmatch(self.serial.lower()):
            raise ValueError(f"{self.serial!r} is not a 1-Wire serial such as 28-0123456789ab")


class Ds18b20:
    """One sensor on the kernel's 1-Wire bus.

    Args:
        bus: tree rooted at /sys/bus/w1/devices.
        address: not used.
        options: serial number.
    """

    def __init__(self, bus: Sysfs, address: int, options: Ds18b20Options) -> None:
        del address
        self._bus = bus
        self._wanted = None if options.serial is None else options.serial.lower()
        self._serial: str | None = None
        self._bulk = BULK
        self._fetched = False
        self.quantities: tuple[str, ...] = ("temperature_c",)

    def probe(self) -> Iterator[int]:
        """Find the sensor among the entries of the bus. Does not wait.

        Raises:
            WrongChip: the configuration must name one of several sensors, or names a chip of another kind.
            BadReply: the sensor is not there now; the kernel may find it again.
        """
        self._serial = None
        self._fetched = False
        names = self._bus.names()
        self._serial = _choose(self._wanted, names)
        master = PurePosixPath(self._bus.resolve(self._serial)).parent.name
        self._bulk = BULK.replace(MASTER, master) if master in names else BULK
        yield from ()

    def trigger(self) -> int:
        """Start one conversion on all sensors of the bus, where the kernel can.

        Returns:
            Time until it can be collected, ns; 0 where reading converts, or where the write waited for the conversion.
        """
        try:
            # A conversion that another sensor's driver started a moment ago serves this one too, unless ours
            # has been waiting since an earlier round: the kernel would hand out that old one.
            if self._fetched and (state := self._bus.read(self._bulk).strip()) in {"1", "-1"}:
                self._fetched = False
                return 0 if state == "1" else CONVERSION_NS
            self._fetched = False
            self._bus.write(self._bulk, BULK_COMMAND)
            return 0 if self._bus.read(self._bulk).strip() == "1" else CONVERSION_NS
        except (BusGone, BusDenied):  # an older kernel, or not root: reading converts
            return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read the sensor.

        Raises:
            BusGone: the kernel has dropped it after failed searches.
            NotReady, ChecksumMismatch, BadReply: as `scratchpad`.
        """
        if self._serial is None:
            raise BadReply("the sensor has not been probed")
        text = self._bus.read(f"{self._serial}/w1_slave")
        self._fetched = True
        return (temperature_c(scratchpad(text), self._serial[:2]),)


def _choose(wanted: str | None, names: list[str]) -> str:
    """The entry of the sensor. Raises with the sensors that are there instead."""
    slaves = [name for name in names if _ANY_SLAVE.fullmatch(name)]
    sensors = [name for name in slaves if _SERIAL.fullmatch(name)]
    there = f"; on the bus: {', '.join(slaves)}" if slaves else ""
    if wanted is not None:
        if not _SERIAL.fullmatch(wanted):
            raise WrongChip(f"{wanted} is not of a family that this driver reads (10, 22, 28, 3b, 42){there}")
        if wanted in sensors:
            return wanted
        raise BadReply(f"{wanted} is not there: {_why_empty(names, slaves)}{there}")
    if not sensors:
        raise BadReply(f"no DS18B20: {_why_empty(names, slaves)}{there}")
    if len(sensors) > 1:
        raise WrongChip(f"more than one sensor: set serial to one of {', '.join(sensors)}")
    return sensors[0]


def find(bus: Sysfs) -> Iterator[Found]:
    """All thermometers on the bus, by serial number."""
    for name in bus.names():
        if _SERIAL.fullmatch(name):
            yield Found(f"1-Wire thermometer of family {name[:2]}", {"serial": name})


def _why_empty(names: list[str], slaves: list[str]) -> str:
    if not any(name.startswith("w1_bus_master") for name in names):
        return "1-Wire is off: add dtoverlay=w1-gpio to /boot/firmware/config.txt and reboot"
    if not slaves or all(name.startswith("00-") for name in slaves):
        return "nothing answers: the 4.7 kΩ pull-up or the data wire is missing"
    return "check its wiring and its serial number"


DRIVERS: Final = (
    DriverInfo(
        name="ds18b20",
        title="Maxim DS18B20, DS18S20, DS1822, DS1825, DS28EA00 (1-Wire)",
        source="DS18B20 datasheet 19-7487 rev. 6; Linux w1_therm",
        bus=BusKind.SYSFS,
        addresses=(),
        quantities=(Measured("temperature_c", -55.0, 125.0, resolution=0.0625, accuracy=0.5, lsb=0.0625),),
        options=Ds18b20Options,
        open=Ds18b20,
        conversion_s=0.75,
        checksum=True,
        period_s=10.0,
        shortest_period_s=1.0,
        find=find,
        device="/sys/bus/w1/devices",
    ),
)
