from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.agent.messages import Messages
from edge_agent.clock import Anchor, ClockQuality
from edge_agent.config.load import parse_config
from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.receiver.signature import signed
from edge_agent.uplink.confirmation import Ack, Ask, Seqs
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.dialects.announcer import Announcer
from edge_agent.uplink.dialects.own_topics import OwnTopics
from edge_agent.uplink.mqtt import Will
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import decode_message
from edge_agent.wire.encode import encode_batch
from edge_agent.wire.formats.base import Rewritten
from edge_agent.wire.formats.registry import rewriter

if TYPE_CHECKING:
    import pytest


def record(kind: RecordKind) -> Record:
    return Record(9, 77, 3, kind, 1, 0, ClockQuality.SYNCED, 10, b"body")


def dialect(topic: str | None = None) -> OwnTopics:
    return OwnTopics(
        "edge/n",
        encode=lambda record: record.body,
        rewrite=lambda message: Rewritten(message.upper(), "text/plain", "7", topic),
        status=lambda state, most_bytes: f"{state} {most_bytes}".encode(),
    )


def test_batches_and_tombstones_go_by_lane_and_events_apart() -> None:
    own = dialect()
    topics = [own.publication(lane, record(kind)).topic for kind in RecordKind for lane in Lane]
    assert topics == ["edge/n/live", "edge/n/backlog", "edge/n/event", "edge/n/event", "edge/n/live", "edge/n/backlog"]


def test_what_a_format_cannot_carry_goes_where_it_says() -> None:
    assert dialect("json").publication(Lane.LIVE, record(RecordKind.EVENT)).topic == "edge/n/json"


def test_a_record_is_rewritten_and_its_identity_travels_beside_it() -> None:
    said = dialect().publication(Lane.LIVE, record(RecordKind.BATCH))
    assert (said.payload, said.content_type, said.before) == (b"BODY", "text/plain", ())
    assert tuple(said.user_properties) == (("epoch", "77"), ("seq", "3"), ("n", "10"), ("v", "7"))


def test_the_status_is_retained_and_says_whether_we_are_there() -> None:
    own = dialect()
    assert own.will() == Will("edge/n/status", b"offline 268435455", retain=True, at_goodbye=False)
    room = 400 - (1 + 2 + 2 + len("edge/n/status") + 1)
    said = [notice for occasion in Occasion for notice in own.notices(occasion, 400)]
    assert [notice.payload.split()[0] for notice in said] == [b"online", b"online", b"online", b"stopped"]
    assert {(notice.topic, notice.retain) for notice in said} == {("edge/n/status", True)}
    assert all(room - 3 < int(notice.payload.split()[1]) <= room for notice in said)


def test_commands_are_neither_listened_for_nor_obeyed() -> None:
    own = dialect()
    assert own.topics == ()
    assert own.heard("edge/n/cmd", b"rebirth") == ()


def test_receivers_are_heard_and_noise_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    own = OwnTopics(
        "edge/n",
        encode=lambda record: record.body,
        rewrite=lambda message: Rewritten(message, "text/plain", "7"),
        status=lambda state, _most_bytes: state.encode(),
        receivers=True,
    )
    assert own.topics == ("edge/n/ack/+", "edge/n/ask/+")
    said = own.heard("edge/n/ack/lab", b'{"v":1,"acks":[{"epoch":7,"upto":3}]}')
    assert said == (Ack("lab", (Seqs(7, 3, ()),)),)
    assert own.heard("edge/n/ask/lab", b'{"v":1,"teach":true}') == (Ask("lab", (), teach=True),)
    for _ in range(3):
        assert own.heard("edge/n/ack/lab", b"\xff") == ()
    assert len(caplog.messages) == 1
    assert own.ignored == 3


def test_with_a_key_only_what_is_signed_by_it_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    own = OwnTopics(
        "edge/n",
        encode=lambda record: record.body,
        rewrite=lambda message: Rewritten(message, "text/plain", "7"),
        status=lambda state, _most_bytes: state.encode(),
        receivers=True,
        key="secret",
    )
    ack = b'{"v":1,"acks":[{"epoch":7,"upto":3}]}'
    assert own.heard("edge/n/ack/lab", signed("edge/n/ack/lab", ack, "secret")) == (Ack("lab", (Seqs(7, 3, ()),)),)
    ask = b'{"v":1,"teach":true}'
    assert own.heard("edge/n/ask/lab", signed("edge/n/ask/lab", ask, "secret")) == (Ask("lab", (), teach=True),)
    assert own.ignored == 0
    good = signed("edge/n/ack/lab", ack, "secret")
    forged = [
        *(ack, b"", b"{}", good[1:], good.replace(b'"upto":3', b'"upto":9'), good + b" ", good[:-70] + b'"}'),
        *(signed("edge/n/ack/lab", ack, "other"), signed("edge/n/ack/hq", ack, "secret"), signed("x", ack, "secret")),
        *(good.replace(b"}]", b'}],"hmac":""'), good.upper(), b"\xff" * 200),
    ]
    for payload in forged:
        assert own.heard("edge/n/ack/lab", payload) == ()
    assert own.heard("edge/n/ask/lab", signed("edge/n/ask/lab", b"no JSON}", "secret")) == ()
    assert own.ignored == len(forged) + 1
    assert len(caplog.messages) == 3, "each reason once"


def batch_record(rows: int) -> Record:
    times = [number * 1_000_000_007 for number in range(rows)]
    values = [float(number % 7) + number * 0.01 for number in range(rows)]
    column = Column("temperature_c", values, None, [0] * rows, None)
    body = encode_batch(Batch((Group("a", times, (column,)),)))
    return Record(9, 77, 3, RecordKind.BATCH, 1, 0, ClockQuality.SYNCED, rows, body)


def own_format() -> OwnTopics:
    config = parse_config('[gateway]\nid = "n"\n')
    messages = Messages(config, [("a", ["temperature_c"])])
    announcer = Announcer(lambda: messages.announcement(77, 1, Anchor(0, ClockQuality.SYNCED, 0)))
    return OwnTopics(
        "edge/n",
        encode=messages.record,
        rewrite=rewriter("batch"),
        status=lambda state, _most_bytes: state.encode(),
        announcer=announcer,
        divide=messages.parts,
    )


def test_a_batch_refers_to_the_announcement_unless_it_has_to_stand_alone() -> None:
    own = own_format()
    own.notices(Occasion.BIRTH, 1000)
    assert own.publication(Lane.LIVE, batch_record(5)).refers is False, "it teaches"
    own.answered(batch_record(5), taken=True)
    assert own.publication(Lane.LIVE, batch_record(5)).refers
    alone = own.publication(Lane.LIVE, batch_record(5), alone=True)
    assert not alone.refers
    assert decode_message(alone.payload).envelope.seq == 3
    own.notices(Occasion.TEACH, 1000)
    assert own.publication(Lane.LIVE, batch_record(5)).refers, "the announcement stays the same"


def test_parts_hold_all_rows_are_small_enough_and_stand_alone() -> None:
    own, whole = own_format(), batch_record(500)
    parts = own.parts(Lane.BACKLOG, whole, 300)
    assert len(parts) >= 4
    rows: list[int] = []
    for part in parts:
        assert part.topic == "edge/n/backlog"
        assert len(part.payload) <= 300
        message = decode_message(part.payload)
        assert (message.envelope.epoch, message.envelope.seq) == (77, 3)
        assert message.rows is not None
        assert dict(part.user_properties)["row"] == str(message.rows.first)
        rows += range(message.rows.first, message.rows.first + message.rows.count)
    assert rows == list(range(500))
    assert own.parts(Lane.BACKLOG, whole, 60) == (), "not even one row"
    assert own.parts(Lane.BACKLOG, record(RecordKind.EVENT), 300) == ()
    assert dialect().parts(Lane.BACKLOG, whole, 300) == ()
