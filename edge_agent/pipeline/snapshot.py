"""Part of the pipeline in a snapshot."""

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
    """Latest value of one channel, canonical unit; None if the reading has none."""

    quantity: str
    value: float | None
    quality: Quality


@dataclass(frozen=True, slots=True)
class LatestValues:
    """Latest values of one sensor."""

    sensor: str
    channels: tuple[LatestValue, ...]


@dataclass(frozen=True, slots=True)
class PipelinePart:
    """State and counts of the pipeline.

    Attributes:
        counts: counts of readings.
        batches: number of sealed batches.
        latest: values by sensor, of the last processed block.
        alerts_fired: number of times that a rule started to fire.
        alerts_firing: names of the rules that are firing.
        anomalies: number of findings, by kind.
    """

    counts: Counts
    batches: int
    latest: tuple[LatestValues, ...]
    alerts_fired: int
    alerts_firing: tuple[str, ...]
    anomalies: Mapping[str, int]


def latest_of(sensor: SensorBatch) -> LatestValues:
    """Latest values of one sensor."""
    channels = sensor.channels.values()
    return LatestValues(
        sensor.name,
        tuple(
            LatestValue(channel.quantity, channel.last_value, quality_of(channel.last_status)) for channel in channels
        ),
    )
