"""The status message and its stages."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.agent.agent import Agent
from edge_agent.agent.status import status_message
from edge_agent.clock import SimulatedClock
from edge_agent.config.load import parse_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = """
[gateway]
id = "g"
site = "s"
[uplink]
url = "mqtt://127.0.0.1:1"
[bus.i2c1]
device = "/dev/i2c-1"
[[sensor]]
id = "air"
driver = "sht4x"
bus = "i2c1"
[sensor.temperature_c]
certificate = "K-17"
calibrated_on = "2026-01-15"
"""


@pytest.fixture
def message(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Make the status of a given size at most."""
    config, clock = parse_config(CONFIG), SimulatedClock(0)
    agent = Agent(config, {}, clock=clock, rng=random.Random(1), directory=tmp_path)
    snapshot, announcement = agent.snapshot(), agent._announcement()
    agent.drain(0)
    snapshot = replace(
        snapshot,
        pipeline=replace(snapshot.pipeline, alerts_firing=("frost",)),
        store=replace(snapshot.store, set_aside=3),
        uplink=replace(snapshot.uplink, aside_reason="too large"),
    )

    def make(most_bytes: int, state: str = "online", **uplink: Any) -> dict[str, Any]:
        with_uplink = replace(snapshot, uplink=replace(snapshot.uplink, **uplink))
        encoded = status_message(state, config, with_uplink, announcement, most_bytes)
        told: dict[str, Any] = json.loads(encoded)
        return told | {"bytes": len(encoded)}

    return make


def test_the_status_is_shortened_in_stages_and_says_so(message: Callable[..., dict[str, Any]]) -> None:
    stages = [message(1_000_000)]
    while len(stages) < 10 and message(stages[-1]["bytes"] - 1) != stages[-1]:
        stages.append(message(stages[-1]["bytes"] - 1))
    full, *shorter = stages
    assert "shortened" not in full
    assert full["sensors"]["air"]["calibration"]["temperature_c"]["certificate"] == "K-17"
    assert all(each["shortened"] is True for each in shorter)
    parts = ["sensors", "alerts", "announcement", "epochs"]
    assert [
        ("calibration" in str(each), "driver" in str(each), *(part in each for part in parts)) for each in stages
    ] == [
        (True, True, True, True, True, True),
        (False, True, True, True, True, True),
        (False, False, True, True, True, True),
        (False, False, False, True, True, True),
        (False, False, False, False, True, True),
        (False, False, False, False, False, True),
        (False, False, False, False, False, False),
    ]
    for each in stages:
        assert each["records"]["set_aside"] == 3
        assert each["set_aside_reason"] == "too large"


def test_who_is_gone_says_no_more_than_that(message: Callable[..., dict[str, Any]]) -> None:
    assert message(1, "stopped").keys() == {"state", "node", "epoch", "bytes"}


def test_of_receivers_is_said_what_is_wrong_and_nothing_else(message: Callable[..., dict[str, Any]]) -> None:
    names = {"unconfirmed", "unheard", "ignored_receivers", "ignored_messages"}
    assert message(1_000_000).keys().isdisjoint(names)
    wrong = {"unconfirmed": 2, "unheard": "nobody", "ignored_receivers": ("lab", "x"), "ignored_messages": 7}
    said = message(1_000_000, **wrong)
    assert {name: said[name] for name in names} == wrong | {"ignored_receivers": ["lab", "x"]}
