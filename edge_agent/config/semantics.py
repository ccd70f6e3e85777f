"""Checks of a configuration beyond single keys: what must fit together. Pure."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edge_agent.bus.base import BusKind
from edge_agent.config.alerts import check_alerts
from edge_agent.quantity import parse_mapping
from edge_agent.stages.derive import DERIVED, SEA_LEVEL, derivation
from edge_agent.wire.formats.registry import find_format, known_formats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.config.model import Bus, Config, Sensor, Uplink

_HOST: Final = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*|[0-9a-f:.]*:[0-9a-f:.]*(%\w+)?")
"""A name, an IPv4 address, or an IPv6 address as `urlsplit` gives it, without brackets."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_meaning(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, sentence) for each mistake."""
    yield from _check_buses(config)
    yield from _check_sensors(config)
    yield from check_uplink(config.uplink)
    yield from check_alerts(config)
    for text in config.replay.map:
        try:
            parse_mapping(text)
        except ValueError as error:
            yield ("replay", "map"), str(error)


def _check_buses(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    devices: dict[str, str] = {}
    for name, bus in config.buses.items():
        if bus.resolved_kind() is None:
            yield ("bus", name, "kind"), f'cannot tell from {bus.device!r}; expected "i2c", "serial" or "sysfs"'
        if bus.device in devices:
            yield ("bus", name, "device"), f"bus {devices[bus.device]!r} has the same device already"
        devices.setdefault(bus.device, name)
        yield from _check_recovery(name, bus)


def _check_recovery(name: str, bus: Bus) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """A way to recover a bus needs its GPIO lines, and all but `reopen` an I2C bus."""
    if bus.resolved_kind() not in {None, "i2c"} and set(bus.recover) - {"reopen"}:
        yield ("bus", name, "recover"), 'only "reopen" means anything to a bus that is not I2C'
    for way, keys in (("clock-pulses", ("scl_gpio", "sda_gpio")), ("power-cycle", ("power_gpio",))):
        for key in keys:
            if way in bus.recover and getattr(bus, key) is None:
                yield ("bus", name, key), f'missing, and recover has "{way}"'


def _check_sensors(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    places: dict[tuple[object, ...], str] = {}
    muxes = {(sensor.bus, sensor.mux) for sensor in config.sensors}
    for index, sensor in enumerate(config.sensors):
        path = ("sensor", index)
        bus = config.buses.get(sensor.bus)
        kind = bus.resolved_kind() if bus else None
        if kind is not None and kind != sensor.driver.bus.value:
            yield (
                (*path, "bus"),
                f"{sensor.driver.name} needs a bus of kind {sensor.driver.bus.value!r}, {sensor.bus!r} is {kind!r}",
            )
        yield from _check_address(path, sensor)
        yield from _check_mux(path, sensor, muxes)
        least_s = sensor.driver.least_period_s(sensor.options)
        if sensor.period_s < least_s:
            yield (*path, "period_s"), f"{sensor.driver.name} takes {least_s:g} s or more, as it is set up here"
        # On buses without addresses, options such as a serial number tell sensors apart; case does not matter.
        name = sensor.address if sensor.driver.addresses else repr(sensor.options).lower()
        place = (sensor.bus, sensor.mux, sensor.mux_channel, name)
        if place in places:
            where = f"address {_shown_address(sensor)}" if sensor.driver.addresses else "the same options"
            here = (*path, "address") if sensor.driver.addresses else path
            yield here, f"sensor {places[place]!r} has {where} on bus {sensor.bus!r} already"
        places.setdefault(place, sensor.id)
        yield from _check_derived(path, sensor, config.gateway.altitude_m)
        yield from _check_channels(path, sensor, config)


def _check_channels(
    path: tuple[str | int, ...], sensor: Sensor, config: Config
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name, channel in sensor.channels.items():
        if channel.range is not None and not channel.range[0] < channel.range[1]:
            yield (*path, name, "range"), f"expected [low, high], found {list(channel.range)}"
        if channel.sibling is not None:
            yield from _check_sibling((*path, name, "sibling"), f"{sensor.id}.{name}", channel.sibling, config)
        raws = [raw for raw, _true in channel.points]
        if len(raws) == 1 or any(later <= earlier for earlier, later in pairwise(raws)):
            yield (*path, name, "points"), "expected two or more [raw, true] pairs with ascending raw"
        if channel.send == "smoothed" and channel.filter not in {"auto", "kalman"}:
            yield (*path, name, "send"), 'only what filter = "auto" or "kalman" estimates can be smoothed'
        ways = (bool(channel.points), bool(channel.polynomial), (channel.gain, channel.offset) != (1.0, 0.0))
        if sum(ways) > 1:
            key = "points" if channel.points else "polynomial"
            yield (*path, name, key), "give one of points, polynomial, or gain and offset"


def _check_sibling(
    path: tuple[str | int, ...], name: str, sibling: str, config: Config
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """A sibling has to be another channel that measures the same quantity."""
    channels = [f"{sensor.id}.{quantity}" for sensor in config.sensors for quantity in sensor.channels]
    alike = [other for other in channels if other != name and other.rpartition(".")[2] == name.rpartition(".")[2]]
    if sibling not in alike:
        known = f"known: {', '.join(alike)}" if alike else "no other sensor measures it"
        yield path, f"{sibling!r} is no other channel of the same quantity; {known}"


def _check_address(path: tuple[str | int, ...], sensor: Sensor) -> Iterator[tuple[tuple[str | int, ...], str]]:
    allowed = sensor.driver.addresses
    if allowed and sensor.address not in allowed:
        first, last = _shown_number(sensor, allowed[0]), _shown_number(sensor, allowed[-1])
        shown = f"{first} to {last}" if len(allowed) > 8 else ", ".join(_shown_number(sensor, a) for a in allowed)
        yield (*path, "address"), f"{sensor.driver.name} can be at {shown}, found {_shown_address(sensor)}"


def _check_derived(
    path: tuple[str | int, ...], sensor: Sensor, altitude_m: float | None
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """A derived quantity needs its inputs, and has no calibration of its own."""
    measured = {offered.quantity for offered in sensor.driver.measures(sensor.options)}
    for name in sensor.derive:
        if name not in DERIVED:
            yield (*path, "derive"), f"{name!r} cannot be derived; known: {', '.join(DERIVED)}"
        elif name == SEA_LEVEL and altitude_m is None:
            yield ("gateway", "altitude_m"), f"missing; sensor {sensor.id!r} derives {name}"
        elif missing := [quantity for quantity in derivation(name, altitude_m).inputs if quantity not in measured]:
            yield (*path, "derive"), f"{name} needs {missing[0]}, which {sensor.driver.name} does not measure"
    for name in set(sensor.derive) & sensor.channels.keys():
        channel = sensor.channels[name]
        if (channel.gain, channel.offset, channel.points, channel.polynomial) != (1.0, 0.0, (), ()):
            yield (*path, name), "calibrate the quantities that it is derived from"


def _check_mux(
    path: tuple[str | int, ...], sensor: Sensor, muxes: set[tuple[str, int | None]]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """No sensor may have the address of a multiplexer, neither on its bus nor behind it."""
    if (sensor.mux is None) != (sensor.mux_channel is None):
        missing = "mux" if sensor.mux is None else "mux_channel"
        yield (*path, missing), "missing; mux and mux_channel go together"
    if sensor.driver.bus is not BusKind.I2C:
        if sensor.mux is not None:
            yield (*path, "mux"), f"{sensor.driver.name} is not on I2C, and has no multiplexer before it"
    elif (sensor.bus, sensor.address) in muxes and sensor.mux in {None, sensor.address}:
        yield (*path, "address"), f"the multiplexer on bus {sensor.bus!r} has {_shown_address(sensor)} already"


def _shown_number(sensor: Sensor, address: int) -> str:
    return f"{address:#04x}" if sensor.driver.bus.value == "i2c" else str(address)


def _shown_address(sensor: Sensor) -> str:
    return _shown_number(sensor, sensor.address)


def check_uplink(uplink: Uplink) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, sentence) for each mistake in `[uplink]`."""
    yield from _check_url(uplink)
    if uplink.password_file and uplink.password_credential:
        yield ("uplink", "password_file"), "give either password_file or password_credential"
    if (uplink.password_file or uplink.password_credential) and not uplink.username:
        yield ("uplink", "username"), "missing, and a password is given"
    if bool(uplink.cert_file) != bool(uplink.key_file):
        yield ("uplink", "cert_file"), "cert_file and key_file go together"
    form = find_format(uplink.format)
    if form is None:
        yield ("uplink", "format"), f"expected {' or '.join(map(repr, known_formats()))}, found {uplink.format!r}"
    elif form.load is None and uplink.prefix is not None:
        yield ("uplink", "prefix"), f"the topics of {form.name} are given; leave it out, and name sparkplug_group"
    if form is not None and form.load is None and uplink.ack == "receiver":
        yield ("uplink", "ack"), f'{form.name} has no confirmations of receivers; use ack = "puback"'
    yield from _check_receivers(uplink)
    for name in ("prefix", "client_id"):
        value = getattr(uplink, name)
        if value is not None and (not value or any(char in value for char in "+#\0") or value.strip("/") != value):
            yield ("uplink", name), f"expected text without +, # and outer slashes, found {value!r}"


def _check_receivers(uplink: Uplink) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name in ("receivers", "ack_key_file"):
        if getattr(uplink, name) and uplink.ack != "receiver":
            yield ("uplink", name), 'means something only with ack = "receiver"'


def _check_url(uplink: Uplink) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if "@" in uplink.url:
        # First of all, because the other sentences would show it.
        yield ("uplink", "url"), "a password never stands in this file; use username and password_file"
        return
    expected = f"expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT], found {uplink.url!r}"
    try:
        url = urlsplit(uplink.url)
        port, host = url.port, url.hostname or ""
    except ValueError:  # a port that is no number, brackets that hold no address
        yield ("uplink", "url"), expected
        return
    rest = url.path.strip("/") or url.query or url.fragment
    if url.scheme not in {"mqtt", "mqtts"} or not _HOST.fullmatch(host) or port == 0 or rest:
        yield ("uplink", "url"), expected
        return
    if url.scheme == "mqtt" and host not in LOOPBACK and not uplink.insecure_plaintext:
        yield (
            ("uplink", "url"),
            (
                "anyone on the way can read and change what goes over mqtt://; "
                "use mqtts://, or say insecure_plaintext = true"
            ),
        )
    for name in ("ca_file", "cert_file"):
        if url.scheme == "mqtt" and getattr(uplink, name):
            yield ("uplink", name), "certificates mean nothing to mqtt://; use mqtts://"
