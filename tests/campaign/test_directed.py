"""Histories that chance meets too rarely, each written down once."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from edge_agent.clock import NS_PER_S, Anchor, ClockQuality, SimulatedClock
from edge_agent.outbox.outbox import Content, Encode, Outbox
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import StoreSettings
from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.dialects.own_topics import OwnTopics
from edge_agent.uplink.mqtt import Broker, Link, LinkDown, LinkEvent, LinkUp, Puback
from edge_agent.uplink.session import Session
from edge_agent.uplink.terms import Terms
from edge_agent.uplink.worker import Offered, OutboxSide, PublishStatus, UplinkWorker
from edge_agent.wire.formats.registry import rewriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECORD = Record(1, 77, 1, RecordKind.BATCH, 1, 0, ClockQuality.SYNCED, 10, b"body")


class CountingLink:
    """A link that gives mids from 1 on and answers only when the test says so."""

    def __init__(
        self, _broker: object, _will: object, _version: int, emit: Callable[[LinkEvent], object], _: Any
    ) -> None:
        self.emit = emit
        self.mid = 0

    def open(self) -> None:
        """The connection is there at once."""
        self.emit(LinkUp(Terms(10)))

    def publish(self, *_: object) -> int:
        """The next mid."""
        self.mid += 1
        return self.mid

    def notify(self, *_: object, retain: bool) -> None:  # noqa: ARG002
        """This takes a mid, too."""
        self.mid += 1

    def abandon(self) -> None:
        """Nothing."""


def _worker() -> tuple[UplinkWorker, SimulatedClock, list[CountingLink], list[Record]]:
    """An uplink, its clock, the connections that it makes, and the records that it confirms."""
    links: list[CountingLink] = []
    confirmed: list[Record] = []

    def link(*arguments: Any) -> CountingLink:
        links.append(CountingLink(*arguments))
        return links[-1]

    clock = SimulatedClock(0)
    worker = UplinkWorker(
        broker=Broker("h", 1, None, "c", None, None, 30),
        dialect=OwnTopics(
            "edge/g",
            encode=lambda each: each.body,
            rewrite=rewriter("batch"),
            status=lambda state, _most_bytes: state.encode(),
        ),
        versions=(5,),
        session=Session(in_flight_limit=16, ack_timeout_ns=60 * NS_PER_S, rng=random.Random(1)),
        outbox=OutboxSide(
            rewind=lambda: None,
            hand_out=lambda _limit, _backlog: None,
            confirm=confirmed.append,
            set_aside=lambda _record: None,
            readmit=lambda: None,
        ),
        clock=clock,
        link=cast("Callable[..., Link]", link),
    )
    return worker, clock, links, confirmed


def test_a_status_that_was_written_confirms_no_record_of_an_earlier_connection() -> None:
    """First link: birth 1, heartbeat 2, record 3. Second: birth 1, record 2, heartbeat 3, whose PUBACK says 3."""
    worker, clock, links, confirmed = _worker()
    worker.step()
    worker.step()
    worker.inbox.put(PublishStatus(Occasion.HEARTBEAT))
    worker.step()
    worker.inbox.put(Offered([(Lane.LIVE, RECORD)]))
    worker.step()
    assert links[0].mid == 3
    links[0].emit(LinkDown("reset"))
    worker.step()
    clock.advance_to(clock.now_ns() + 60 * NS_PER_S)
    worker.step()
    worker.step()
    worker.inbox.put(Offered([(Lane.LIVE, RECORD)]))
    worker.step()
    worker.inbox.put(PublishStatus(Occasion.HEARTBEAT))
    worker.step()
    assert links[1].mid == 3
    links[1].emit(Puback(3, 0))
    worker.step()
    assert confirmed == []
    links[1].emit(Puback(2, 0))
    worker.step()
    assert confirmed == [RECORD]


def test_a_late_answer_on_an_abandoned_connection_confirms_nothing_of_the_next_one() -> None:
    """Both connections give their first record the mid 2; only the second one's answer is about it."""
    worker, clock, links, confirmed = _worker()
    for number in (0, 1):
        worker.step()
        worker.step()
        worker.inbox.put(Offered([(Lane.LIVE, RECORD)]))
        worker.step()
        assert links[number].mid == 2
        clock.advance_to(clock.now_ns() + 61 * NS_PER_S)
        if number == 0:  # nothing was acknowledged: the connection is abandoned, and a new one made after a while
            worker.step()
            clock.advance_to(clock.now_ns() + 60 * NS_PER_S)
    links[0].emit(Puback(2, 0))
    worker.step()
    assert confirmed == []


def test_gateways_that_lose_their_broker_together_do_not_come_back_together() -> None:
    """Each of 64 gateways waits another time, in every round, spread over most of the longest wait of the round."""
    sessions = [Session(in_flight_limit=16, ack_timeout_ns=60 * NS_PER_S, rng=random.Random(n)) for n in range(64)]
    for _round in range(8):
        waits = []
        for session in sessions:
            session.disconnected(0, "gone")
            deadline_ns = session.deadline_ns()
            assert deadline_ns is not None
            waits.append(deadline_ns)
        assert len(set(waits)) == len(waits)
        assert max(waits) - min(waits) > 0.6 * max(waits)


def test_a_salvage_neither_counts_nor_sends_a_record_whose_bytes_changed(tmp_path: Path) -> None:
    def opened() -> Outbox:
        encode = Encode(lambda dropped: repr(dropped).encode(), b"+".join)
        anchor = Anchor(1, ClockQuality.SYNCED, 0)
        return Outbox(tmp_path, StoreSettings(1 << 20), boot_id="b", anchor=anchor, rng=random.Random(), encode=encode)

    outbox = opened()
    for name in (b"one", b"two", b"three"):
        outbox.add(Content(RecordKind.BATCH, 1, 5, 6, name))
    outbox.close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.execute("UPDATE record SET body = x'00' WHERE body = ?", (b"two",))
        database.execute("DROP TABLE urgent")  # a table is missing, so the file is salvaged
        database.commit()
    outbox = opened()
    while outbox.salvage():
        pass
    assert (outbox.salvage_part().salvaged, outbox.salvage_part().lost) == (2, 1)
    outbox.rewind()
    batches = [record.body for _lane, record in outbox.hand_out(10) if record.kind is RecordKind.BATCH]
    assert batches == [b"one", b"three"]
    outbox.close()
