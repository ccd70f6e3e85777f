from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers.identify import Identity, identify
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import BusTimeout, NoAcknowledge

if TYPE_CHECKING:
    from tests.drivers.conftest import ScriptedI2C


@pytest.mark.parametrize(
    ("registers", "driver", "title"),
    [
        ([(0xD0, 0x60)], "bme280", "BME280"),
        ([(0xD0, 0x58)], "bmp280", "BMP280"),
        ([(0xD0, 0x56)], "bmp280", "BMP280"),
        ([(0xD0, 0x61)], None, "BME680"),
        ([(0xD0, 0x55)], None, "BMP180"),
        ([(0xD0, 0x00), (0x00, 0x50)], None, "BMP388"),
        ([(0xD0, 0x00), (0x00, 0x60)], None, "BMP390"),
        ([(0xD0, 0x00), (0x00, 0x12), (0x0D, 0x10)], None, "DPS310"),
        ([(0xD0, 0x01), (0x00, 0x02), (0x0D, 0x03)], None, "unknown, register 0xd0 reads 0x01"),
    ],
)
def test_pressure_sensors_are_told_apart_by_reading_alone(
    i2c: ScriptedI2C, registers: list[tuple[int, int]], driver: str | None, title: str
) -> None:
    for number, value in registers:
        i2c.expect(bytes((number,)), bytes((value,)))
    found = identify(i2c, 0x76)
    assert found.driver == driver
    assert found.title.startswith(title)


@pytest.mark.parametrize(("status", "driver"), [(b"\x80\x10\xe1", "sht3x"), (b"\xff\xff\xff", None)])
def test_an_sht3x_is_known_by_the_checksum_of_its_status(i2c: ScriptedI2C, status: bytes, driver: str | None) -> None:
    i2c.expect(b"\xf3\x2d")
    i2c.expect(b"", status)
    assert identify(i2c, 0x44).driver == driver


@pytest.mark.parametrize("address", [0x18, 0x38, 0x40, 0x46, 0x48, 0x50, 0x5C, 0x62, 0x68, 0x70, 0x73, 0x0B])
def test_nothing_is_sent_to_other_addresses(i2c: ScriptedI2C, address: int) -> None:
    found = identify(i2c, address)
    assert found.driver is None
    assert found.title.startswith("unknown (")
    assert i2c.addresses == set()


def test_a_chip_that_refuses_to_be_read_is_unknown_and_a_stuck_bus_is_an_error(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xf3\x2d", NoAcknowledge("no"))
    assert identify(i2c, 0x45) == Identity(None, "answers, and then refuses to be read (SHT4x, OPT3001 or INA219?)")
    i2c.expect(b"\xf3\x2d", BusTimeout("stuck"))
    with pytest.raises(BusTimeout):
        identify(i2c, 0x45)


def test_every_driver_named_exists(i2c: ScriptedI2C) -> None:
    del i2c
    assert {"bme280", "bmp280", "sht3x"} <= all_drivers().keys()
