"""Bytes of any origin: the receiver goes on, counts them, confirms nothing, and stays small."""

from __future__ import annotations

import json
import random
import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.reading import RecordKind
from edge_agent.receiver import inbound as inbound_module
from edge_agent.receiver.arrival import Kept, Refused
from edge_agent.receiver.inbound import MOST_KEPT, MOST_KEPT_BYTES, Inbound
from edge_agent.receiver.sinks import books, look
from edge_agent.receiver.status import parse_status
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import encode_batch, encode_message
from edge_agent.wire.limits import MAX_MESSAGE_BYTES
from tests.receiver.gateway import Bench, Gateway

if TYPE_CHECKING:
    from edge_agent.receiver.arrival import Arrival

G = Gateway()


def sealed(octets: bytes) -> bytes:
    return octets + zlib.crc32(octets).to_bytes(4)


def wrong_checksum(message: bytes) -> bytes:
    return message[:-1] + bytes((message[-1] ^ 1,))


BOMBS = {
    "empty": b"",
    "another version": b"\x03" + G.batch(1)[1:],
    "truncated": G.batch(1)[:20],
    "wrong checksum": wrong_checksum(G.batch(1)),
    "too large": b"\x02" + b"\xc6" + (MAX_MESSAGE_BYTES).to_bytes(4) + bytes(MAX_MESSAGE_BYTES),
    "deep": sealed(b"\x02" + b"\x91" * 500_000),
    "wide": sealed(b"\x02\xdd\xff\xff\xff\xff"),
    "long text": sealed(b"\x02\xdb\x7f\xff\xff\xff"),
    "rows without end": sealed(b"\x02" + msgpack.packb([0, "n", 77, 1, 1, 0, [[["a", 65_536, 31]] * 1024, b""]])),
    "a reference": sealed(b"\x02" + msgpack.packb([0, "n", 77, 1, 1, 0, [[], b"", 5]])),
    "no UTF-8": sealed(b"\x02" + msgpack.packb([0, b"n", 77, 1, 1, 0, [[], b""]]).replace(b"\xc4\x01n", b"\xa1\xff")),
    "JSON": b'{"kind": "batch"}',
}


REASONS = {
    "another version": Refused.UNKNOWN_VERSION,
    "JSON": Refused.UNKNOWN_VERSION,
    "too large": Refused.TOO_LARGE,
    "a reference": Refused.REFERS,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_counted_and_disarmed(bench: Bench, name: str) -> None:
    tracemalloc.start()
    try:
        bench.take(BOMBS[name])
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20
    assert bench.receiver.total.refused == {REASONS.get(name, Refused.DAMAGED): 1}
    assert bench.link.acknowledged == [1], "the broker must not send it for ever"
    bench.wait(5)
    assert bench.link.published == []
    bench.take(G.batch(1))
    assert len(bench.identities()) == 9


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: sealed(b"\x02" + tail)))
def test_any_bytes_are_an_arrival_and_no_error(octets: bytes) -> None:
    for lane in ("live", "event", "status", "nonsense"):
        for arrival in Inbound().take(f"edge/n/{lane}", octets):
            assert isinstance(arrival.content, Refused | Kept)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1 << 30), st.sampled_from([G.batch(1), G.announced(1), G.event(1), G.tombstone(2, 1, 1)]))
def test_damage_is_never_stored(seed: int, message: bytes) -> None:
    rng = random.Random(seed)
    octets = bytearray(message)
    octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
    known = [("edge/n", G.announcement().packed)]
    for arrival in Inbound(known).take("edge/n/live", bytes(octets)):
        assert isinstance(arrival.content, Refused | Kept)


STATUSES = [
    b"{",
    b"[]",
    b"null",
    b'{"node": 7, "state": "online"}',
    b'{"node": "n"}',
    b'{"node": "\\ud800", "state": "online"}',
    b'{"node": "n", "state": "online", "epoch": 1.5}',
    b'{"node": "n", "state": "online", "epoch": -1}',
    b'{"node": "n", "state": "online", "epoch": true}',
    b'{"node": "n", "state": "online", "epoch": 9223372036854775808}',
    b'{"node": "n", "state": "online", "epochs": {}}',
    b'{"node": "n", "state": "online", "epochs": [7]}',
    b'{"node": "n", "state": "online", "epochs": [{"epoch": 1, "boot": 1}]}',
    b'{"node": "n", "state": "online", "volatile": {"upto": "x"}}',
    b'{"node": "' + b"n" * 257 + b'", "state": "online"}',
    b'{"node": "n", "state": "online", "x": ' + b"[" * 100_000,
    b'{"node": "n", "state": "online", "x": ' + b"9" * 100_000 + b"}",
    b'{"node": "n", "state": "online", "x": "' + b"y" * (1 << 19) + b'"}',
    json.dumps({"node": "n", "state": "online", "epochs": [{"epoch": 1, "boot": 1, "upto": 1}] * 4097}).encode(),
]


@pytest.mark.parametrize("payload", STATUSES, ids=lambda payload: payload[:50].decode(errors="replace"))
def test_what_is_no_status_is_refused(bench: Bench, payload: bytes) -> None:
    with pytest.raises(WireError):
        parse_status(payload)
    bench.take(payload, lane="status")
    assert bench.receiver.total.refused == {Refused.NO_STATUS: 1}


def test_a_broken_announcement_spoils_no_status() -> None:
    status = parse_status(G.status((77, 1), announcement="no base64!"))
    assert (status.node, status.announcement) == ("n", None)


def test_an_empty_status_clears_and_says_nothing(bench: Bench) -> None:
    bench.take(b"", lane="status")
    assert bench.receiver.total.refused.total() == 0


def test_what_waits_for_an_announcement_is_bounded(bench: Bench) -> None:
    bench.take(*(G.announced(seq) for seq in range(1, MOST_KEPT + 11)))
    assert bench.rows("SELECT count(*) FROM kept") == [(MOST_KEPT,)]
    assert bench.receiver.total.refused == {Refused.NO_ANNOUNCEMENT: 10}
    bench.take(G.teaching(100))
    assert len(bench.identities()) == 9 * (MOST_KEPT + 1)


def large(size: int, announcement: int = 1) -> bytes:
    """A message of that size which goes by an announcement that never comes."""
    packed: bytes = msgpack.packb(announcement.to_bytes(4) + bytes(size))
    return b"\x02" + packed + bytes(4)


def kept_bytes(arrivals: list[Arrival]) -> int:
    alive: dict[int, int] = {}
    for arrival in arrivals:
        if isinstance(arrival.content, Kept):
            alive[arrival.content.number] = len(arrival.content.payload)
        if arrival.kept is not None:
            del alive[arrival.kept]
    return sum(alive.values())


def test_what_waits_is_bounded_in_bytes_of_a_gateway_and_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound_module, "MOST_KEPT_BYTES_ALL", 4 * MOST_KEPT_BYTES)
    inbound = Inbound()
    arrivals: list[Arrival] = []
    for _ in range(8):
        arrivals += inbound.take("edge/n/live", large(MOST_KEPT_BYTES // 4))
        assert kept_bytes(arrivals) <= MOST_KEPT_BYTES
    for number in range(50):
        arrivals += inbound.take(f"edge/n{number}/live", large(MOST_KEPT_BYTES // 2))
        assert kept_bytes(arrivals) <= 4 * MOST_KEPT_BYTES


def test_announcements_are_bounded(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    for boot in range(20):
        bench.take(
            replace(G, boot=boot).status(announcement=replace(G, boot=boot).announcement().to_text()), lane="status"
        )
    assert bench.rows("SELECT count(*) FROM announcement") == [(inbound_module.MOST_ANNOUNCEMENTS,)]
    monkeypatch.setattr(inbound_module, "MOST_CHANNELS", 40)
    inbound = Inbound()
    for number in range(30):
        list(inbound.take(f"edge/{number}/live", G.teaching(1)))
    assert inbound._channels <= 40
    assert len(inbound._announcements) <= 10


def test_nodes_and_epochs_are_bounded(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(books, "MOST_NODES", 3)
    monkeypatch.setattr(books, "MOST_EPOCHS", 4)
    for number in range(6):
        bench.take(replace(G, node=f"n{number}").batch(1))
        bench.take(replace(G, epoch=number).status((number, 0)), lane="status")
        bench.take(replace(G, node="n0", epoch=number).batch(1))
    assert bench.rows("SELECT count(*) FROM node") == [(3,)]
    assert bench.rows("SELECT max(total) FROM (SELECT count(*) AS total FROM epoch GROUP BY node)") == [(4,)]


def test_a_message_that_sqlite_does_not_take_is_refused_and_the_others_are_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "MOST_CHANNELS", 3)
    other = Gateway(epoch=78)
    bench.put(G.batch(1))
    bench.put(encode_other_sensor(other))
    bench.put(G.batch(2))
    bench.wait(0.3)
    assert bench.receiver.total.refused == {Refused.NOT_STORABLE: 1}
    assert len(bench.identities()) == 18
    bench.wait(3)
    assert bench.ack(78) is None


def encode_other_sensor(gateway: Gateway) -> bytes:
    body = encode_batch(Batch((Group("other", (1,), (Column("co2_ppm", (400.0,), None, (0,), None),)),)))
    return encode_message(RecordKind.BATCH, gateway.envelope(1), body)


def test_unknown_senders_make_no_rows(bench: Bench) -> None:
    for number in range(50):
        bench.take(b"\x02garbage", prefix=f"edge/{number}")
    assert bench.rows("SELECT node, reason, messages FROM refused") == [(0, "damaged", 50)]
    said: Any = look.refused_of_nobody(bench.sink.db)
    assert said == [("damaged", 50)]


def test_more_than_can_be_stored_ends_the_connection_and_comes_again(bench: Bench) -> None:
    link = bench.link
    for seq in range(1, 1100):
        bench.put(G.batch(seq))
    bench.receiver.step()
    assert link.is_closed
    assert bench.receiver.total.refused[Refused.OVERFLOW] == 1099 - 1024
    bench.connect()
    bench.take(*(G.batch(seq) for seq in range(1000, 1100)))
    assert len(bench.identities()) == 1099 * 9
