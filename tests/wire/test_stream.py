from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.wire.batch import Message, StatusText
from edge_agent.wire.codec import decode_stream
from tests.wire.samples import KNOWN, MESSAGES, encoded

ALL = [encoded(name) for name in MESSAGES]
MEANT = [message for _, message, _ in MESSAGES.values()]
STATUS = b'{"state": "on\xc3\xbcline", "sensors": {"air": "ok"}}'


@pytest.mark.parametrize("separator", [b"", b"\n", b"\r\n", b"\n\n"])
def test_concatenated_messages_are_told_apart(separator: bytes) -> None:
    assert list(decode_stream(separator.join(ALL), KNOWN)) == MEANT


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
    assert list(decode_stream(b"".join(b"edge/n/live " + one + b"\n" for one in ALL), KNOWN)) == MEANT


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


def test_nothing_is_nothing() -> None:
    assert list(decode_stream(b"\n \n")) == []


@given(st.lists(st.sampled_from([*ALL, STATUS, b"\n", b"edge/n/live ", b"0", b"\x02"]) | st.binary(max_size=9)))
def test_any_mixture_gives_items_or_a_wire_error(pieces: list[bytes]) -> None:
    with contextlib.suppress(WireError):
        items = list(decode_stream(b"".join(pieces), KNOWN))
        assert len(items) >= sum(piece in ALL for piece in pieces), "a whole message went unseen"
