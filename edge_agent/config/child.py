"""Reads the configuration in a child process: what only that needs takes 5 MiB, which the daemon need not keep."""

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
    """Begin to do what `load_config` does. Whoever calls what is returned gets the result, or the error.

    To be called before any thread is started: the child is a fork.
    """
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        try:
            with os.fdopen(tell, "wb") as pipe:
                pipe.write(_load(path))
        finally:
            os._exit(0)
    os.close(tell)
    return partial(_result, path, child, told)


def _result(path: Path, child: int, told: int) -> Config:
    with os.fdopen(told, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:  # whatever went wrong there is best told from here
        from edge_agent.config.load import load_config  # noqa: PLC0415 the child has it so that we do not

        return load_config(path)
    loaded = _Unpickler(io.BytesIO(answer)).load()
    if isinstance(loaded, ConfigError):
        raise ConfigError(loaded.problems)
    config: Config = loaded
    return config


def _load(path: Path) -> bytes:
    from edge_agent.config.load import load_config  # noqa: PLC0415 only the child

    answer: Config | ConfigError
    try:
        answer = load_config(path)
    except ConfigError as error:
        answer = error
    written = io.BytesIO()
    _Pickler(written).dump(answer)
    return written.getvalue()
