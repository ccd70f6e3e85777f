"""From `[uplink] format` to the dialect that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import Unavailable
from edge_agent.uplink.dialects.own_topics import OwnTopics
from edge_agent.uplink.secret import read_password
from edge_agent.version import install_command
from edge_agent.wire.formats.registry import find_format, known_formats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.config.model import Config
    from edge_agent.reading import Record
    from edge_agent.uplink.dialect import Dialect
    from edge_agent.uplink.dialects.announcer import Announcer
    from edge_agent.wire.formats.registry import Format


def format_of(config: Config) -> Format:
    """The format that the configuration names.

    Raises:
        Unavailable: no installed package offers it any more.
    """
    form = find_format(config.uplink.format)
    if form is None:
        raise Unavailable(f"the format {config.uplink.format} is not installed; known: {', '.join(known_formats())}")
    return form


def announces(config: Config) -> bool:
    """Whether batches may refer to an announcement instead of naming their channels."""
    return config.batch.names == "announced" and format_of(config).may_refer


def dialect_of(
    config: Config,
    *,
    encode: Callable[[Record], bytes],
    status: Callable[[str, int], bytes],
    wall_ns: Callable[[], int],
    announcer: Announcer | None = None,
    divide: Callable[[Record, int], Sequence[tuple[int, bytes]]] | None = None,
) -> Dialect:
    """The dialect that the configuration asks for.

    Args:
        config: says which, and who we are.
        encode: the record as one of our own messages.
        status: the JSON of the retained status, given its state (`online`, `stopped`, `offline`) and its largest size.
        wall_ns: UNIX time as far as it is known.
        announcer: chooses the form of our own messages; None: each stands alone.
        divide: divides a batch into our own messages of at most so many bytes, each with its first row.

    Raises:
        Unavailable: a library that it needs is not installed, or the key of receivers cannot be read.
    """
    uplink, gateway = config.uplink, config.gateway
    load = format_of(config).load
    if load is not None:
        prefix = uplink.prefix or f"edge/{gateway.id}"
        return OwnTopics(
            prefix,
            encode=encode,
            rewrite=load(),
            status=status,
            announcer=announcer,
            receivers=uplink.ack == "receiver",
            key=read_password(uplink.ack_key_file, None),
            divide=divide if format_of(config).may_refer else None,
        )
    try:
        from edge_agent.uplink.dialects.sparkplug_node import SparkplugNode  # noqa: PLC0415 an extra
    except ModuleNotFoundError:
        raise Unavailable(f"the library for sparkplug-b is not installed: {install_command('sparkplug')}") from None
    return SparkplugNode(
        group=uplink.sparkplug_group,
        node=gateway.id,
        channels=[(sensor.id, quantity) for sensor in config.sensors for quantity in sensor.channels],
        about={"Site": gateway.site, "Location": gateway.location},
        encode=encode,
        wall_ns=wall_ns,
    )
