"""Whose records wait in an outbox. They hold no node, broker, prefix or format: these are added when they are sent.

So the last three may be changed at any time. The node may not: it is part of the identity of a record, and a receiver
that knows a record of one node would take it again from another one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.outbox.inspect import NODE

if TYPE_CHECKING:
    from edge_agent.outbox.outbox import Outbox

log = logging.getLogger(__name__)


def bind_node(outbox: Outbox, node: str) -> None:
    """Keep the id of the gateway in its outbox; warn if records of another one wait there."""
    if outbox.failure:
        return  # what is stored cannot be read
    stored = outbox.saved_state(NODE)
    if stored == node.encode():
        return
    if stored is None or outbox.tally().pending == 0:
        outbox.save_state(NODE, node.encode())
        return
    log.warning(
        "records of another gateway wait here, and a receiver will take them for records of this one node=%s of=%s; set"
        " [gateway] id back until they are delivered, or give this gateway another directory",
        node,
        stored.decode(errors="replace"),
    )
