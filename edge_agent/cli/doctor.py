"""`edge-agent doctor`: finds out what is wrong with buses and sensors, and names the fix."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edge_agent.cli.options import config_option, today

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.bus.base import AnyBus, I2CBus
    from edge_agent.config.model import Config
    from edge_agent.sampling.sensor import SensorOnBus

OK: Final = "ok"
NOTE: Final = "note"
BAD: Final = "bad"
_COLOURS: Final = {OK: "green", NOTE: "yellow", BAD: "red"}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        level: `ok`, `note` (worth knowing) or `bad` (to be fixed).
        subject: e.g. `bus i2c1`, `sensor air`.
        text: one sentence, with the fix if it is bad.
    """

    level: str
    subject: str
    text: str


@click.command
@config_option
@click.option("--simulate", is_flag=True, help="Look at the simulated rig.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per finding.")
def doctor(config_path: Path | None, simulate: bool, as_json: bool) -> None:
    """Check every configured bus and sensor, and say what is wrong and how to fix it.

    Exit code 69 if anything is bad. While the daemon runs, only buses of kind I2C and sysfs can be checked: a serial
    port has one owner.
    """
    from edge_agent.cli.measure import measure_once, opened

    bad = False
    with opened(config_path, simulate=simulate) as (config, buses, clock):
        sensors = measure_once(config, buses, clock)
        looked_at = (
            *_buses(config, buses, sensors),
            *_sensors(config, sensors),
            *_authority(config.uplink.ca_file),
            *_board(simulate=simulate),
        )
        for finding in looked_at:
            bad = bad or finding.level == BAD
            if as_json:
                click.echo(json.dumps(dataclasses.asdict(finding)))
            else:
                level = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level])
                click.echo(f"{level}  {finding.subject}: {finding.text}")
    if bad:
        raise SystemExit(69)


def _sensors(config: Config, sensors: Mapping[str, SensorOnBus]) -> Iterator[Finding]:
    from edge_agent.cli.read import shown

    for configured in config.sensors:
        sensor = sensors[configured.id]
        causes_on_bus = {sensors[other.id].cause for other in config.sensors if other.bus == configured.bus}
        if sensor.last is None:
            # A cause that all sensors share is in the finding about the bus.
            text = f"no measurement: see bus {configured.bus}" if causes_on_bus == {sensor.cause} else shown(sensor)
            yield Finding(BAD, f"sensor {sensor.id}", text)
        else:
            level = BAD if None in sensor.last.values else NOTE if sensor.notice else OK
            yield Finding(level, f"sensor {sensor.id}", shown(sensor))
        for name, channel in configured.channels.items():
            if channel.calibration_due is not None and channel.calibration_due < today():
                text = f"the calibration of {name} was due on {channel.calibration_due}"
                yield Finding(NOTE, f"sensor {sensor.id}", text)


def _buses(config: Config, buses: Mapping[str, AnyBus], sensors: Mapping[str, SensorOnBus]) -> Iterator[Finding]:
    """A finding for each bus from the results of its sensors; on I2C also what answers and is not configured."""
    for name, bus in config.buses.items():
        on_bus = [sensors[sensor.id] for sensor in config.sensors if sensor.bus == name]
        subject = f"bus {name}"
        if not on_bus:
            yield Finding(NOTE, subject, "no sensor is configured on it; `edge-agent scan` looks for some")
        elif all(sensor.last is None for sensor in on_bus):
            yield Finding(BAD, subject, _no_sensor_answers(bus.resolved_kind(), on_bus))
        else:
            answering = sum(sensor.last is not None for sensor in on_bus)
            yield Finding(OK, subject, f"{answering} of {len(on_bus)} sensors answer on {bus.device}")
        if bus.resolved_kind() == "i2c":
            yield from _unconfigured_chips(config, name, buses[name])  # type: ignore[arg-type] # its kind says so


def _no_sensor_answers(kind: str | None, on_bus: list[SensorOnBus]) -> str:
    causes = {sensor.cause for sensor in on_bus}
    if len(on_bus) == 1 or len(causes) == 1:
        return f"nobody answers: {on_bus[0].cause}"
    checks = {
        "i2c": "check supply, ground, pull-ups and that SDA and SCL are not swapped",
        "serial": "swap A and B, and check termination, baud rate and parity",
        "sysfs": "is the overlay loaded, and the pull-up there?",
    }
    return f"none of its {len(on_bus)} sensors answers: {checks[kind or 'sysfs']}"


def _unconfigured_chips(config: Config, name: str, bus: I2CBus) -> Iterator[Finding]:
    """A note for each chip that answers and is not configured."""
    from edge_agent.bus.mux import MuxAdapter
    from edge_agent.cli.scan import chips_on
    from edge_agent.errors import BusError

    known = {sensor.address for sensor in config.sensors if sensor.bus == name and sensor.mux is None}
    muxes = {sensor.mux for sensor in config.sensors if sensor.bus == name and sensor.mux is not None}
    known |= muxes
    mux_adapter = MuxAdapter(bus)
    for mux in muxes:
        mux_adapter.channel(mux, 0)  # so that it is closed while the bus itself is scanned
    try:
        for address, driver, title in chips_on(mux_adapter):
            if address not in known:
                fix = f'; add a [[sensor]] with driver = "{driver}"' if driver else ""
                yield Finding(NOTE, f"bus {name}", f"{address:#04x} answers and is not configured: {title}{fix}")
    except BusError:
        return  # there is a finding about the bus already


def _authority(ca_file: str | None) -> Iterator[Finding]:
    """Our link accepts an authority without key usage; other programs do not."""
    from edge_agent.errors import Unavailable
    from edge_agent.uplink.mqtt import lacks_key_usage

    if ca_file is None:
        return
    try:
        if lacks_key_usage(ca_file):
            text = f"the authority in {ca_file} has no key usage: edge-agent accepts it, Python 3.13 by itself does not"
            yield Finding(NOTE, "uplink", text)
    except Unavailable as error:
        yield Finding(BAD, "uplink", str(error))


def _board(*, simulate: bool, sys_root: Path = Path("/sys")) -> Iterator[Finding]:
    """The under-voltage alarm of a Pi's firmware: a weak supply explains many errors at once."""
    if simulate:
        return
    for name in sorted(sys_root.glob("class/hwmon/hwmon*/name")):
        try:
            alarmed = name.read_text().strip() == "rpi_volt" and (name.parent / "in0_lcrit_alarm").read_text().strip()
        except OSError:
            continue
        if alarmed == "1":
            yield Finding(BAD, "supply", "the board has too low a voltage: use a better supply and a shorter cable")
        elif alarmed == "0":
            yield Finding(OK, "supply", "the board has seen no under-voltage since it was last asked")
