"""Every call of every seam fails once, in five ways, and the history is judged as any other.

EDGE_AGENT_CAMPAIGN=full goes through every n; otherwise every n up to 24, then every seventh: the later calls repeat
the earlier ones batch after batch.
"""

from __future__ import annotations

import logging
import os

import pytest

from tests.campaign.nth import BUS, CLOCK, DISK, LINK, STATEMENT, Nth
from tests.campaign.world import World

FULL = os.environ.get("EDGE_AGENT_CAMPAIGN") == "full"
HOURS = 600 / 3600
MOST = 5_000
SEAMS: dict[str, tuple[str, ...]] = {
    "statement": tuple(STATEMENT),
    "disk": tuple(DISK),
    "link": tuple(LINK),
    "bus": tuple(BUS),
    "clock": tuple(CLOCK),
}
CASES = [(seam, how) for seam, kinds in SEAMS.items() for how in kinds]


@pytest.mark.parametrize(("seam", "how"), CASES)
def test_no_failure_of_one_call_loses_a_reading(seam: str, how: str) -> None:
    logging.disable(logging.CRITICAL)
    try:
        failures: list[str] = []
        n = points = 0
        while n < MOST:
            n += 1 if FULL or n < 24 else 7
            nth = Nth(seam, n, how)
            result = World(1, HOURS, nth=nth).run()
            if not nth.struck:
                break
            points += 1
            failures += [f"Nth({seam!r}, {n}, {how!r}): {each.rule}: {each.what}" for each in result.violations[:2]]
        assert points > 8, "the seam was hardly used"
        assert not failures, f"{len(failures)} of {points}:\n" + "\n".join(failures[:8])
    finally:
        logging.disable(logging.NOTSET)
