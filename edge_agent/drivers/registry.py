"""Find a driver by its name: files of this folder, and what other packages offer by entry point.

A module declares what it offers in `DRIVERS`. It is best called like its driver: then a gateway loads that file only.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import edge_agent.drivers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from edge_agent.drivers.base import DriverInfo

ENTRY_POINT_GROUP: Final = "edge_agent.drivers"


def find_driver(name: str) -> DriverInfo | None:
    """The driver of that name, loading as few others as possible; None if there is none."""
    if name in _module_names():
        for info in _offered(_load(name)):
            if info.name == name:
                return info
    return all_drivers().get(name)


def all_drivers() -> dict[str, DriverInfo]:
    """Every driver by name, sorted."""
    modules = [_load(name) for name in _module_names()]
    modules += [entry_point.load() for entry_point in entry_points(group=ENTRY_POINT_GROUP)]
    offered = [info for module in modules for info in _offered(module)]
    return {info.name: info for info in sorted(offered, key=lambda info: info.name)}


def _module_names() -> Iterator[str]:
    return (module.name for module in pkgutil.iter_modules(edge_agent.drivers.__path__))


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{edge_agent.drivers.__name__}.{name}")


def _offered(module: ModuleType) -> tuple[DriverInfo, ...]:
    """What a module declares; nothing where it only holds what drivers share."""
    return tuple(getattr(module, "DRIVERS", ()))
