"""From the configuration to what each part takes: each gets its own few settings, and none the whole file."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from edge_agent.bus.mux import Trunk
from edge_agent.clock import NS_PER_S
from edge_agent.pipeline import ChannelSettings
from edge_agent.quantity import QUANTITIES
from edge_agent.sampling.sensor import SensorOnBus
from edge_agent.stages.calibrate import Calibration
from edge_agent.stages.deadband import DeadbandSettings
from edge_agent.stages.kalman import KalmanSettings
from edge_agent.stages.validate import Limits
from edge_agent.uplink.mqtt import Broker, tls_context
from edge_agent.uplink.secret import read_password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.bus.base import AnyBus, I2CBus
    from edge_agent.config import model


def sensors_on(config: model.Config, buses: Mapping[str, AnyBus]) -> dict[str, list[SensorOnBus]]:
    """Configured sensors by bus, each with its driver; nothing is touched yet.

    What hangs behind multiplexers belongs to the bus of its adapter, and is sampled with everything else there.
    """
    by_bus: dict[str, list[SensorOnBus]] = {name: [] for name in config.buses}
    paths = _paths(config, buses)
    for sensor in config.sensors:
        info = sensor.driver
        by_bus[sensor.bus].append(
            SensorOnBus(
                sensor.id,
                info.open(paths[sensor.id], sensor.address, sensor.options),
                round(sensor.period_s * NS_PER_S),
                expected=tuple(each.quantity for each in info.measures(sensor.options)),
                settling=info.settling,
                stuck_after=info.stuck_after,
            )
        )
    return {name: sensors for name, sensors in by_bus.items() if sensors}


def _paths(config: model.Config, buses: Mapping[str, AnyBus]) -> dict[str, AnyBus]:
    """By sensor, the bus that its driver speaks to: the one it names, or one behind a multiplexer there."""
    with_mux = {sensor.bus for sensor in config.sensors if sensor.mux is not None}
    trunks = {name: Trunk(cast("I2CBus", buses[name])) for name in with_mux}
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
    return {sensor.id: [_channel(sensor, name) for name in sensor.channels] for sensor in config.sensors}


def _channel(sensor: model.Sensor, name: str) -> ChannelSettings:
    channel, quantity = sensor.channels[name], QUANTITIES[name]
    measured = next(each for each in sensor.driver.measures(sensor.options) if each.quantity == name)
    # A chip that counts in coarse steps is no less noisy than half a step, however steady it looks.
    sigma = channel.sigma or max(quantity.sigma, (measured.resolution or 0.0) / 2)
    kalman = KalmanSettings(sigma=sigma, drift_per_s=channel.drift_per_s or quantity.drift_per_s)
    raw_resolution = channel.resolution or measured.resolution or quantity.resolution
    # A mean of coarse steps is finer than they are.
    filtered_resolution = channel.resolution or min(raw_resolution, quantity.resolution)
    return ChannelSettings(
        quantity=name,
        limits=Limits(measured.minimum, measured.maximum, channel.range, channel.max_rate_per_s),
        calibration=Calibration(gain=channel.gain, offset=channel.offset, points=channel.points),
        filter=kalman if channel.filter == "kalman" else None,
        resolution=filtered_resolution if channel.filter == "kalman" else raw_resolution,
        raw_resolution=raw_resolution,
        deadband=DeadbandSettings(channel.deadband, round(channel.heartbeat_s * NS_PER_S)),
        send_raw=channel.send_raw,
    )


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
