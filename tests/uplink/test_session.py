from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Lane, RecordKind
from edge_agent.uplink.action import Confirm, Drop, HandOut, Open, Refuse, Rewind, Send
from edge_agent.uplink.session import LinkState, Session
from tests.uplink.records import ACK_TIMEOUT_NS, ROOMY, offer, record

if TYPE_CHECKING:
    from edge_agent.uplink.action import Action


def sends(*rowids: int) -> list[Action]:
    return [Send(Lane.BACKLOG, record(rowid)) for rowid in rowids]


def fresh(window: int = 4, seed: int = 1) -> Session:
    made = Session(in_flight_limit=window, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(seed))
    assert made.take_actions() == [Open()]
    return made


def online(window: int = 4, receive_maximum: int = ROOMY) -> Session:
    made = fresh(window)
    made.connected(receive_maximum)
    return made


def back(session: Session, now_ns: int) -> int:
    """Let the waiting time pass and the next connection stand. Returns when that is."""
    due_ns = session.deadline_ns()
    assert due_ns is not None
    now_ns = max(now_ns, due_ns)
    session.tick(now_ns)
    assert Open() in session.take_actions()
    session.connected(ROOMY)
    return now_ns


@pytest.mark.parametrize(("window", "receive_maximum", "asked"), [(16, ROOMY, 16), (16, 10, 10), (1, 10, 1), (4, 0, 1)])
def test_the_window_is_the_smaller_of_what_we_want_and_what_the_broker_takes(
    window: int, receive_maximum: int, asked: int
) -> None:
    assert online(window, receive_maximum).take_actions() == [Rewind(), HandOut(asked)]


def test_every_connection_begins_at_the_oldest_record() -> None:
    session = online()
    session.take_actions()
    session.offered(0, offer(1, 2, 3, 4))
    assert session.take_actions() == sends(1, 2, 3, 4)
    session.disconnected(1, "gone")
    assert session.in_flight == 0
    back(session, 1)
    assert session.take_actions() == [Rewind(), HandOut(1)]


def test_only_success_settles_and_only_once() -> None:
    session = online()
    session.offered(0, offer(1, 2, 3, 4))
    session.take_actions()
    session.acknowledged(1, record(2), 0)
    session.acknowledged(1, record(2), 0)
    assert session.take_actions() == [Confirm(record(2)), HandOut(1)]
    assert session.acknowledged_count == 1


def test_a_late_puback_settles_nothing_after_the_link_went_down() -> None:
    session = online()
    session.offered(0, offer(1))
    session.take_actions()
    session.disconnected(1, "gone")
    session.acknowledged(2, record(1), 0)
    assert session.take_actions() == []


@pytest.mark.parametrize("code", [0x80, 0x83, 0x97, 0x91, 0xFF, 0x01, 0x11])
def test_a_refusal_that_may_pass_pauses_and_settles_nothing(code: int) -> None:
    session = online(2)
    session.offered(0, offer(1, 2))
    session.take_actions()
    session.acknowledged(1, record(1), code)
    assert session.state is LinkState.PAUSED
    assert f"{code:#04x}" in session.reason
    assert session.take_actions() == []
    session.acknowledged(1, record(2), code)
    due_ns = session.deadline_ns()
    assert due_ns is not None
    assert 1 < due_ns <= 1 + NS_PER_S
    session.tick(due_ns)
    assert session.take_actions() == [Rewind(), HandOut(1)], "one record tells whether the cause is gone"
    session.offered(due_ns, offer(1))
    session.acknowledged(due_ns, record(1), 0)
    assert (session.state, session.reason) == (LinkState.ONLINE, "")
    assert session.take_actions() == [*sends(1), Confirm(record(1)), HandOut(2)]


@pytest.mark.parametrize("code", [0x10, 0x87])
def test_a_refusal_that_concerns_a_topic_closes_that_one_and_the_others_go_on(code: int) -> None:
    session = online(2)
    event = record(1, RecordKind.EVENT)
    session.offered(0, [(Lane.LIVE, event), (Lane.LIVE, record(2))])
    session.take_actions()
    session.acknowledged(1, event, code)
    assert session.reason == f"the broker says of event: {session.reason.split(': ')[1]}"
    session.acknowledged(1, record(2), 0)
    assert session.state is LinkState.ONLINE
    assert session.reason, "what waits is told of although the rest goes on"
    assert session.take_actions() == [HandOut(1), Confirm(record(2))]
    session.offered(2, [(Lane.LIVE, record(3, RecordKind.EVENT))])
    assert session.take_actions() == [], "the topic is closed, and there may be more of it: not asked again"
    session.stored()
    assert session.take_actions() == [HandOut(2)]
    session.offered(3, [(Lane.LIVE, record(4))])
    session.acknowledged(3, record(4), 0)
    session.take_actions()
    due_ns = session.deadline_ns()
    assert due_ns is not None
    session.tick(due_ns)
    assert session.take_actions() == [Rewind(), HandOut(1)]
    session.offered(due_ns, [(Lane.BACKLOG, event)])
    session.acknowledged(due_ns, event, 0)
    assert (session.state, session.reason) == (LinkState.ONLINE, "")


def test_a_topic_that_stays_closed_is_tried_less_and_less_although_others_succeed() -> None:
    session = online(2)
    now_ns, waits = 0, []
    for turn in range(2, 12):
        event = record(1, RecordKind.EVENT)
        session.offered(now_ns, [(Lane.LIVE, event)])
        session.acknowledged(now_ns, event, 0x10)
        session.stored()
        session.offered(now_ns, [(Lane.LIVE, record(turn))])
        session.acknowledged(now_ns, record(turn), 0)
        session.offered(now_ns, [])
        due_ns = session.deadline_ns()
        assert due_ns is not None
        waits.append(due_ns - now_ns)
        now_ns = due_ns
        session.tick(now_ns)
    assert max(waits[-4:]) > 4 * NS_PER_S


def test_a_pause_that_lasts_is_tried_less_and_less_and_said_once() -> None:
    session = online(1)
    now_ns, states, waits = 0, [], []
    for _ in range(12):
        session.offered(now_ns, offer(1))
        session.acknowledged(now_ns, record(1), 0x97)
        states.append((session.state, session.reason))
        due_ns = session.deadline_ns()
        assert due_ns is not None
        waits.append(due_ns - now_ns)
        now_ns = due_ns
        session.tick(now_ns)
        states.append((session.state, session.reason))
    assert len(set(states)) == 1
    assert max(waits[-4:]) > 4 * NS_PER_S


def test_a_pause_waits_for_what_is_still_in_flight() -> None:
    session = online(2)
    session.offered(0, offer(1, 2))
    session.acknowledged(0, record(1), 0x97)
    session.take_actions()
    assert session.deadline_ns() == ACK_TIMEOUT_NS
    session.tick(40 * NS_PER_S)
    assert session.take_actions() == []
    session.acknowledged(41 * NS_PER_S, record(2), 0)
    session.tick(41 * NS_PER_S)
    assert session.take_actions() == [Confirm(record(2)), Rewind(), HandOut(1)]


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
def test_a_refusal_that_cannot_pass_buries_the_record_alone(code: int) -> None:
    session = online(2)
    session.offered(0, offer(1, 2))
    session.take_actions()
    session.acknowledged(1, record(1), code)
    buried, ask = session.take_actions()
    assert isinstance(buried, Refuse)
    assert buried.record == record(1)
    assert f"{code:#04x}" in buried.reason
    assert ask == HandOut(1)
    assert session.state is LinkState.ONLINE


def test_records_that_cannot_be_sent_make_room_for_the_next() -> None:
    session = online(2)
    session.offered(0, offer(1, 2))
    session.take_actions()
    session.refused(0, record(1), "too large")
    session.refused(0, record(2), "too large")
    assert session.take_actions() == [Refuse(record(1), "too large"), HandOut(1), Refuse(record(2), "too large")]
    assert session.sent == 0


def test_a_dry_session_is_woken_by_a_commit() -> None:
    session = online()
    session.take_actions()
    session.offered(0, [])
    assert session.take_actions() == []
    assert session.deadline_ns() is None
    assert session.idle
    session.stored()
    session.stored()
    assert session.take_actions() == [HandOut(4)]


def test_an_answer_from_before_the_break_is_thrown_away() -> None:
    session = online()
    session.take_actions()
    session.disconnected(0, "gone")
    session.offered(1, offer(1, 2))
    assert session.take_actions() == []
    now_ns = back(session, 1)
    assert session.take_actions() == [Rewind(), HandOut(4)]
    session.offered(now_ns, offer(1, 2))
    assert session.take_actions() == sends(1, 2)


def test_an_answer_from_before_the_rewind_is_not_taken_for_the_answer_after_it() -> None:
    session = online()
    session.take_actions()
    session.disconnected(0, "gone")
    now_ns = back(session, 0)
    assert session.take_actions() == [Rewind()], "the first question is still open"
    session.offered(now_ns, offer(1, 2, 3, 4))
    assert session.take_actions() == [HandOut(4)]
    session.offered(now_ns, offer(1, 2, 3, 4))
    assert session.take_actions() == sends(1, 2, 3, 4)


def test_an_answer_that_never_comes_is_asked_for_again() -> None:
    session = online()
    session.take_actions()
    session.tick(5)
    assert session.deadline_ns() == 5 + ACK_TIMEOUT_NS
    session.tick(5 + ACK_TIMEOUT_NS)
    assert session.take_actions() == [Rewind(), HandOut(4)]
    session.offered(5 + ACK_TIMEOUT_NS, offer(1, 2, 3))
    assert session.take_actions() == sends(1, 2, 3)
    session.offered(5 + ACK_TIMEOUT_NS, offer(1, 2, 3, 4))
    assert session.take_actions() == [Rewind(), HandOut(1)], "whose answer this was is not clear"
    session.offered(5 + ACK_TIMEOUT_NS, offer(1))
    assert session.take_actions() == [HandOut(1)]
    assert session.in_flight == 3


def test_a_link_that_acknowledges_nothing_is_given_up() -> None:
    session = online()
    session.offered(7, offer(1))
    session.take_actions()
    assert session.deadline_ns() == 7 + ACK_TIMEOUT_NS
    session.tick(7 + ACK_TIMEOUT_NS - 1)
    assert session.take_actions() == []
    session.tick(7 + ACK_TIMEOUT_NS)
    assert session.take_actions() == [Drop()]
    assert session.state is LinkState.OFFLINE
    assert session.in_flight == 0


@pytest.mark.parametrize("seed", range(20))
def test_waits_are_spread_below_a_doubling_cap(seed: int) -> None:
    session, now_ns = fresh(seed=seed), 0
    for attempt in range(10):
        session.disconnected(now_ns, "nothing listens")
        due_ns = session.deadline_ns()
        assert due_ns is not None
        cap_ns = min(30, 2**attempt) * NS_PER_S
        assert cap_ns // 20 <= due_ns - now_ns <= cap_ns
        now_ns = due_ns
        session.tick(now_ns)
        assert session.take_actions() == [Open()]
        assert session.deadline_ns() is None


def test_the_first_puback_makes_the_next_wait_short_again() -> None:
    session, now_ns = fresh(), 0
    for _ in range(10):
        session.disconnected(now_ns, "nothing listens")
        now_ns = session.deadline_ns() or 0
        session.tick(now_ns)
    session.connected(ROOMY)
    session.offered(now_ns, offer(1))
    session.acknowledged(now_ns, record(1), 0)
    session.disconnected(now_ns, "gone")
    assert (session.deadline_ns() or 0) - now_ns <= NS_PER_S


def test_a_link_that_breaks_between_acknowledgements_buries_nothing() -> None:
    session, now_ns = online(1), 0
    for rowid in range(1, 200):
        session.offered(now_ns, offer(rowid))
        if rowid % 3:
            session.disconnected(now_ns, "gone")
            now_ns = back(session, now_ns)
        else:
            session.acknowledged(now_ns, record(rowid), 0)
        assert not [action for action in session.take_actions() if isinstance(action, Refuse)]
