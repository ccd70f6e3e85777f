"""What the pipeline is told: how one channel is treated, and when batches end. Numbers in canonical units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.stages.calibrate import Calibration
from edge_agent.stages.reduce import ReduceSettings

if TYPE_CHECKING:
    from edge_agent.stages.anomalies.detector import AnomalySettings
    from edge_agent.stages.derive import Derived
    from edge_agent.stages.filters.auto import AutoSettings
    from edge_agent.stages.filters.kalman import KalmanSettings
    from edge_agent.stages.filters.median import MedianSettings
    from edge_agent.stages.validate import Limits

MAX_OPEN_CELLS: Final = 50_000
"""A batch that has grown to so many readings is sealed early, which keeps messages far below every broker's limit."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """How one quantity of one sensor is treated.

    Attributes:
        quantity: which.
        limits: outside, a measured value is bad; faster changes than they allow are suspect.
        calibration: measured → true.
        filter: None sends what was measured.
        resolution: values are rounded to a multiple of it; None sends them as they are.
        raw_resolution: the same for measured values, whose steps are the chip's and may be coarser.
        reduce: which readings are not worth sending.
        smoothed: whether the filtered values are estimated again, with all later readings, when the batch is sealed.
        send_raw: whether the calibrated measurement travels beside the filtered value.
        send_sigma: whether the standard deviation of the filter's error travels.
        derived: how it is computed from other quantities of the sensor; None if it is measured.
        anomaly: how it is watched; None: it is not.
        sibling: the channel that measures the same, as `sensor.quantity`; None if there is none.
    """

    quantity: str
    limits: Limits
    calibration: Calibration = field(default_factory=Calibration)
    filter: AutoSettings | KalmanSettings | MedianSettings | None = None
    resolution: float | None = None
    raw_resolution: float | None = None
    reduce: ReduceSettings = ReduceSettings(0.0, 300 * NS_PER_S)  # noqa: RUF009 it is frozen
    smoothed: bool = False
    send_raw: bool = True
    send_sigma: bool = False
    derived: Derived | None = None
    anomaly: AnomalySettings | None = None
    sibling: str | None = None


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """When batches end, and what they hold.

    Attributes:
        period_ns: a batch is sealed when its oldest reading is so old.
        durability_ns: rows that are not sealed are secured in the store when the oldest of them is so old.
        time_step_ns: stamps are rounded down to multiples of it.
        features: whether batches carry features.
        align: whether batches end at whole multiples of `period_ns` of wall time instead.
        max_cells: number of readings at which a batch is sealed early.
    """

    period_ns: int
    durability_ns: int
    time_step_ns: int = 1_000_000
    features: bool = True
    align: bool = False
    max_cells: int = MAX_OPEN_CELLS
