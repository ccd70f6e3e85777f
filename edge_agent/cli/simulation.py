"""The simulated world that commands run in with `--simulate`: production code above mock chips."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.bus.base import AnyBus, SerialPort
    from edge_agent.clock import Clock
    from edge_agent.config.model import Bus, Config
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
    """Every configured bus with chips behind it. Serial buses are real ptys under the production port."""
    from edge_agent.bus.base import BusKind
    from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor
    from edge_agent.simulate.uart import PtyDevice

    specs = [SimulatedBusSpec(name, BusKind(bus.resolved_kind()), echo=bus.echo) for name, bus in config.buses.items()]
    sensors = [
        SimulatedSensor(
            driver=sensor.driver.name,
            bus=sensor.bus,
            address=sensor.address,
            options=dataclasses.asdict(sensor.options),
            id=sensor.id,
            mux=sensor.mux,
            channel=sensor.channel or 0,
        )
        for sensor in config.sensors
    ]
    with Rig(seed, clock, specs, sensors) as rig:
        buses: dict[str, AnyBus] = {}
        for name, bus in rig.buses.items():
            buses[name] = _port(bus, config.buses[name]) if isinstance(bus, PtyDevice) else bus
        try:
            yield buses
        finally:
            for each in buses.values():
                each.close()


def _port(device: PtyDevice, bus: Bus) -> SerialPort:
    """The production port on a simulated line."""
    from edge_agent.bus.uart import Uart
    from edge_agent.simulate.port import SimulatedPort

    return SimulatedPort(
        device,
        Uart(
            device.path,
            baud=bus.baud,
            bytesize=bus.bytesize,
            parity=bus.parity,
            stopbits=bus.stopbits,
            echo=bus.echo,
            dtr=bus.dtr,
        ),
    )
