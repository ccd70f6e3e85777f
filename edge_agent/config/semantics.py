"""What a configuration whose every key is well-formed can still get wrong: things that must fit together. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.config.model import Config, Sensor, Uplink

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_meaning(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, sentence) for everything that does not fit together."""
    yield from _check_buses(config)
    yield from _check_sensors(config)
    yield from check_uplink(config.uplink)


def _check_buses(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    devices: dict[str, str] = {}
    for name, bus in config.buses.items():
        if bus.resolved_kind() is None:
            yield ("bus", name, "kind"), f'cannot tell from {bus.device!r}; expected "i2c", "serial" or "sysfs"'
        if bus.device in devices:
            yield ("bus", name, "device"), f"bus {devices[bus.device]!r} has the same device already"
        devices.setdefault(bus.device, name)


def _check_sensors(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    ids: set[str] = set()
    places: dict[tuple[Any, ...], str] = {}
    for index, sensor in enumerate(config.sensors):
        path = ("sensor", index)
        if sensor.id in ids:
            yield (*path, "id"), f"another sensor is called {sensor.id!r} already"
        ids.add(sensor.id)
        bus = config.buses.get(sensor.bus)
        kind = bus.resolved_kind() if bus else None
        if kind is not None and kind != sensor.driver.bus.value:
            yield (
                (*path, "bus"),
                f"{sensor.driver.name} needs a bus of kind {sensor.driver.bus.value!r}, {sensor.bus!r} is {kind!r}",
            )
        yield from _check_address(path, sensor)
        place = (sensor.bus, sensor.address if sensor.driver.addresses else sensor.options)
        if place in places:
            where = f"address {_shown_address(sensor)}" if sensor.driver.addresses else "the same place"
            yield (*path, "address"), f"sensor {places[place]!r} has {where} on bus {sensor.bus!r} already"
        places.setdefault(place, sensor.id)
        for name, channel in sensor.channels.items():
            if channel.range is not None and not channel.range[0] < channel.range[1]:
                yield (*path, name, "range"), f"expected [low, high], found {list(channel.range)}"
            raws = [raw for raw, _true in channel.points]
            if len(raws) == 1 or any(later <= earlier for earlier, later in pairwise(raws)):
                yield (*path, name, "points"), "expected two or more [raw, true] pairs with ascending raw"
            if channel.points and (channel.gain, channel.offset) != (1.0, 0.0):
                yield (*path, name, "points"), "give either points, or gain and offset"


def _check_address(path: tuple[str | int, ...], sensor: Sensor) -> Iterator[tuple[tuple[str | int, ...], str]]:
    allowed = sensor.driver.addresses
    if not allowed and sensor.address:
        yield (*path, "address"), f"{sensor.driver.name} has no address; leave it out"
    elif allowed and sensor.address not in allowed:
        first, last = _shown_number(sensor, allowed[0]), _shown_number(sensor, allowed[-1])
        shown = f"{first} to {last}" if len(allowed) > 8 else ", ".join(_shown_number(sensor, a) for a in allowed)
        yield (*path, "address"), f"{sensor.driver.name} can be at {shown}, found {_shown_address(sensor)}"


def _shown_number(sensor: Sensor, address: int) -> str:
    return f"{address:#04x}" if sensor.driver.bus.value == "i2c" else str(address)


def _shown_address(sensor: Sensor) -> str:
    return _shown_number(sensor, sensor.address)


def check_uplink(uplink: Uplink) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, sentence) for everything in `[uplink]` that does not fit together."""
    try:
        url = urlsplit(uplink.url)
        _port = url.port  # raises where it is not a number
    except ValueError as error:
        yield ("uplink", "url"), f"expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]: {error}"
        return
    yield from _check_url(uplink, url)
    if uplink.password_file and uplink.password_credential:
        yield ("uplink", "password_file"), "give either password_file or password_credential"
    if (uplink.password_file or uplink.password_credential) and not uplink.username:
        yield ("uplink", "username"), "missing, and a password is given"
    if bool(uplink.cert_file) != bool(uplink.key_file):
        yield ("uplink", "cert_file"), "cert_file and key_file go together"
    for name in ("prefix", "client_id"):
        value = getattr(uplink, name)
        if value is not None and (not value or any(char in value for char in "+#\0") or value.strip("/") != value):
            yield ("uplink", name), f"expected text without +, # and outer slashes, found {value!r}"


def _check_url(uplink: Uplink, url: SplitResult) -> Iterator[tuple[tuple[str | int, ...], str]]:
    host = url.hostname
    if url.scheme not in {"mqtt", "mqtts"} or not host or url.path.strip("/") or url.query:
        yield ("uplink", "url"), f"expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT], found {uplink.url!r}"
        return
    if url.username or url.password:
        yield ("uplink", "url"), "a password never stands in this file; use username and password_file"
    if any(not 0 < len(label) < 64 for label in host.split(".")):
        yield ("uplink", "url"), f"{host!r} is not a host name"
    if url.scheme == "mqtt" and host not in LOOPBACK and not uplink.insecure_plaintext:
        yield (
            ("uplink", "url"),
            (
                "anyone on the way can read and change what goes over mqtt://; "
                "use mqtts://, or say insecure_plaintext = true"
            ),
        )
    if url.scheme == "mqtt" and (uplink.ca_file or uplink.cert_file):
        yield ("uplink", "ca_file"), "certificates mean nothing to mqtt://; use mqtts://"
