"""A record on its way: whole, or in parts one after the other."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_agent.reading import Lane
from edge_agent.uplink.action import Confirm, Send, SetAside
from edge_agent.uplink.dialect import Publication
from edge_agent.uplink.mqtt import TooLarge
from edge_agent.uplink.notices import Notices
from edge_agent.uplink.sending import Sending
from edge_agent.uplink.session import Session
from tests.uplink.records import ACK_TIMEOUT_NS, ROOMY, offer, record

if TYPE_CHECKING:
    from edge_agent.reading import Record
    from edge_agent.uplink.mqtt import Link

LIMIT_BYTES = 100


class Narrow:
    """A link that takes payloads up to a limit, and packets that are 20 bytes larger."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.limit_bytes = LIMIT_BYTES

    def publish(self, _topic: str, payload: bytes, _content_type: str, _properties: Any) -> int:
        """Note the payload; its number is the mid."""
        if len(payload) > self.limit_bytes:
            raise TooLarge(len(payload) + 20, self.limit_bytes + 20, 20)
        self.payloads.append(payload)
        return len(self.payloads)


class Parting:
    """A dialect whose messages are too large, and whose parts hold 90 bytes."""

    ignored, topics = 0, ()
    count = 3

    def __init__(self) -> None:
        self.answers: list[tuple[int, bool]] = []
        self.asked: list[int] = []

    def publication(self, _lane: Lane, _record: Record, *, alone: bool = False) -> Publication:
        """More than is taken."""
        return Publication("n", b"alone" * 40 if alone else b"x" * 150, "", ())

    def parts(self, _lane: Lane, _record: Record, most_bytes: int) -> list[Publication]:
        """Their number is given."""
        self.asked.append(most_bytes)
        return [Publication("n", bytes([48 + part]) * 90, "", ()) for part in range(self.count)]

    def answered(self, record: Record, *, taken: bool) -> None:
        """Note it."""
        self.answers.append((record.rowid, taken))


class Bench:
    """A session with one record to send."""

    def __init__(self) -> None:
        self.session = Session(in_flight_limit=4, ack_timeout_ns=ACK_TIMEOUT_NS, rng=random.Random(1))
        self.link, self.dialect = Narrow(), Parting()
        dialect: Any = self.dialect
        self.shares: list[float] = []
        self.sending = Sending(
            dialect, Notices(dialect), self.session, lambda _record, share: self.shares.append(share)
        )
        self.session.connected(0, ROOMY)
        self.session.take_actions()
        self.session.offered(0, offer(1))
        self.send = next(action for action in self.session.take_actions() if isinstance(action, Send))

    def start(self, now_ns: int = 0) -> None:
        """Send it."""
        self.sending.send(now_ns, cast("Link", self.link), self.send)

    def puback(self, mid: int, code: int = 0, now_ns: int = 0) -> None:
        """The broker answers."""
        self.sending.acknowledged(now_ns, cast("Link", self.link), mid, code)

    def outcome(self) -> list[object]:
        """What the session wants done to records."""
        return [each for each in self.session.take_actions() if isinstance(each, Confirm | SetAside)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_parts_follow_one_another_and_the_last_puback_confirms_the_record(bench: Bench) -> None:
    bench.start()
    assert bench.dialect.asked == [LIMIT_BYTES]
    for mid in (1, 2):
        assert bench.link.payloads[-1] == bytes([47 + mid]) * 90
        bench.puback(mid)
        assert bench.outcome() == []
        assert bench.session.in_flight == 1
    bench.puback(3)
    bench.puback(3)
    assert bench.outcome() == [Confirm(record(1))]
    assert bench.dialect.answers[-1] == (1, True)
    assert len(bench.link.payloads) == 3
    assert bench.sending.bytes_sent == 270
    assert bench.shares == [pytest.approx(120 / 170)], "later batches are sealed earlier"


def test_what_is_sent_again_stands_alone(bench: Bench) -> None:
    bench.link.limit_bytes = 1000
    bench.start()
    bench.sending.disconnected()
    bench.sending.send(0, cast("Link", bench.link), Send(Lane.BACKLOG, record(1), again=True))
    assert bench.link.payloads == [b"x" * 150, b"alone" * 40]
    bench.puback(2)
    assert bench.outcome() == [Confirm(record(1))]


def test_every_part_has_the_full_time(bench: Bench) -> None:
    bench.start()
    bench.puback(1, now_ns=ACK_TIMEOUT_NS - 1)
    bench.session.tick(2 * ACK_TIMEOUT_NS - 2)
    assert bench.session.in_flight == 1
    bench.session.tick(3 * ACK_TIMEOUT_NS)
    assert bench.session.in_flight == 0


def test_a_part_that_is_refused_ends_the_record(bench: Bench) -> None:
    bench.start()
    bench.puback(1)
    bench.puback(2, code=0x99)
    (outcome,) = bench.outcome()
    assert isinstance(outcome, SetAside)
    assert "refused by the broker" in outcome.reason
    assert len(bench.link.payloads) == 2


def test_without_parts_it_is_set_aside_as_too_large(bench: Bench) -> None:
    bench.dialect.count = 0
    bench.start()
    assert bench.outcome() == [SetAside(record(1), "larger than the 120 bytes that the broker takes")]
    assert bench.link.payloads == []


def test_a_part_that_is_too_large_as_well_sets_the_record_aside(bench: Bench) -> None:
    bench.start()
    bench.link.limit_bytes = 50
    bench.puback(1)
    (outcome,) = bench.outcome()
    assert isinstance(outcome, SetAside)


def test_a_new_link_begins_with_the_first_part(bench: Bench) -> None:
    bench.start()
    bench.sending.disconnected()
    bench.puback(1)
    assert bench.outcome() == []
    assert len(bench.link.payloads) == 1
    bench.start()
    assert bench.link.payloads[1] == b"0" * 90
