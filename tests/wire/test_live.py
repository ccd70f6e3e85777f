from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.wire.batch import Message, StatusText
from edge_agent.wire.codec import Known, LiveStream, Unread, decode_stream, learn_stream
from edge_agent.wire.formats.registry import rewriter
from edge_agent.wire.live import MOST_ANNOUNCEMENTS, MOST_KEPT, MOST_KEPT_BYTES
from tests.wire.samples import ANNOUNCEMENT, MESSAGES, encoded

STATUS = b'{"state": "on\xc3\xbcline", "announcement": "' + ANNOUNCEMENT.to_text().encode() + b'"}'
FORMS = {
    "binary": lambda payload: payload,
    "with topic": lambda payload: b"edge/n/live " + payload,
    "line": lambda payload: payload + b"\n",
    "hex": lambda payload: payload.hex().encode() + b"\n",
    "hex with topic": lambda payload: b"edge/n/live \t" + payload.hex().upper().encode() + b"\r\n",
}
ALONE = [encoded(name) for name in ("v2-full", "v2-event", "v2-tombstone", "v2-extras")]
OTHERS = [*ALONE, STATUS, encoded("v2-elsewhen"), rewriter("json")(encoded("v2-event")).payload]
DEBRIS = [
    *(rewriter(form)(encoded("v2-plain")).payload[:400] for form in ("influx", "senml")),
    b"spBv1.0/growers/NDATA/node-1 \x08\x01",
    b"[ \n {",
    b"edge/n/live [\n{",
    b"edge/n/live ",
    b'{"a": NaN}',
    b'{"a": tru',
    b"{" * 3000,
    b"abc",
    encoded("v2-full")[:-1] + b"!",
    encoded("v2-full")[:40].hex().encode() + b"\n",
    b"\x01",
]


def captures(debris: list[bytes]) -> st.SearchStrategy[bytes]:
    """Messages in any order and form, the batch that another refers to before that, and it may end in debris."""
    form = st.sampled_from(list(FORMS.values()))
    pair = st.tuples(form, form).map(lambda pair: [pair[0](encoded("v2-announced")), pair[1](encoded("v2-next"))])
    other = st.tuples(form, st.sampled_from(OTHERS)).map(lambda both: [both[0](both[1])])
    pieces = st.lists(pair | other, max_size=8).map(lambda lists: b"".join(b"".join(each) for each in lists))
    return st.tuples(pieces, st.sampled_from([b"", *debris])).map(b"".join)


def cut(capture: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(capture), *(place % (len(capture) + 1) for place in places)})
    return [capture[start:end] for start, end in pairwise(bounds)]


def read(pieces: list[bytes]) -> tuple[list[Message | StatusText | Unread], str]:
    """What comes of a stream, and how it ends."""
    live = LiveStream()
    items: list[Message | StatusText | Unread] = []
    try:
        for piece in pieces:
            items += live.feed(piece)
        items += live.feed(b"", more=False)
    except WireError as error:
        return [*items, *live.give_up()], str(error)
    return items, ""


def in_any_order(items: list[Message | StatusText | Unread]) -> list[str]:
    return sorted(map(repr, items))


CUTS = st.lists(st.integers(0, 1 << 30), max_size=12)


@given(captures(DEBRIS), CUTS)
def test_any_cutting_gives_what_the_whole_gives(capture: bytes, places: list[int]) -> None:
    whole = Known()
    learn_stream(capture, whole)
    items: list[Message | StatusText | Unread] = []
    end = ""
    try:
        items += decode_stream(capture, whole)
    except WireError as error:
        end = str(error)
    found, found_end = read(cut(capture, places))
    assert found_end == end
    assert in_any_order(found) == in_any_order(items)


@given(captures(DEBRIS))
def test_byte_by_byte_gives_the_same_in_the_same_order(capture: bytes) -> None:
    assert read([bytes((octet,)) for octet in capture[:700]]) == read([capture[:700]])


@given(st.lists(st.binary(max_size=60) | st.sampled_from([*OTHERS, b"\n", b"edge/n/live "]), max_size=6), CUTS)
def test_whatever_the_bytes_are_cutting_changes_nothing(pieces: list[bytes], places: list[int]) -> None:
    capture = b"".join(pieces)
    assert read(cut(capture, places)) == read([capture])


@pytest.mark.parametrize("payload", [*ALONE, STATUS])
@pytest.mark.parametrize("form", ["binary", "with topic", "hex"])
def test_a_message_is_yielded_with_its_last_byte(payload: bytes, form: str) -> None:
    live = LiveStream()
    octets = FORMS[form](payload)
    assert list(live.feed(octets[:-1])) == []
    assert len(list(live.feed(octets[-1:]))) == 1


@pytest.mark.parametrize("teacher", [STATUS, encoded("v2-teaching")])
def test_what_came_before_its_announcement_follows_it_in_order(teacher: bytes) -> None:
    live = LiveStream()
    assert not list(live.feed(encoded("v2-announced") + encoded("v2-next")))
    assert [type(item) for item in live.feed(encoded("v2-event"))] == [Message]
    _taught, first, second = live.feed(teacher)
    assert (first, second) == (MESSAGES["v2-announced"][1], MESSAGES["v2-next"][1])


def test_what_waits_in_vain_is_told_at_the_end() -> None:
    live = LiveStream()
    assert not list(live.feed(encoded("v2-announced")))
    (unread,) = live.feed(b"", more=False)
    assert isinstance(unread, Unread)
    assert (unread.at, f"{ANNOUNCEMENT.id:08x}" in unread.reason) == (0, True)


def test_a_batch_that_was_never_there_is_not_waited_for() -> None:
    live = LiveStream()
    _status, unread = live.feed(STATUS + encoded("v2-next"))
    assert isinstance(unread, Unread)
    assert unread.at == len(STATUS)


def test_of_too_many_that_wait_the_oldest_is_given_up() -> None:
    live = LiveStream()
    message = encoded("v2-announced")
    assert not list(live.feed(message * MOST_KEPT))
    assert [item.at for item in live.feed(message) if isinstance(item, Unread)] == [0]
    assert len(list(live.feed(STATUS))) == 1 + MOST_KEPT


def stranger(number: int, size: int = 0) -> bytes:
    """A batch by an announcement that nobody made."""
    content = number.to_bytes(4, "big") + bytes(size)
    return b"\x02\xc6" + len(content).to_bytes(4, "big") + content + bytes(4)


def test_large_ones_that_wait_are_kept_up_to_a_size() -> None:
    live = LiveStream()
    large = stranger(7, 1_000_000)
    fit = MOST_KEPT_BYTES // len(large)
    assert not list(live.feed(large * fit))
    assert [item.at for item in live.feed(large) if isinstance(item, Unread)] == [0]


def test_of_too_many_announcements_the_one_waited_for_longest_is_given_up() -> None:
    live = LiveStream()
    assert not list(live.feed(b"".join(map(stranger, range(MOST_ANNOUNCEMENTS)))))
    (unread,) = live.feed(stranger(99))
    assert isinstance(unread, Unread)
    assert "00000000" in unread.reason


def test_damage_that_only_its_announcement_brings_to_light_is_told_with_its_place() -> None:
    live = LiveStream()
    damaged = bytearray(encoded("v2-announced"))
    damaged[-1] ^= 1
    assert not list(live.feed(bytes(damaged)))
    with pytest.raises(WireError, match=r"^byte 0: .*checksum"):
        list(live.feed(STATUS))


def test_damage_names_its_place_in_all_that_came() -> None:
    live = LiveStream()
    list(live.feed(encoded("v2-full") + b"\n"))
    with pytest.raises(WireError, match=rf"^byte {len(encoded('v2-full')) + 1}: "):
        list(live.feed(b"\x07\n"))


def test_text_that_is_nobodys_is_refused_when_its_line_ends() -> None:
    live = LiveStream()
    assert not list(live.feed(b"hello"))
    with contextlib.suppress(WireError):
        list(live.feed(b"\n"))
        pytest.fail("was taken for a message")


def test_a_json_object_that_is_broken_is_refused_without_waiting_for_its_end() -> None:
    with pytest.raises(WireError, match="not whole"):
        list(LiveStream().feed(b'{"a": nothing that JSON knows'))
