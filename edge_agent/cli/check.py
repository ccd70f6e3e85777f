"""`edge-agent check`: validates the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import config_option, load_with_notes, today

if TYPE_CHECKING:
    from pathlib import Path


@click.command
@config_option
def check(config_path: Path | None) -> None:
    """Validate the configuration; touches no hardware and no network.

    Exit code 0 if it is right; 78 if not, with every mistake listed.
    """
    config, notes = load_with_notes(config_path)
    channels = sum(len(sensor.channels) for sensor in config.sensors)
    click.echo(
        f"ok: gateway {config.gateway.id}, {len(config.sensors)} sensors with {channels} channels on "
        f"{len(config.buses)} buses, to {config.uplink.url}"
    )
    for sensor in config.sensors:
        where = f" at {sensor.address:#04x}" if sensor.driver.bus.value == "i2c" else ""
        click.echo(f"  {sensor.id}: {sensor.driver.name} on {sensor.bus}{where}, every {sensor.period_s:g} s")
        for name, channel in sensor.channels.items():
            if channel.calibration_due is not None and channel.calibration_due < today():
                click.echo(f"  note: the calibration of {sensor.id}.{name} was due on {channel.calibration_due}")
    for note in notes:
        click.echo(f"  note: {note}")
    if not config.sensors:
        click.echo("  no sensors yet: `edge-agent scan` prints what to add")
