"""What a person reads when a chip is not where the configuration says, from the configuration down to the registers."""

from __future__ import annotations

import random

import pytest

from edge_agent.agent.build import sampled_buses
from edge_agent.bus.base import BusKind
from edge_agent.clock import SimulatedClock
from edge_agent.config.load import parse_config
from edge_agent.reading import Event, Measurement
from edge_agent.sampling.worker import BusWorker
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor


@pytest.mark.parametrize(
    ("driver", "address", "there", "at", "said"),
    [
        (
            "bme280",
            0x76,
            "bmp280",
            0x77,
            "nothing answers at 0x76 on i2c1: check address, wiring and power; a BMP280 answers at 0x77",
        ),
        (
            "sht4x",
            0x44,
            "sht3x",
            0x45,
            "nothing answers at 0x44 on i2c1: check address, wiring and power; a SHT30, SHT31 or SHT35 answers at 0x45",
        ),
        (
            "bmp388",
            0x76,
            "bme280",
            0x76,
            '0x76 is a BME280 (id 0x60), not a BMP388 or BMP390: set driver = "bme280"',
        ),
        ("mcp9808", 0x18, "mcp9808", 0x1F, "check address, wiring and power; a MCP9808 answers at 0x1f"),
    ],
)
def test_who_is_not_there_is_told_with_what_is(driver: str, address: int, there: str, at: int, said: str) -> None:
    config = parse_config(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
        f'[[sensor]]\nid = "air"\ndriver = "{driver}"\nbus = "i2c1"\naddress = {address}\n'
    )
    clock = SimulatedClock(1_750_000_000_000_000_000)
    events: list[Event] = []

    def deliver(item: Measurement | Event) -> bool:
        if isinstance(item, Event):
            events.append(item)
        return True

    with Rig(1, clock, [SimulatedBusSpec("i2c1", BusKind.I2C)], [SimulatedSensor(there, "i2c1", at)]) as rig:
        (bus,) = sampled_buses(config, rig.buses)  # type: ignore[arg-type]
        worker = BusWorker(bus, clock=clock, rng=random.Random(1), deliver=deliver)
        for _ in range(20):
            clock.advance_to(worker.step() or 0)
    (event,) = events
    assert event.state == "absent"
    assert said in event.cause
