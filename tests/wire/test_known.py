from __future__ import annotations

import contextlib
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import ClockQuality
from edge_agent.errors import UnknownReference, WireError
from edge_agent.reading import RecordKind
from edge_agent.wire.batch import Batch, Column, Group, Message, StatusText
from edge_agent.wire.codec import (
    Known,
    Reference,
    by_announcement,
    decode_message,
    encode_batch,
    encode_message,
    make_announcement,
    parse_announcement,
    teaching,
)
from edge_agent.wire.known import MOST_BATCHES, MOST_CHANNELS
from tests.wire.samples import (
    ANNOUNCEMENT,
    EARLIER,
    ENVELOPE,
    FULL,
    NEXT,
    PLAIN,
    REFERRING,
    ROOF,
    TWIN,
    announced,
    encoded,
    known,
)
from tests.wire.strategies import ENVELOPES, STEPS, batches, channels_of

if TYPE_CHECKING:
    from edge_agent.wire.announcement import Announcement
    from edge_agent.wire.envelope import Envelope

AIR = ("air", ("temperature_c", "humidity_pct"))


def sent(batch: Batch, reference: Reference | None = None, envelope: Envelope = ENVELOPE) -> bytes:
    return encode_message(RecordKind.BATCH, envelope, encode_batch(batch, reference=reference))


def told(*announcements: Announcement) -> Known:
    heard = Known()
    for each in announcements:
        heard.add(each)
    return heard


def test_an_announcement_saves_names_and_envelope_and_gives_them_back() -> None:
    message = encoded("v2-announced")
    assert decode_message(message, known()) == Message(ENVELOPE, PLAIN)
    assert len(message) < len(encoded("v2-plain")) - 25


def test_around_the_columns_of_one_sensor_stand_sixteen_bytes() -> None:
    rows = range(60)
    batch = Batch((Group("air", tuple(rows), (Column("temperature_c", (21.5,) * 60, None, (0,) * 60, None),)),))
    envelope = replace(ENVELOPE, epoch=1 << 60, seq=1_000_000)
    announcement = make_announcement(envelope, 1_000_000, channels_of(batch))
    data = msgpack.unpackb(encode_batch(batch))[1]
    message = announced(sent(batch, envelope=envelope), announcement)
    assert decode_message(message, told(announcement)) == Message(envelope, batch)
    assert len(message) - len(data) == 16


def test_what_differs_from_the_announcement_is_said() -> None:
    for envelope in (
        replace(ENVELOPE, epoch=ENVELOPE.epoch + 1),
        replace(ENVELOPE, boot=9),
        replace(ENVELOPE, time_quality=ClockQuality.HOLDOVER),
        replace(ENVELOPE, offset_ns=ENVELOPE.offset_ns - 7_000_000),
        EARLIER,
    ):
        message = announced(sent(PLAIN, envelope=envelope))
        assert len(message) > len(encoded("v2-announced"))
        assert decode_message(message, known()) == Message(envelope, PLAIN)


def test_silent_sensors_and_channels_are_left_out() -> None:
    air, roof = PLAIN.groups
    for batch in (ROOF, Batch((air._replace(columns=air.columns[1:]), roof)), Batch(())):
        assert decode_message(announced(sent(batch)), known()) == Message(ENVELOPE, batch)


@pytest.mark.parametrize(
    "message",
    [
        sent(FULL),
        sent(Batch(PLAIN.groups[::-1])),
        sent(Batch(PLAIN.groups * 2)),
        sent(Batch((PLAIN.groups[0]._replace(columns=PLAIN.groups[0].columns[::-1]),))),
        sent(Batch((PLAIN.groups[0]._replace(columns=()),))),
        sent(PLAIN, envelope=replace(ENVELOPE, node="node-2")),
        sent(PLAIN, envelope=replace(ENVELOPE, offset_ns=ENVELOPE.offset_ns + 1)),
        encoded("v2-event"),
        encoded("v2-tombstone"),
    ],
)
def test_what_an_announcement_cannot_say_stays_as_it_is(message: bytes) -> None:
    assert by_announcement(message, ANNOUNCEMENT) is None


def test_any_fact_that_differs_is_another_announcement() -> None:
    others = [
        make_announcement(envelope, step_ns, sensors)
        for envelope, step_ns, sensors in (
            (ENVELOPE, 1, (AIR,)),
            (ENVELOPE, 2, (AIR,)),
            (ENVELOPE, 1, (AIR, AIR)),
            (ENVELOPE, 1, (("air", ("humidity_pct", "temperature_c")),)),
            (replace(ENVELOPE, node="node-2"), 1, (AIR,)),
            (replace(ENVELOPE, epoch=4), 1, (AIR,)),
            (replace(ENVELOPE, boot=4), 1, (AIR,)),
            (replace(ENVELOPE, offset_ns=4), 1, (AIR,)),
            (replace(ENVELOPE, time_quality=ClockQuality.NONE), 1, (AIR,)),
        )
    ]
    assert len({each.id for each in others}) == 9
    assert make_announcement(replace(ENVELOPE, seq=43), 1, (AIR,)).id == others[0].id


def test_an_unknown_announcement_and_an_unknown_batch_are_named() -> None:
    with pytest.raises(UnknownReference, match=f"{ANNOUNCEMENT.id:08x}"):
        decode_message(encoded("v2-announced"))
    with pytest.raises(UnknownReference, match="seq 42 of node-1, epoch 3"):
        decode_message(encoded("v2-next"), told(ANNOUNCEMENT))


def test_another_announcement_of_the_same_id_is_found_out() -> None:
    assert (TWIN.id, TWIN.node) == (ANNOUNCEMENT.id, "node-2")
    with pytest.raises(WireError, match="checksum"):
        decode_message(encoded("v2-announced"), told(TWIN))


def test_a_message_that_teaches_stands_alone_and_is_all_that_later_ones_need() -> None:
    message = decode_message(encoded("v2-teaching"))
    assert message == Message(ENVELOPE, PLAIN, ANNOUNCEMENT)
    heard = Known()
    heard.learn(message)
    assert [decode_message(encoded(name), heard).content for name in ("v2-announced", "v2-next")] == [PLAIN, NEXT]


def test_a_status_message_teaches_and_what_else_it_says_is_no_matter() -> None:
    heard = Known()
    for said in (ANNOUNCEMENT.to_text(), None, 7, "no base64", "", "AAAA", ANNOUNCEMENT.to_text()[:-4]):
        heard.learn(StatusText({"state": "online", "announcement": said}))
    heard.learn(StatusText({"state": "offline"}))
    assert heard.announcements == {ANNOUNCEMENT.id: ANNOUNCEMENT}


@pytest.mark.parametrize(
    "fields",
    [
        ["n", 1, 1, 0, 3, 1],
        ["n", 1, 1, 0, 4, 1, []],
        ["n", 1, 1, 0, 3, 0, []],
        ["n", -1, 1, 0, 3, 1, []],
        ["n", 1, 1, 1 << 63, 3, 1, []],
        [b"n", 1, 1, 0, 3, 1, []],
        ["n", 1, 1, 0, 3, 1, [["s"]]],
        ["n", 1, 1, 0, 3, 1, [["s", 1 << 63]]],
        ["n", 1, 1, 0, 3, 1, [["s" * 257, 1]]],
        ["n", 1, 1, 0, 3, 1, [["s", (1 << 60) - 1]] * 100],
        ["n", 1, 1, 0, 3, 1, [["s", [0] * 65]]],
        ["n", 1, 1, 0, 3, 1, [["s", 1]] * 1025],
        ["n" * 40_000, 1, 1, 0, 3, 1, []],
        {"n": 1},
    ],
)
def test_what_is_no_announcement_is_refused(fields: Any) -> None:
    with pytest.raises(WireError):
        parse_announcement(msgpack.packb(fields))


def test_a_newer_announcement_may_say_more() -> None:
    longer = parse_announcement(msgpack.packb([*msgpack.unpackb(ANNOUNCEMENT.packed), "newer"]))
    assert longer.sensors == ANNOUNCEMENT.sensors
    assert decode_message(announced(encoded("v2-plain"), longer), told(longer)) == Message(ENVELOPE, PLAIN)


def test_the_oldest_announcements_and_batches_are_forgotten() -> None:
    wide = [("s", tuple(f"q{place}" for place in range(64)))] * 60
    each = [make_announcement(replace(ENVELOPE, epoch=epoch), 1, wide) for epoch in range(100)]
    heard = told(*each)
    assert 60 < len(heard.announcements) < MOST_CHANNELS / (64 * 60)
    assert each[-1].id in heard.announcements
    assert each[0].id not in heard.announcements
    for seq in range(100):
        heard.add_batch(replace(ENVELOPE, seq=seq), PLAIN)
    assert len(heard.batches) == MOST_BATCHES
    assert ("node-1", 3, 99) in heard.batches


def test_no_stranger_fills_the_memory_with_batches() -> None:
    column = Column("q", (1.0,), None, (0,), None)
    wide = Batch(tuple(Group(f"s{place}", (1,), (column._replace(quantity=f"{place}"),)) for place in range(1000)))
    heard = Known()
    for number in range(3000):
        heard.add_batch(replace(ENVELOPE, node=f"{number}"), wide)
    assert 500 < len(heard.batches) <= 4 * MOST_CHANNELS / 1001
    assert ("2999", 3, 42) in heard.batches


def test_a_reference_makes_the_next_batch_smaller() -> None:
    assert len(encoded("v2-next")) < len(encoded("v2-announced"))
    assert decode_message(encoded("v2-next"), known()).content == NEXT


@given(ENVELOPES, ENVELOPES, STEPS, batches(), batches())
@settings(deadline=None, max_examples=100)
def test_a_batch_comes_back_whatever_it_refers_to(
    envelope: Envelope, other: Envelope, step_ns: int, batch: Batch, earlier: Batch
) -> None:
    envelope = replace(envelope, node=other.node, offset_ns=other.offset_ns)
    announcement = make_announcement(other, step_ns, channels_of(batch))
    heard = told(announcement)
    heard.add_batch(replace(envelope, seq=7), earlier)
    alone = sent(batch, Reference(7, earlier), envelope)
    message = by_announcement(alone, announcement)
    possible = all(names for _sensor, names in channels_of(batch))
    assert possible == (message is not None)
    for each in (alone, message or teaching(alone, announcement)):
        decoded = replace(decode_message(each, heard), announcement=None)
        assert repr(decoded) == repr(Message(envelope, batch))


@given(batches())
@settings(deadline=None, max_examples=50)
def test_a_batch_after_itself_comes_back(batch: Batch) -> None:
    heard = Known()
    heard.add_batch(replace(ENVELOPE, seq=7), batch)
    assert repr(decode_message(sent(batch, Reference(7, batch)), heard).content) == repr(batch)


@pytest.mark.parametrize("name", sorted(REFERRING))
def test_every_bit_flip_under_a_right_checksum_is_a_message_or_a_wire_error(name: str) -> None:
    message, heard = encoded(name)[:-4], known()
    for bit in range(8, 8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(WireError):
            checksum = zlib.crc32(flipped, ANNOUNCEMENT.seed)
            decode_message(bytes(flipped) + checksum.to_bytes(4, "big"), heard)


@given(st.sampled_from([1e300, float("inf"), float("nan"), -0.0]))
def test_an_earlier_number_that_is_no_decimal_is_no_reference(number: float) -> None:
    earlier = Batch((Group("s", (5,), (Column("co2_ppm", (number,), None, (0,), None),)),))
    batch = Batch((Group("s", (6, 7), (Column("co2_ppm", (400.0, 401.0), None, (0, 0), None),)),))
    heard = Known()
    heard.add_batch(replace(ENVELOPE, seq=7), earlier)
    assert decode_message(sent(batch, Reference(7, earlier)), heard).content == batch
