"""Reads the configuration in a child process. The libraries for it take 5 MiB, which the daemon then need not keep."""

from __future__ import annotations

import io
import os
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.drivers.base import DriverInfo
from edge_agent.drivers.registry import find_driver
from edge_agent.errors import ConfigError
from edge_agent.runtime import may_fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config.model import Config


class _Pickler(pickle.Pickler):
    """Writes the name of a driver for its declaration, which holds functions."""

    def persistent_id(self, item: Any) -> str | None:
        """See `pickle.Pickler`."""
        return item.name if isinstance(item, DriverInfo) else None


class _Unpickler(pickle.Unpickler):
    """The other end."""

    def persistent_load(self, name: str) -> DriverInfo:
        """See `pickle.Unpickler`."""
        driver = find_driver(name)
        if driver is None:
            raise pickle.UnpicklingError(name)
        return driver


def load_config_in_child(path: Path) -> Callable[[], Config]:
    """Begin to do what `load_config` does.

    Called before any thread is started, the child is a fork; where there are threads, the file is read here.

    Returns:
        A function that waits for the result. It returns the configuration, or raises what `load_config` raises.
    """
    if not may_fork():
        return partial(_load_here, path)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        try:
            with os.fdopen(writable, "wb") as pipe:
                pipe.write(_load(path))
        finally:
            os._exit(0)
    os.close(writable)
    return partial(_result, path, child, readable)


def _result(path: Path, child: int, readable: int) -> Config:
    with os.fdopen(readable, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:  # whatever went wrong there is best told from here
        return _load_here(path)
    loaded = _Unpickler(io.BytesIO(answer)).load()
    if isinstance(loaded, ConfigError):
        raise ConfigError(loaded.problems)
    config: Config = loaded
    return config


def _load_here(path: Path) -> Config:
    from edge_agent.config.load import load_config  # noqa: PLC0415 mostly only the child needs it

    return load_config(path)


def _load(path: Path) -> bytes:
    answer: Config | ConfigError
    try:
        answer = _load_here(path)
    except ConfigError as error:
        answer = error
    written = io.BytesIO()
    _Pickler(written).dump(answer)
    return written.getvalue()
