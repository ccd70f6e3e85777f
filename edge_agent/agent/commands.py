"""Carries out commands: what the link hears besides answers to records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.runtime import Inbox
from edge_agent.uplink.command import Command, Rebirth
from edge_agent.uplink.dialect import Occasion

if TYPE_CHECKING:
    from collections.abc import Callable

INBOX_LIMIT = 100
"""Commands that wait; more are refused, and counted by the inbox."""


class CommandWorker:
    """The worker behind the agent's own inbox.

    Args:
        publish_status: lets the uplink publish what belongs to an occasion.
    """

    name = "commands"

    def __init__(self, publish_status: Callable[[Occasion], object]) -> None:
        self.inbox: Inbox[Command] = Inbox(INBOX_LIMIT)
        self._publish_status = publish_status

    def step(self) -> None:
        """Carry out what arrived."""
        for command in self.inbox.take_all():
            match command:
                case Rebirth():
                    self._publish_status(Occasion.BIRTH)
