"""Settings of channels and batches. Numbers are in canonical units."""

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
"""Number of readings at which a batch is sealed early, so that messages stay far below the limit of any broker."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Settings of one quantity of one sensor.

    Attributes:
        quantity: its quantity.
        limits: values outside are bad; faster changes than they allow are suspect.
        calibration: correction of measured values.
        filter: filter of the values; None: measured values are sent.
        resolution: values are rounded to multiples of this; None: they are not rounded.
        raw_resolution: the same for measured values, whose steps are those of the chip and may be coarser.
        reduce: data reduction: which readings are left out.
        smoothed: whether filtered values are smoothed with all later readings when the batch is sealed.
        send_raw: whether the calibrated measurement is sent besides the filtered value.
        send_sigma: whether the standard deviation of the filter's error is sent.
        derived: how it is computed from other quantities of the sensor; None: it is measured.
        anomaly: settings of its anomaly detector; None: no detector.
        sibling: channel that measures the same, as `sensor.quantity`; None: there is none.
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
    """Settings of batches: when they end, and what they contain.

    Attributes:
        period_ns: age of its oldest reading at which a batch is sealed, nanoseconds.
        durability_ns: age of the oldest one at which rows of the open batch are secured in the store, nanoseconds.
        time_step_ns: stamps are rounded down to multiples of this, nanoseconds.
        features: whether batches contain features.
        align: whether batches end at whole multiples of `period_ns` of wall time instead.
        max_cells: number of readings at which a batch is sealed early.
    """

    period_ns: int
    durability_ns: int
    time_step_ns: int = 1_000_000
    features: bool = True
    align: bool = False
    max_cells: int = MAX_OPEN_CELLS
