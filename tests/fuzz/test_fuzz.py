"""A little of each target of the slow lane (`.ci/slow`), and that it would find what it looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.wire import decode
from tests.fuzz import lane
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    import random


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_an_error_of_the_format_comes_of_damage(name: str) -> None:
    assert lane.run(name, range(2000), seed=0) is None


def test_a_check_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(field: Any, *_: object, **__: object) -> Any:
        return field

    monkeypatch.setattr(decode, "array", unchecked)
    finding = lane.run("messages", range(2000), seed=0)
    assert finding is not None
    assert "Error: " in finding.reason
    assert f"--target messages --seed 0 --only {finding.number}" in str(finding)


def test_a_hang_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_rng: random.Random) -> None:
        while True:
            pass

    monkeypatch.setattr(lane, "MOST_S", 0.05)
    finding = lane.run("messages", range(1), seed=0, target=hang)
    assert finding is not None
    assert finding.reason.startswith("Slow: ")


def test_an_allocation_above_the_cap_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter((100 << 20, 500 << 20, 501 << 20))
    monkeypatch.setattr(lane, "_peak_bytes", lambda: next(peaks))
    finding = lane.run("messages", range(9), seed=0)
    assert finding == lane.Finding("messages", 0, 1, "takes 401 MiB")
