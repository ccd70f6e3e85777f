"""A full outbox with each policy, against the ledger of a receiver: what is gone is told, and the rest arrives."""

# ruff: noqa: D102 the names say what they do
from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from edge_agent.agent.messages import BODIES, record_message
from edge_agent.clock import NS_PER_S, Anchor, ClockQuality
from edge_agent.outbox.eviction import Evict, EvictPolicy
from edge_agent.outbox.outbox import Content, Outbox
from edge_agent.outbox.part import Told, told_by, with_rows, without_rows
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import StoreSettings, used_bytes
from edge_agent.reading import RecordKind, RowRange, RowsOfBatch
from edge_agent.receiver.ledger import Ledger
from edge_agent.wire.batch import Batch, Column, Group, Tombstone
from edge_agent.wire.codec import decode_message, encode_batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.reading import Record
    from edge_agent.wire.batch import Message

MAX_BYTES = 500_000
ROWS = 300
SENSORS = ("air", "canopy", "soil")
SLOW = "slow"
BATCHES = 400


def body(number: int, rng: random.Random) -> bytes:
    """Three sensors of 300 rows that hardly can be compressed, and one of a single row."""
    times = tuple((300 * number + row) * NS_PER_S for row in range(ROWS))
    groups = [
        Group(
            name, times, (Column("temperature_c", [rng.randrange(4000) / 100 for _ in times], None, [0] * ROWS, None),)
        )
        for name in SENSORS
    ]
    slow = Column("temperature_c", [20.0], None, [0], None)
    return encode_batch(Batch((*groups, Group(SLOW, times[:1], (slow,)))))


class Outage:
    """An outbox that is filled far beyond its limit, and then drained into a ledger."""

    def __init__(self, directory: Path, policy: EvictPolicy) -> None:
        self.directory, self.policy = directory, policy
        self.rng = random.Random(1)
        self.messages: list[Message] = []
        self.outbox = self.opened()

    def opened(self) -> Outbox:
        return Outbox(
            self.directory,
            StoreSettings(MAX_BYTES, durable=False),
            boot_id="boot",
            anchor=Anchor(0, ClockQuality.SYNCED, 0),
            rng=self.rng,
            encode=BODIES,
            evict=self.policy,
        )

    def restart(self) -> None:
        self.outbox.close()
        self.outbox = self.opened()

    def add(self, batches: int, begin: int = 0) -> None:
        for number in range(begin, begin + batches):
            first_ns = 300 * number * NS_PER_S
            content = Content(
                RecordKind.BATCH, 3 * ROWS + 1, first_ns, first_ns + 299 * NS_PER_S, body(number, self.rng)
            )
            self.outbox.add(content)
            self.outbox.commit()
            db = self.outbox._store.writable()
            assert used_bytes(db) <= MAX_BYTES + 65_536
            tally = self.outbox.tally()
            assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending
            assert tally.pending == self.outbox.count_pending()

    def some(self, limit: int) -> list[Record]:
        """Records that arrive now."""
        records = [record for _, record in self.outbox.hand_out(limit)]
        for record in records:
            self.messages.append(decode_message(record_message(record, "n", 1)))
            self.outbox.confirm(record)
        self.outbox.commit()
        return records

    def drain(self) -> None:
        self.outbox.rewind()
        while self.some(50):
            pass
        tally = self.outbox.tally()
        assert (tally.pending, tally.committed) == (0, tally.confirmed + tally.tombstoned)

    def ledgers(self) -> dict[int, Ledger]:
        """What a receiver knows after all messages, in any order."""
        ledgers: dict[int, Ledger] = {}
        shuffled = list(self.messages)
        random.Random(2).shuffle(shuffled)
        for message in shuffled:
            content, envelope = message.content, message.envelope
            own = ledgers.setdefault(envelope.epoch, Ledger())
            if isinstance(content, Batch):
                own.deliver(envelope.seq, sum(len(group.times_ns) for group in content.groups), message.rows)
            else:
                own.deliver(envelope.seq)
            if isinstance(content, Tombstone):
                covered = content.epoch or envelope.epoch
                ledgers.setdefault(covered, Ledger()).drop(content.first_seq, content.last_seq, content.rows)
        return ledgers

    def rows(self) -> dict[str, list[int]]:
        """Batches of the rows that arrived, by sensor."""
        found: dict[str, list[int]] = {name: [] for name in (*SENSORS, SLOW)}
        for message in self.messages:
            if isinstance(message.content, Batch):
                for group in message.content.groups:
                    found[group.sensor] += [stamp // (300 * NS_PER_S) for stamp in group.times_ns]
        return found

    def told(self) -> int:
        """Readings that tombstones tell of."""
        return sum(each.content.readings for each in self.messages if isinstance(each.content, Tombstone))


def outage(directory: Path, default: Evict, sensors: Mapping[str, Evict] | None = None) -> Outage:
    made = Outage(directory, EvictPolicy(default, sensors or {}))
    made.add(BATCHES)
    made.drain()
    ledgers = made.ledgers()
    assert ledgers
    assert all(not ledger.missing() for ledger in ledgers.values())
    arrived = sum(map(len, made.rows().values()))
    assert arrived + made.told() == BATCHES * (3 * ROWS + 1), "every reading arrived or is told of, once"
    made.outbox.close()
    return made


def test_oldest_keeps_the_end(tmp_path: Path) -> None:
    minutes = outage(tmp_path, Evict.OLDEST).rows()["air"]
    assert max(minutes) == BATCHES - 1
    assert min(minutes) > BATCHES // 5


def test_newest_keeps_the_beginning_and_tells_of_the_rest_in_few_tombstones(tmp_path: Path) -> None:
    made = outage(tmp_path, Evict.NEWEST)
    minutes = made.rows()["air"]
    assert min(minutes) == 0
    assert max(minutes) < 7 * BATCHES // 8
    assert sorted(set(minutes)) == list(range(max(minutes) + 1)), "without holes"
    assert sum(isinstance(each.content, Tombstone) for each in made.messages) <= 2


def test_thin_keeps_all_of_it_more_coarsely(tmp_path: Path) -> None:
    rows = outage(tmp_path, Evict.THIN).rows()
    for name in (*SENSORS, SLOW):
        assert set(rows[name]) == set(range(BATCHES)), name
    assert Counter(rows["air"])[0] < ROWS
    assert Counter(rows["air"])[BATCHES - 1] == ROWS
    assert len(rows[SLOW]) == BATCHES, "a slow sensor loses nothing"


def test_each_sensor_goes_by_its_own_policy(tmp_path: Path) -> None:
    made = outage(tmp_path, Evict.OLDEST, {"air": Evict.THIN, "soil": Evict.NEWEST})
    rows = made.rows()
    assert set(rows["air"]) == set(range(BATCHES))
    assert min(rows["canopy"]) > BATCHES // 4
    assert max(rows["canopy"]) == BATCHES - 1
    assert Counter(rows["soil"])[0] == ROWS
    assert max(rows["soil"]) < BATCHES - 1


def test_what_was_handed_out_is_not_rewritten(tmp_path: Path) -> None:
    made = Outage(tmp_path, EvictPolicy(Evict.THIN))
    made.add(20)
    sent: list[Record] = [record for _, record in made.outbox.hand_out(10)]
    made.outbox.rewind()  # the link broke: they may have arrived
    made.add(BATCHES, 20)
    made.outbox.rewind()
    again = {(record.epoch, record.seq): record for _, record in made.outbox.hand_out(100_000)}
    for record in sent:
        kept = again[record.epoch, record.seq]
        assert (kept.body, kept.rows) == (record.body, None)
    assert any(record.rows is not None for record in again.values())
    made.outbox.close()


@pytest.mark.parametrize("evict", list(Evict))
def test_restarts_and_partial_drains_change_nothing_of_that(tmp_path: Path, evict: Evict) -> None:
    made = Outage(tmp_path, EvictPolicy(evict, {"soil": Evict.THIN}))
    for piece in range(4):
        made.add(BATCHES // 4, piece * BATCHES // 4)
        made.some(7)
        made.restart()
    made.drain()
    assert all(not ledger.missing() for ledger in made.ledgers().values())
    assert sum(map(len, made.rows().values())) + made.told() == BATCHES * (3 * ROWS + 1)
    made.outbox.close()


def test_the_stored_form_of_some_rows_is_read_back() -> None:
    for rows in (RowsOfBatch(60, 0, 4, 15), RowsOfBatch(1 << 20, 7, 3, 2, (RowRange(20, 40, 5), RowRange(99, 99)))):
        stored = with_rows(rows, b"\x92body", Told(7, (1 << 53) - 1, 9))
        assert without_rows(stored) == (rows, b"\x92body")
        assert told_by(stored) == Told(7, (1 << 53) - 1, 9)
    assert without_rows(b"\x92body") == (None, b"\x92body")


def test_a_damaged_database_of_thinned_records_goes_on(tmp_path: Path) -> None:
    made = Outage(tmp_path, EvictPolicy(Evict.THIN))
    made.add(BATCHES)
    thinned = sum(rows.startswith(b"\xc1row") for (rows,) in _bodies(made.outbox))
    assert thinned > BATCHES // 4
    made.outbox.close()
    path = tmp_path / DATABASE
    content = bytearray(path.read_bytes())
    content[:100] = bytes(100)  # the header
    path.write_bytes(content)
    made.outbox = made.opened()
    found = 0
    while made.outbox.salvage() or made.outbox.salvage_part().name:
        found += sum(record.rows is not None for record in made.some(50))  # the salvage goes on when there is room
    while records := made.some(50):
        found += sum(record.rows is not None for record in records)
    made.drain()
    assert found == thinned
    assert all(not ledger.missing() for ledger in made.ledgers().values())
    assert sum(map(len, made.rows().values())) + made.told() == BATCHES * (3 * ROWS + 1)
    made.outbox.close()


def _bodies(outbox: Outbox) -> list[tuple[bytes]]:
    return outbox._store.writable().execute("SELECT body FROM record").fetchall()
