"""Which chip answers at an address, asked in the least harmful order. For `edge-agent scan`.

Reads only, but for one command: the status request of the SHT3x, on its own two addresses. Nothing is sent
to an address whose usual tenants would take it for an order.

Limits:
    A TCA9548A multiplexer at 0x76 or 0x77 takes the register numbers read there for channel masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.drivers import bme280, sht3x
from edge_agent.errors import BadReply, ChecksumMismatch, NoAcknowledge

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus

_BMP3_ID: Final = 0x00
_BMP3_NAMES: Final = {0x50: "BMP388", 0x60: "BMP390"}
_DPS310_ID: Final = 0x0D
_DPS310_PRODUCT: Final = 0x10

_HINTS: Final = (
    (range(0x18, 0x20), "MCP9808?"),
    (range(0x23, 0x24), "BH1750 light sensor?"),
    (range(0x38, 0x3A), "AHT10, AHT20?"),
    (range(0x3C, 0x3E), "OLED display?"),
    (range(0x40, 0x41), "HTU21D, Si7021, SHT2x, HDC1080 or INA219?"),
    (range(0x44, 0x47), "SHT4x, OPT3001 or INA219?"),
    (range(0x48, 0x50), "LM75, TMP102, TMP117, ADS1115 or PCF8591?"),
    (range(0x50, 0x58), "EEPROM?"),
    (range(0x5C, 0x5E), "LPS22, LPS25 or BH1750?"),
    (range(0x62, 0x63), "SCD4x?"),
    (range(0x68, 0x6A), "real-time clock?"),
    (range(0x70, 0x71), "SHTC3 or TCA9548A multiplexer?"),
    (range(0x76, 0x78), "MS5611, or a TCA9548A multiplexer?"),
    (range(0x71, 0x76), "TCA9548A multiplexer?"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What answers at an address.

    Attributes:
        driver: name of the driver that reads it; None where there is none, or where the chip is not known.
        title: for people.
    """

    driver: str | None
    title: str


def identify(bus: I2CBus, address: int) -> Identity:
    """Find out which chip answers at `address`, as far as that is safe.

    Raises:
        BusDenied: a kernel driver owns the address. BusTimeout, BusGone: the bus failed.
    """
    try:
        if address in {0x76, 0x77}:
            return _pressure_sensor(bus, address)
        if address in {0x44, 0x45}:
            return _sht3x(bus, address)
    except NoAcknowledge:
        return Identity(None, f"answers, and then refuses to be read ({_hint(address)})")
    return Identity(None, f"unknown ({_hint(address)})")


def _pressure_sensor(bus: I2CBus, address: int) -> Identity:
    def register(number: int) -> int:
        return bus.transfer(address, bytes((number,)), 1)[0]

    chip_id = register(bme280.CHIP_ID)
    if chip_id == bme280.BME280_ID:
        return Identity("bme280", "BME280")
    if chip_id in bme280.BMP280_IDS:
        return Identity("bmp280", "BMP280")
    if chip_id in bme280.CHIP_NAMES:
        return Identity(None, bme280.CHIP_NAMES[chip_id])
    name = _BMP3_NAMES.get(register(_BMP3_ID))
    if name is not None:
        return Identity(None, name)
    if register(_DPS310_ID) == _DPS310_PRODUCT:
        return Identity(None, "DPS310 or DPS368")
    return Identity(None, f"unknown, register 0xd0 reads {chip_id:#04x} ({_hint(address)})")


def _sht3x(bus: I2CBus, address: int) -> Identity:
    bus.transfer(address, sht3x.READ_STATUS, 0)
    try:
        sht3x.checked_words(bus.transfer(address, b"", 3), 1)
    except (ChecksumMismatch, BadReply):
        return Identity(None, f"unknown ({_hint(address)})")
    return Identity("sht3x", "SHT30, SHT31 or SHT35")


def _hint(address: int) -> str:
    return next((hint for addresses, hint in _HINTS if address in addresses), "no usual sensor")
