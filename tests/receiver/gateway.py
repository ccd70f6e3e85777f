"""A gateway and a broker for tests of the receiver: messages are made by the package's own encoder."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.clock import NS_PER_S, ClockQuality, SimulatedClock
from edge_agent.features import Features
from edge_agent.reading import Event, EventKind, RecordKind, TimeFix
from edge_agent.receiver.link import Arrived, Down, LinkEvent, Up
from edge_agent.receiver.receiver import Receiver
from edge_agent.receiver.sinks.sqlite import SqliteSink
from edge_agent.wire.batch import Batch, Column, Group, RowRange, Tombstone
from edge_agent.wire.codec import (
    by_announcement,
    encode_batch,
    encode_event,
    encode_message,
    encode_tombstone,
    make_announcement,
    teaching,
)
from edge_agent.wire.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.wire.batch import RowsOfBatch
    from edge_agent.wire.codec import Announcement

START_NS = 1_767_225_600 * NS_PER_S
OFFSET_NS = START_NS - 10 * NS_PER_S
PREFIX = "edge/n"
FEATURES = Features(3, 20.0, 0.5, 19.0, 21.0, 0.0)


@dataclass
class Gateway:
    """Makes messages of one run of one node."""

    node: str = "n"
    epoch: int = 77
    boot: int = 5
    offset_ns: int = OFFSET_NS

    def envelope(self, seq: int, offset_ns: int | None = None) -> Envelope:
        """Identity and time of a record."""
        offset = self.offset_ns if offset_ns is None else offset_ns
        return Envelope(self.node, self.epoch, seq, self.boot, offset, ClockQuality.SYNCED)

    def body(self, seq: int, rows: int = 3) -> bytes:
        """A batch of two sensors with three channels; `rows` of each sensor."""
        times = tuple((100 * seq + row) * NS_PER_S for row in range(rows))
        values = tuple((2000 + (7919 * seq + 104_729 * row * row) % 1000) / 100 for row in range(rows))
        air = Group("air", times, (column("temperature_c", values), column("humidity_pct", values)))
        return encode_batch(Batch((air, Group("roof", times, (column("pressure_pa", values),)))))

    def batch(self, seq: int, rows: int = 3, *, offset_ns: int | None = None) -> bytes:
        """A batch that stands alone."""
        return encode_message(RecordKind.BATCH, self.envelope(seq, offset_ns), self.body(seq, rows))

    def part(self, seq: int, rows: RowsOfBatch, body: bytes) -> bytes:
        """Part of a batch."""
        return encode_message(RecordKind.BATCH, self.envelope(seq), body, rows=rows)

    def tombstone(
        self,
        seq: int,
        first: int,
        last: int | None,
        *,
        epoch: int | None = -1,
        rows: tuple[RowRange, ...] = (),
        why: str = "full",
    ) -> bytes:
        """Records, or rows of one, were dropped; epoch -1 is the own one."""
        covered = self.epoch if epoch == -1 else epoch
        count = 0 if last is None else last - first + 1
        body = encode_tombstone(Tombstone(first, last, count, 9 * count, why, 0, NS_PER_S, covered, rows))
        return encode_message(RecordKind.TOMBSTONE, self.envelope(seq), body)

    def fix(self, seq: int, from_ns: int, to_ns: int, new_offset_ns: int, *, at_ns: int = 0) -> bytes:
        """Stamps get another offset."""
        fix = TimeFix(self.boot, from_ns, to_ns, self.offset_ns, new_offset_ns)
        event = Event(EventKind.TIME_FIX, at_ns, "clock", "synced", "the clock was set", fix=fix)
        return encode_message(RecordKind.EVENT, self.envelope(seq), encode_event(event))

    def event(self, seq: int) -> bytes:
        """An alert."""
        event = Event(EventKind.ALERT, 5 * NS_PER_S, "frost", "firing", "2.8 °C", severity="critical")
        return encode_message(RecordKind.EVENT, self.envelope(seq), encode_event(event))

    def announcement(self) -> Announcement:
        """What holds for the batches of this run."""
        sensors = (("air", ("temperature_c", "humidity_pct")), ("roof", ("pressure_pa",)))
        return make_announcement(self.envelope(0), 1_000_000, sensors)

    def teaching(self, seq: int) -> bytes:
        """A batch that carries the announcement."""
        return teaching(self.batch(seq), self.announcement())

    def announced(self, seq: int) -> bytes:
        """A batch that goes by the announcement."""
        message = by_announcement(self.batch(seq), self.announcement())
        assert message is not None
        return message

    def status(
        self, *listed: tuple[int, int], state: str = "online", volatile: int | None = None, **more: Any
    ) -> bytes:
        """The status, with (epoch, mark) of the epochs that are held."""
        fields: dict[str, Any] = {"state": state, "node": self.node, "epoch": self.epoch, **more}
        if listed:
            fields["epochs"] = [{"epoch": epoch, "boot": self.boot, "upto": upto} for epoch, upto in listed]
        if volatile is not None:
            fields["volatile"] = {"upto": volatile}
        return json.dumps(fields).encode()


def column(quantity: str, values: tuple[float, ...]) -> Column:
    return Column(quantity, values, None, (0,) * len(values), FEATURES)


@dataclass
class FakeConnection:
    """What a broker sees of the receiver."""

    emit: Callable[[LinkEvent], object]
    acknowledged: list[int] = field(default_factory=list)
    published: list[tuple[str, dict[str, Any], bool]] = field(default_factory=list)
    is_closed: bool = False

    def open(self) -> None:
        """Nothing to do."""

    def acknowledge(self, token: int) -> None:
        """Note it."""
        self.acknowledged.append(token)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Note it."""
        assert len(payload) <= 16_384
        self.published.append((topic, json.loads(payload), retain))

    def close(self) -> None:
        """Note it, or end."""
        self.is_closed = True


class Bench:
    """A receiver on simulated time, with a database on disk."""

    def __init__(self, path: Path, *, session: bool = True, seed: int = 1, key: str | None = None) -> None:
        self.path = path
        self.clock = SimulatedClock(START_NS)
        self.sink = SqliteSink(path)
        self.connections: list[FakeConnection] = []
        self.receiver = Receiver("hq", self.sink, self._connect, self.clock, random.Random(seed), key=key)
        self._token = 0
        self.session = session
        self.connect()

    def _connect(self, _version: int, emit: Callable[[LinkEvent], object]) -> FakeConnection:
        self.connections.append(FakeConnection(emit))
        return self.connections[-1]

    @property
    def link(self) -> FakeConnection:
        """The present connection."""
        return self.connections[-1]

    def connect(self) -> None:
        """Let it connect."""
        have = len(self.connections)
        while len(self.connections) == have:
            self.step()
        self.link.emit(Up(self.session))
        self.step()

    def lose(self) -> None:
        """End the connection."""
        self.link.emit(Down("cut"))
        self.step()

    def step(self) -> None:
        """One step, and time goes on to the next one."""
        next_ns = self.receiver.step()
        if next_ns is not None:
            self.clock.advance_to(next_ns)

    def put(self, payload: bytes, lane: str = "live", prefix: str = PREFIX, *, retained: bool = False) -> int:
        """A message comes; nothing is done yet."""
        self._token += 1
        self.link.emit(Arrived(f"{prefix}/{lane}", payload, retained, self._token))
        return self._token

    def take(self, *payloads: bytes, lane: str = "live", prefix: str = PREFIX, retained: bool = False) -> None:
        """Messages come and are committed."""
        for payload in payloads:
            self.put(payload, lane, prefix, retained=retained)
        self.wait(0.3)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        while True:
            next_ns = self.receiver.step()
            if next_ns is None or next_ns > end_ns:
                break
            self.clock.advance_to(next_ns)
        self.clock.advance_to(end_ns)
        self.receiver.step()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        return self.sink.db.execute(query, values).fetchall()

    def identities(self) -> Counter[tuple[Any, ...]]:
        """Every stored reading, and how often."""
        return Counter(self.rows("SELECT node, epoch, seq, row, sensor, quantity FROM readings"))

    def said(self, level: str, prefix: str = PREFIX) -> list[dict[str, Any]]:
        """What was published on a topic."""
        return [said for topic, said, _ in self.link.published if topic == f"{prefix}/{level}/hq"]

    def ack(self, epoch: int = 77, prefix: str = PREFIX) -> dict[str, Any] | None:
        """What was last acknowledged of an epoch."""
        found = [entry for said in self.said("ack", prefix)[-1:] for entry in said["acks"] if entry["epoch"] == epoch]
        return found[0] if found else None

    def close(self) -> None:
        """Note it, or end."""
        self.receiver.stop()
        self.sink.close()
