from __future__ import annotations

import contextlib
import math
import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import Truncated, UnknownVersion, WireError
from edge_agent.features import Features
from edge_agent.reading import Event, EventKind, RecordKind
from edge_agent.wire.batch import Batch, Column, Group, Message, Tombstone
from edge_agent.wire.codec import (
    MAX_MESSAGE_BYTES,
    decode_message,
    encode_batch,
    encode_event,
    encode_message,
    encode_tombstone,
)
from edge_agent.wire.cursor import varint
from tests.wire.samples import ENVELOPE, EVENT, FULL, MESSAGES, SMALL, TOMBSTONE, encoded, known
from tests.wire.strategies import ENVELOPES, EVENTS, TOMBSTONES, batches

if TYPE_CHECKING:
    from edge_agent.wire.envelope import Envelope
from edge_agent.wire.rows import objects


def sealed(message: bytes) -> bytes:
    return message + zlib.crc32(message).to_bytes(4, "big")


def packed(*fields: Any) -> bytes:
    """A well-sealed message of any fields."""
    return sealed(b"\x02" + msgpack.packb(list(fields)))


def batch_of(*groups: Any) -> bytes:
    """A batch of (sensor, extent, quantities, data)."""
    return packed(12, "n", 1, 1, 1, 0, [[list(group[:3]) for group in groups], b"".join(group[3] for group in groups)])


@given(ENVELOPES, batches())
@settings(deadline=None, max_examples=150)
def test_a_batch_comes_back(envelope: Envelope, batch: Batch) -> None:
    message = encode_message(RecordKind.BATCH, envelope, encode_batch(batch))
    assert repr(decode_message(message)) == repr(Message(envelope, batch))  # repr tells -0.0 from 0.0


@given(ENVELOPES, EVENTS)
def test_an_event_comes_back(envelope: Envelope, event: Event) -> None:
    message = encode_message(RecordKind.EVENT, envelope, encode_event(event))
    assert decode_message(message) == Message(envelope, event)


@given(ENVELOPES, TOMBSTONES)
def test_a_tombstone_comes_back(envelope: Envelope, tombstone: Tombstone) -> None:
    message = encode_message(RecordKind.TOMBSTONE, envelope, encode_tombstone(tombstone))
    assert decode_message(message) == Message(envelope, tombstone)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_samples_come_back(name: str) -> None:
    assert decode_message(encoded(name), known()) == MESSAGES[name][1]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_truncation_is_a_wire_error(name: str) -> None:
    message, heard = encoded(name), known()
    for length in range(len(message)):
        with pytest.raises(Truncated):
            decode_message(message[:length], heard)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_bit_flip_is_a_wire_error(name: str) -> None:
    message, heard = encoded(name), known()
    for bit in range(8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            decode_message(bytes(flipped), heard)


@pytest.mark.parametrize("name", ["v2-small", "v2-full", "v2-plain"])
def test_every_bit_flip_under_a_right_checksum_is_a_message_or_a_wire_error(name: str) -> None:
    message = encoded(name)[:-4]
    for bit in range(8, 8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(WireError):
            decode_message(sealed(bytes(flipped)))


@given(st.binary(max_size=300))
def test_garbage_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_message(data)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.binary(max_size=20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(st.integers(0, 2), JUNK)
def test_confused_types_are_a_wire_error(kind: int, body: Any) -> None:
    with contextlib.suppress(WireError):
        decoded = decode_message(packed(kind, "n", 1, 1, 1, 0, body))
        assert isinstance(decoded.content, (Batch, Event, Tombstone)[kind])


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("wrong", [None, True, -1, 1 << 63, 1.5, b"n", [1]])
def test_confused_envelopes_are_a_wire_error(place: int, wrong: Any) -> None:
    fields: list[Any] = [13, "n", 1, 1, 1, 0, ["time-fix", 0, "clock", "set", "why"]]
    fields[place] = wrong
    if place == 5 and wrong == -1:
        assert decode_message(packed(*fields)).envelope.offset_ns == -1
        return
    with pytest.raises(WireError):
        decode_message(packed(*fields))


def test_an_event_carries_the_kernels_reason_if_there_is_one() -> None:
    event = replace(EVENT, errno=121)
    body = encode_event(event)
    assert len(body) == len(encode_event(EVENT)) + 1
    assert decode_message(packed(13, "node-1", 3, 42, 2, ENVELOPE.offset_ns, msgpack.unpackb(body))).content == event


def test_an_alert_carries_its_severity() -> None:
    event = replace(EVENT, kind=EventKind.ALERT, severity="critical")
    body = msgpack.unpackb(encode_event(event))
    assert body[5:] == [None, "critical"]
    assert decode_message(packed(13, "node-1", 3, 42, 2, ENVELOPE.offset_ns, body)).content == event


def test_fields_that_a_newer_sender_appends_are_ignored() -> None:
    body = msgpack.unpackb(encode_batch(SMALL))
    body[0][0].append({"new": 1})
    body += [None, "newer"]
    longer = packed(12, "node-1", 3, 42, 2, ENVELOPE.offset_ns, body, None, None, {"a": b"1"})
    assert decode_message(longer) == Message(ENVELOPE, SMALL)
    event = [*msgpack.unpackb(encode_event(EVENT)), None, None, None, "newest"]
    assert decode_message(packed(13, "node-1", 3, 42, 2, ENVELOPE.offset_ns, event)).content == EVENT
    tombstone = [*msgpack.unpackb(encode_tombstone(TOMBSTONE)), None, None, "newest"]
    assert decode_message(packed(14, "node-1", 3, 42, 2, ENVELOPE.offset_ns, tombstone)).content == TOMBSTONE


def test_a_tombstone_names_the_epoch_of_what_it_covers_if_it_is_another() -> None:
    body = encode_tombstone(replace(TOMBSTONE, epoch=(1 << 53) - 1))
    assert body == encode_tombstone(TOMBSTONE).replace(b"\x97", b"\x98", 1) + bytes.fromhex("cf001fffffffffffff")
    message = encode_message(RecordKind.TOMBSTONE, ENVELOPE, body)
    assert decode_message(message).content == replace(TOMBSTONE, epoch=(1 << 53) - 1)
    (row,) = objects(decode_message(message))
    assert (row["epoch"], row["seq"], row["of_epoch"]) == (ENVELOPE.epoch, ENVELOPE.seq, (1 << 53) - 1)


def test_an_unknown_quantity_code_keeps_its_number() -> None:
    content = decode_message(batch_of(["s", 1, [200], b"\x00\x02\x00\x00\x02"])).content
    assert isinstance(content, Batch)
    assert content.groups[0].columns == (Column("quantity_200", (1.0,), None, (0,), None),)


def test_another_version_is_named() -> None:
    with pytest.raises(UnknownVersion, match="version 1"):
        decode_message(b"\x01" + encoded("v2-small")[1:])


def test_a_shared_time_column_is_sent_once() -> None:
    times = tuple(row * 1_234_567 + row % 7 for row in range(60))
    one = Group("a", times, ())
    assert len(encode_batch(Batch((one, one, one)))) < len(encode_batch(Batch((one,)))) + 20


def test_equal_raw_values_cost_nothing() -> None:
    values = tuple(20 + row / 100 for row in range(60))
    with_raws, without = (
        encode_batch(Batch((Group("a", tuple(range(60)), (Column("co2_ppm", values, raws, (0,) * 60, None),)),)))
        for raws in (values, None)
    )
    assert len(with_raws) == len(without)


@pytest.mark.parametrize(
    "group",
    [
        ["s", 65_537, [], b""],
        ["s", -1, [], b""],
        ["s", 65_536, [0] * 17, b"\x00\x00" + b"\x00\x00\x00" * 17],
        ["s", 1, [0] * 65, b"\x00\x00" + b"\x00\x00\x00" * 65],
        ["s", 1, [], b"\x00\x00\x00"],
        ["s", 1, [0], b"\x00\x00\x00"],
        ["s", 60, [], b"\x06\x00"],
        ["s", 1, 1 << 63, b"\x00\x00"],
        ["s" * 257, 0, [], b""],
    ],
)
def test_caps_and_exact_lengths_hold(group: list[Any]) -> None:
    with pytest.raises(WireError):
        decode_message(batch_of(group))


def test_too_many_groups_are_refused() -> None:
    with pytest.raises(WireError):
        decode_message(batch_of(*[["s", 0, [], b""]] * 1025))


def test_a_small_message_cannot_ask_for_much_memory() -> None:
    bomb = batch_of(*[["s", 65_536, [], b"\x00\x00"]] * 1000)
    tracemalloc.start()
    with pytest.raises(WireError, match="cells"):
        decode_message(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_message_over_the_cap_is_refused() -> None:
    with pytest.raises(WireError):
        decode_message(b"\x02" + b"\xc6\x7f\xff\xff\xff" + b"\0" * (MAX_MESSAGE_BYTES + 10))
    with pytest.raises(WireError):
        decode_message(b"\x02\x97" + b"\xc6\x00\x0f\xff\xf8" + b"\0" * (MAX_MESSAGE_BYTES + 10))
    with pytest.raises(WireError):
        encode_message(RecordKind.EVENT, ENVELOPE, b"\0" * MAX_MESSAGE_BYTES)


def test_the_encoder_refuses_what_no_decoder_takes() -> None:
    column = Column("co2_ppm", (1.0,), None, (0,), None)
    for wrong in (
        Batch((Group("s", (), ()),) * 1025),
        Batch((Group("s", (1,), (column,) * 65),)),
        Batch((Group("s", (1, 2), (column,)),)),
        Batch((Group("s" * 300, (1,), (column,)),)),
        Batch((Group("s", (1,), (Column("q", (1.0,), None, (1 << 16,), None),)),)),
        Batch((Group("s", tuple(range(65_537)), ()),)),
        Batch((Group("s", tuple(range(65_536)), ()),) * 17),
    ):
        with pytest.raises(WireError):
            encode_batch(wrong)


def test_long_causes_are_cut_at_a_character() -> None:
    event = Event(EVENT.kind, 0, "s", "lost", "ß" * 400)
    content = decode_message(encode_message(RecordKind.EVENT, ENVELOPE, encode_event(event))).content
    assert isinstance(content, Event)
    assert content.cause.endswith("ß…")
    assert 250 < len(content.cause.encode()) <= 256


def test_features_beyond_float32_stay_finite() -> None:
    features = Features(1, 1e300, 0.0, -1e300, 1e300, 0.0)
    batch = Batch((Group("s", (1,), (Column("q", (1.0,), None, (0,), features),)),))
    content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, encode_batch(batch))).content
    assert isinstance(content, Batch)
    decoded = content.groups[0].columns[0].features
    assert decoded is not None
    assert 3.4e38 < decoded.maximum < 3.5e38


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(WireError, match="follow the end"):
        decode_message(encoded("v2-small") + b"\n")


def test_a_large_message_comes_back() -> None:
    values = tuple(math.sin(row * row) for row in range(10_000))
    batch = Batch((Group("s", tuple(range(10_000)), (Column("q", values, None, (0,) * 10_000, None),)),))
    message = encode_message(RecordKind.BATCH, ENVELOPE, encode_batch(batch))
    assert len(message) > 80_000
    assert decode_message(message).content == batch
    assert batch != FULL


@given(st.lists(st.floats(), min_size=1, max_size=60))
@settings(deadline=None)
def test_no_column_of_doubles_takes_five_bytes_more_than_the_doubles(values: list[float]) -> None:
    rows = tuple(range(len(values)))
    empty, full = (
        len(encode_batch(Batch((Group("s", rows, columns),))))
        for columns in ((), (Column("co2_ppm", tuple(values), None, (0,) * len(values), None),))
    )
    assert full - empty <= 8 * len(values) + 5


def test_many_cells_that_cost_no_bit_take_little_memory() -> None:
    cells, raws, values = b"\x00\x00" + varint(65_536), b"\x00\x02", b"\xc0\x80"
    bomb = batch_of(["s", 65_536, [0], b"\x00\x02" + b"\x50" + cells + raws + values])
    assert len(bomb) < 50
    tracemalloc.start()
    content = decode_message(bomb).content
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(content, Batch)
    assert peak < 300 * 65_536


@pytest.mark.parametrize("rows", [1, 2, 3, 8192, 9000])
def test_values_that_follow_come_back_however_many_they_are(rows: int) -> None:
    """So many that values and raw values are encoded apart, too."""
    raws = [round(20 + row % 7 / 100, 2) for row in range(rows)]
    values = [round(raw * 0.9 + 2, 2) for raw in raws]
    batch = Batch((Group("air", tuple(range(rows)), (Column("temperature_c", values, raws, [0] * rows, None),)),))
    message = encode_message(RecordKind.BATCH, ENVELOPE, encode_batch(batch))
    content = decode_message(message).content
    assert isinstance(content, Batch)
    column = content.groups[0].columns[0]
    assert (list(column.values), list(column.raws or ())) == (values, raws)
