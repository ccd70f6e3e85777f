"""Makes or upgrades the outbox in a child process, so that the daemon need not keep what only its first start needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable
from edge_agent.outbox.recovery import DATABASE, open_or_set_aside
from edge_agent.outbox.schema import VERSION, StoreSettings
from edge_agent.runtime import may_fork

if TYPE_CHECKING:
    from pathlib import Path

_USER_VERSION_AT: Final = 60
"""Offset of the schema's version in the file (SQLite's file format, section 1.3)."""
_ANY: Final = StoreSettings(1_048_576)
"""Limit of the file until it is opened, which sets it anew; it has to hold an empty outbox."""


def prepare_outbox(directory: Path) -> None:
    """Make the tables that are missing.

    Called before any thread is started, the child is a fork; where there are threads, they are made when the outbox is
    opened. What goes wrong here goes wrong again then, and is reported by that.
    """
    if _is_current(directory / DATABASE) or not may_fork():
        return
    child = os.fork()
    if child == 0:
        try:
            connection, _salvage = open_or_set_aside(directory, _ANY)
            connection.close()
        except Unavailable:
            pass
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _is_current(path: Path) -> bool:
    """Whether the file says that it has all tables; of one that cannot be read, nothing is made here."""
    try:
        with path.open("rb") as file:
            file.seek(_USER_VERSION_AT)
            return int.from_bytes(file.read(4), "big") >= VERSION
    except FileNotFoundError:
        return False
    except OSError:
        return True
