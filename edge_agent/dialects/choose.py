"""From `[uplink] format` to the dialect that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.dialects.own_topics import OwnTopics
from edge_agent.wire.formats.choose import rewriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.model import Config
    from edge_agent.reading import Record
    from edge_agent.uplink.dialect import Dialect


def dialect_of(config: Config, *, encode: Callable[[Record], bytes], status: Callable[[str], bytes]) -> Dialect:
    """The dialect that the configuration asks for.

    Args:
        config: says which, and who we are.
        encode: the record as one of our own messages.
        status: the JSON of the retained status, given its state: `online`, `stopped`, `offline`.
    """
    uplink, node = config.uplink, config.gateway.id
    return OwnTopics(uplink.prefix or f"edge/{node}", encode=encode, rewrite=rewriter(uplink.format), status=status)
