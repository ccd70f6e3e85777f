from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.clock import ClockQuality
from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.uplink.confirmation import Ack, Ask, Seqs
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.dialects.own_topics import OwnTopics
from edge_agent.uplink.mqtt import Will
from edge_agent.wire.formats.base import Rewritten

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
    assert [notice.payload.split()[0] for notice in said] == [b"online", b"online", b"stopped"]
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
