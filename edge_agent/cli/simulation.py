"""The simulated world that commands run in with `--simulate`: production code above mock chips."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.bus.base import AnyBus, SerialPort
    from edge_agent.clock import Clock
    from edge_agent.config.model import Bus, Config
    from edge_agent.sampling.recovery import RecoveryStep
    from edge_agent.simulate.rig import Rig
    from edge_agent.simulate.uart import PtyDevice


def rig_config(config_path: Path | None) -> Config:
    """The given configuration, or the default rig's."""
    from edge_agent.config.load import load_config, parse_config

    if config_path is not None:
        return load_config(config_path)
    text = files("edge_agent.simulate").joinpath("greenhouse.toml").read_text(encoding="utf-8")
    return parse_config(text, "greenhouse.toml")


@contextmanager
def simulated_buses(config: Config, clock: Clock, seed: int) -> Iterator[dict[str, AnyBus]]:
    """Every configured bus with chips behind it."""
    with simulated_rig(config, clock, seed) as rig, buses_of(rig, config) as buses:
        yield buses


def simulated_rig(config: Config, clock: Clock, seed: int) -> Rig:
    """The configured sensors, simulated."""
    from edge_agent.bus.base import BusKind
    from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor

    specs = [
        SimulatedBusSpec(name, BusKind(bus.resolved_kind()), echo=bus.echo, device=bus.device)
        for name, bus in config.buses.items()
    ]
    sensors = [
        SimulatedSensor(
            driver=sensor.driver.name,
            bus=sensor.bus,
            address=sensor.address,
            options=dataclasses.asdict(sensor.options),
            id=sensor.id,
            mux=sensor.mux,
            channel=sensor.mux_channel or 0,
        )
        for sensor in config.sensors
    ]
    return Rig(seed, clock, specs, sensors)


@contextmanager
def buses_of(rig: Rig, config: Config) -> Iterator[dict[str, AnyBus]]:
    """What drivers are given of a rig. Serial buses are real ptys under the production port."""
    from edge_agent.simulate.uart import PtyDevice

    buses: dict[str, AnyBus] = {}
    for name, bus in rig.buses.items():
        buses[name] = _port(bus, config.buses[name]) if isinstance(bus, PtyDevice) else bus
    try:
        yield buses
    finally:
        for opened in buses.values():
            opened.close()


def _port(device: PtyDevice, bus: Bus) -> SerialPort:
    """The production port on a simulated line. A pty refuses parity and seven bits."""
    from edge_agent.bus.uart import Uart
    from edge_agent.simulate.port import SimulatedPort

    port = Uart(device.path, baud=bus.baud, echo=bus.echo, simulates=bus.device)
    return SimulatedPort(device, port)


def simulated_recovery(rig: Rig, config: Config) -> dict[str, list[RecoveryStep]]:
    """The configured ways to bring a bus back, as they would work on the rig: what frees a line there does so here."""
    from edge_agent.bus.recovery import reopen
    from edge_agent.sampling.recovery import RecoveryStep
    from edge_agent.simulate.i2c import SimulatedI2C

    def run(way: str, bus: SimulatedI2C) -> Iterator[int]:
        if way == "clock-pulses":
            bus.recover()
        elif way == "power-cycle":
            bus.power_cycle()
        yield from reopen(bus)

    return {
        name: [RecoveryStep(way, partial(run, way, bus)) for way in config.buses[name].recover]
        for name, bus in rig.buses.items()
        if isinstance(bus, SimulatedI2C)
    }
