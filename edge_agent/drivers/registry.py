"""Find a driver by its name: files of this folder, and what other packages offer by entry point."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import edge_agent.drivers

if TYPE_CHECKING:
    from edge_agent.drivers.base import DriverInfo

ENTRY_POINT_GROUP: Final = "edge_agent.drivers"
_NOT_DRIVERS: Final = frozenset({"base", "registry", "checksum", "identify"})


def all_drivers() -> dict[str, DriverInfo]:
    """Every driver by name, sorted. A module declares what it offers in `DRIVERS`."""
    modules = [
        importlib.import_module(f"{edge_agent.drivers.__name__}.{module.name}")
        for module in pkgutil.iter_modules(edge_agent.drivers.__path__)
        if module.name not in _NOT_DRIVERS
    ]
    modules += [entry_point.load() for entry_point in entry_points(group=ENTRY_POINT_GROUP)]
    offered: list[DriverInfo] = [info for module in modules for info in module.DRIVERS]
    return {info.name: info for info in sorted(offered, key=lambda info: info.name)}
