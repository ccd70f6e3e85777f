from __future__ import annotations

from pathlib import Path

import pytest
import serial

from edge_agent.bus.base import BusKind
from edge_agent.clock import Anchor, ClockQuality, SimulatedClock
from edge_agent.errors import Unavailable
from edge_agent.simulate.chips.sht3x import Sht3x
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.registry import chip_makers
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor
from edge_agent.simulate.uart import PtyDevice
from edge_agent.simulate.w1 import SimulatedW1

START_NS = 1_750_000_000_000_000_000
BUSES = (
    SimulatedBusSpec("i2c1", BusKind.I2C),
    SimulatedBusSpec("w1", BusKind.SYSFS),
    SimulatedBusSpec("rs485", BusKind.SERIAL),
)
AIR = SimulatedSensor("bme280", "i2c1", 0x76)
LEAF = SimulatedSensor("sht3x", "i2c1", 0x44)
SOIL = SimulatedSensor("ds18b20", "w1", options={"serial": "28-0123456789ab"})
DOOR = SimulatedSensor("modbus_rtu", "rs485", 1)
SENSORS = (AIR, LEAF, SOIL, DOOR)


def sht3x_raw(rig: Rig, clock: SimulatedClock) -> bytes:
    bus = rig.buses["i2c1"]
    assert isinstance(bus, SimulatedI2C)
    bus.transfer(0x44, b"\x24\x00", 0)
    clock.advance_to(clock.now_ns() + 15_500_000)
    return bus.transfer(0x44, b"", 6)


def test_every_kind_of_bus_answers() -> None:
    clock = SimulatedClock(START_NS)
    with Rig(1, clock, BUSES, SENSORS) as rig:
        i2c, w1, rs485 = (rig.buses[bus.name] for bus in BUSES)
        assert isinstance(i2c, SimulatedI2C)
        assert isinstance(w1, SimulatedW1)
        assert isinstance(rs485, PtyDevice)
        assert [address for address in range(8, 120) if i2c.ping(address)] == [0x44, 0x76]
        truth = rig.truth(SOIL, clock.now_ns()).temperature_c
        assert int(w1.read("28-0123456789ab/temperature")) / 1000 == pytest.approx(truth, abs=0.15)
        with serial.Serial(rs485.path, 9600, timeout=1.0) as port:
            port.write(bytes.fromhex("010400010002200b"))
            reply = port.read(9)
        truth = rig.truth(DOOR, clock.now_ns()).temperature_c
        assert int.from_bytes(reply[3:5], "big") / 10 == pytest.approx(truth, abs=0.25)


def test_sensors_of_one_greenhouse_agree_and_do_not_coincide() -> None:
    clock = SimulatedClock(START_NS)
    with Rig(1, clock, BUSES, SENSORS) as rig:
        temperatures = [rig.truth(sensor, clock.now_ns()).temperature_c for sensor in SENSORS]
    assert max(temperatures) - min(temperatures) < 2.0
    assert len(set(temperatures)) == len(SENSORS)


def test_seed_decides_every_byte() -> None:
    replies = []
    for seed in (1, 1, 2):
        clock = SimulatedClock(START_NS)
        with Rig(seed, clock, BUSES, SENSORS) as rig:
            replies.append([sht3x_raw(rig, clock) for _ in range(5)])
    assert replies[0] == replies[1] != replies[2]


def test_one_sensor_more_does_not_change_the_others() -> None:
    replies = []
    for sensors in ([LEAF], SENSORS):
        clock = SimulatedClock(START_NS)
        with Rig(1, clock, BUSES, sensors) as rig:
            replies.append(sht3x_raw(rig, clock))
    assert replies[0] == replies[1]


def test_step_of_the_wall_clock_does_not_move_the_air() -> None:
    clock = SimulatedClock(START_NS)
    with Rig(1, clock, BUSES, SENSORS) as rig:
        before = rig.truth(AIR, clock.now_ns())
        clock.set_anchor(Anchor(0, ClockQuality.NONE, 0))
        assert rig.truth(AIR, clock.now_ns()) == before


def test_chip_of_a_sensor_can_be_reached_for_faults() -> None:
    with Rig(1, SimulatedClock(START_NS), BUSES, SENSORS) as rig:
        assert isinstance(rig.chip(LEAF), Sht3x)


def test_driver_without_a_model_is_said_so() -> None:
    with pytest.raises(Unavailable, match=r'"scd9".*bme280, .*bmp280'):
        Rig(1, SimulatedClock(START_NS), BUSES, [SimulatedSensor("scd9", "i2c1", 0x62)])


def test_chip_on_the_wrong_kind_of_bus_is_said_so() -> None:
    with pytest.raises(Unavailable, match='kind "i2c", and "rs485"'):
        Rig(1, SimulatedClock(START_NS), BUSES, [SimulatedSensor("bme280", "rs485", 0x76)])


def test_close_leaves_nothing_behind() -> None:
    rig = Rig(1, SimulatedClock(START_NS), BUSES, SENSORS)
    w1, rs485 = rig.buses["w1"], rig.buses["rs485"]
    assert isinstance(w1, SimulatedW1)
    assert isinstance(rs485, PtyDevice)
    rig.close()
    rig.close()
    assert not w1.directory.exists()
    assert not Path(rs485.path).exists()


def test_models_are_found_by_the_names_of_drivers() -> None:
    assert {"bme280", "bmp280", "sht3x", "ds18b20", "modbus_rtu"} <= set(chip_makers())
