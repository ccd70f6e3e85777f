"""Lets drivers of other people run on simulated time."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.clock import SimulatedClock


@contextmanager
def sleeping_on(clock: SimulatedClock) -> Iterator[None]:
    """Until the end of the block, `time.sleep` lets simulated time pass, and `time.monotonic` reads it.

    Modules that were imported before and hold `sleep` or `monotonic` by name are included.
    """

    def sleep(seconds: float) -> None:
        clock.advance_to(clock.now_ns() + round(seconds * 1e9))

    def monotonic() -> float:
        return clock.now_ns() * 1e-9

    simulated = {"sleep": sleep, "monotonic": monotonic}
    real = {name: vars(time)[name] for name in simulated}
    held = [
        (module, name)
        for module in list(sys.modules.values())
        for name in simulated
        if getattr(module, "__dict__", {}).get(name) is real[name]
    ]
    for module, name in held:
        setattr(module, name, simulated[name])
    try:
        yield
    finally:
        for module, name in held:
            setattr(module, name, real[name])
