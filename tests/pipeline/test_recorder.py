from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.clock import NS_PER_S, ClockQuality, SimulatedClock
from edge_agent.outbox.worker import SaveState, Store, StoreSegment
from edge_agent.pipeline.counts import Counts
from edge_agent.pipeline.recorder import INBOX_FULL, STORE_FULL, Recorder
from edge_agent.reading import NOT_SENT, Event, EventKind, RecordKind
from edge_agent.wire.batch import Batch, Column, Group, Tombstone
from edge_agent.wire.codec import decode_message, encode_message
from edge_agent.wire.envelope import Envelope

if TYPE_CHECKING:
    from edge_agent.pipeline.recorder import StoreRequest

S = NS_PER_S
T = "temperature_c"


@dataclass
class Bench:
    """A recorder, and a store that takes requests while it has room."""

    room: int = 0
    stored: list[StoreRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = Counts()
        self.recorder = Recorder(self._store, SimulatedClock(0), self.counts)

    def _store(self, request: StoreRequest) -> bool:
        if self.room <= 0:
            return False
        self.room -= 1
        self.stored.append(request)
        return True

    def records(self) -> list[Batch | Event | Tombstone]:
        """Content of the records that the store took."""
        envelope = Envelope("n", 1, 1, 1, 0, ClockQuality.SYNCED)
        return [
            decode_message(encode_message(request.content.kind, envelope, request.content.body)).content
            for request in self.stored
            if isinstance(request, Store)
        ]


def rows(first_s: int, count: int, sensor: str = "air") -> Group:
    times_ns = [(first_s + row) * S for row in range(count)]
    return Group(sensor, times_ns, (Column(T, [20.0] * count, None, [0] * count, None),))


def tombstone(records: int, readings: int, reason: str, first_s: int, last_s: int) -> Tombstone:
    return Tombstone(0, 0, records, readings, reason, first_s * S, last_s * S)


def test_a_batch_that_the_store_refuses_becomes_a_tombstone_as_soon_as_the_store_takes_something() -> None:
    bench = Bench()
    assert bench.recorder.seal([rows(10, 3), rows(12, 4, "soil")])
    bench.recorder.account()
    assert bench.stored == []
    bench.room = 9
    bench.recorder.account()
    assert bench.records() == [tombstone(1, 7, STORE_FULL, 10, 15)]
    bench.recorder.account()
    assert len(bench.stored) == 1, "a loss is accounted for once"
    assert bench.counts.dropped == 7


def test_several_losses_that_wait_are_joined_into_one_tombstone_with_all_readings() -> None:
    bench = Bench()
    for first_s, count in ((50, 3), (10, 4), (30, 5)):
        bench.recorder.seal([rows(first_s, count)])
        bench.recorder.account()
    bench.recorder.lose(tombstone(0, 2, INBOX_FULL, 90, 91))
    bench.recorder.account()
    bench.room = 9
    bench.recorder.account()
    assert bench.records() == [tombstone(3, 14, f"{STORE_FULL}; {INBOX_FULL}", 10, 91)]
    assert bench.counts.dropped == 14


def test_losses_of_one_step_are_tombstones_of_their_own_while_the_store_takes_them() -> None:
    bench = Bench()
    bench.recorder.lose(tombstone(0, 2, INBOX_FULL, 10, 11))
    bench.recorder.seal([rows(20, 3)])
    bench.room = 1
    bench.recorder.account()
    assert bench.records() == [tombstone(0, 2, INBOX_FULL, 10, 11)]
    bench.room = 1
    bench.recorder.account()
    assert bench.records()[1:] == [tombstone(1, 3, STORE_FULL, 20, 22)]


def test_what_the_store_takes_after_a_loss_comes_before_its_tombstone_and_is_not_counted_as_dropped() -> None:
    bench = Bench()
    bench.recorder.seal([rows(10, 3)])
    bench.room = 9
    assert bench.recorder.seal([rows(20, 5)])
    bench.recorder.account()
    assert [type(content) for content in bench.records()] == [Batch, Tombstone]
    assert bench.counts.dropped == 3


def test_a_refused_segment_loses_nothing_because_its_rows_are_still_in_the_open_batch() -> None:
    bench = Bench()
    bench.recorder.secure([("air", [10 * S], [(T, [20.0], None, None, [0])])])
    bench.room = 9
    bench.recorder.account()
    assert bench.stored == []
    assert bench.counts.dropped == 0


def test_rows_without_a_reading_make_no_record_and_no_segment() -> None:
    bench = Bench(room=9)
    assert not bench.recorder.seal([])
    assert not bench.recorder.seal([Group("air", [10 * S], ())])
    assert bench.recorder.secure([])
    assert bench.recorder.secure([("air", [10 * S], [(T, [None], None, None, [NOT_SENT])])])
    assert not any(isinstance(request, Store | StoreSegment) for request in bench.stored)


def test_an_urgent_event_is_marked_as_such_and_states_are_saved_only_if_there_are_any() -> None:
    bench = Bench(room=9)
    event = Event(EventKind.ALERT, 5 * S, "warm", "firing", "it is warm")
    bench.recorder.event(event)
    bench.recorder.event(event, urgent=True)
    bench.recorder.save("stages", [])
    assert [request.content.urgent for request in bench.stored if isinstance(request, Store)] == [False, True]
    assert [request.content.kind for request in bench.stored if isinstance(request, Store)] == [RecordKind.EVENT] * 2
    assert not any(isinstance(request, SaveState) for request in bench.stored)


def test_a_reason_is_told_once_however_often_losses_are_joined() -> None:
    bench = Bench()
    for second in range(20):
        bench.recorder.lose(tombstone(0, 1, INBOX_FULL, second, second))
        bench.recorder.lose(tombstone(1, 0, STORE_FULL, second, second))
        bench.recorder.account()
    assert bench.recorder.losses == [tombstone(20, 20, f"{INBOX_FULL}; {STORE_FULL}", 0, 19)]
