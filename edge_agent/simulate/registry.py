"""Finds the chip model for a driver, in the files of `chips/` and in other packages by entry point.

A module lists its models in `CHIPS`, by the names of the drivers that read them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Final

import edge_agent.simulate.chips
from edge_agent.drivers.registry import modules_of_others
from edge_agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.simulate.chips.base import AnyChip, Makers, Part

ENTRY_POINT_GROUP: Final = "edge_agent.chips"


def find_chip(driver: str) -> Callable[[Part], AnyChip]:
    """The maker of chip models for a driver. Raises Unavailable if there is none."""
    makers = chip_makers()
    if driver not in makers:
        raise Unavailable(f'there is no simulated chip for driver "{driver}"; there are: {", ".join(sorted(makers))}')
    return makers[driver]


@cache
def chip_makers() -> Makers:
    """Makers of all chip models by the name of the driver. One of `chips/` overrides one of another package."""
    package = edge_agent.simulate.chips
    own = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    modules = [*modules_of_others(ENTRY_POINT_GROUP, "chip model"), *own]
    return {name: make for module in modules for name, make in getattr(module, "CHIPS", {}).items()}
