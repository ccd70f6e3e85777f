"""Creates or upgrades the outbox in a child process, so that the daemon does not keep the memory of the migration."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import VERSION, StoreSettings, open_database
from edge_agent.runtime import may_fork

if TYPE_CHECKING:
    from pathlib import Path

_USER_VERSION_AT: Final = 60
"""Offset of the schema's version in the file (SQLite's file format, section 1.3)."""
_ANY: Final = StoreSettings(1_048_576)
"""Settings for the child. The size limit only has to allow an empty outbox: each opening sets its own limit."""


def prepare_outbox(directory: Path) -> None:
    """Create missing tables in a forked child process.

    If threads run already, nothing is done: a fork is not safe then, and `Outbox` creates the tables when it is opened.
    Errors are ignored here: they occur again when the outbox is opened, and are reported there.
    """
    if _is_current(directory / DATABASE) or not may_fork():
        return
    child = os.fork()
    if child == 0:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            open_database(directory / DATABASE, _ANY).close()
        except (sqlite3.Error, OSError, Unavailable):
            pass  # a damaged database is not for this process to handle: nobody would hear of it
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _is_current(path: Path) -> bool:
    """Whether the schema version in the file is current; also True if the file cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(_USER_VERSION_AT)
            return int.from_bytes(file.read(4), "big") >= VERSION
    except FileNotFoundError:
        return False
    except OSError:
        return True
