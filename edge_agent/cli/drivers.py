"""`edge-agent drivers`: what is supported."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from edge_agent.quantity import QUANTITIES

if TYPE_CHECKING:
    from edge_agent.drivers.base import DriverInfo


@click.command
@click.argument("name", required=False)
def drivers(name: str | None) -> None:
    """List the drivers, or show one's quantities, addresses and options."""
    from edge_agent.drivers.registry import all_drivers

    known = all_drivers()
    if name is None:
        width = max((len(each) for each in known), default=0)
        for info in known.values():
            measures = ", ".join(each.quantity for each in info.quantities)
            click.echo(f"{info.name:{width}}  {info.bus.value:6}  {info.title}: {measures}")
        return
    if name not in known:
        raise click.BadParameter(f"there is no driver {name!r}; known: {', '.join(known)}", param_hint="NAME")
    _show(known[name])


def _show(info: DriverInfo) -> None:
    click.echo(f"{info.name}: {info.title}")
    click.echo(f"  source     {info.source}")
    click.echo(f"  bus        {info.bus.value}")
    if info.addresses:
        click.echo(f"  addresses  {_shown_addresses(info)}")
    for each in info.quantities:
        quantity = QUANTITIES[each.quantity]
        accuracy = f", ±{each.accuracy:g} {quantity.unit}" if each.accuracy is not None else ""
        step = each.resolution or quantity.resolution
        click.echo(
            f"  measures   {each.quantity}: {each.minimum:g} to {each.maximum:g} {quantity.unit}"
            f"{accuracy}, sent in steps of {step:g}"
        )
    for field in dataclasses.fields(info.options):
        if field.default is dataclasses.MISSING:
            default = "required"
        else:
            default = "not set" if field.default is None else f"default {field.default!r}"
        click.echo(f"  option     {field.name}: {default}")


def _shown_addresses(info: DriverInfo) -> str:
    if info.bus.value == "i2c":
        return ", ".join(f"{address:#04x}" for address in info.addresses)
    return f"{min(info.addresses)} to {max(info.addresses)}, default {info.addresses[0]}"
