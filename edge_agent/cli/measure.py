"""One measurement with every configured sensor through the production drivers, for `read` and `doctor`."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from edge_agent.cli.options import SIMULATION_START, load, to_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_agent.bus.base import AnyBus
    from edge_agent.clock import Clock
    from edge_agent.config.model import Config
    from edge_agent.sampling.sensor import SensorOnBus

SIMULATED_SEED: Final = 1
_RETRY_S: Final = 1.0
"""Pause before a failed measurement is tried again, whatever the configured period; longer if the chip is slower."""


@contextmanager
def opened(config_path: Path | None, *, simulate: bool) -> Iterator[tuple[Config, Mapping[str, AnyBus], Clock]]:
    """Open every configured bus, and close all at the end.

    Args:
        config_path: of the configuration; None: the default one, or the default rig's with `simulate`.
        simulate: whether chips, buses and clock are simulated.

    Yields:
        The configuration, its buses by name, and the clock of the buses.
    """
    from edge_agent.agent.build import open_buses
    from edge_agent.cli.simulation import rig_config, simulated_buses
    from edge_agent.clock import SimulatedClock, SystemClock

    if simulate:
        config = rig_config(config_path)
        clock = SimulatedClock(to_ns(SIMULATION_START))
        with simulated_buses(config, clock, SIMULATED_SEED) as simulated:
            yield config, simulated, clock
        return
    config = load(config_path)
    buses = open_buses(config)
    try:
        yield config, buses, SystemClock()
    finally:
        for bus in buses.values():
            bus.close()


def measure_once(config: Config, buses: Mapping[str, AnyBus], clock: Clock) -> dict[str, SensorOnBus]:
    """Measure with each sensor until it has a measurement or was found absent. Returns the sensors by id."""
    from edge_agent.agent.build import sampled_buses
    from edge_agent.clock import NS_PER_S
    from edge_agent.sampling.worker import BusWorker

    # The caller reports failures; they are not logged as well.
    logging.getLogger("edge_agent").addHandler(logging.NullHandler())
    never = threading.Event()
    soon_ns = {
        sensor.id: round(min(sensor.period_s, max(_RETRY_S, sensor.driver.period_s)) * NS_PER_S)
        for sensor in config.sensors
    }
    found: dict[str, SensorOnBus] = {}
    for sampled in sampled_buses(config, buses):
        worker = BusWorker(sampled, clock=clock, rng=random.Random(0), deliver=lambda _item: True)  # noqa: S311
        for sensor in worker.sensors:
            sensor.period_ns = soon_ns[sensor.id]
            found[sensor.id] = sensor
        while any(sensor.last is None and not sensor.attempts for sensor in worker.sensors) and not worker.stuck:
            clock.wait(never, worker.step())
    return found
