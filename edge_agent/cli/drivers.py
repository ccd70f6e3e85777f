"""`edge-agent drivers`: the sensors that are supported."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING, Any, get_type_hints

import click

from edge_agent.bus.base import BusKind
from edge_agent.quantity import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.drivers.base import DriverInfo, Measured

_DEVICES = {BusKind.I2C: "/dev/i2c-1", BusKind.SERIAL: "/dev/ttyUSB0", BusKind.SYSFS: "/sys/bus/mine/devices"}


@click.command
@click.argument("name", required=False)
@click.option("--table", is_flag=True, help="All drivers as a table in Markdown.")
def drivers(name: str | None, table: bool) -> None:
    """List the drivers, or show the quantities, addresses and options of one."""
    from edge_agent.drivers.registry import all_drivers

    known = all_drivers()
    if table:
        click.echo("\n".join(markdown_table(known.values())))
        return
    if name is None:
        width = max((len(name) for name in known), default=0)
        for info in known.values():
            measures = ", ".join(measured.quantity for measured in info.quantities)
            click.echo(f"{info.name:{width}}  {info.bus.value:6}  {info.title}: {measures}")
        return
    if name not in known:
        raise click.BadParameter(f"there is no driver {name!r}; known: {', '.join(known)}", param_hint="NAME")
    _show(known[name])


def _show(info: DriverInfo) -> None:
    click.echo(f"{info.name}: {info.title}")
    click.echo(f"  source      {info.source}")
    click.echo(f"  bus         {info.bus.value}")
    if info.addresses:
        click.echo(f"  addresses   {_shown_addresses(info)}")
    click.echo(f"  conversion  {_shown_conversion(info)}")
    click.echo(f"  replies     {'carry a checksum' if info.checksum else 'carry no checksum'}")
    click.echo(f"  period      {info.period_s:g} s by default, at least {info.shortest_period_s:g} s")
    for measured in info.quantities:
        click.echo(f"  measures    {_shown_range(measured)}")
    if dataclasses.fields(info.options):
        _show_options(info.options)
    click.echo(f'\n[bus.mine]\ndevice = "{info.device or _DEVICES[info.bus]}"')
    click.echo(f'\n[[sensor]]\nid = "my-{info.name.replace("_", "-")}"\ndriver = "{info.name}"\nbus = "mine"')
    if info.addresses:
        first = info.addresses[0]
        click.echo(f"address = {first:#04x}" if info.bus is BusKind.I2C else f"address = {first}")


def _shown_range(measured: Measured) -> str:
    quantity = QUANTITIES.get(measured.quantity)
    if quantity is None:
        return f"{measured.quantity}, which no installed package declares as a quantity"
    accuracy = f", ±{measured.accuracy:g} {quantity.unit}" if measured.accuracy is not None else ""
    count = f", counts of {measured.lsb:g}" if measured.lsb is not None else ""
    return (
        f"{measured.quantity}: {measured.minimum:g} to {measured.maximum:g} {quantity.unit}{accuracy}{count}, "
        f"sent in steps of {measured.resolution or quantity.resolution:g}"
    )


def _show_options(options: type[Any]) -> None:
    """The docstring of the options, then each option with its default and its possible values."""
    from edge_agent.config.values import expected

    for line in textwrap.wrap(" ".join((options.__doc__ or "").split()), 100):
        click.echo(f"  options     {line}")
    kinds = get_type_hints(options)
    for field in dataclasses.fields(options):
        default = "not set" if field.default in {None, ()} else f"default {field.default!r}"
        click.echo(f"  option      {field.name}: {default}; {expected(kinds[field.name])}")


def markdown_table(infos: Iterable[DriverInfo]) -> list[str]:
    """A table with a row for each driver, in Markdown."""
    lines = [
        "| driver | chip | bus, addresses | measures (± accuracy; count) | conversion | CRC | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for info in infos:
        addresses = f" {_shown_addresses(info)}" if info.addresses else ""
        measures = "<br>".join(_shown_measured(measured) for measured in info.quantities)
        lines.append(
            f"| `{info.name}` | {info.title} | {info.bus.value}{addresses} | {measures} "
            f"| {_shown_conversion(info)} | {'yes' if info.checksum else 'no'} | {info.source} |"
        )
    return lines


def _shown_measured(measured: Measured) -> str:
    quantity = QUANTITIES.get(measured.quantity)
    unit = "" if quantity is None else quantity.unit
    details = [
        f"± {measured.accuracy:g} {unit}" if measured.accuracy is not None else "",
        f"{measured.lsb:g} {unit}" if measured.lsb is not None else "",
    ]
    shown = "; ".join(detail for detail in details if detail)
    return f"{measured.quantity}{f' ({shown})' if shown else ''}"


def _shown_conversion(info: DriverInfo) -> str:
    return f"{info.conversion_s * 1000:.4g} ms" if info.conversion_s else "runs by itself"


def _shown_addresses(info: DriverInfo) -> str:
    if info.bus is not BusKind.I2C:
        return f"{min(info.addresses)} to {max(info.addresses)}, default {info.addresses[0]}"
    if len(info.addresses) > 4:
        return f"{min(info.addresses):#04x} to {max(info.addresses):#04x}"
    return ", ".join(f"{address:#04x}" for address in info.addresses)
