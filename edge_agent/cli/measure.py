"""One measurement with every configured sensor through the production drivers, for `read` and `doctor`."""

from __future__ import annotations

import logging
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
    """As `agent.measure.measure_once`, without a log: what goes wrong is the command's to say."""
    from edge_agent.agent import measure

    logging.getLogger("edge_agent").addHandler(logging.NullHandler())
    return measure.measure_once(config, buses, clock)
