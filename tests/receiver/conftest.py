"""A receiver on simulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.receiver.gateway import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Starts receivers, by default on one database, and ends them after the test."""
    started: list[Bench] = []

    def bench(name: str = "received.db", *, session: bool = True, key: str | None = None) -> Bench:
        started.append(Bench(tmp_path / name, session=session, seed=len(started), key=key))
        return started[-1]

    yield bench
    for each in started:
        each.close()


@pytest.fixture
def bench(start: Callable[..., Bench]) -> Bench:
    """A receiver that is connected."""
    return start()
