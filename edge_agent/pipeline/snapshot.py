"""The pipeline's part of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.reading import Quality, quality_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.pipeline.counts import Counts
    from edge_agent.pipeline.sensor_batch import SensorBatch


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The latest value of one channel, canonical unit; None where the reading has none."""

    quantity: str
    value: float | None
    quality: Quality


@dataclass(frozen=True, slots=True)
class LatestValues:
    """The latest values of one sensor."""

    sensor: str
    channels: tuple[LatestValue, ...]


@dataclass(frozen=True, slots=True)
class PipelinePart:
    """What the pipeline has done so far.

    Attributes:
        counts: readings by what became of them.
        batches: how many were sealed.
        latest: values by sensor, of the last block that went through the stages.
        alerts_fired: how often a rule began to fire.
        alerts_firing: names of the rules that are firing.
        anomalies: how many were found, by kind.
    """

    counts: Counts
    batches: int
    latest: tuple[LatestValues, ...]
    alerts_fired: int
    alerts_firing: tuple[str, ...]
    anomalies: Mapping[str, int]


def latest_of(sensor: SensorBatch) -> LatestValues:
    """The latest values of one sensor."""
    channels = sensor.channels.values()
    return LatestValues(
        sensor.name,
        tuple(LatestValue(each.quantity, each.last_value, quality_of(each.last_status)) for each in channels),
    )
