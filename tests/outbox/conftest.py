"""An outbox to try things on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.clock import Anchor, ClockQuality
from edge_agent.outbox.outbox import Content, Dropped, Encode, Outbox
from edge_agent.outbox.schema import StoreSettings
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SYNCED = Anchor(1_000, ClockQuality.SYNCED, 0)


def told(dropped: Dropped) -> bytes:
    """A tombstone's body that a test can read."""
    numbers = (dropped.epoch, dropped.first_seq, dropped.last_seq, dropped.records, dropped.readings)
    return f"{' '.join(map(str, numbers))} {dropped.reason}".encode()


@pytest.fixture
def open_outbox(tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    """Open the outbox in a folder; whatever is given replaces a default."""
    opened: list[Outbox] = []

    def open_(**given: Any) -> Outbox:
        settings: dict[str, Any] = {
            "directory": tmp_path / "state",
            "boot_id": "boot-a",
            "anchor": SYNCED,
            "rng": random.Random(repr(given)),
            "encode": Encode(told, b"+".join),
        }
        settings["settings"] = StoreSettings(given.pop("max_bytes", 1 << 20))
        opened.append(Outbox(**(settings | given)))
        return opened[-1]

    yield open_
    for outbox in opened:
        outbox._segments.close()
        outbox._salvaging.close()
        outbox._store.close()  # without the commit of `Outbox.close`, which a test that plays a crash does not want


@pytest.fixture
def batch() -> Callable[..., Content]:
    """Make a batch whose body begins with its name."""

    def make(name: int, size: int = 100, kind: RecordKind = RecordKind.BATCH) -> Content:
        return Content(kind, 10, name * 100, name * 100 + 99, b"%d " % name + bytes(size))

    return make
