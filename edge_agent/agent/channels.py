"""From the configuration to the settings of each channel: what it says, then what the chip is, then what the quantity
is.
"""

from __future__ import annotations

from edge_agent.clock import NS_PER_S
from edge_agent.config import model
from edge_agent.drivers.base import Measured
from edge_agent.pipeline.settings import ChannelSettings
from edge_agent.quantity import QUANTITIES, Quantity
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.calibrate import Calibration
from edge_agent.stages.derive import Derived, derivation
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings
from edge_agent.stages.reduce import ReduceSettings
from edge_agent.stages.validate import Limits


def channel_settings(config: model.Config) -> dict[str, list[ChannelSettings]]:
    """Settings of every channel: what the configuration says, then what the chip is, then what the quantity is."""
    return {
        sensor.id: [_channel(sensor, name, config.gateway.altitude_m) for name in sensor.channels]
        for sensor in config.sensors
    }


def usual_channel(name: str) -> ChannelSettings:
    """Settings of a channel of which nothing is configured, and whose chip is not known."""
    quantity = QUANTITIES[name]
    return _settings_of(model.Channel(), Measured(name, quantity.minimum, quantity.maximum), None)


def _channel(sensor: model.Sensor, name: str, altitude_m: float | None) -> ChannelSettings:
    offered = {each.quantity: each for each in sensor.driver.measures(sensor.options)}
    derived = None if name in offered else derivation(name, altitude_m)
    measured = offered.get(name) or Measured(name, QUANTITIES[name].minimum, QUANTITIES[name].maximum)
    return _settings_of(sensor.channels[name], measured, derived)


def _settings_of(channel: model.Channel, measured: Measured, derived: Derived | None) -> ChannelSettings:
    quantity = QUANTITIES[measured.quantity]
    known_filter = _filter(channel, quantity, measured.resolution)
    raw_resolution = channel.resolution or measured.resolution or quantity.resolution
    # A mean of coarse steps is finer than they are.
    filtered_resolution = channel.resolution or min(raw_resolution, quantity.resolution)
    # Who gives a rate means it to the letter.
    rate, free_step = channel.max_rate_per_s, 0.0
    if rate is None:
        rate, free_step = quantity.max_rate_per_s, quantity.free_step
    return ChannelSettings(
        quantity=quantity.name,
        limits=Limits(measured.minimum, measured.maximum, channel.range, rate, free_step),
        calibration=Calibration(channel.offset, channel.gain, channel.points, channel.polynomial),
        filter=known_filter,
        resolution=raw_resolution if known_filter is None else filtered_resolution,
        raw_resolution=raw_resolution,
        reduce=ReduceSettings(
            channel.deadband, round(channel.heartbeat_s * NS_PER_S), lines=channel.reduce == "swinging-door"
        ),
        smoothed=channel.send == "smoothed",
        send_raw=channel.send_raw,
        send_sigma=channel.send_sigma,
        derived=derived,
        anomaly=None if derived is not None else _anomaly(channel, raw_resolution),
        sibling=channel.sibling,
    )


def _anomaly(channel: model.Channel, resolution: float) -> AnomalySettings | None:
    """How one channel is watched; what is derived is odd when what it is derived from is."""
    if channel.anomaly == "none":
        return None
    return AnomalySettings(channel.anomaly_threshold, resolution, channel.anomaly_z_score, channel.anomaly_jump_per_s)


def _filter(
    channel: model.Channel, quantity: Quantity, resolution: float | None
) -> AutoSettings | KalmanSettings | MedianSettings | None:
    """The filter of one channel of a chip with such a resolution, None for none."""
    # A chip that counts in coarse steps is no less noisy than half a step, however steady it looks.
    sigma = channel.sigma or max(quantity.sigma, (resolution or 0.0) / 2)
    match channel.filter:
        case "auto":
            return AutoSettings(sigma, resolution)
        case "kalman":
            return KalmanSettings(sigma=sigma, drift_per_s=channel.drift_per_s or quantity.drift_per_s)
        case "median":
            return MedianSettings(sigma, channel.median_of)
        case _:
            return None
