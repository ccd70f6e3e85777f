# ruff: noqa: D102 the names of rules and steps say what they do

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.clock import Anchor, ClockQuality
from edge_agent.outbox.outbox import Content, Encode, Outbox
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import StoreSettings
from edge_agent.outbox.transaction import _PIECE_BYTES
from edge_agent.reading import Lane, Record, RecordKind
from tests.outbox.conftest import told
from tests.outbox.failing import FailingOnce, check_sums, fail_once

Id = tuple[int, int]
"""Epoch and seq."""


MAX_BYTES = 48 * 1024
SLACK_BYTES = 64 * 1024
"""A commit looks for room after each piece that it stores; beside that piece there are the rows' own bytes."""


class OutboxMachine(RuleBasedStateMachine):
    """The outbox against what anyone would expect of it.

    The oracle knows of every record where it must be: taken in, committed, confirmed, or told of by a tombstone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.directory = self.root / "0"
        self.rng = random.Random(0)
        self.starts = 0
        self.names = 0
        self.waiting: dict[Id, bytes] = {}
        self.committed: dict[Id, bytes] = {}
        self.finished: dict[int, Id] = {}
        self.gone: set[Id] = set()
        self.refused: set[Id] = set()
        self.buried: Counter[Id] = Counter()
        self.tombstones: set[Id] = set()
        self.offered: dict[Id, bytes] = {}
        self.segments: list[bytes] = []
        self.stored_segments: list[bytes] = []
        self.reserved: Id = (0, 0)
        self.stored_reserved: Id = (0, 0)
        self.used: set[Id] = set()
        self.seen: set[int] = set()
        self.aside: set[int] = set()
        self.known: dict[int, Record] = {}
        self.mark = 0

    @initialize()
    def begin(self) -> None:
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.outbox = Outbox(
            self.directory,
            StoreSettings(MAX_BYTES),
            boot_id=f"boot-{self.starts // 3}",
            anchor=Anchor(self.starts, ClockQuality.SYNCED, 0),
            rng=self.rng,
            encode=Encode(told, b"+".join),
        )
        if self.stored_segments:
            self.committed[self.stored_reserved] = b"+".join(self.stored_segments)
        self.reserved = (0, 0)
        self.waiting, self.segments, self.stored_segments = {}, [], []
        self.finished, self.seen, self.aside, self.known, self.mark = {}, set(), set(), {}, 0
        self.refused &= self.gone
        self.hear_of_drops()

    def take(self, where: dict[Id, bytes], seq: int, body: bytes) -> None:
        assert (self.outbox.epoch, seq) not in self.used, "an id was used twice"
        self.used.add((self.outbox.epoch, seq))
        where[self.outbox.epoch, seq] = body

    def body(self, size: int) -> bytes:
        self.names += 1
        return b"%d " % self.names + bytes(size)

    @rule(size=st.sampled_from([10, 700, 2100, 5000]), kind=st.sampled_from([RecordKind.BATCH, RecordKind.EVENT]))
    def add_one(self, size: int, kind: RecordKind) -> None:
        self.add(size, kind)

    def add(self, size: int, kind: RecordKind) -> None:
        body = self.body(size if kind is RecordKind.BATCH else 10)
        seq = self.outbox.add(Content(kind, 1, 5, 6, body))
        if kind is RecordKind.BATCH:
            assert self.reserved[1] in {0, seq}, "a batch has the number that it reserved"
            self.used.discard(self.reserved)
            self.segments, self.sealed, self.reserved = [], True, (0, 0)
        self.take(self.waiting, seq, body)

    sealed = False

    @rule(count=st.integers(2, 30))
    def add_many(self, count: int) -> None:
        for _ in range(count):
            self.add(1500, RecordKind.BATCH)

    @rule()
    def add_tombstone(self) -> None:
        """As the pipeline does: what it could not even take in."""
        seq = self.outbox.add(Content(RecordKind.TOMBSTONE, 1, 5, 6, b"0 0 0 0 1 processing fell behind"))
        self.used.add((self.outbox.epoch, seq))

    @rule(size=st.sampled_from([10, 700]))
    def add_segment(self, size: int) -> None:
        body = self.body(size)
        self.outbox.add_segment(Content(RecordKind.BATCH, 1, 5, 6, body))
        self.segments.append(body)
        if not self.reserved[1]:
            self.take({}, self.outbox._open_seq, body)
            self.reserved = (self.outbox.epoch, self.outbox._open_seq)

    @rule()
    def commit(self) -> None:
        self.outbox.commit()
        self.has_committed()

    def has_committed(self) -> None:
        self.committed |= self.waiting
        self.waiting = {}
        if self.sealed:
            self.stored_segments, self.sealed = [], False
        self.store_segments()
        self.gone |= set(self.finished.values())
        self.finished = {}
        self.hear_of_drops()
        check_sums(self.outbox)
        epoch = self.outbox.epoch
        known = {seq for own, seq in {*self.committed, *self.tombstones, self.reserved} if own == epoch}
        assert known == set(range(1, self.outbox._seq + 1)), "a number is never used twice, and none is left out"

    def store_segments(self) -> None:
        if self.segments:
            self.stored_reserved = self.reserved
        self.stored_segments += self.segments
        self.segments = []

    def hear_of_drops(self) -> None:
        """What the tombstones in the database tell of, is exactly what is not there and was never finished."""
        rows = self.outbox._store.writable().execute("SELECT epoch, seq, kind, body FROM record").fetchall()
        there = {(epoch, seq) for epoch, seq, kind, _body in rows if kind != RecordKind.TOMBSTONE}
        assert len({(epoch, seq) for epoch, seq, _kind, _body in rows}) == len(rows), "two records have one identity"
        for own_epoch, own_seq, kind, body in rows:
            if kind == RecordKind.TOMBSTONE:
                assert (own_epoch, own_seq) not in self.committed, "a tombstone has the identity of a record"
                self.tombstones.add((own_epoch, own_seq))
                assert self.offered.get((own_epoch, own_seq), body) == body, "a tombstone changed after it was offered"
                epoch, first, last, records = (int(word) for word in body.split(b" ")[:4])
                if first:
                    covered = {(epoch, seq) for seq in range(first, last + 1)}
                    assert records == len(covered)
                    self.buried |= Counter(covered)
        missing = set(self.committed) - there - self.gone
        assert missing <= set(self.buried), "a record went without a tombstone"
        told = set(self.buried)
        assert told <= set(self.committed), "a tombstone tells of what was never committed"
        assert not told & there, "a tombstone tells of what is still there"
        assert there <= set(self.committed), "a record is there that was never committed"
        self.gone |= missing

    @rule(verb=st.sampled_from(["INSERT", "DELETE", "COMMIT"]), after=st.booleans())
    def fail_to_commit(self, verb: str, after: bool) -> None:
        fail_once(self.outbox, verb, after=after and verb == "COMMIT")
        try:
            self.outbox.commit()
        except sqlite3.OperationalError:
            return
        database: object = self.outbox._store.db
        if isinstance(database, FailingOnce):
            database._verb = ""
        self.has_committed()

    @rule()
    def reopen(self) -> None:
        if self.outbox._in_doubt is None:
            self.outbox.reopen()
        else:
            self.outbox.reopen()
            self.outbox.commit()
            self.has_committed()

    @rule()
    def rewind(self) -> None:
        self.outbox.rewind()
        self.seen = set()
        self.mark = self.outbox._last_committed

    @rule(limit=st.integers(1, 9))
    def hand_out(self, limit: int) -> None:
        offered = self.outbox.hand_out(limit)
        assert len(offered) <= limit
        for lane, record in offered:
            assert record.rowid not in self.seen, "handed out twice"
            assert record.rowid not in self.finished, "handed out though finished"
            assert record.rowid not in self.aside, "handed out though set aside"
            assert (lane is Lane.BACKLOG) == (record.rowid <= self.mark)
            if record.kind is RecordKind.TOMBSTONE:
                identity = record.epoch, record.seq
                assert self.offered.setdefault(identity, record.body) == record.body, "it changed after it was offered"
            else:
                assert self.in_doubt or self.committed[record.epoch, record.seq] == record.body
                assert (record.epoch, record.seq) not in self.gone
            self.seen.add(record.rowid)
            self.known[record.rowid] = record
        rowids = [record.rowid for lane, record in offered if lane is Lane.LIVE]
        assert rowids == sorted(rowids)

    @property
    def in_doubt(self) -> bool:
        return self.outbox._in_doubt is not None

    @precondition(lambda self: self.known)
    @rule(data=st.data(), refuse=st.booleans())
    def finish(self, data: st.DataObject, refuse: bool) -> None:
        """In any order, and also late: after a rewind, after it was finished already, after it was dropped."""
        record = self.known[data.draw(st.sampled_from(sorted(self.known)))]
        if refuse:
            self.outbox.refuse(record, "refused")
        else:
            self.outbox.confirm(record)
        identity = (record.epoch, record.seq)
        if record.kind is not RecordKind.TOMBSTONE and not refuse:
            self.finished[record.rowid] = identity

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def set_aside(self, data: st.DataObject) -> None:
        record = self.known[data.draw(st.sampled_from(sorted(self.known)))]
        self.outbox.set_aside(record)
        self.aside.add(record.rowid)

    @rule()
    def hand_out_all_that_is_not_set_aside(self) -> None:
        self.rewind()
        before = self.pending_rowids()
        self.hand_out(10_000)
        assert before - self.aside <= self.seen | self.outbox._intake.finished.keys(), "some are skipped"

    @rule()
    def readmit(self) -> None:
        self.outbox.readmit()
        self.aside = set()
        self.hand_out_all_that_is_not_set_aside()

    def pending_rowids(self) -> set[int]:
        finished = self.outbox._in_doubt[0].finished if self.outbox._in_doubt else {}
        rows = (
            self.outbox._store.writable().execute("SELECT rowid FROM record WHERE rowid <= ?", (self.mark,)).fetchall()
        )
        return {rowid for (rowid,) in rows} - finished.keys()

    @rule()
    def close_and_start(self) -> None:
        self.outbox.close()
        self.committed |= self.waiting
        self.stored_segments = [] if self.sealed else self.stored_segments
        self.store_segments()
        self.sealed = False
        self.gone |= set(self.finished.values())
        self.start()

    @rule()
    def kill_and_start(self) -> None:
        """Power goes: what the files hold at this moment is all there is."""
        if self.in_doubt:
            self.reopen()  # whether that transaction reached the disk is not this rule's question
        before, self.directory = self.directory, self.root / str(self.starts)
        shutil.copytree(before, self.directory)
        self.outbox._store.close()
        shutil.rmtree(before)
        self.sealed = False
        self.start()

    @invariant()
    def numbers_add_up(self) -> None:
        if hasattr(self, "outbox"):
            tally = self.outbox.tally()
            assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending
            if not self.in_doubt:
                assert tally.pending == self.outbox.count_pending()

    @invariant()
    def the_file_is_bounded(self) -> None:
        if hasattr(self, "outbox"):
            assert (self.directory / DATABASE).stat().st_size < MAX_BYTES + _PIECE_BYTES + SLACK_BYTES

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox._store.close()
        shutil.rmtree(self.root, ignore_errors=True)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
