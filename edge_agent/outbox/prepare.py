"""Makes a new outbox in a child process, so that the daemon does not carry what only its first start needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable
from edge_agent.outbox.recovery import DATABASE, open_or_set_aside

if TYPE_CHECKING:
    from pathlib import Path

_ANY_BYTES: Final = 1_048_576
"""The limit is said again at each opening; this one only has to hold an empty outbox."""


def prepare_outbox(directory: Path) -> None:
    """Make the outbox if there is none. What goes wrong here goes wrong again, and is told, when it is opened.

    To be called before any thread is started: the child is a fork.
    """
    if (directory / DATABASE).exists():
        return
    child = os.fork()
    if child == 0:
        try:
            connection, _salvage = open_or_set_aside(directory, _ANY_BYTES)
            connection.close()
        except Unavailable:
            pass
        finally:
            os._exit(0)
    os.waitpid(child, 0)
