from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.reading import RecordKind
from edge_agent.wire.batch import Message, StatusText
from edge_agent.wire.codec import Known, Unread, decode_stream, encode_event, encode_message, learn_stream
from tests.wire.samples import ANNOUNCEMENT, ENVELOPE, EVENT, MESSAGES, PLAIN, REFERRING, encoded, known

ALL = [encoded(name) for name in MESSAGES]
MEANT = [message for _, message, _ in MESSAGES.values()]
STATUS = b'{"state": "on\xc3\xbcline", "sensors": {"air": "ok"}}'


@pytest.mark.parametrize("separator", [b"", b"\n", b"\r\n", b"\n\n"])
def test_concatenated_messages_are_told_apart(separator: bytes) -> None:
    assert list(decode_stream(separator.join(ALL), known())) == MEANT


def test_status_json_may_stand_between_messages() -> None:
    found = list(decode_stream(STATUS + ALL[0] + STATUS + STATUS + b"\n" + ALL[1]))
    assert found[0] == StatusText({"state": "onüline", "sensors": {"air": "ok"}})
    assert [type(item) for item in found] == [StatusText, Message, StatusText, StatusText, Message]


def test_hex_lines_are_understood_with_and_without_topic() -> None:
    lines = [
        ALL[0].hex(),
        "edge/node-1/live " + ALL[1].hex().upper(),
        "edge/node-1/status " + STATUS.hex(),
        "edge/node-1/status " + STATUS.decode(),
        ALL[2].hex(),
    ]
    found = list(decode_stream("\r\n".join(lines).encode() + b"\n"))
    assert [item for item in found if isinstance(item, Message)] == MEANT[:3]
    assert len(found) == 5


def test_binary_messages_may_have_their_topic_before_them() -> None:
    assert list(decode_stream(b"".join(b"edge/n/live " + one + b"\n" for one in ALL), known())) == MEANT


ALONE = [encoded(name) for name in MESSAGES if name not in REFERRING | {"v2-teaching"}]
BIRTH = b'{"state": "online", "announcement": "' + ANNOUNCEMENT.to_text().encode() + b'"}'


@pytest.mark.parametrize("separator", [b"", b"\n"])
def test_what_refers_to_nothing_known_is_passed_over_and_the_rest_is_read(separator: bytes) -> None:
    pieces = [ALONE[0], encoded("v2-announced"), encoded("v2-elsewhen"), ALONE[1]]
    first, second, third, last = decode_stream(separator.join(pieces))
    assert [each.content for each in (first, last) if isinstance(each, Message)] == [
        MESSAGES["v2-small"][1].content,
        MESSAGES["v2-full"][1].content,
    ]
    reason = (
        f"refers to announcement {ANNOUNCEMENT.id:08x} of a birth message that is not in this capture; "
        "capture edge/<node>/status too"
    )
    assert second == Unread(len(ALONE[0] + separator), reason)
    assert third == Unread(len(separator.join(pieces[:2]) + separator), reason)


def test_hex_lines_that_refer_to_nothing_known_are_passed_over() -> None:
    lines = [encoded("v2-announced").hex(), f"edge/n/live {encoded('v2-next').hex()}", encoded("v2-small").hex()]
    found = list(decode_stream("\n".join(lines).encode()))
    assert [type(item) for item in found] == [Unread, Unread, Message]


@pytest.mark.parametrize("teacher", [BIRTH, encoded("v2-teaching"), encoded("v2-teaching").hex().encode()])
def test_an_announcement_is_learnt_wherever_it_stands(teacher: bytes) -> None:
    capture = b"\n".join([encoded("v2-announced"), teacher, encoded("v2-small")])
    heard = Known()
    learn_stream(capture, heard)
    assert [type(item) is Unread for item in decode_stream(capture, heard)] == [False] * 3
    assert [type(item) is Unread for item in decode_stream(capture)] == [True, False, False]


def test_a_batch_that_others_refer_to_is_kept_while_a_capture_is_read() -> None:
    capture = BIRTH + encoded("v2-plain") + encoded("v2-next")
    assert not any(isinstance(item, Unread) for item in decode_stream(capture))
    (_birth, missing) = decode_stream(BIRTH + encoded("v2-next"))
    assert isinstance(missing, Unread)
    assert "batch with seq 42 of node-1, epoch 3" in missing.reason


def test_learning_ends_where_the_damage_begins() -> None:
    damaged = bytearray(encoded("v2-teaching"))
    damaged[-1] ^= 1
    heard = Known()
    learn_stream(bytes(damaged) + encoded("v2-teaching"), heard)
    assert not heard.announcements
    learn_stream(encoded("v2-teaching") + bytes(damaged), heard)
    assert list(heard.announcements.values()) == [ANNOUNCEMENT]
    assert PLAIN is MESSAGES["v2-teaching"][1].content


def test_what_stands_before_the_damage_is_yielded_and_its_place_is_named() -> None:
    damaged = bytearray(ALL[1])
    damaged[-1] ^= 1
    stream = decode_stream(ALL[0] + b"\n" + bytes(damaged))
    assert next(stream) == MEANT[0]
    with pytest.raises(WireError, match=rf"^byte {len(ALL[0]) + 1}: .*checksum"):
        next(stream)


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"a": NaN}',
        b"abc",
        b"0",
        b"01",
        b"edge/n/live ",
        b"edge/n/live zz",
        b'{"a":' * 9000,
        b"7b7d00",
    ],
)
def test_broken_text_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError, match=r"^byte 0: "):
        list(decode_stream(data))


def test_what_is_ours_may_look_like_what_others_read() -> None:
    looks = "air,node=n,quality=good temperature_c=1"
    status = json.dumps({"state": "online", "site": looks, "a,b=c d": "e=f,g=h i=j"}).encode()
    event = encode_message(RecordKind.EVENT, ENVELOPE, encode_event(replace(EVENT, cause=looks, subject="a,b=c d=")))
    assert [type(item) for item in decode_stream(status + event + status)] == [StatusText, Message, StatusText]


def test_nothing_is_nothing() -> None:
    assert list(decode_stream(b"\n \n")) == []


@given(st.lists(st.sampled_from([*ALL, STATUS, b"\n", b"edge/n/live ", b"0", b"\x02"]) | st.binary(max_size=9)))
def test_any_mixture_gives_items_or_a_wire_error(pieces: list[bytes]) -> None:
    with contextlib.suppress(WireError):
        items = list(decode_stream(b"".join(pieces), known()))
        assert len(items) >= sum(piece in ALL for piece in pieces), "a whole message went unseen"
