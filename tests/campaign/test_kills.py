"""Real processes killed with -9: 100 agents and 30 brokers on CI, 8 and 4 elsewhere. `kills.py` does more."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.campaign.kills import kill_agents, kill_brokers

CI = bool(os.environ.get("CI"))
AGENTS = [(seed, 25 if CI else 4) for seed in range(4 if CI else 2)]
BROKERS = [(seed, 15 if CI else 2) for seed in range(2)]

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        not CI and shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin") is None,
        reason="mosquitto is not installed: apt install mosquitto",
    ),
]


@pytest.mark.parametrize("task", AGENTS)
def test_killed_agents_lose_nothing_that_was_committed(task: tuple[int, int]) -> None:
    verdict = kill_agents(task)
    assert verdict.wrong == []
    assert verdict.lost == 0
    assert verdict.delivered >= task[1]


@pytest.mark.parametrize("task", BROKERS)
def test_killed_brokers_lose_only_what_they_had_acknowledged(task: tuple[int, int]) -> None:
    verdict = kill_brokers(task)
    assert verdict.wrong == []
    assert verdict.delivered >= task[1]
