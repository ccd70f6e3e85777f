"""Waits between links, and clients with the same id."""

from __future__ import annotations

import random

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.ends import CALM_NS, Ending, Ends


def wars(ends: Ends, ending: Ending, times: int, *, lasts_ns: int = NS_PER_S, start_ns: int = 0) -> list[int]:
    """Links that end in this way, each as soon as the wait is over. Returns the waits, nanoseconds."""
    now_ns, waits = start_ns, []
    for _ in range(times):
        ends.connected(now_ns)
        ends.acknowledged()
        now_ns += lasts_ns
        waits.append(ends.ended(now_ns, ending, at_record=False))
        now_ns += waits[-1]
    return waits


@pytest.mark.parametrize(("ending", "most"), [(Ending.TAKEN_OVER, 3), (Ending.CLOSED, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_after_many_takeovers_in_a_minute_the_wait_is_minutes(ending: Ending, most: int, seed: int) -> None:
    ends = Ends(random.Random(seed))
    waits = wars(ends, ending, most + 4)
    assert max(waits[:most]) <= NS_PER_S, "each link carried a record"
    assert 30 * NS_PER_S <= waits[most] <= 60 * NS_PER_S
    assert 150 * NS_PER_S <= waits[most + 3] <= 300 * NS_PER_S
    assert "duplicate client id" in ends.duplicate
    assert ends.duplicate.startswith("perhaps") == (ending is Ending.CLOSED)


@pytest.mark.parametrize("ending", list(Ending))
def test_ends_that_are_far_apart_or_have_other_causes_are_no_takeovers(ending: Ending) -> None:
    ends = Ends(random.Random(1))
    wars(ends, ending, 10, lasts_ns=31 * NS_PER_S)
    assert ends.duplicate == ""
    wars(ends, Ending.OTHER, 10)
    assert ends.duplicate == ""


def test_a_broker_that_closes_links_at_a_record_has_no_rival_of_ours() -> None:
    ends = Ends(random.Random(1))
    for turn in range(10):
        ends.connected(turn)
        ends.ended(turn, Ending.CLOSED, at_record=True)
        ends.ended(turn, Ending.CLOSED, at_record=False)  # a link that was never made
    assert ends.duplicate == ""


def test_a_link_that_lasts_ends_the_suspicion_and_no_shorter_one_does() -> None:
    ends = Ends(random.Random(1))
    wars(ends, Ending.TAKEN_OVER, 5)
    ends.connected(10**15)
    assert ends.calm_ns == 10**15 + CALM_NS
    ends.tick(10**15 + CALM_NS - 1)
    assert "duplicate" in ends.duplicate
    ends.tick(10**15 + CALM_NS)
    assert ends.ended(10**15 + CALM_NS, Ending.TAKEN_OVER, at_record=False) <= NS_PER_S


def test_two_gateways_with_one_id_do_not_fight_every_few_seconds() -> None:
    """Both run this program: whoever connects throws the other one out."""
    gateways = [Ends(random.Random(seed)) for seed in range(2)]
    due_ns = [0, NS_PER_S // 2]
    up: int | None = None
    connects: list[int] = []
    for _ in range(200):
        turn = min((0, 1), key=lambda each: due_ns[each])
        now_ns = due_ns[turn]
        connects.append(now_ns)
        gateways[turn].connected(now_ns)
        gateways[turn].acknowledged()
        if up is not None:
            due_ns[up] = now_ns + gateways[up].ended(now_ns, Ending.TAKEN_OVER, at_record=False)
        up, due_ns[turn] = turn, 1 << 62
    assert (connects[-1] - connects[10]) / (len(connects) - 11) > 60 * NS_PER_S
    assert all(gateway.duplicate for gateway in gateways)


def test_a_broker_that_cannot_be_reached_in_between_has_failed_by_itself() -> None:
    ends = Ends(random.Random(1))
    for turn in range(10):
        ends.connected(turn * NS_PER_S)
        ends.ended(turn * NS_PER_S, Ending.CLOSED, at_record=False)
        ends.ended(turn * NS_PER_S, Ending.OTHER, at_record=False)  # nothing listens
    assert ends.duplicate == ""
