"""Finds drivers by name, in the files of this folder and in other packages by entry point.

A module lists its drivers in `DRIVERS`. If it has the name of its driver, a gateway loads only that file.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

import edge_agent.drivers

if TYPE_CHECKING:
    from types import ModuleType

    from edge_agent.drivers.base import DriverInfo

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "edge_agent.drivers"


def find_driver(name: str) -> DriverInfo | None:
    """The driver of that name, loading as few others as possible; None if there is none."""
    modules = [_load(name)] if name in _module_names() else modules_of_others(ENTRY_POINT_GROUP, "driver", name)
    offered = [info for module in modules for info in _offered(module) if info.name == name]
    return offered[0] if offered else all_drivers().get(name)


def all_drivers() -> dict[str, DriverInfo]:
    """All drivers by name, sorted. One of this folder overrides one of another package with the same name."""
    modules = modules_of_others(ENTRY_POINT_GROUP, "driver") + [_load(name) for name in _module_names()]
    offered = [info for module in modules for info in _offered(module)]
    known = {info.name: info for info in offered}
    return dict(sorted(known.items()))


def modules_of_others(group: str, what: str, name: str | None = None) -> list[Any]:
    """Modules that other packages offer by entry point. One that cannot be loaded is logged, and left out.

    Args:
        group: of the entry points.
        what: they offer, for the log.
        name: of the entry points to load; None loads all of the group.
    """
    modules = []
    offered = entry_points(group=group)
    for entry_point in offered if name is None else offered.select(name=name):
        try:
            modules.append(entry_point.load())
        except Exception as error:  # noqa: BLE001 a file that is not ours may raise anything when it is loaded
            log.warning("the %s %s of another package cannot be loaded: %r", what, entry_point.value, error)
    return modules


def _module_names() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(edge_agent.drivers.__path__)]


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{edge_agent.drivers.__name__}.{name}")


def _offered(module: Any) -> tuple[DriverInfo, ...]:
    """The drivers that a module declares; none for a module of shared code."""
    return tuple(getattr(module, "DRIVERS", ()))
