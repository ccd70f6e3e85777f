"""One measurement of every configured sensor through the production drivers, without an agent."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Final

from edge_agent.agent.build import sampled_buses
from edge_agent.clock import NS_PER_S
from edge_agent.sampling.worker import BusWorker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.bus.base import AnyBus
    from edge_agent.clock import Clock
    from edge_agent.config.model import Config
    from edge_agent.sampling.sensor import SensorOnBus

_RETRY_S: Final = 1.0
"""How soon a measurement that failed is tried again, whatever the configured period; unless the chip is slower."""


def measure_once(config: Config, buses: Mapping[str, AnyBus], clock: Clock) -> dict[str, SensorOnBus]:
    """Measure with each sensor until it has a measurement or was found absent. Returns the sensors by id."""
    never = threading.Event()
    soon_ns = {
        sensor.id: round(min(sensor.period_s, max(_RETRY_S, sensor.driver.period_s)) * NS_PER_S)
        for sensor in config.sensors
    }
    found: dict[str, SensorOnBus] = {}
    for sampled in sampled_buses(config, buses):
        worker = BusWorker(sampled, clock=clock, rng=random.Random(0), deliver=lambda _item: True)  # noqa: S311 no secret
        for sensor in worker.sensors:
            sensor.period_ns = soon_ns[sensor.id]
            found[sensor.id] = sensor
        while any(sensor.last is None and not sensor.attempts for sensor in worker.sensors) and not worker.stuck:
            clock.wait(never, worker.step())
    return found
