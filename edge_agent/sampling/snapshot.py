"""The part of a snapshot that one bus worker gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.sampling.hanging import describe_hanging, hanging_access
from edge_agent.sampling.sensor import SensorState

if TYPE_CHECKING:
    from edge_agent.reading import Measurement
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


def bus_part(worker: BusWorker, now_ns: int) -> BusPart:
    """What a bus worker has done so far. May be asked from any thread.

    Args:
        worker: the worker.
        now_ns: present time, nanoseconds since boot.
    """
    hanging = hanging_access(worker, now_ns)
    return BusPart(
        worker.name.removeprefix("bus "),
        worker.stuck or hanging is not None,
        tuple(
            SensorPart(
                sensor.id,
                sensor.state if hanging is None else SensorState.OFFLINE,
                sensor.measurements,
                sensor.errors,
                sensor.missed,
                sensor.cause if hanging is None else describe_hanging(hanging, now_ns),
                sensor.last,
            )
            for sensor in worker.sensors
        ),
    )
