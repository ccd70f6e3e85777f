"""The session against a broker and an outbox that keep the rules, with events in any order."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.uplink.action import Confirm, Drop, HandOut, Open, Readmit, Rewind, Send, SetAside
from edge_agent.uplink.pace import Limits
from edge_agent.uplink.session import Session
from edge_agent.uplink.terms import Terms
from tests.uplink.records import ACK_TIMEOUT_NS, ROOMY
from tests.uplink.records import record as record_of

if TYPE_CHECKING:
    from edge_agent.uplink.action import Action


def record(rowid: int) -> Record:
    """Every third is an event, which has a topic of its own; most have a body, some a large one."""
    body = bytes(rowid % 5 * (1000 if rowid % 7 == 0 else 10))
    return replace(record_of(rowid, RecordKind.EVENT if rowid % 3 == 0 else RecordKind.BATCH), body=body)


class _AnyOrder(RuleBasedStateMachine):
    """Random events against a broker and an outbox that keep the rules."""

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(max_messages_per_s=5, max_bytes_per_s=1000, backlog_share=0.3)
        self.session = Session(in_flight_limit=4, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(0), limits=limits)
        self.now_ns = 0
        self.up = False
        self.connecting = False
        self.receive_maximum = 65_535
        self.stored = 0
        self.pending: set[int] = set()
        self.done: set[int] = set()
        self.aside: set[int] = set()
        self.cursor = self.live_cursor = self.mark = 0
        self.for_store: list[Rewind | HandOut] = []
        self.on_wire: list[Record] = []

    @property
    def asked(self) -> bool:
        return any(isinstance(each, HandOut) for each in self.for_store)

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
                assert not self.up
                assert not self.connecting
                self.connecting = True
            case Drop():
                assert self.up
                self.up = False
                self.on_wire.clear()
            case Rewind():
                self.for_store.append(action)
            case HandOut(limit):
                assert limit > 0
                assert not self.asked, "one question at a time"
                self.for_store.append(action)
            case Send(_lane, record):
                if self.up:
                    assert record not in self.on_wire
                    self.on_wire.append(record)
                    self.session.published(self.now_ns, record, 2 * len(record.body) + 50)
            case Confirm(record):
                assert record.rowid not in self.done
                self.pending.remove(record.rowid)
                self.done.add(record.rowid)
            case SetAside(record, reason):
                assert record.rowid in self.pending
                assert reason
                self.aside.add(record.rowid)
            case Readmit():
                assert self.aside, "nothing was set aside"
                self.aside.clear()

    @rule(count=st.integers(1, 5))
    def commit(self, count: int) -> None:
        self.pending.update(range(self.stored + 1, self.stored + count + 1))
        self.stored += count
        self.session.stored()
        self.go_on()

    @precondition(lambda self: self.connecting)
    @rule(
        terms=st.builds(
            Terms, st.sampled_from([1, 2, 3, 65_535]), st.sampled_from([4096, 65_536]), st.sampled_from(["a:1", "b:1"])
        )
    )
    def connect(self, terms: Terms) -> None:
        self.connecting, self.up, self.receive_maximum = False, True, terms.receive_maximum
        self.session.connected(self.now_ns, terms)
        self.go_on()

    @precondition(lambda self: self.connecting or self.up)
    @rule()
    def lose(self) -> None:
        self.connecting = self.up = False
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
                there = sorted(self.pending - self.aside)
                live = [rowid for rowid in there if rowid > self.live_cursor][:limit]
                room = min(limit - len(live), backlog_limit)
                backlog = [rowid for rowid in there if self.cursor < rowid <= self.mark][:room]
                self.live_cursor = max((self.live_cursor, *live))
                self.cursor = max((self.cursor, *backlog))
                offered = [(Lane.LIVE, record(rowid)) for rowid in live]
                offered += [(Lane.BACKLOG, record(rowid)) for rowid in backlog]
                self.session.offered(self.now_ns, offered)
                self.go_on()

    @precondition(lambda self: self.on_wire)
    @rule(code=st.sampled_from([0, 0, 0, 0, 0x10, 0x97, 0x87, 0x95, 0x42]), which=st.integers(0, 3))
    def acknowledge(self, code: int, which: int) -> None:
        record = self.on_wire.pop(which % len(self.on_wire))
        self.session.acknowledged(self.now_ns, record, code)
        self.go_on()

    @precondition(lambda self: self.on_wire)
    @rule(which=st.integers(0, 3))
    def cannot_be_sent(self, which: int) -> None:
        record = self.on_wire.pop(which % len(self.on_wire))
        self.session.refused(self.now_ns, record, "too large")
        self.go_on()

    @rule(rowid=st.integers(1, 20))
    def acknowledge_what_is_not_in_flight(self, rowid: int) -> None:
        if record(rowid) not in self.on_wire:
            before = self.session.acknowledged_count
            self.session.acknowledged(self.now_ns, record(rowid), 0)
            assert self.session.acknowledged_count == before
            self.go_on()

    @precondition(lambda self: not self.for_store)
    @rule(seconds=st.floats(0, 5))
    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)
        self.go_on()

    @precondition(lambda self: not self.for_store)
    @rule()
    def wait(self) -> None:
        self.now_ns = max(self.now_ns, self.session.deadline_ns() or 0)
        self.go_on()

    @invariant()
    def never_more_in_flight_than_allowed(self) -> None:
        assert self.session.in_flight == len(self.on_wire)
        if self.up:
            assert len(self.on_wire) <= min(4, self.receive_maximum)

    @invariant()
    def what_is_set_aside_is_shown(self) -> None:
        assert bool(self.session.aside_reason) == bool(self.aside)

    @invariant()
    def nothing_is_wanted_in_the_past(self) -> None:
        due_ns = self.session.deadline_ns()
        assert due_ns is None or due_ns > self.now_ns

    def teardown(self) -> None:
        """Whatever happened, a broker that takes everything gets everything."""
        for _ in range(2000):
            if self.connecting:
                self.connect(ROOMY)
            while self.for_store:
                self.store_works()
            while self.on_wire:
                self.acknowledge(0, 0)
            if not self.pending:
                break
            if not self.for_store and not self.on_wire:
                self.wait()
        assert self.pending == set()
        assert self.done == set(range(1, self.stored + 1))


_AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
test_any_order_of_events = _AnyOrder.TestCase
