"""From the configuration to what each part takes: each gets its own few settings, and none the whole file."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from edge_agent.bus.base import BusKind
from edge_agent.bus.mux import MuxAdapter
from edge_agent.clock import NS_PER_S
from edge_agent.config import model
from edge_agent.drivers.base import Measured
from edge_agent.drivers.identify import locate_lost
from edge_agent.pipeline.pipeline import ChannelSettings
from edge_agent.quantity import QUANTITIES, Quantity
from edge_agent.sampling.recovery import RecoveryStep
from edge_agent.sampling.sensor import SensorOnBus
from edge_agent.sampling.worker import SampledBus
from edge_agent.stages.alerts import AlertSettings, parse_condition
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.calibrate import Calibration
from edge_agent.stages.derive import Derived, derivation
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings
from edge_agent.stages.reduce import ReduceSettings
from edge_agent.stages.validate import Limits
from edge_agent.uplink.mqtt import Broker, tls_context
from edge_agent.uplink.secret import read_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_agent.bus.base import AnyBus, I2CBus


def sampled_buses(
    config: model.Config,
    buses: Mapping[str, AnyBus],
    ladders: Mapping[str, Sequence[RecoveryStep]] = MappingProxyType({}),
) -> list[SampledBus]:
    """Every bus that has sensors, each of these with its driver; nothing is touched yet.

    What hangs behind multiplexers belongs to the bus of its adapter, and is sampled with everything else there.

    Args:
        config: what is wanted.
        buses: open ones, by name.
        ladders: by name, ways to bring a bus back.
    """
    paths = _paths(config, buses)
    sensors: dict[str, list[SensorOnBus]] = {name: [] for name in config.buses}
    for sensor in config.sensors:
        info, path = sensor.driver, paths[sensor.id]
        locate: Callable[[Exception], str] = _knows_nothing
        if info.bus is BusKind.I2C:
            near = [each for each in config.sensors if each.bus == sensor.bus and each.mux in {None, sensor.mux}]
            locate = partial(
                locate_lost, cast("I2CBus", path), info, sensor.address, frozenset(each.address for each in near)
            )
        sensors[sensor.bus].append(
            SensorOnBus(
                sensor.id,
                info.open(path, sensor.address, sensor.options),
                round(sensor.period_s * NS_PER_S),
                expected=tuple(each.quantity for each in info.measures(sensor.options)),
                settling=info.settling,
                stuck_after=info.stuck_after,
                locate=locate,
            )
        )
    return [
        SampledBus(name, here, ladders.get(name, ()), shared_lines=config.buses[name].resolved_kind() == "i2c")
        for name, here in sensors.items()
        if here
    ]


def _knows_nothing(_error: Exception) -> str:
    return ""


def recovery_ladders(config: model.Config, buses: Mapping[str, AnyBus]) -> dict[str, list[RecoveryStep]]:
    """By bus, the ways to bring it back that the configuration allows, in their order."""
    return {name: [_rung(way, bus, buses[name]) for way in bus.recover] for name, bus in config.buses.items()}


def _rung(way: str, settings: model.Bus, bus: AnyBus) -> RecoveryStep:
    from edge_agent.bus import recovery  # noqa: PLC0415 for most gateways it is only the first of these

    scl, sda, power = settings.scl_gpio or 0, settings.sda_gpio or 0, settings.power_gpio or 0
    climbs: dict[str, Callable[[], Iterator[int]]] = {
        "reopen": partial(recovery.reopen, bus),
        "general-call-reset": partial(recovery.general_call_reset, cast("I2CBus", bus)),
        "rebind": partial(recovery.rebind, settings.device),
        "clock-pulses": partial(
            recovery.clock_pulses,
            settings.device,
            partial(recovery.GpiodLines, settings.gpio_chip, (scl, sda)),
            scl=scl,
            sda=sda,
        ),
        "power-cycle": partial(
            recovery.power_cycle,
            partial(recovery.GpiodLines, settings.gpio_chip, (power,)),
            line=power,
            off_ns=round(settings.power_off_s * NS_PER_S),
        ),
    }
    return RecoveryStep(way, climbs[way])


def _paths(config: model.Config, buses: Mapping[str, AnyBus]) -> dict[str, AnyBus]:
    """By sensor, the bus that its driver speaks to: the one it names, or one behind a multiplexer there."""
    with_mux = {sensor.bus for sensor in config.sensors if sensor.mux is not None}
    trunks = {name: MuxAdapter(cast("I2CBus", buses[name])) for name in with_mux}
    return {
        sensor.id: trunks[sensor.bus].channel(sensor.mux, sensor.channel or 0)
        if sensor.mux is not None
        else trunks.get(sensor.bus, buses[sensor.bus])
        for sensor in config.sensors
    }


def open_buses(config: model.Config) -> dict[str, AnyBus]:
    """Real buses by name. Devices are opened at their first use."""
    buses: dict[str, AnyBus] = {}
    for name, bus in config.buses.items():
        match bus.resolved_kind():
            case "i2c":
                from edge_agent.bus.smbus import SmbusI2C  # noqa: PLC0415 each loads a library that not all need

                buses[name] = SmbusI2C(bus.device)
            case "serial":
                from edge_agent.bus.uart import Uart  # noqa: PLC0415

                buses[name] = Uart(
                    bus.device,
                    baud=bus.baud,
                    bytesize=bus.bytesize,
                    parity=bus.parity,
                    stopbits=bus.stopbits,
                    echo=bus.echo,
                    dtr=bus.dtr,
                )
            case _:
                from edge_agent.bus.sysfs import SysfsTree  # noqa: PLC0415

                buses[name] = SysfsTree(bus.device)
    return buses


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


def alert_settings(config: model.Config) -> list[AlertSettings]:
    """Every rule."""
    return [
        AlertSettings(
            name=alert.name or alert.when,
            when=alert.when,
            condition=parse_condition(alert.when),
            clear=alert.clear,
            for_ns=round(alert.for_s * NS_PER_S),
            severity=alert.severity,
            message=alert.message,
            over=alert.over,
        )
        for alert in config.alerts
    ]


def broker_of(config: model.Config) -> Broker:
    """Where and as whom to connect.

    Raises:
        Unavailable: a password or TLS file cannot be used.
    """
    uplink, url = config.uplink, urlsplit(config.uplink.url)
    secure = url.scheme == "mqtts"
    return Broker(
        host=url.hostname or "127.0.0.1",
        port=url.port or (8883 if secure else 1883),
        tls=tls_context(uplink.ca_file, uplink.cert_file, uplink.key_file) if secure else None,
        client_id=uplink.client_id or f"edge-agent-{config.gateway.id}",
        username=uplink.username,
        password=read_password(uplink.password_file, uplink.password_credential),
        keepalive_s=uplink.keepalive_s,
    )
