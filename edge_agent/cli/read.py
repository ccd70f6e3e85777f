"""`edge-agent read`: one measurement of every sensor, through the production drivers."""

from __future__ import annotations

import json
import random
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click

from edge_agent.cli.options import SIMULATION_START, config_option, load, to_ns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.sampling.sensor import SensorOnBus
    from edge_agent.sampling.worker import BusWorker

SIMULATED_SEED: Final = 1
_RETRY_NS: Final = 1_000_000_000
"""How soon a measurement that failed is tried again, whatever the configured period."""


@click.command
@config_option
@click.option("--simulate", is_flag=True, help="Mock chips under the real drivers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per sensor.")
def read(config_path: Path | None, simulate: bool, as_json: bool) -> None:
    """Measure once with every sensor.

    Exit code 69 if any of them gave nothing.
    """
    from edge_agent.cli.simulation import rig_config, simulated_buses
    from edge_agent.clock import SimulatedClock, SystemClock
    from edge_agent.sampling.worker import BusWorker
    from edge_agent.settings import open_buses, sampled_buses

    config = rig_config(config_path) if simulate else load(config_path)
    clock: Clock = SimulatedClock(to_ns(SIMULATION_START)) if simulate else SystemClock()
    with ExitStack() as stack:
        if simulate:
            buses = stack.enter_context(simulated_buses(config, clock, SIMULATED_SEED))
        else:
            buses = open_buses(config)
            for bus in buses.values():
                stack.callback(bus.close)
        workers = [
            BusWorker(bus, clock=clock, rng=random.Random(0), deliver=lambda _item: True)  # noqa: S311
            for bus in sampled_buses(config, buses)
        ]
        for worker in workers:
            for sensor in worker.sensors:
                sensor.period_ns = _RETRY_NS
            _measure_once(worker, clock)
    sensors = {sensor.id: sensor for worker in workers for sensor in worker.sensors}
    for configured in config.sensors:
        sensor = sensors[configured.id]
        click.echo(json.dumps(_object(sensor)) if as_json else _line(sensor))
    if any(sensor.last is None for sensor in sensors.values()):
        raise SystemExit(69)


def _measure_once(worker: BusWorker, clock: Clock) -> None:
    """Step the worker until each of its sensors has measured or was found absent."""
    never = threading.Event()
    while any(sensor.last is None and not sensor.attempts for sensor in worker.sensors):
        clock.wait(never, worker.step())


def _object(sensor: SensorOnBus) -> dict[str, Any]:
    """What `--json` prints: `error` is null if there is a measurement."""
    if sensor.last is None:
        return {"sensor": sensor.id, "values": None, "error": sensor.cause}
    values = dict(zip(sensor.last.quantities, sensor.last.values, strict=True))
    return {"sensor": sensor.id, "values": values, "error": None}


def _line(sensor: SensorOnBus) -> str:
    from edge_agent.quantity import QUANTITIES

    if sensor.last is None:
        return f"{sensor.id}: {sensor.cause}"
    shown = [
        f"{name} no value" if value is None else f"{value:.2f} {QUANTITIES[name].unit}"
        for name, value in zip(sensor.last.quantities, sensor.last.values, strict=True)
    ]
    return f"{sensor.id}: {', '.join(shown)}"
