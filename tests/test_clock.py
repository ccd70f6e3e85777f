from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge_agent.clock import NS_PER_S, Anchor, ClockQuality, SimulatedClock, SystemClock
from edge_agent.runtime import Inbox

if TYPE_CHECKING:
    import pytest


def test_a_full_inbox_refuses_and_tells() -> None:
    refused: list[int] = []
    inbox: Inbox[int] = Inbox(2, refused.append)
    assert [inbox.put(number) for number in range(4)] == [True, True, False, False]
    assert (len(inbox), refused) == (2, [2, 3])
    assert inbox.arrival.is_set()
    assert inbox.take_all() == [0, 1]
    assert not inbox.arrival.is_set()
    assert inbox.take_all() == []
    assert inbox.put(9)
    assert refused == [2, 3]


def test_what_nobody_repeats_is_taken_in_even_by_a_full_inbox() -> None:
    inbox: Inbox[int] = Inbox(1)
    assert inbox.put(1)
    inbox.put_always(2)
    assert inbox.take_all() == [1, 2]
    inbox.put_always(3)
    assert inbox.arrival.is_set()


def test_nothing_is_lost_or_slept_through_when_many_put_at_once() -> None:
    inbox: Inbox[tuple[int, int]] = Inbox(1_000_000)
    putters, each = 8, 3_000

    def put(who: int) -> None:
        for number in range(each):
            assert inbox.put((who, number))

    threads = [threading.Thread(target=put, args=(who,)) for who in range(putters)]
    for thread in threads:
        thread.start()
    taken: list[tuple[int, int]] = []
    while len(taken) < putters * each:
        assert inbox.arrival.wait(10), "items lie in the inbox and nobody was woken"
        taken += inbox.take_all()
    for thread in threads:
        thread.join()
    for who in range(putters):
        assert [number for putter, number in taken if putter == who] == list(range(each))


def test_the_system_clock_knows_where_wall_time_stands() -> None:
    clock = SystemClock()
    anchors = [clock.anchor() for _ in range(20)]
    offsets = [anchor.offset_ns for anchor in anchors]
    assert max(offsets) - min(offsets) < NS_PER_S // 100
    year_2020_ns = 1_577_836_800 * NS_PER_S
    assert clock.now_ns() + offsets[0] > year_2020_ns
    for anchor in anchors:
        assert anchor.quality in {ClockQuality.NONE, ClockQuality.HOLDOVER, ClockQuality.SYNCED}
        assert 0 <= anchor.max_error_ns <= 3600 * NS_PER_S


def test_the_boot_has_a_name_that_a_sandbox_may_hand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_BOOT_ID", raising=False)
    assert len(SystemClock().boot_id()) == 36
    monkeypatch.setenv("EDGE_BOOT_ID", "handed-in")
    assert SystemClock().boot_id() == "handed-in"


def test_waiting_ends_with_the_event_or_the_deadline() -> None:
    clock, event = SystemClock(), threading.Event()
    started_ns = clock.now_ns()
    clock.wait(event, started_ns + 5_000_000)
    assert clock.now_ns() >= started_ns + 4_000_000
    clock.wait(event, started_ns - NS_PER_S)
    event.set()
    clock.wait(event, None)
    clock.wait(event, 1 << 100)  # further than a thread can wait


def test_simulated_time_stands_still_until_told() -> None:
    clock = SimulatedClock(1_700_000_000 * NS_PER_S)
    assert clock.now_ns() == 10 * NS_PER_S
    assert clock.now_ns() + clock.anchor().offset_ns == 1_700_000_000 * NS_PER_S
    clock.advance_to(12 * NS_PER_S)
    clock.advance_to(11 * NS_PER_S)
    assert clock.now_ns() == 12 * NS_PER_S
    event = threading.Event()
    clock.wait(event, 20 * NS_PER_S)
    assert clock.now_ns() == 20 * NS_PER_S
    event.set()
    clock.wait(event, 30 * NS_PER_S)
    assert clock.now_ns() == 20 * NS_PER_S
    stepped = Anchor(7, ClockQuality.NONE, 3)
    clock.set_anchor(stepped)
    assert clock.anchor() == stepped


def test_a_wait_in_a_simulated_turn_lets_time_pass_for_that_turn_only() -> None:
    clock = SimulatedClock(0, start_ns=100)
    clock.wait(threading.Event(), 150)
    assert clock.now_ns() == 150
    assert clock.end_turn() == 150
    assert clock.now_ns() == 100
    clock.wait(threading.Event(), 50)
    assert clock.end_turn() == 100, "a deadline that has passed lets no time pass"
