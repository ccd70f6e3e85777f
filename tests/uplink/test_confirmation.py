"""Messages of receivers, whoever wrote them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import WireError
from edge_agent.uplink.confirmation import MOST_BYTES, Ack, Ask, Seqs, parse_ack, parse_ask

LARGEST = (1 << 53) - 1


def test_an_ack_names_what_is_stored_by_epoch() -> None:
    said = b'{"v":1,"acks":[{"epoch":7,"upto":40,"ranges":[[43,50],[60,60]]},{"epoch":9,"upto":3}],"new":[1]}'
    ack = parse_ack("lab", said)
    assert ack == Ack("lab", (Seqs(7, 40, ((43, 50), (60, 60))), Seqs(9, 3, ())))
    assert [seq for seq in range(1, 70) if seq in ack.seqs[0]] == [*range(1, 41), *range(43, 51), 60]


def test_an_ask_names_what_is_missing_and_whether_to_announce_again() -> None:
    assert parse_ask("lab", b'{"v":1,"missing":[{"epoch":7,"ranges":[[41,42]]}],"teach":true}') == Ask(
        "lab", (Seqs(7, 0, ((41, 42),)),), teach=True
    )
    assert parse_ask("lab", b'{"v":1}') == Ask("lab", (), teach=False)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=20), st.integers(0, 20))
def test_ranges_in_any_order_and_with_overlaps_mean_the_same(starts: list[tuple[int, int]], upto: int) -> None:
    ranges = [(first, first + more) for first, more in starts]
    said = json.dumps({"v": 1, "acks": [{"epoch": 1, "upto": upto, "ranges": ranges}]}).encode()
    (seqs,) = parse_ack("lab", said).seqs
    for seq in range(1, 80):
        assert (seq in seqs) == (seq <= upto or any(first <= seq <= last for first, last in ranges))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"{}",
        b'{"v":2}',
        b'{"v":true}',
        b'{"v":1.0}',
        b'{"v":1,"acks":{}}',
        b'{"v":1,"acks":[7]}',
        b'{"v":1,"acks":[{"upto":1}]}',
        b'{"v":1,"acks":[{"epoch":true,"upto":1}]}',
        b'{"v":1,"acks":[{"epoch":-1,"upto":1}]}',
        b'{"v":1,"acks":[{"epoch":1,"upto":1.5}]}',
        b'{"v":1,"acks":[{"epoch":1,"upto":NaN}]}',
        b'{"v":1,"acks":[{"epoch":1,"upto":%d}]}' % (LARGEST + 1),
        b'{"v":1,"acks":[{"epoch":1,"upto":%s}]}' % (b"9" * 5000),
        b'{"v":1,"acks":[{"epoch":1,"ranges":[[2,1]]}]}',
        b'{"v":1,"acks":[{"epoch":1,"ranges":[[1]]}]}',
        b'{"v":1,"acks":[{"epoch":1,"ranges":["12"]}]}',
        b'{"v":1,"acks":[{"epoch":1,"ranges":7}]}',
        b'{"v":1,"acks":[{"epoch":1,"upto":1},{"epoch":1,"upto":2}]}',
        b"[" * 16_000,
        b'{"v":1,"acks":[]' + b" " * MOST_BYTES + b"}",
    ],
)
def test_what_is_no_ack_is_an_error_and_nothing_else(said: bytes) -> None:
    with pytest.raises(WireError):
        parse_ack("lab", said)


def test_a_message_of_the_largest_size_is_read() -> None:
    said = b'{"v":1,"acks":[{"epoch":%d,"upto":%d}]' % (LARGEST, LARGEST)
    said += b" " * (MOST_BYTES - len(said) - 1) + b"}"
    assert parse_ack("lab", said).seqs == (Seqs(LARGEST, LARGEST, ()),)
    with pytest.raises(WireError, match="at most"):
        parse_ack("lab", said + b" ")


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, "with space", "é", "a\n"])
def test_a_receiver_has_a_plain_name(name: str) -> None:
    with pytest.raises(WireError, match="name of a receiver"):
        parse_ack(name, b'{"v":1}')


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_no_bytes_do_more_than_raise_an_error(said: bytes) -> None:
    for parse in (parse_ack, parse_ask):
        try:
            parse("lab", said)
        except WireError:
            continue


@pytest.mark.parametrize("said", [b'{"v":1,"teach":1}', b'{"v":1,"missing":[{"ranges":[]}]}', b'{"v":1,"missing":1}'])
def test_what_is_no_ask_is_an_error(said: bytes) -> None:
    with pytest.raises(WireError):
        parse_ask("lab", said)
