from __future__ import annotations

import contextlib
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import UnknownReference, WireError
from edge_agent.reading import RecordKind
from edge_agent.wire.batch import Batch, Column, Group, Message
from edge_agent.wire.codec import Channels, Known, Reference, decode_message, encode_batch, encode_message
from tests.wire.samples import CHANNELS, ENVELOPE, FULL, KNOWN, NEXT, PLAIN, encoded
from tests.wire.strategies import batches


def sent(batch: Batch, channels: Channels | None = None, reference: Reference | None = None) -> bytes:
    body = encode_batch(batch, channels=channels, reference=reference)
    return encode_message(RecordKind.BATCH, ENVELOPE, body, named=channels is None)


def table_of(batch: Batch) -> Channels:
    sensors = tuple((group.sensor, tuple(column.quantity for column in group.columns)) for group in batch.groups)
    return Channels(ENVELOPE.node, sensors)


def test_a_table_saves_all_names_and_gives_them_back() -> None:
    by_table = sent(PLAIN, CHANNELS)
    assert decode_message(by_table, KNOWN) == Message(ENVELOPE, PLAIN)
    assert not any(name in by_table for name in (b"node-1", b"air", b"roof"))


def test_silent_sensors_and_channels_are_left_out_of_a_table() -> None:
    air, roof = PLAIN.groups
    for batch in (Batch((roof,)), Batch((replace(air, columns=air.columns[1:]), roof)), Batch(())):
        assert decode_message(sent(batch, CHANNELS), KNOWN) == Message(ENVELOPE, batch)


def test_a_batch_that_is_not_of_the_table_names_itself() -> None:
    for batch in (FULL, Batch(PLAIN.groups[::-1]), Batch(PLAIN.groups * 2)):
        body = encode_batch(batch, channels=CHANNELS)
        assert body == encode_batch(batch)


def test_another_channel_is_another_table() -> None:
    others = (
        replace(CHANNELS, node="node-2"),
        replace(CHANNELS, sensors=CHANNELS.sensors[::-1]),
        replace(CHANNELS, sensors=(("air", ("temperature_c",)), CHANNELS.sensors[1])),
    )
    assert len({CHANNELS.id, *(other.id for other in others)}) == 4


def test_an_unknown_table_and_an_unknown_batch_are_named() -> None:
    with pytest.raises(UnknownReference, match=f"{CHANNELS.id:#x}"):
        decode_message(encoded("v2-channels"))
    with pytest.raises(UnknownReference, match="seq 42"):
        decode_message(encoded("v2-next"), Known(KNOWN.channels))


def test_a_reference_makes_the_next_batch_smaller() -> None:
    assert len(encoded("v2-next")) < len(encoded("v2-channels"))
    assert decode_message(encoded("v2-next"), KNOWN).content == NEXT


@given(batches(), batches())
@settings(deadline=None, max_examples=100)
def test_a_batch_comes_back_whatever_it_refers_to(batch: Batch, earlier: Batch) -> None:
    table = table_of(batch)
    known = Known({table.id: table}, {(ENVELOPE.node, ENVELOPE.epoch, 7): earlier})
    message = sent(batch, table, Reference(7, earlier)) if table.sensors else sent(batch)
    assert repr(decode_message(message, known)) == repr(Message(ENVELOPE, batch))


@given(batches())
@settings(deadline=None, max_examples=50)
def test_a_batch_after_itself_comes_back(batch: Batch) -> None:
    known = Known({}, {(ENVELOPE.node, ENVELOPE.epoch, 7): batch})
    assert repr(decode_message(sent(batch, None, Reference(7, batch)), known).content) == repr(batch)


@pytest.mark.parametrize("name", ["v2-channels", "v2-next"])
def test_every_bit_flip_under_a_right_checksum_is_a_message_or_a_wire_error(name: str) -> None:
    message = encoded(name)[:-4]
    for bit in range(8, 8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(WireError):
            decode_message(bytes(flipped) + zlib.crc32(flipped).to_bytes(4, "big"), KNOWN)


@given(st.sampled_from([1e300, float("inf"), float("nan"), -0.0]))
def test_an_earlier_number_that_is_no_decimal_is_no_reference(number: float) -> None:
    earlier = Batch((Group("s", (5,), (Column("co2_ppm", (number,), None, (0,), None),)),))
    batch = Batch((Group("s", (6, 7), (Column("co2_ppm", (400.0, 401.0), None, (0, 0), None),)),))
    known = Known({}, {(ENVELOPE.node, ENVELOPE.epoch, 7): earlier})
    assert decode_message(sent(batch, None, Reference(7, earlier)), known).content == batch
