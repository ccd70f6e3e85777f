"""Commands that a gateway receives over the link. The uplink parses commands; the agent executes them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.uplink.confirmation import Ack, Ask


@dataclass(frozen=True, slots=True)
class Rebirth:
    """Publish the birth message again, for a host that missed it."""


Command = Rebirth
"""Union of all commands. Frozen, so that a command can be passed to another thread."""

Heard = Command | Ack | Ask
"""Whatever arrives over the link: commands for the agent, and messages of receivers for the session."""
