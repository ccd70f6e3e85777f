"""What the measured rate allows, and what configured limits do."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.pace import QUEUE_S, Bucket, Pace


class Link:
    """A link of a given rate and delay with a queue, and a sender that has always something to send."""

    def __init__(self, bytes_per_s: float, delay_s: float, size_bytes: int) -> None:
        self.pace = Pace()
        self.bytes_per_s, self.delay_s, self.size_bytes = bytes_per_s, delay_s, size_bytes
        self.now_ns = self.free_ns = 0
        self.acks: list[tuple[int, int]] = []
        self.sent = self.acked = 0
        self.longest_s = 0.0

    def send(self) -> None:
        """Send one message; its PUBACK comes when the link has carried it and the delay has passed."""
        self.sent += 1
        self.pace.sent(self.now_ns, self.sent, self.size_bytes)
        self.free_ns = max(self.free_ns, self.now_ns) + round(self.size_bytes / self.bytes_per_s * NS_PER_S)
        self.acks.append((self.free_ns + round(self.delay_s * NS_PER_S), self.sent))
        self.longest_s = max(self.longest_s, (self.free_ns - self.now_ns) / NS_PER_S)

    def run(self, seconds: float) -> float:
        """Send all the time. Returns the rate that was reached, bytes per second."""
        self.longest_s, before, begin_ns = 0.0, self.acked, self.now_ns
        while self.now_ns < begin_ns + seconds * NS_PER_S:
            while self.pace.has_room(self.now_ns, self.size_bytes):
                self.send()
            self.now_ns, rowid = self.acks.pop(0)
            self.pace.acknowledged(self.now_ns, rowid)
            self.acked += 1
        return (self.acked - before) * self.size_bytes * NS_PER_S / (self.now_ns - begin_ns)


@pytest.mark.parametrize("bytes_per_s", [1000, 8000, 100_000])
@pytest.mark.parametrize("delay_s", [0.001, 0.1, 1.5])
@pytest.mark.parametrize("size_bytes", [100, 700, 5000])
def test_any_link_is_filled_and_its_queue_is_short(bytes_per_s: int, delay_s: float, size_bytes: int) -> None:
    link = Link(bytes_per_s, delay_s, size_bytes)
    link.run(30)
    wire_s = size_bytes / bytes_per_s
    one_at_a_time = wire_s / (wire_s + delay_s)  # all that is allowed where a message takes seconds
    assert link.run(30) > min(0.95, 0.98 * one_at_a_time) * bytes_per_s
    assert link.longest_s <= QUEUE_S + delay_s + 2 * wire_s + 0.01


@pytest.mark.parametrize(("before", "after"), [(8000, 1000), (1000, 8000)])
def test_a_link_that_becomes_slower_or_faster_is_followed(before: int, after: int) -> None:
    link = Link(before, 0.1, 700)
    link.run(30)
    link.bytes_per_s = after
    link.run(30)
    assert link.run(30) > 0.95 * after
    assert link.longest_s <= QUEUE_S + 0.1 + 3 * 700 / after


def test_a_way_that_becomes_longer_is_followed() -> None:
    link = Link(8000, 0.1, 700)
    link.run(30)
    link.delay_s = 3.0
    link.run(120)
    assert link.run(60) > 0.9 * 8000


def test_it_begins_with_one_message_however_large() -> None:
    pace = Pace()
    pace.connected()
    assert pace.has_room(0, 1_000_000)
    pace.sent(0, 1, 1_000_000)
    assert not pace.has_room(0, 1)
    pace.acknowledged(NS_PER_S, 1)
    pace.connected()
    pace.sent(0, 2, 10)
    assert not pace.has_room(0, 1), "nothing is known of a new link"


def test_a_record_a_minute_does_not_make_the_link_look_slow() -> None:
    pace = Pace()
    for rowid, (size, rtt_s) in enumerate([(10_000, 0.1), (100, 0.1), (100, 5.0)]):
        pace.sent(rowid * 60 * NS_PER_S, rowid, size)
        pace.acknowledged(rowid * 60 * NS_PER_S + round(rtt_s * NS_PER_S), rowid)
    assert pace.bytes_per_s == pytest.approx(100_000)


def test_the_true_size_counts_once_it_is_known() -> None:
    pace = Pace()
    assert pace.expected_bytes(100) == 100
    pace.sent(0, 1, 100)
    pace.measured(1, 100, 1000)
    assert (pace.in_flight_bytes, pace.mean_bytes) == (1000, 1000)
    assert pace.expected_bytes(100) > 500
    pace.acknowledged(NS_PER_S, 1)
    assert pace.in_flight_bytes == 0
    assert pace.bytes_per_s == pytest.approx(1000)


def test_a_puback_in_no_time_as_simulations_have_it_is_no_error() -> None:
    pace = Pace()
    for rowid in range(3):
        pace.sent(5, rowid, 700)
        pace.acknowledged(5, rowid)
    assert pace.bytes_per_s is not None
    assert math.isinf(pace.bytes_per_s)
    assert pace.has_room(5, 10**9)
    pace.sent(5, 3, 1000)
    pace.acknowledged(5 + NS_PER_S, 3)
    assert pace.bytes_per_s == pytest.approx(1000)


@given(st.data())
def test_bytes_in_flight_never_exceed_the_limit_and_end_at_nothing(data: st.DataObject) -> None:
    pace, now_ns, sent = Pace(), 0, list[int]()
    for rowid in range(data.draw(st.integers(1, 60))):
        now_ns += data.draw(st.integers(0, NS_PER_S))
        size = data.draw(st.integers(0, 5000))
        if pace.has_room(now_ns, size):
            allowed = pace._limit_bytes() + size
            pace.sent(now_ns, rowid, size)
            sent.append(rowid)
            assert len(sent) == 1 or pace.in_flight_bytes <= allowed
        elif sent:
            pace.acknowledged(now_ns, sent.pop(data.draw(st.integers(0, len(sent) - 1))))
    for rowid in sent:
        pace.forget(rowid)
    assert pace.in_flight_bytes == 0


@given(
    st.floats(0.1, 1e5), st.lists(st.tuples(st.integers(0, 3 * NS_PER_S), st.floats(1, 1e4)), min_size=1, max_size=50)
)
def test_a_bucket_lets_no_more_through_than_a_second_and_one_message_more(
    per_s: float, steps: list[tuple[int, float]]
) -> None:
    bucket, now_ns, taken, last = Bucket(per_s), random.Random(1).randrange(10**15), 0.0, 0.0
    begin_ns = now_ns
    for wait_ns, tokens in steps:
        now_ns = max(now_ns + wait_ns, bucket.ready_ns())
        bucket.take(now_ns, tokens)
        taken, last = taken + tokens, tokens
        assert taken <= per_s * ((now_ns - begin_ns) / NS_PER_S + 1) + last + 1e-3 * per_s


def test_no_limit_is_none() -> None:
    bucket = Bucket(None)
    bucket.take(5, 1e9)
    assert bucket.ready_ns() == 0
