"""Campaigns of fixed seeds: 2,000 simulated hours with faults on CI, 200 elsewhere.

EDGE_AGENT_CAMPAIGN_HOURS sets another number; `run.py` does more, and repeats one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.campaign.run import HOURS_EACH, campaign, replay
from tests.campaign.setup import Result

HOURS = float(os.environ.get("EDGE_AGENT_CAMPAIGN_HOURS", "2000" if os.environ.get("CI") else "200"))
PER_TEST = 5
"""Campaigns per test, so that processes share them."""
FIRST_SEEDS = range(1, 1 + round(HOURS / HOURS_EACH), PER_TEST)
DIGEST = """
import sys
from tests.campaign.run import campaign
print(campaign((int(sys.argv[1]), 2.0)).digest)
"""


@pytest.mark.parametrize("first_seed", FIRST_SEEDS)
def test_nothing_committed_is_lost_whatever_fails(first_seed: int) -> None:
    results = [campaign((seed, HOURS_EACH)) for seed in range(first_seed, first_seed + PER_TEST)]
    found = [
        f"{replay(result, HOURS_EACH)}: at {each.at_s:.3f} s, {each.rule}: {each.what}"
        for result in results
        for each in result.violations[:3]
    ]
    assert not found, "\n".join(found)
    faults = sum((result.faults for result in results), Counter[str]())
    assert faults.total() > 15 * HOURS_EACH * PER_TEST, "a campaign without faults proves nothing"
    assert len(faults) >= 18, f"only these kinds of faults: {sorted(faults)}"
    assert sum(result.counts["delivered"] for result in results) > 20 * HOURS_EACH * PER_TEST


def test_a_seed_gives_the_same_history_in_another_process() -> None:
    def digest(hash_seed: str) -> str:
        command = [sys.executable, "-c", DIGEST, "11"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return done.stdout.strip()

    first = digest("1")
    assert len(first) == 64
    assert first == digest("2")


def test_two_seeds_give_two_histories() -> None:
    one, other = campaign((1, 0.5)), campaign((2, 0.5))
    assert isinstance(one, Result)
    assert one.digest != other.digest
