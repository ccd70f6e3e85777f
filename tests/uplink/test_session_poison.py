"""Which record is to blame when the link breaks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.action import Confirm, HandOut, Open, Refuse, Rewind, Send
from edge_agent.uplink.session import Session
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
        self.breaks_at_everything = False
        self.settled: list[int] = []
        self.buried: list[int] = []
        self.alone: list[int] = []

    def run(self, rounds: int) -> None:
        """Do what the session wants until nothing is left to do, or the link broke so many times."""
        until = self.breaks + rounds
        while self.breaks < until:
            self.session.tick(self.now_ns)
            actions = self.session.take_actions()
            if not actions:
                due_ns = self.session.deadline_ns()
                if due_ns is None:
                    return
                self.now_ns = max(self.now_ns, due_ns)
            self.carry_out(actions)

    def carry_out(self, actions: list[Action]) -> None:
        sent: list[Record] = []
        for action in actions:
            match action:
                case Open():
                    self.session.connected(ROOMY)
                case Rewind():
                    self.cursor = 0
                case HandOut(limit):
                    found = sorted(rowid for rowid in self.pending if rowid > self.cursor)[:limit]
                    self.cursor = max((self.cursor, *found))
                    self.session.offered(self.now_ns, offer(*found))
                case Send(_lane, record):
                    sent.append(record)
                case Confirm(record):
                    self.settled.append(record.rowid)
                    self.pending.discard(record.rowid)
                case Refuse(record, _reason):
                    self.buried.append(record.rowid)
                    self.pending.discard(record.rowid)
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


def test_the_record_at_which_the_link_breaks_is_buried_and_the_others_arrive() -> None:
    uplink = _Uplink(set(range(1, 21)), {7})
    uplink.run(100)
    assert uplink.buried == [7]
    assert uplink.alone == [7] * 6, "five times to suspect it, once more on a link that just carried another"
    assert sorted(uplink.settled) == [rowid for rowid in range(1, 21) if rowid != 7]


def test_neighbouring_poison_is_buried_too() -> None:
    uplink = _Uplink(set(range(1, 11)), {1, 2, 3, 10})
    uplink.run(200)
    assert sorted(uplink.buried) == [1, 2, 3]
    assert uplink.pending == {10}, "with nothing else to send nothing tells whether it is the record or the link"
    uplink.pending.add(11)
    uplink.session.stored()
    uplink.run(200)
    assert sorted(uplink.buried) == [1, 2, 3, 10]
    assert uplink.settled[-1] == 11


def test_a_broker_that_breaks_at_everything_buries_nothing() -> None:
    uplink = _Uplink(set(range(1, 51)), set())
    uplink.breaks_at_everything = True
    uplink.run(500)
    assert (uplink.buried, uplink.settled) == ([], [])
    uplink.breaks_at_everything = False
    uplink.run(100)
    assert uplink.buried == []
    assert sorted(uplink.settled) == list(range(1, 51))


def test_a_link_that_lasts_a_while_before_it_breaks_buries_nothing() -> None:
    uplink = _Uplink(set(range(1, 6)), {1})
    uplink.break_ns = 11 * NS_PER_S
    uplink.run(200)
    assert uplink.buried == []
