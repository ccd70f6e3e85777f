"""Find the chip model for a driver: files of `chips/`, and what other packages offer by entry point.

A module declares what it offers in `CHIPS`, by the names of the drivers that read it.
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
    """What makes chips for a driver. Raises Unavailable if there is no model for it."""
    makers = chip_makers()
    if driver not in makers:
        raise Unavailable(f'there is no simulated chip for driver "{driver}"; there are: {", ".join(sorted(makers))}')
    return makers[driver]


@cache
def chip_makers() -> Makers:
    """Every chip model by the name of its driver. One of `chips/` goes before one of another package."""
    package = edge_agent.simulate.chips
    own = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    modules = [*modules_of_others(ENTRY_POINT_GROUP, "chip model"), *own]
    return {name: make for module in modules for name, make in getattr(module, "CHIPS", {}).items()}
