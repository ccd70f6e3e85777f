"""`edge-agent read`: one measurement with every sensor, through the production drivers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli.options import config_option

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.sampling.sensor import SensorOnBus


@click.command
@config_option
@click.option("--simulate", is_flag=True, help="Mock chips under the real drivers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per sensor.")
def read(config_path: Path | None, simulate: bool, as_json: bool) -> None:
    """Take one measurement with every sensor.

    Exit code 69 if a sensor gave no measurement.
    """
    from edge_agent.cli.measure import measure_once, opened

    with opened(config_path, simulate=simulate) as (config, buses, clock):
        sensors = measure_once(config, buses, clock)
    for configured in config.sensors:
        sensor = sensors[configured.id]
        click.echo(json.dumps(_object(sensor)) if as_json else f"{sensor.id}: {shown(sensor)}")
    if any(sensor.last is None for sensor in sensors.values()):
        raise SystemExit(69)


def _object(sensor: SensorOnBus) -> dict[str, Any]:
    """What `--json` prints for one sensor; `error` is null if there is a measurement."""
    if sensor.last is None:
        return {"sensor": sensor.id, "values": None, "error": sensor.cause}
    values = dict(zip(sensor.last.quantities, sensor.last.values, strict=True))
    return {"sensor": sensor.id, "values": values, "error": None}


def shown(sensor: SensorOnBus) -> str:
    """The sensor's measurement for people, or why there is none."""
    from edge_agent.quantity import QUANTITIES

    if sensor.last is None:
        return sensor.cause
    values = [
        f"{name} no value" if value is None else f"{value:.2f} {QUANTITIES[name].unit}"
        for name, value in zip(sensor.last.quantities, sensor.last.values, strict=True)
    ]
    return ", ".join(values) + (f"; it {sensor.notice}" if sensor.notice else "")
