"""Confirmations of receivers, alone and with the session."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Lane
from edge_agent.uplink.action import Answer, Confirm, Drop, HandOut, Open, Rewind, Send, Teach
from edge_agent.uplink.confirmation import Ack, Ask, Seqs
from edge_agent.uplink.receipts import MOST_UNCONFIRMED, RESEND_NS, Receipts
from edge_agent.uplink.session import ACK_WAIT_NS, Session
from tests.uplink.records import ACK_TIMEOUT_NS, ROOMY, offer, record

if TYPE_CHECKING:
    from edge_agent.reading import Record
    from edge_agent.uplink.action import Action


def ack(upto: int, *ranges: tuple[int, int], receiver: str = "lab", epoch: int = 1) -> Ack:
    return Ack(receiver, (Seqs(epoch, upto, ranges),))


def online(receivers: tuple[str, ...] = (), window: int = 4) -> Session:
    """A session that has waited for the acks of receivers."""
    session = Session(
        in_flight_limit=window, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(1), receipts=Receipts(receivers)
    )
    session.connected(-ACK_WAIT_NS, ROOMY)
    session.tick(0)
    session.offered(0, [])
    session.stored()
    session.take_actions()
    return session


def sent(session: Session, *rowids: int, now_ns: int = 0) -> None:
    """Send records that the broker takes."""
    session.stored()
    session.offered(now_ns, offer(*rowids))
    for rowid in rowids:
        session.acknowledged(now_ns, record(rowid), 0)


def confirms(actions: list[Action]) -> list[int]:
    return [action.record.rowid for action in actions if isinstance(action, Confirm)]


def test_a_puback_confirms_nothing_and_the_ack_does() -> None:
    session = online()
    sent(session, 1, 2, 3)
    assert confirms(session.take_actions()) == []
    assert (session.unconfirmed, session.acknowledged_count) == (3, 3)
    session.confirmed(1, ack(1, (3, 9)))
    assert confirms(session.take_actions()) == [1, 3]
    session.confirmed(2, ack(3))
    session.confirmed(3, ack(3))
    assert confirms(session.take_actions()) == [2]
    assert session.unconfirmed == 0


def test_an_ack_may_come_before_the_puback_and_counts_for_nothing_else() -> None:
    session = online()
    session.offered(0, offer(1, 2))
    session.confirmed(1, ack(1000))
    assert confirms(session.take_actions()) == [1, 2]
    session.acknowledged(2, record(1), 0)
    session.acknowledged(2, record(2), 0)
    sent(session, 3)
    assert confirms(session.take_actions()) == [], "3 was not sent when the ack came"
    assert session.unconfirmed == 1
    session.confirmed(3, ack(1000, epoch=2))
    assert confirms(session.take_actions()) == []


def test_every_required_receiver_must_confirm_and_others_are_ignored_and_shown() -> None:
    session = online(("lab", "cloud"))
    sent(session, 1, 2)
    session.confirmed(1, ack(2))
    session.confirmed(1, ack(2, receiver="stranger"))
    assert confirms(session.take_actions()) == []
    session.confirmed(2, ack(1, receiver="cloud"))
    assert confirms(session.take_actions()) == [1]
    assert session._receipts is not None
    assert session._receipts.others == {"stranger"}


def test_after_connecting_the_backlog_waits_for_the_first_ack_and_live_records_do_not() -> None:
    session = Session(in_flight_limit=4, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(1), receipts=Receipts(()))
    session.connected(0, ROOMY)
    assert session.take_actions() == [Open(), Rewind(), HandOut(4, 0)]
    session.offered(0, [(Lane.LIVE, record(9))])
    assert session.take_actions() == [Send(Lane.LIVE, record(9))]
    assert session.deadline_ns() == ACK_WAIT_NS
    session.confirmed(1, ack(0))
    assert session.take_actions() == [HandOut(3, 3)]
    session.disconnected(2, "gone")
    session.connected(3, ROOMY)
    session.offered(3, [])  # of the request before the break
    session.offered(3, [])
    session.take_actions()
    session.tick(3 + ACK_WAIT_NS)
    assert session.take_actions() == [HandOut(1, 1)], "one record tests whether the link breaks at it"


def test_a_new_link_and_a_pause_send_nothing_again_that_the_broker_has() -> None:
    session = online()
    sent(session, 1, 2)
    session.offered(0, offer(3))
    session.disconnected(1, "gone")
    session.connected(2, ROOMY)
    session.confirmed(2, ack(0))
    session.take_actions()
    session.offered(3, [])  # of the request before the rewind
    session.offered(3, offer(1, 2, 3, 4))
    assert [action.record.rowid for action in session.take_actions() if isinstance(action, Send)] == [3, 4]
    session.confirmed(4, ack(3))
    assert confirms(session.take_actions()) == [1, 2, 3], "also what was in flight when the link broke"


def test_what_nobody_confirms_is_sent_again_later_and_later_until_there_is_progress() -> None:
    session, now_ns, waits = online(), 0, []
    for _ in range(9):
        sent(session, 1, 2, now_ns=now_ns)
        session.offered(now_ns, [])
        session.take_actions()
        due_ns = session.deadline_ns()
        assert due_ns is not None
        waits.append((due_ns - now_ns) // NS_PER_S)
        now_ns = due_ns
        session.tick(now_ns)
        assert Rewind() in session.take_actions()
        assert session.unconfirmed == 0
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert "no receiver has confirmed" in session.reason
    sent(session, 1, 2, now_ns=now_ns)
    session.confirmed(now_ns, ack(1))
    assert session.reason == ""
    session.offered(now_ns, [])
    assert session.deadline_ns() == now_ns + RESEND_NS


def test_what_a_receiver_lacks_is_sent_again_if_it_was_sent_long_ago() -> None:
    session = online()
    sent(session, 1, 2, 3)
    session.offered(0, [])
    session.take_actions()
    ask = Ask("lab", (Seqs(1, 0, ((2, 2), (7, 8))),), teach=False)
    session.asked(RESEND_NS - 1, ask)
    assert session.take_actions() == [Answer(ask.missing)], "the outbox tells what it does not have"
    session.asked(RESEND_NS, ask)
    assert session.take_actions() == [Answer(ask.missing), Rewind(), HandOut(4, 4)]
    session.offered(RESEND_NS, offer(1, 2, 3))
    sends = [action for action in session.take_actions() if isinstance(action, Send)]
    assert [(each.record.rowid, each.again) for each in sends] == [(2, True)], "it stands alone now"


def test_who_is_not_required_is_not_answered_either() -> None:
    session = online(("lab",))
    sent(session, 1)
    session.take_actions()
    session.asked(RESEND_NS, Ask("stranger", (Seqs(1, 0, ((1, 1),)),), teach=True))
    assert session.take_actions() == []
    assert session.ignored_receivers == ("stranger",)


def test_a_receiver_that_lacks_what_it_confirmed_has_to_confirm_it_again() -> None:
    session = online(("lab", "cloud"))
    sent(session, 1, 2)
    session.confirmed(1, ack(2))
    session.asked(2, Ask("lab", (Seqs(1, 0, ((2, 2),)),), teach=False))
    session.confirmed(3, ack(2, receiver="cloud"))
    assert confirms(session.take_actions()) == [1]
    session.confirmed(4, ack(2))
    assert confirms(session.take_actions()) == [2]


def test_what_was_sent_by_announcement_comes_again_if_a_receiver_lacks_it() -> None:
    session = online()
    sent(session, 1, 2)
    session.stored()
    session.offered(0, offer(3))
    session.published(0, record(3), 10, refers=True)
    session.acknowledged(0, record(3), 0)
    session.offered(0, [])
    session.take_actions()
    teach = Ask("lab", (), teach=True)
    session.asked(1, teach)
    assert session.take_actions() == [Teach(), Rewind(), HandOut(4, 4)]
    session.offered(1, offer(1, 2, 3))
    assert [each for each in session.take_actions() if isinstance(each, Send)] == [Send(Lane.BACKLOG, record(3), True)]
    session.published(1, record(3), 30)
    session.acknowledged(1, record(3), 0)
    session.offered(1, [])
    session.take_actions()
    session.asked(10 * NS_PER_S, teach)
    assert session.take_actions() == [], "once in ten seconds"
    session.asked(10 * NS_PER_S + 1, teach)
    assert Teach() in session.take_actions()
    assert session.unconfirmed == 3, "what stands alone already needs not be sent again"


def test_a_silent_receiver_is_said_until_one_confirms() -> None:
    session = online()
    sent(session, 1)
    assert session.unheard == ""
    session.tick(RESEND_NS)
    assert session.unheard == session.reason == 'ack = "receiver" and no receiver has confirmed anything yet'
    session.confirmed(RESEND_NS + 1, ack(1))
    assert session.unheard == ""


def test_a_quarter_of_what_may_be_unconfirmed_is_for_live_records() -> None:
    session = online(window=MOST_UNCONFIRMED)
    most = MOST_UNCONFIRMED * 3 // 4
    session.offered(0, offer(*range(1, MOST_UNCONFIRMED + 100)))
    assert session.in_flight == most
    for rowid in range(1, most + 1):
        session.acknowledged(0, record(rowid), 0)
    assert session.unconfirmed == most
    session.take_actions()
    session.stored()
    session.offered(0, [(Lane.LIVE, record(rowid)) for rowid in range(10_000, 10_000 + MOST_UNCONFIRMED)])
    assert session.in_flight == MOST_UNCONFIRMED - most
    session.confirmed(1, ack(10))
    assert session.in_flight == MOST_UNCONFIRMED - most + 10


@pytest.mark.parametrize("code", [0x10, 0x87, 0x97, 0x95])
def test_what_the_broker_refused_is_confirmed_by_nobody(code: int) -> None:
    session = online()
    session.offered(0, offer(1))
    session.acknowledged(0, record(1), code)
    session.confirmed(1, ack(9))
    assert confirms(session.take_actions()) == []
    assert session.unconfirmed == 0


class _World(RuleBasedStateMachine):
    """A session, an outbox, a broker that may lose what it took, and two receivers that confirm what they have."""

    def __init__(self) -> None:
        super().__init__()
        receipts = Receipts(("a", "b"))
        self.session = Session(
            in_flight_limit=3, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(0), receipts=receipts
        )
        self.now_ns = 0
        self.up = self.connecting = False
        self.stored = self.cursor = self.live_cursor = self.mark = 0
        self.pending: set[int] = set()
        self.for_store: list[Rewind | HandOut] = []
        self.on_wire: list[Record] = []
        self.have: dict[str, set[int]] = {"a": set(), "b": set()}
        self.sends = 0

    def go_on(self) -> None:
        while True:
            self.session.tick(self.now_ns)
            actions = self.session.take_actions()
            if not actions:
                return
            for action in actions:
                self.carry_out(action)

    def carry_out(self, action: Action) -> None:
        match action:
            case Open():
                self.connecting = True
            case Drop():
                self.up = False
                self.on_wire.clear()
            case Rewind() | HandOut():
                self.for_store.append(action)
            case Send(_lane, sent_record):
                self.sends += 1
                if self.up:
                    self.on_wire.append(sent_record)
            case Answer(missing):
                assert missing
            case Confirm(done):
                assert all(done.rowid in have for have in self.have.values()), "it would be lost"
                self.pending.remove(done.rowid)
            case _:
                raise AssertionError(action)

    @rule(count=st.integers(1, 4))
    def commit(self, count: int) -> None:
        self.pending.update(range(self.stored + 1, self.stored + count + 1))
        self.stored += count
        self.session.stored()
        self.go_on()

    @precondition(lambda self: self.connecting)
    @rule()
    def connect(self) -> None:
        self.connecting, self.up = False, True
        self.session.connected(self.now_ns, ROOMY)
        self.go_on()

    @precondition(lambda self: self.up)
    @rule()
    def lose(self) -> None:
        self.up = False
        self.on_wire.clear()
        self.session.disconnected(self.now_ns, "gone")
        self.go_on()

    @precondition(lambda self: self.for_store)
    @rule()
    def store_works(self) -> None:
        match self.for_store.pop(0):
            case Rewind():
                self.cursor = 0
                self.live_cursor = self.mark = self.stored
            case HandOut(limit, backlog_limit):
                there = sorted(self.pending)
                live = [rowid for rowid in there if rowid > self.live_cursor][:limit]
                room = min(limit - len(live), backlog_limit)
                backlog = [rowid for rowid in there if self.cursor < rowid <= self.mark][:room]
                self.live_cursor, self.cursor = max((self.live_cursor, *live)), max((self.cursor, *backlog))
                offered = [(Lane.LIVE, record(rowid)) for rowid in live]
                self.session.offered(self.now_ns, offered + [(Lane.BACKLOG, record(rowid)) for rowid in backlog])
                self.go_on()

    @precondition(lambda self: self.on_wire)
    @rule(lost=st.sets(st.sampled_from("ab")), late=st.booleans(), code=st.sampled_from([0, 0, 0, 0x10]))
    def broker_takes(self, lost: set[str], late: bool, code: int) -> None:
        """The broker passes a record on, perhaps not to everybody; its PUBACK comes before or after their acks."""
        taken = self.on_wire.pop(0)
        for name in self.have.keys() - lost if code == 0 else ():
            self.have[name].add(taken.rowid)
        if late:
            self.say("a")
            self.say("b")
        self.session.acknowledged(self.now_ns, taken, code)
        self.go_on()

    @precondition(lambda self: self.up)
    @rule(name=st.sampled_from("ab"))
    def receiver_confirms(self, name: str) -> None:
        self.say(name)

    def say(self, name: str) -> None:
        seqs = Seqs(1, 0, tuple((seq, seq) for seq in sorted(self.have[name])))
        self.session.confirmed(self.now_ns, Ack(name, (seqs,)))
        self.go_on()

    @precondition(lambda self: self.up)
    @rule(name=st.sampled_from(["a", "b", "stranger"]), first=st.integers(1, 10))
    def somebody_asks(self, name: str, first: int) -> None:
        self.session.asked(self.now_ns, Ask(name, (Seqs(1, 0, ((first, first + 3),)),), teach=False))
        self.go_on()

    @rule()
    def a_stranger_confirms_everything(self) -> None:
        self.session.confirmed(self.now_ns, ack(1000, receiver="stranger"))
        self.go_on()

    @precondition(lambda self: not self.for_store)
    @rule()
    def wait(self) -> None:
        self.now_ns = max(self.now_ns, self.session.deadline_ns() or 0)
        self.go_on()

    @invariant()
    def nothing_is_wanted_in_the_past(self) -> None:
        due_ns = self.session.deadline_ns()
        assert due_ns is None or due_ns > self.now_ns

    def teardown(self) -> None:
        """Whatever happened: when nothing is lost any more, all is confirmed."""
        for _ in range(2000):
            if self.connecting:
                self.connect()
            while self.for_store:
                self.store_works()
            while self.on_wire:
                self.broker_takes(set(), False, 0)
            self.say("a")
            self.say("b")
            if not self.pending:
                break
            if not self.for_store and not self.on_wire:
                self.wait()
        assert self.pending == set()


_World.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_no_record_leaves_before_all_receivers_have_it = _World.TestCase


def test_acks_for_records_of_earlier_epochs_count_by_epoch() -> None:
    receipts = Receipts(())
    old = replace(record(1), epoch=5, seq=3)
    for each in (old, record(3)):
        receipts.published(0, each)
        receipts.taken(0, each.rowid)
    assert [done.epoch for done in receipts.confirmed(0, ack(3, epoch=5))] == [5]
    assert receipts.unconfirmed == 1
