from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.clock import ClockQuality
from edge_agent.reading import Record, RecordKind
from edge_agent.uplink.dialects.announcer import TEACH_EVERY, Announcer
from edge_agent.wire.announcement import Announcement, make_announcement
from edge_agent.wire.codec import Known, decode_message, encode_batch, encode_event, encode_message
from tests.wire.samples import ENVELOPE, EVENT, PLAIN

STEP_NS = 1_000_000
CHANNELS = (("air", ("temperature_c", "humidity_pct")), ("roof", ("pressure_pa",)))


class Gateway:
    """Sends batches through an announcer, and knows in which form each left."""

    def __init__(self) -> None:
        self.facts = make_announcement(ENVELOPE, STEP_NS, CHANNELS)
        self.announcer = Announcer(lambda: self.facts)
        self.rowid = 0
        self.announcer.begin()

    def form(self, topic: str = "live", *, taken: bool | None = True) -> str:
        """Send one batch; `taken` None: the answer is still awaited."""
        self.rowid += 1
        envelope = replace(ENVELOPE, seq=self.rowid)
        alone = encode_message(RecordKind.BATCH, envelope, encode_batch(PLAIN))
        record = Record(self.rowid, 3, self.rowid, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 60, b"")
        sent = self.announcer.message(topic, record, alone)
        if taken is not None:
            self.announcer.answered(record, taken=taken)
        if sent == alone:
            return "alone"
        known = Known()
        known.add(self.facts)
        message = decode_message(sent, known)
        assert (message.envelope, message.content) == (envelope, PLAIN)
        return "announced" if message.announcement is None else "teaching"

    def forms(self, count: int, topic: str = "live") -> list[str]:
        """Send some batches, all of which are taken."""
        return [self.form(topic) for _ in range(count)]

    def answer(self, *, taken: bool) -> None:
        """The answer to the first batch."""
        record = Record(1, 3, 1, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 60, b"")
        self.announcer.answered(record, taken=taken)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def test_the_first_batch_on_a_link_teaches_and_then_every_sixty_fourth(gateway: Gateway) -> None:
    cycle = ["teaching"] + ["announced"] * (TEACH_EVERY - 1)
    assert gateway.forms(3 * TEACH_EVERY) == cycle * 3
    gateway.announcer.begin()
    assert gateway.forms(2) == ["teaching", "announced"]


def test_batches_stand_alone_until_the_teaching_one_is_acknowledged(gateway: Gateway) -> None:
    assert [gateway.form(taken=None), *gateway.forms(20)] == ["teaching"] + ["alone"] * 20
    gateway.answer(taken=True)
    assert gateway.form() == "announced"


def test_each_topic_is_taught_for_itself(gateway: Gateway) -> None:
    assert gateway.forms(2, "live") == ["teaching", "announced"]
    assert gateway.forms(2, "backlog") == ["teaching", "announced"]
    assert gateway.forms(1, "live") == ["announced"]


def test_after_a_teaching_batch_was_refused_others_stand_alone_for_a_while(gateway: Gateway) -> None:
    assert gateway.form(taken=False) == "teaching"
    assert gateway.forms(TEACH_EVERY + 1) == ["alone"] * (TEACH_EVERY - 1) + ["teaching", "announced"]


def test_after_a_link_broke_at_a_teaching_batch_the_next_does_not_begin_with_one(gateway: Gateway) -> None:
    assert gateway.form(taken=None) == "teaching"
    gateway.announcer.begin()
    assert gateway.forms(TEACH_EVERY + 1) == ["alone"] * (TEACH_EVERY - 1) + ["teaching", "announced"]


def test_what_was_taught_once_holds_while_it_is_taught_again(gateway: Gateway) -> None:
    gateway.forms(TEACH_EVERY)
    assert gateway.form(taken=None) == "teaching"
    assert gateway.form() == "announced"


@pytest.mark.parametrize(
    ("moved_ns", "quality", "announced_anew"),
    [
        (0, ClockQuality.SYNCED, False),
        (63 * STEP_NS, ClockQuality.SYNCED, False),
        (-64 * STEP_NS, ClockQuality.SYNCED, True),
        (0, ClockQuality.HOLDOVER, True),
    ],
)
def test_a_clock_that_moved_is_announced_anew(
    gateway: Gateway, moved_ns: int, quality: ClockQuality, announced_anew: bool
) -> None:
    gateway.forms(2)
    before = gateway.announcer.announcement
    gateway.facts = make_announcement(
        replace(ENVELOPE, offset_ns=ENVELOPE.offset_ns + moved_ns, time_quality=quality), STEP_NS, CHANNELS
    )
    gateway.announcer.refresh()
    assert (gateway.announcer.announcement != before) == announced_anew
    if announced_anew:
        assert gateway.form() == "teaching"


def test_events_stand_alone(gateway: Gateway) -> None:
    alone = encode_message(RecordKind.EVENT, ENVELOPE, encode_event(EVENT))
    record = Record(1, 3, 42, RecordKind.EVENT, 2, 0, ClockQuality.SYNCED, 0, b"")
    assert gateway.announcer.message("event", record, alone) == alone


def test_channels_that_are_too_many_to_be_announced_are_named_in_each_batch(caplog: pytest.LogCaptureFixture) -> None:
    def too_many() -> Announcement:
        return make_announcement(ENVELOPE, STEP_NS, [(f"s{number}", ("soil_pct",)) for number in range(5000)])

    announcer = Announcer(too_many)
    announcer.begin()
    announcer.refresh()
    alone = encode_message(RecordKind.BATCH, ENVELOPE, encode_batch(PLAIN))
    record = Record(1, 3, 42, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 60, b"")
    assert announcer.message("live", record, alone) == alone
    assert "too large" in caplog.text


def test_a_receiver_that_lacks_the_announcement_gets_it_with_the_next_batch(gateway: Gateway) -> None:
    gateway.forms(3, "live")
    gateway.announcer.teach()
    assert gateway.forms(2, "live") == ["teaching", "announced"]
