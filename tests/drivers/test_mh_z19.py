from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.mh_z19 import REQUEST, WARM_UP_POLLS, MhZ19, MhZ19Options, checksum, decode
from edge_agent.errors import BadReply, BusTimeout, ChecksumMismatch, DriverError
from tests.drivers.lines import TextPort

if TYPE_CHECKING:
    from pathlib import Path


def frame(ppm: int, board: int = 60) -> bytes:
    body = b"\xff\x86" + ppm.to_bytes(2) + bytes((board, 0, 0, 0))
    return body + bytes((checksum(body),))


def sensor(*ppm: int, options: MhZ19Options | None = None) -> tuple[MhZ19, TextPort]:
    port = TextPort(answers=[frame(each) for each in ppm])
    return MhZ19(port, 0, options or MhZ19Options()), port


def test_the_request_carries_its_checksum() -> None:
    assert REQUEST.hex() == "ff0186000000000079"
    assert checksum(REQUEST) == 0x79


def test_every_shared_frame_decodes_to_its_values(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/mhz19.json").read_text())["vectors"]
    for row in rows:
        assert decode(bytes.fromhex(row["frame"])) == (row["co2_ppm"], row["temperature_c"])
    assert len(rows) > 20


def test_a_poll_is_one_question() -> None:
    co2, port = sensor(700, 701)
    assert list(co2.probe()) == []
    assert co2.quantities == ("co2_ppm",)
    assert co2.trigger() == 0
    assert co2.collect() == (701.0,)
    assert port.requests == [REQUEST] * 2


def test_the_temperature_of_the_board_is_given_to_who_wants_it() -> None:
    co2, _ = sensor(700, options=MhZ19Options(board_temperature=True))
    assert co2.quantities == ("co2_ppm", "temperature_c")
    assert co2.collect() == (700.0, 20.0)


@pytest.mark.parametrize("ppm", [400, 410, 500, 5000])
def test_round_numbers_are_no_values_until_the_first_other_one(ppm: int) -> None:
    co2, _ = sensor(ppm, ppm, ppm, 655, ppm)
    list(co2.probe())
    assert [co2.collect() for _ in range(4)] == [(None,), (None,), (655.0,), (float(ppm),)]


def test_air_that_stays_at_a_round_number_is_believed_after_the_longest_warm_up() -> None:
    co2, _ = sensor(*[400] * (WARM_UP_POLLS + 2))
    list(co2.probe())
    values = [co2.collect() for _ in range(WARM_UP_POLLS + 1)]
    assert values == [(None,)] * WARM_UP_POLLS + [(400.0,)]


def test_zeros_are_no_measurement() -> None:
    assert decode(frame(0, 0)) == (None, None)


def test_every_flipped_bit_of_a_reply_is_noticed() -> None:
    whole = frame(1234, 61)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DriverError):
            decode(bytes(damaged))


def test_a_damaged_reply_carries_its_evidence() -> None:
    damaged = frame(1234)[:-1] + b"\x00"
    with pytest.raises(ChecksumMismatch) as caught:
        decode(damaged)
    assert (caught.value.raw, caught.value.received) == (damaged, 0)


@pytest.mark.parametrize(
    ("received", "sentence"),
    [(b"\x00\xff\x99", "noise"), (frame(700)[:5], "broke off"), (b"\x42\x4d\x00\x1c", "another sensor")],
)
def test_what_is_no_reply_of_it_is_told(received: bytes, sentence: str) -> None:
    with pytest.raises(BadReply, match=sentence):
        decode(received)


def test_silence_tells_about_the_wiring() -> None:
    with pytest.raises(BusTimeout, match="RX and TX"):
        MhZ19(TextPort(answers=[b""]), 0, MhZ19Options()).collect()


@given(st.binary(max_size=20))
def test_any_bytes_give_numbers_of_the_range_or_an_error_of_ours(received: bytes) -> None:
    try:
        ppm, board_c = decode(received)
    except DriverError:
        return
    assert ppm is None or 0 < ppm <= 0xFFFF
    assert board_c is None or -40 < board_c <= 215


@given(st.integers(1, 0xFFFF), st.integers(1, 255))
def test_any_intact_frame_is_read(ppm: int, board: int) -> None:
    assert decode(frame(ppm, board)) == (ppm, board - 40)
