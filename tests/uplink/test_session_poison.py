"""Which record is to blame when the link breaks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.action import Confirm, HandOut, Open, Readmit, Rewind, Send, SetAside
from edge_agent.uplink.session import READMIT_NS, Session
from tests.uplink.records import ACK_TIMEOUT_NS, ROOMY, offer

if TYPE_CHECKING:
    from edge_agent.reading import Record
    from edge_agent.uplink.action import Action


class _Uplink:
    """A session with an outbox, and with a broker that breaks the link at any record of `poison`."""

    def __init__(self, pending: set[int], poison: set[int], window: int = 4) -> None:
        self.session = Session(in_flight_limit=window, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(1))
        self.pending, self.poison = pending, poison
        self.cursor = self.now_ns = self.breaks = 0
        self.break_ns = 1
        self.until_ns = READMIT_NS // 2
        self.breaks_at_everything = False
        self.settled: list[int] = []
        self.aside: list[int] = []
        self.readmitted: list[int] = []
        self.alone: list[int] = []

    def run(self, rounds: int) -> None:
        """Do what the session wants until nothing is left to do, or the link broke so many times."""
        until = self.breaks + rounds
        while self.breaks < until:
            self.session.tick(self.now_ns)
            actions = self.session.take_actions()
            if not actions:
                due_ns = self.session.deadline_ns()
                if due_ns is None or due_ns > self.until_ns:
                    return
                self.now_ns = max(self.now_ns, due_ns)
            self.carry_out(actions)

    def carry_out(self, actions: list[Action]) -> None:
        sent: list[Record] = []
        for action in actions:
            match action:
                case Open():
                    self.session.connected(self.now_ns, ROOMY)
                case Rewind():
                    self.cursor = 0
                case HandOut(limit, _backlog):
                    found = sorted(rowid for rowid in self.pending.difference(self.aside) if rowid > self.cursor)[
                        :limit
                    ]
                    self.cursor = max((self.cursor, *found))
                    self.session.offered(self.now_ns, offer(*found))
                case Send(_lane, record):
                    sent.append(record)
                case Confirm(record):
                    self.settled.append(record.rowid)
                    self.pending.discard(record.rowid)
                case SetAside(record, _reason):
                    self.aside.append(record.rowid)
                case Readmit():
                    self.readmitted += self.aside
                    self.aside.clear()
        self.put_on_wire(sent)

    def put_on_wire(self, sent: list[Record]) -> None:
        for record in sent:
            if record.rowid in self.poison or self.breaks_at_everything:
                if self.session.in_flight == 1:
                    self.alone.append(record.rowid)
                self.now_ns += self.break_ns
                self.breaks += 1
                self.session.disconnected(self.now_ns, "the broker closed the connection")
                return
            self.session.acknowledged(self.now_ns, record, 0)


def test_the_record_at_which_the_link_breaks_is_set_aside_and_the_others_arrive() -> None:
    uplink = _Uplink(set(range(1, 21)), {7})
    uplink.run(100)
    assert uplink.aside == [7]
    assert uplink.alone == [7] * 6, "five times to suspect it, once more on a link that just carried another"
    assert sorted(uplink.settled) == [rowid for rowid in range(1, 21) if rowid != 7]


def test_neighbouring_poison_is_set_aside_too() -> None:
    uplink = _Uplink(set(range(1, 11)), {1, 2, 3, 10})
    uplink.run(200)
    assert sorted(uplink.aside) == [1, 2, 3]
    assert uplink.pending == {1, 2, 3, 10}, "nothing is deleted"
    assert 10 not in uplink.aside, "with nothing else to send nothing tells whether it is the record or the link"
    uplink.pending.add(11)
    uplink.session.stored()
    uplink.run(200)
    assert sorted(uplink.aside) == [1, 2, 3, 10]
    assert uplink.settled[-1] == 11


def test_a_broker_that_breaks_at_everything_sets_nothing_aside() -> None:
    uplink = _Uplink(set(range(1, 51)), set())
    uplink.breaks_at_everything, uplink.until_ns = True, 1 << 60
    uplink.run(500)
    assert (uplink.aside, uplink.settled) == ([], [])
    uplink.breaks_at_everything = False
    uplink.run(100)
    assert uplink.aside == []
    assert sorted(uplink.settled) == list(range(1, 51))


def test_a_link_that_lasts_a_while_before_it_breaks_sets_nothing_aside() -> None:
    uplink = _Uplink(set(range(1, 6)), {1})
    uplink.break_ns = 11 * NS_PER_S
    uplink.run(200)
    assert uplink.aside == []


def test_an_hour_later_each_costs_one_break_and_the_others_go_on() -> None:
    uplink = _Uplink(set(range(1, 21)), {3, 7})
    uplink.run(100)
    assert uplink.aside == [3, 7]
    breaks = uplink.breaks
    uplink.until_ns = 3 * READMIT_NS // 2
    uplink.pending.update(range(21, 31))
    uplink.session.stored()
    uplink.run(100)
    assert uplink.readmitted == [3, 7]
    uplink.pending.add(31)
    uplink.session.stored()
    uplink.run(100)
    assert sorted(uplink.aside) == [3, 7]
    assert uplink.breaks == breaks + 2
    assert uplink.pending == {3, 7}


def test_a_record_that_is_taken_an_hour_later_arrives() -> None:
    uplink = _Uplink(set(range(1, 11)), {3})
    uplink.run(100)
    uplink.poison.clear()
    uplink.until_ns = 3 * READMIT_NS // 2
    uplink.run(100)
    assert uplink.settled[-1] == 3
    assert (uplink.pending, uplink.aside) == (set(), [])


def test_a_suspect_that_the_outbox_has_dropped_is_forgotten() -> None:
    uplink = _Uplink({1}, {1})
    uplink.run(20)
    assert uplink.session._suspects.waiting == [1]
    uplink.pending = {2}
    uplink.session.disconnected(uplink.now_ns, "gone")
    uplink.run(20)
    assert uplink.settled == [2]
    assert not uplink.session._suspects.any
