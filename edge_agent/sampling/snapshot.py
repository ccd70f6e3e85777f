"""The part of a snapshot that one bus worker gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.reading import Measurement
    from edge_agent.sampling.sensor import SensorState
    from edge_agent.sampling.worker import BusWorker


@dataclass(frozen=True, slots=True)
class SensorPart:
    """One sensor.

    Attributes:
        id: as configured.
        state: where it stands.
        measurements, errors, missed: counts; `missed` are slots that passed while the bus was busy or stuck.
        cause: why it is not sampling, or what a person should know of it although it is; empty if all is well.
        last: its latest measurement; None before the first.
    """

    id: str
    state: SensorState
    measurements: int
    errors: int
    missed: int
    cause: str
    last: Measurement | None


@dataclass(frozen=True, slots=True)
class BusPart:
    """One bus: whether nothing gets through on it, and its sensors."""

    name: str
    stuck: bool
    sensors: tuple[SensorPart, ...]


def bus_part(worker: BusWorker) -> BusPart:
    """What a bus worker has done so far. May be asked from any thread."""
    return BusPart(
        worker.name.removeprefix("bus "),
        worker.stuck,
        tuple(
            SensorPart(
                sensor.id,
                sensor.state,
                sensor.measurements,
                sensor.errors,
                sensor.missed,
                sensor.cause,
                sensor.last,
            )
            for sensor in worker.sensors
        ),
    )
