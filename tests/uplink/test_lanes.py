"""Which of the held records is next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.uplink.action import Way
from edge_agent.uplink.lanes import Lanes
from tests.uplink.records import record as record_of


def record(rowid: int, size: int = 100, kind: RecordKind = RecordKind.BATCH) -> Record:
    return replace(record_of(rowid, kind), body=bytes(size))


def size_of(each: Record) -> int:
    return len(each.body)


def sent(lanes: Lanes, count: int) -> list[tuple[Lane, int]]:
    """Send the next records."""
    order = []
    for _ in range(count):
        held = lanes.next((), size_of)
        if held is None:
            break
        lanes.take(*held, size_of(held[1]))
        order.append((held[0], held[1].rowid))
    return order


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_while_both_wait_the_backlog_gets_its_share_of_the_bytes(share: float) -> None:
    lanes = Lanes(share)
    lanes.add((Lane.LIVE, record(rowid)) for rowid in range(1000))
    lanes.add((Lane.BACKLOG, record(rowid)) for rowid in range(1000, 2000))
    lane_of = [lane for lane, _rowid in sent(lanes, 1000)]
    assert lane_of[0] is Lane.LIVE
    assert lane_of.count(Lane.BACKLOG) == pytest.approx(1000 * share, abs=2)


def test_a_live_record_that_comes_alone_is_next_whatever_was_sent_before() -> None:
    lanes = Lanes(0.9)
    lanes.add((Lane.BACKLOG, record(rowid)) for rowid in range(100, 200))
    for rowid in range(20):
        lanes.add([(Lane.LIVE, record(rowid, size=10_000))])
        assert sent(lanes, 3)[0] == (Lane.LIVE, rowid)


def test_each_lane_keeps_its_order_and_skips_what_it_must() -> None:
    lanes = Lanes(0.0)
    lanes.add([(Lane.BACKLOG, record(1)), (Lane.BACKLOG, record(2)), (Lane.LIVE, record(8)), (Lane.LIVE, record(9))])
    assert lanes.next({8, 9, 1}, size_of) == (Lane.BACKLOG, record(2))
    assert lanes.find({9, 2}) == (Lane.LIVE, record(9))
    assert sent(lanes, 9) == [(Lane.LIVE, 8), (Lane.LIVE, 9), (Lane.BACKLOG, 1), (Lane.BACKLOG, 2)]
    assert lanes.next((), size_of) is None


def test_records_of_closed_topics_are_forgotten() -> None:
    lanes = Lanes(0.1)
    lanes.add([(Lane.BACKLOG, record(1)), (Lane.LIVE, record(2)), (Lane.LIVE, record(3, kind=RecordKind.EVENT))])
    lanes.drop({Way.EVENT, Way.BACKLOG})
    assert (lanes.rowids(), len(lanes), lanes.live) == ({2}, 1, 1)
    lanes.clear()
    assert len(lanes) == 0
