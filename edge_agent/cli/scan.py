"""`edge-agent scan`: finds chips and ports, and prints configuration for them."""

from __future__ import annotations

import errno
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus, Sysfs
    from edge_agent.bus.mux import MuxAdapter
    from edge_agent.config.model import Config
    from edge_agent.drivers.base import DriverInfo

ADDRESSES: Final = range(0x08, 0x78)
"""All but the reserved ones (UM10204 section 3.1.12)."""
MUXES: Final = range(0x70, 0x78)
_NOT_FOR_SENSORS: Final = frozenset({0, 2, 10, 11, 20, 21, 22})
"""Numbers of I2C adapters on a Pi for HAT EEPROMs, cameras and displays: a scan there can do harm."""
_PORTS: Final = ("serial/by-id/*", "serial0", "ttyAMA*", "ttyUSB*", "ttyACM*")


@click.command
@click.option("--bus", metavar="NAME|PATH", help="A bus of the configuration or an I2C device, and nothing else.")
@click.option("--mux", "muxes", multiple=True, metavar="ADDRESS", help="Look behind a TCA9548A at 0x70 to 0x77, too.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="Where NAME is looked up."
)
@click.option("--simulate", is_flag=True, help="Scan the simulated default rig.")
def scan(bus: str | None, muxes: tuple[str, ...], config_path: Path | None, simulate: bool) -> None:
    """Find chips on I2C, 1-Wire and in the kernel's own drivers, and serial ports.

    Prints a [[sensor]] table for each chip that has a driver, and a comment for each address that answers otherwise.
    Nothing is written to an address where that could do harm. Chips behind a multiplexer are found with --mux only,
    because that writes to the multiplexer.
    """
    behind = [_mux_address(text) for text in muxes]
    if simulate:
        _scan_simulated(config_path, behind)
        return
    if bus is not None:
        name, device = _named(bus, config_path)
        _scan_adapter(name, device, behind)
        return
    found = _scan_adapters(behind) + _scan_kernel() + _list_ports(Path("/dev"))
    if not found:
        from edge_agent.errors import Unavailable

        raise Unavailable(
            "there is nothing to look at: no I2C (add dtparam=i2c_arm=on to /boot/firmware/config.txt or use "
            "raspi-config, load i2c-dev, and reboot), no 1-Wire (dtoverlay=w1-gpio), no serial port"
        )


def _mux_address(text: str) -> int:
    try:
        address = int(text, 0)
    except ValueError:
        address = -1
    if address not in MUXES:
        raise click.BadParameter(f"{text!r} is not 0x70 to 0x77", param_hint="--mux")
    return address


def _named(bus: str, config_path: Path | None) -> tuple[str, str]:
    """Name and device of a bus that is given by its name or by its path."""
    if bus.startswith("/"):
        return Path(bus).name.replace("-", ""), bus
    from edge_agent.cli.options import load

    config = load(config_path)
    if bus not in config.buses:
        raise click.BadParameter(f"the configuration has no bus {bus!r}", param_hint="--bus")
    if config.buses[bus].resolved_kind() != "i2c":
        raise click.BadParameter(f"{bus!r} is no I2C bus", param_hint="--bus")
    return bus, config.buses[bus].device


# I2C


def _scan_adapters(behind: list[int]) -> int:
    """Scan every adapter that is likely to have sensors. Returns how many adapters there are."""
    devices = sorted(Path("/dev").glob("i2c-*"))
    for device in devices:
        number = device.name.removeprefix("i2c-")
        if number.isdigit() and int(number) in _NOT_FOR_SENSORS and len(devices) > 1:
            click.echo(f"# {device} is left alone: on a Pi it is not for sensors; scan it with --bus {device}\n")
        else:
            _scan_adapter(device.name.replace("-", ""), str(device), behind)
    return len(devices)


def _scan_adapter(name: str, device: str, behind: list[int]) -> None:
    from edge_agent.bus.smbus import SmbusI2C

    with closing(SmbusI2C(device)) as adapter:
        _print_i2c(adapter, name, device, behind)


def _print_i2c(bus: I2CBus, name: str, device: str, behind: list[int]) -> None:
    """Print what answers on one adapter and behind its multiplexers."""
    from edge_agent.bus.mux import MuxAdapter

    mux_adapter = MuxAdapter(bus)
    for mux in behind:
        mux_adapter.channel(mux, 0)  # so that all of them are closed while the bus itself is scanned
    _print_bus(name, device)
    direct = {address: (driver, title) for address, driver, title in chips_on(mux_adapter) if address not in behind}
    for address, (driver, title) in direct.items():
        _print_chip(name, address, driver, title)
        if driver is None and address in MUXES:
            click.echo(f"# if that is a multiplexer, `edge-agent scan --mux {address:#04x}` looks behind it")
    found = len(direct) + sum(_print_behind(mux_adapter, mux, name, {*direct, *behind}) for mux in behind)
    if not found:
        click.echo("# nothing answers: check wiring, power and pull-ups")
    click.echo()


def _print_behind(mux_adapter: MuxAdapter, mux: int, name: str, direct: set[int]) -> int:
    """Print what answers behind a multiplexer and not on the bus itself. Returns how many chips."""
    from edge_agent.errors import NoAcknowledge

    found = 0
    for channel in range(8):
        try:
            for address, driver, title in chips_on(mux_adapter.channel(mux, channel)):
                if address not in direct:
                    found += 1
                    _print_chip(name, address, driver, title, mux=mux, channel=channel)
        except NoAcknowledge as error:
            click.echo(f"# {error}")
            break
    return found


def chips_on(bus: I2CBus) -> Iterator[tuple[int, str | None, str]]:
    """Yield address, driver (None if there is none) and title of every chip that answers.

    Raises:
        BusGone, BusDenied, BusTimeout: the adapter itself cannot be used.
    """
    from edge_agent.drivers.identify import identify
    from edge_agent.drivers.registry import all_drivers
    from edge_agent.errors import BusDenied

    drivers = tuple(all_drivers().values())
    for address in ADDRESSES:
        try:
            if bus.ping(address):
                identity = identify(bus, address, drivers)
                yield address, identity.driver, identity.title
        except BusDenied as error:
            if error.errno != errno.EBUSY:  # which is one address that a kernel driver owns
                raise
            yield address, None, str(error)


def _print_bus(name: str, device: str) -> None:
    click.echo(f"[bus.{name}]\ndevice = {json.dumps(device)}")


def _print_chip(
    bus: str, address: int, driver: str | None, title: str, *, mux: int | None = None, channel: int = 0
) -> None:
    where = "" if mux is None else f" behind {mux:#04x} channel {channel}"
    if driver is None:
        click.echo(f"\n# {address:#04x}{where}: {title}")
        return
    path = "" if mux is None else f"-{mux:02x}-{channel}"
    lines = [f'\n[[sensor]]  # {title}\nid = "{driver.replace("_", "-")}{path}-{address:02x}"\ndriver = "{driver}"']
    lines.append(f'bus = "{bus}"\naddress = {address:#04x}')
    if mux is not None:
        lines.append(f"mux = {mux:#04x}\nmux_channel = {channel}")
    click.echo("\n".join(lines))


# Sensors with a kernel driver


def _scan_kernel() -> int:
    """Print the sensors that the kernel shows below /sys. Returns how many buses there are."""
    from edge_agent.bus.sysfs import SysfsTree
    from edge_agent.drivers.registry import all_drivers

    present = [info for info in all_drivers().values() if info.find is not None and Path(info.device).is_dir()]
    for info in present:
        with closing(SysfsTree(info.device)) as tree:
            _print_kernel(tree, info.name.replace("_", "-"), info.device, [info])
    return len(present)


def _print_kernel(tree: Sysfs, name: str, device: str, drivers: list[DriverInfo]) -> None:
    """Print the sensors in one of the kernel's directories."""
    for info in drivers:
        found = list(info.find(tree)) if info.find is not None else []
        if not found:
            continue
        _print_bus(name, device)
        for number, sensor in enumerate(found, start=1):
            click.echo(f'\n[[sensor]]  # {sensor.title}\nid = "{info.name.replace("_", "-")}-{number}"')
            click.echo(f'driver = "{info.name}"\nbus = "{name}"')
            for key, value in sensor.options.items():
                click.echo(f"{key} = {json.dumps(value)}")
        click.echo()


# Serial ports


def _list_ports(dev: Path) -> int:
    """Print the serial ports; a device on one cannot be identified. Returns how many ports there are."""
    stable = {path.resolve() for path in dev.glob(_PORTS[0])}
    ports = [path for pattern in _PORTS for path in sorted(dev.glob(pattern))]
    shown = [port for port in ports if port.parent.name == "by-id" or port.resolve() not in stable]
    for number, port in enumerate(shown, start=1):
        note = (
            "" if port.parent.name == "by-id" or port.name == "serial0" else "  # may change its name when re-plugged"
        )
        click.echo(f"# A serial port: `edge-agent drivers` lists what could be on it.\n[bus.serial{number}]")
        click.echo(f"device = {json.dumps(str(port))}{note}\nbaud = 9600\n")
    return len(shown)


def _scan_simulated(config_path: Path | None, behind: list[int]) -> None:
    """Scan the simulated rig, with the multiplexers that its configuration names."""
    from edge_agent.cli.options import SIMULATION_START, to_ns
    from edge_agent.cli.simulation import rig_config, simulated_buses
    from edge_agent.clock import SimulatedClock
    from edge_agent.drivers.registry import all_drivers
    from edge_agent.simulate.i2c import SimulatedI2C

    config = rig_config(config_path)
    kernel = {info.device: info for info in all_drivers().values() if info.find is not None}
    with simulated_buses(config, SimulatedClock(to_ns(SIMULATION_START)), seed=1) as buses:
        for name, bus in buses.items():
            device = config.buses[name].device
            if isinstance(bus, SimulatedI2C):
                _print_i2c(bus, name, device, sorted({*behind, *_muxes(config, name)}))
            elif device in kernel:
                _print_kernel(bus, name, device, [kernel[device]])  # type: ignore[arg-type] # a tree by its device
            else:
                click.echo(f"# A serial port.\n[bus.{name}]\ndevice = {json.dumps(device)}\n")


def _muxes(config: Config, bus: str) -> set[int]:
    return {sensor.mux for sensor in config.sensors if sensor.bus == bus and sensor.mux is not None}
