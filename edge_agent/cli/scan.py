"""`edge-agent scan`: which chips answer on an I2C bus, as configuration that can be pasted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus

ADDRESSES: Final = range(0x08, 0x78)
"""All but the reserved ones (UM10204 section 3.1.12)."""


@click.command
@click.option("--bus", metavar="NAME|PATH", help="A bus of the configuration or a device; default: every /dev/i2c-*.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="Where NAME is looked up."
)
@click.option("--simulate", is_flag=True, help="Scan the simulated default rig.")
def scan(bus: str | None, config_path: Path | None, simulate: bool) -> None:
    """Find chips on I2C, without writing to addresses where that could do harm.

    Prints a [[sensor]] table for each chip that there is a driver for, and says what else answers.
    """
    if simulate:
        _scan_simulated(config_path)
        return
    from edge_agent.bus.smbus import SmbusI2C

    devices = _devices(bus, config_path)
    if not devices:
        from edge_agent.errors import Unavailable

        raise Unavailable(
            "there is no /dev/i2c-*: I2C is off; add dtparam=i2c_arm=on to /boot/firmware/config.txt or use "
            "raspi-config, load i2c-dev, and reboot"
        )
    for name, device in devices:
        adapter = SmbusI2C(device)
        try:
            _scan(adapter, name, device)
        finally:
            adapter.close()


def _devices(bus: str | None, config_path: Path | None) -> list[tuple[str, str]]:
    """Bus names and device paths to look at."""
    if bus is None:
        return [(path.name.replace("-", ""), str(path)) for path in sorted(Path("/dev").glob("i2c-*"))]
    if bus.startswith("/"):
        return [(Path(bus).name.replace("-", ""), bus)]
    from edge_agent.cli.options import load

    config = load(config_path)
    if bus not in config.buses:
        raise click.BadParameter(f"the configuration has no bus {bus!r}", param_hint="--bus")
    if config.buses[bus].resolved_kind() != "i2c":
        raise click.BadParameter(f"{bus!r} is no I2C bus", param_hint="--bus")
    return [(bus, config.buses[bus].device)]


def _scan_simulated(config_path: Path | None) -> None:
    from edge_agent.cli.options import SIMULATION_START, to_ns
    from edge_agent.cli.simulation import rig_config, simulated_buses
    from edge_agent.clock import SimulatedClock
    from edge_agent.simulate.i2c import SimulatedI2C

    config = rig_config(config_path)
    with simulated_buses(config, SimulatedClock(to_ns(SIMULATION_START)), seed=1) as buses:
        for name, bus in buses.items():
            if isinstance(bus, SimulatedI2C):
                _scan(bus, name, config.buses[name].device)


def _scan(bus: I2CBus, name: str, device: str) -> None:
    """Print what answers on one bus."""
    from edge_agent.drivers.identify import identify
    from edge_agent.drivers.registry import all_drivers
    from edge_agent.errors import BusDenied

    found, drivers = 0, tuple(all_drivers().values())
    click.echo(f"[bus.{name}]\ndevice = {device!r}".replace("'", '"'))
    for address in ADDRESSES:
        try:
            if not bus.ping(address):
                continue
            identity = identify(bus, address, drivers)
        except BusDenied as error:
            click.echo(f"\n# {address:#04x}: {error}")
            found += 1
            continue
        found += 1
        if identity.driver is None:
            click.echo(f"\n# {address:#04x}: {identity.title}")
        else:
            click.echo(
                f'\n[[sensor]]  # {identity.title}\nid = "{identity.driver}-{address:02x}"\n'
                f'driver = "{identity.driver}"\nbus = "{name}"\naddress = {address:#04x}'
            )
    if not found:
        click.echo("# nothing answers: check wiring, power and pull-ups")
