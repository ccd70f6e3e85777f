from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Lane, RecordKind
from edge_agent.uplink.action import Confirm, Drop, HandOut, Open, Readmit, Rewind, Send, SetAside
from edge_agent.uplink.ends import CALM_NS, Ending
from edge_agent.uplink.session import READMIT_NS, LinkState, Session
from edge_agent.uplink.terms import Terms
from tests.uplink.records import ACK_TIMEOUT_NS, ROOMY, offer, record

if TYPE_CHECKING:
    from edge_agent.uplink.action import Action


def sends(*rowids: int) -> list[Action]:
    return [Send(Lane.BACKLOG, record(rowid)) for rowid in rowids]


def ask(limit: int) -> Action:
    return HandOut(limit, limit)


def fresh(window: int = 4, seed: int = 1) -> Session:
    made = Session(in_flight_limit=window, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(seed))
    assert made.take_actions() == [Open()]
    return made


def online(window: int = 4, terms: Terms = ROOMY) -> Session:
    made = fresh(window)
    made.connected(0, terms)
    return made


def back(session: Session, now_ns: int) -> int:
    """Let the waiting time pass and the next connection stand. Returns when that is."""
    due_ns = session.deadline_ns()
    assert due_ns is not None
    now_ns = max(now_ns, due_ns)
    session.tick(now_ns)
    assert Open() in session.take_actions()
    session.connected(now_ns, ROOMY)
    return now_ns


@pytest.mark.parametrize(
    ("window", "receive_maximum", "asked"), [(16, 65_535, 16), (16, 10, 10), (1, 10, 1), (4, 0, 1)]
)
def test_the_window_is_the_smaller_of_what_we_want_and_what_the_broker_takes(
    window: int, receive_maximum: int, asked: int
) -> None:
    assert online(window, Terms(receive_maximum)).take_actions() == [Rewind(), ask(asked)]


def test_every_connection_begins_at_the_oldest_record() -> None:
    session = online()
    session.take_actions()
    session.offered(0, offer(1, 2, 3, 4))
    assert session.take_actions() == sends(1, 2, 3, 4)
    session.disconnected(1, "gone")
    assert session.in_flight == 0
    back(session, 1)
    assert session.take_actions() == [Rewind(), ask(1)]


def test_only_success_settles_and_only_once() -> None:
    session = online()
    session.offered(0, offer(1, 2, 3, 4))
    session.take_actions()
    session.acknowledged(1, record(2), 0)
    session.acknowledged(1, record(2), 0)
    assert session.take_actions() == [Confirm(record(2)), ask(1)]
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
    assert session.take_actions() == [Rewind(), ask(1)], "one record tells whether the cause is gone"
    session.offered(due_ns, offer(1))
    session.acknowledged(due_ns, record(1), 0)
    assert (session.state, session.reason) == (LinkState.ONLINE, "")
    assert session.take_actions() == [*sends(1), Confirm(record(1)), ask(2)]


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
    assert session.take_actions() == [ask(1), Confirm(record(2))]
    session.offered(2, [(Lane.LIVE, record(3, RecordKind.EVENT))])
    assert session.take_actions() == [], "the topic is closed, and there may be more of it: not asked again"
    session.stored()
    assert session.take_actions() == [ask(2)]
    session.offered(3, [(Lane.LIVE, record(4))])
    session.acknowledged(3, record(4), 0)
    session.take_actions()
    due_ns = session.deadline_ns()
    assert due_ns is not None
    session.tick(due_ns)
    assert session.take_actions() == [Rewind(), ask(1)]
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
    assert session.take_actions() == [Confirm(record(2)), Rewind(), ask(1)]


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
def test_a_record_that_the_broker_never_takes_is_set_aside_alone(code: int) -> None:
    session = online(2)
    session.offered(0, offer(1, 2))
    session.take_actions()
    session.acknowledged(1, record(1), code)
    aside, asked = session.take_actions()
    assert isinstance(aside, SetAside)
    assert aside.record == record(1)
    assert f"{code:#04x}" in aside.reason
    assert session.aside_reason == aside.reason
    assert asked == ask(1)
    assert session.state is LinkState.ONLINE


def test_records_that_cannot_be_sent_make_room_for_the_next() -> None:
    session = online(2)
    session.offered(0, offer(1, 2))
    session.take_actions()
    session.refused(0, record(1), "too large")
    session.refused(0, record(2), "too large")
    assert session.take_actions() == [SetAside(record(1), "too large"), ask(1), SetAside(record(2), "too large")]
    assert session.sent == 0


def _with_one_set_aside(at_ns: int = 0) -> Session:
    session = online(2)
    session.offered(at_ns, offer(1))
    session.refused(at_ns, record(1), "too large")
    session.take_actions()
    return session


def test_what_is_set_aside_is_tried_again_after_an_hour_and_not_before() -> None:
    session = _with_one_set_aside(5)
    assert session.deadline_ns() == 5 + READMIT_NS
    session.tick(4 + READMIT_NS)
    assert session.take_actions() == []
    session.tick(5 + READMIT_NS)
    assert session.take_actions() == [Readmit(), Rewind(), ask(2)]
    assert session.aside_reason == ""
    session.offered(5 + READMIT_NS, offer(1))
    session.refused(6 + READMIT_NS, record(1), "too large")
    assert session.deadline_ns() == 6 + 2 * READMIT_NS


def test_an_hour_that_ends_without_a_link_or_in_a_pause_is_made_up_for() -> None:
    session = _with_one_set_aside()
    session.disconnected(1, "gone")
    session.tick(2 * READMIT_NS)
    assert session.take_actions() == [Open()]
    assert session.deadline_ns() is None, "without a link there is nothing to be done"
    session.connected(2 * READMIT_NS, ROOMY)
    assert session.take_actions() == [Readmit(), Rewind(), ask(2)]


@pytest.mark.parametrize(
    ("terms", "again"),
    [
        (ROOMY, False),
        (Terms(7), False),
        (Terms(maximum_packet_bytes=4096), True),
        (Terms(broker="other.example:8883"), True),
    ],
)
def test_what_is_set_aside_is_tried_again_when_the_broker_takes_other_packets_or_is_another(
    terms: Terms, *, again: bool
) -> None:
    session = _with_one_set_aside()
    session.disconnected(1, "gone")
    session.tick(session.deadline_ns() or 0)
    session.take_actions()
    session.connected(40 * NS_PER_S, terms)
    assert (Readmit() in session.take_actions()) == again
    assert (session.aside_reason == "") == again


def test_other_terms_are_no_reason_to_readmit_nothing() -> None:
    session = online()
    session.disconnected(1, "gone")
    session.take_actions()
    session.connected(2, Terms(maximum_packet_bytes=4096))
    assert session.take_actions() == [Rewind()]


def test_a_dry_session_is_woken_by_a_commit() -> None:
    session = online()
    session.take_actions()
    session.offered(0, [])
    assert session.take_actions() == []
    assert session.deadline_ns() is None
    assert session.idle
    session.stored()
    session.stored()
    assert session.take_actions() == [ask(4)]


def test_an_answer_from_before_the_break_is_thrown_away() -> None:
    session = online()
    session.take_actions()
    session.disconnected(0, "gone")
    session.offered(1, offer(1, 2))
    assert session.take_actions() == []
    now_ns = back(session, 1)
    assert session.take_actions() == [Rewind(), ask(4)]
    session.offered(now_ns, offer(1, 2))
    assert session.take_actions() == sends(1, 2)


def test_an_answer_from_before_the_rewind_is_not_taken_for_the_answer_after_it() -> None:
    session = online()
    session.take_actions()
    session.disconnected(0, "gone")
    now_ns = back(session, 0)
    assert session.take_actions() == [Rewind()], "the first question is still open"
    session.offered(now_ns, offer(1, 2, 3, 4))
    assert session.take_actions() == [ask(4)]
    session.offered(now_ns, offer(1, 2, 3, 4))
    assert session.take_actions() == sends(1, 2, 3, 4)


def test_an_answer_that_never_comes_is_asked_for_again() -> None:
    session = online()
    session.take_actions()
    session.tick(5)
    assert session.deadline_ns() == 5 + ACK_TIMEOUT_NS
    session.tick(5 + ACK_TIMEOUT_NS)
    assert session.take_actions() == [Rewind(), ask(4)]
    session.offered(5 + ACK_TIMEOUT_NS, offer(1, 2, 3))
    assert session.take_actions() == sends(1, 2, 3)
    session.offered(5 + ACK_TIMEOUT_NS, offer(1, 2, 3, 4))
    assert session.take_actions() == [Rewind(), ask(1)], "whose answer this was is not clear"
    session.offered(5 + ACK_TIMEOUT_NS, offer(1))
    assert session.take_actions() == [ask(1)]
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
    session.connected(now_ns, ROOMY)
    session.offered(now_ns, offer(1))
    session.acknowledged(now_ns, record(1), 0)
    session.disconnected(now_ns, "gone")
    assert (session.deadline_ns() or 0) - now_ns <= NS_PER_S


def test_a_link_that_breaks_between_acknowledgements_sets_nothing_aside() -> None:
    session, now_ns = online(1), 0
    for rowid in range(1, 200):
        session.offered(now_ns, offer(rowid))
        if rowid % 3:
            session.disconnected(now_ns, "gone")
            now_ns = back(session, now_ns)
        else:
            session.acknowledged(now_ns, record(rowid), 0)
        assert not [action for action in session.take_actions() if isinstance(action, SetAside)]


def test_a_duplicate_client_id_is_told_while_it_lasts_and_no_record_is_suspected() -> None:
    session, now_ns, told = online(2), 0, set()
    for _turn in range(12):
        session.offered(now_ns, offer(1, 2))
        session.acknowledged(now_ns, record(2), 0)
        session.disconnected(now_ns, "the broker says: session taken over", Ending.TAKEN_OVER)
        told.add((session.state, session.reason))
        now_ns = back(session, now_ns)
        told.add((session.state, session.reason))
        assert not any(isinstance(action, SetAside) for action in session.take_actions())
    assert not session._suspects.any
    duplicate = "duplicate client id: another client with our id takes the link over"
    assert told == {
        (LinkState.OFFLINE, "the broker says: session taken over"),
        (LinkState.ONLINE, ""),
        (LinkState.OFFLINE, duplicate),
        (LinkState.ONLINE, duplicate),
    }
    session.offered(now_ns, [])
    due_ns = session.deadline_ns()
    assert due_ns == now_ns + CALM_NS
    session.tick(due_ns)
    assert (session.state, session.reason) == (LinkState.ONLINE, "")


def test_a_topic_that_is_refused_again_and_again_is_not_called_well_in_between() -> None:
    session, now_ns, told = online(2), 0, []
    event = record(1, RecordKind.EVENT)
    for turn in range(2, 12):
        session.offered(now_ns, [(Lane.LIVE, event)])
        session.acknowledged(now_ns, event, 0x87)
        session.stored()
        session.offered(now_ns, [(Lane.LIVE, record(turn))])
        session.acknowledged(now_ns, record(turn), 0)
        session.offered(now_ns, [])
        told.append((session.state, session.reason))
        now_ns = session.deadline_ns() or 0
        session.tick(now_ns)
        session.offered(now_ns, offer(100 + turn))  # first another record, on a topic that is well
        session.acknowledged(now_ns, record(100 + turn), 0)
        told.append((session.state, session.reason))
    assert set(told) == {(LinkState.ONLINE, "the broker says of event: not authorised (0x87)")}
    session.offered(now_ns, [(Lane.LIVE, event)])
    session.acknowledged(now_ns, event, 0)
    assert session.reason == ""


def test_a_topic_whose_records_are_gone_is_not_told_of_for_ever() -> None:
    session = online(2)
    event = record(1, RecordKind.EVENT)
    session.offered(0, [(Lane.LIVE, event)])
    session.acknowledged(0, event, 0x87)
    now_ns = session.deadline_ns() or 0
    session.tick(now_ns)
    session.offered(now_ns, [])  # the record was dropped meanwhile
    session.tick(now_ns)
    assert (session.state, session.reason) == (LinkState.ONLINE, "")


def test_a_request_for_live_records_alone_that_finds_none_does_not_end_the_backlog() -> None:
    session = online(4)
    session.offered(0, [(Lane.BACKLOG, replace(record(rowid), body=bytes(100))) for rowid in (1, 2, 3, 4)])
    session.stored()
    session.take_actions()
    session.offered(0, [])  # three of the backlog are held, and none of it was requested
    for rowid in (1, 2, 3, 4):
        session.acknowledged(rowid, record(rowid), 0)
    assert any(isinstance(action, HandOut) and action.backlog for action in session.take_actions())


def test_a_record_in_flight_at_a_takeover_is_not_suspected() -> None:
    session, now_ns = online(1), 0
    for _turn in range(7):
        session.offered(now_ns, offer(1))
        session.disconnected(now_ns, "the broker says: session taken over", Ending.TAKEN_OVER)
        now_ns = back(session, now_ns)
        session.take_actions()
    assert not session._suspects.any
