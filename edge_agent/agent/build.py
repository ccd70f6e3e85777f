"""From the configuration to what each part takes: each gets its own few settings, and none the whole file."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from edge_agent.agent.dialect import format_of
from edge_agent.bus.base import BusKind
from edge_agent.bus.mux import MuxAdapter
from edge_agent.clock import NS_PER_S
from edge_agent.drivers.identify import locate_lost
from edge_agent.outbox.eviction import Evict, EvictPolicy
from edge_agent.outbox.schema import StoreSettings, settings_within
from edge_agent.outbox.wear import Budget
from edge_agent.pipeline.settings import MAX_OPEN_CELLS, BatchSettings
from edge_agent.sampling.recovery import RecoveryStep
from edge_agent.sampling.sensor import SensorOnBus
from edge_agent.sampling.worker import BusWorker, SampledBus
from edge_agent.stages.alerts import AlertSettings, parse_condition
from edge_agent.uplink.mqtt import Broker, tls_context
from edge_agent.uplink.pace import Limits
from edge_agent.uplink.receipts import Receipts
from edge_agent.uplink.secret import read_password
from edge_agent.uplink.session import Session

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_agent.bus.base import AnyBus, I2CBus
    from edge_agent.clock import Clock
    from edge_agent.config import model
    from edge_agent.reading import Event, Measurement
    from edge_agent.runtime import Worker

    Deliver = Callable[[Measurement | Event], bool]
    Source = Callable[[Deliver], Worker]
    """Makes a worker that delivers measurements and events."""


def sampled_buses(
    config: model.Config,
    buses: Mapping[str, AnyBus],
    recovery: Mapping[str, Sequence[RecoveryStep]] = MappingProxyType({}),
) -> list[SampledBus]:
    """Every bus that has sensors, each of these with its driver; nothing is touched yet.

    What hangs behind multiplexers belongs to the bus of its adapter, and is sampled with everything else there.

    Args:
        config: what is wanted.
        buses: open ones, by name.
        recovery: by name, ways to bring a bus back.
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
        SampledBus(name, here, recovery.get(name, ()), shared_lines=config.buses[name].resolved_kind() == "i2c")
        for name, here in sensors.items()
        if here
    ]


def bus_sources(buses: Sequence[SampledBus], clock: Clock, rng: random.Random) -> list[Source]:
    """What makes a worker for each bus."""
    return [partial(_bus_worker, bus, clock, rng) for bus in buses]


def _bus_worker(bus: SampledBus, clock: Clock, rng: random.Random, deliver: Deliver) -> Worker:
    return BusWorker(bus, clock=clock, rng=rng, deliver=deliver)


def _knows_nothing(_error: Exception) -> str:
    return ""


def recovery_steps(config: model.Config, buses: Mapping[str, AnyBus]) -> dict[str, list[RecoveryStep]]:
    """By bus, the ways to bring it back that the configuration allows, in their order."""
    return {name: [_recovery_step(way, bus, buses[name]) for way in bus.recover] for name, bus in config.buses.items()}


def _recovery_step(way: str, settings: model.Bus, bus: AnyBus) -> RecoveryStep:
    from edge_agent.bus import recovery  # noqa: PLC0415 for most gateways it is only the first of these

    scl, sda, power = settings.scl_gpio or 0, settings.sda_gpio or 0, settings.power_gpio or 0
    recover: dict[str, Callable[[], Iterator[int]]] = {
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
    return RecoveryStep(way, recover[way])


def _paths(config: model.Config, buses: Mapping[str, AnyBus]) -> dict[str, AnyBus]:
    """By sensor, the bus that its driver speaks to: the one it names, or one behind a multiplexer there."""
    with_mux = {sensor.bus for sensor in config.sensors if sensor.mux is not None}
    mux_adapters = {name: MuxAdapter(cast("I2CBus", buses[name])) for name in with_mux}
    return {
        sensor.id: mux_adapters[sensor.bus].channel(sensor.mux, sensor.mux_channel or 0)
        if sensor.mux is not None
        else mux_adapters.get(sensor.bus, buses[sensor.bus])
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


def batch_settings(config: model.Config) -> BatchSettings:
    """When batches end, and what they hold."""
    return BatchSettings(
        period_ns=round(config.batch.period_s * NS_PER_S),
        durability_ns=round(config.outbox.durability_s * NS_PER_S),
        time_step_ns=max(1, round(config.batch.time_resolution_s * NS_PER_S)),
        features=config.batch.features,
        align=config.batch.align,
        max_cells=format_of(config).max_cells or MAX_OPEN_CELLS,
    )


def store_settings(config: model.Config, *, durable: bool = True) -> StoreSettings:
    """How the outbox is kept. `durable` false: for one that nobody keeps."""
    return settings_within(round(config.outbox.max_mib * 1_048_576), durable=durable)


def wear_budget(config: model.Config) -> Budget:
    """What the outbox may write."""
    most = config.outbox.max_mib_per_day
    period_ns = round(config.batch.period_s * NS_PER_S)
    durability_ns = round(config.outbox.durability_s * NS_PER_S)
    return Budget(None if most is None else most * 1_048_576, durability_ns, max(durability_ns, period_ns))


def evict_policy(config: model.Config) -> EvictPolicy:
    """What goes when the outbox is full."""
    own = {sensor.id: Evict(sensor.evict) for sensor in config.sensors if sensor.evict is not None}
    return EvictPolicy(Evict(config.outbox.evict), own)


def session_of(config: model.Config, rng: random.Random) -> Session:
    """What decides what is sent next; a PUBACK may take two keep-alive periods."""
    uplink = config.uplink
    return Session(
        in_flight_limit=uplink.window,
        ack_timeout_ns=2 * uplink.keepalive_s * NS_PER_S,
        rng=rng,
        receipts=Receipts(uplink.receivers) if uplink.ack == "receiver" else None,
        limits=Limits(uplink.max_messages_per_s, uplink.max_bytes_per_s, uplink.backlog_share),
    )
