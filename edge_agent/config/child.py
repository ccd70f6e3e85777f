"""Reads the configuration in a child process.

The libraries that only this needs take 5 MiB, which the daemon then does not keep.
"""

from __future__ import annotations

import io
import os
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.drivers.base import DriverInfo
from edge_agent.drivers.registry import find_driver
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config.model import Config


class _Pickler(pickle.Pickler):
    """Writes a driver's declaration as its name, because a declaration contains functions."""

    def persistent_id(self, item: Any) -> str | None:
        """See `pickle.Pickler`."""
        return item.name if isinstance(item, DriverInfo) else None


class _Unpickler(pickle.Unpickler):
    """Reads what `_Pickler` wrote."""

    def persistent_load(self, name: str) -> DriverInfo:
        """See `pickle.Unpickler`."""
        driver = find_driver(name)
        if driver is None:
            raise pickle.UnpicklingError(name)
        return driver


def load_config_in_child(path: Path) -> Callable[[], Config]:
    """Start to read a configuration file as `load_config` does.

    Must be called before any thread is started, because the child is a fork.

    Returns:
        A function that waits for the child; it returns the configuration or raises ConfigError.
    """
    reading_end, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading_end)
        try:
            with os.fdopen(writing_end, "wb") as pipe:
                pipe.write(_load(path))
        finally:
            os._exit(0)
    os.close(writing_end)
    return partial(_result, path, child, reading_end)


def _result(path: Path, child: int, reading_end: int) -> Config:
    with os.fdopen(reading_end, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:  # the child failed: read it here, and raise the same error
        from edge_agent.config.load import load_config  # noqa: PLC0415 this process does without it

        return load_config(path)
    loaded = _Unpickler(io.BytesIO(answer)).load()
    if isinstance(loaded, ConfigError):
        raise ConfigError(loaded.problems)
    config: Config = loaded
    return config


def _load(path: Path) -> bytes:
    from edge_agent.config.load import load_config  # noqa: PLC0415 only the child needs it

    answer: Config | ConfigError
    try:
        answer = load_config(path)
    except ConfigError as error:
        answer = error
    written = io.BytesIO()
    _Pickler(written).dump(answer)
    return written.getvalue()
