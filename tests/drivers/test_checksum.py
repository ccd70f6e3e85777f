from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.checksum import crc8_dallas, crc8_sensirion, crc16_modbus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("data", "crc"), [("beef", 0x92), ("0000", 0x81)])
def test_sensirion_checksum_gives_the_published_answers(data: str, crc: int) -> None:
    assert crc8_sensirion(bytes.fromhex(data)) == crc


@pytest.mark.parametrize(
    ("data", "crc"),
    [("021cb801000000", 0xA2), ("4b014b467fff0510", 0xE1), ("50054b467fff0c10", 0x1C), ("00" * 8, 0)],
)
def test_dallas_checksum_gives_the_published_answers(data: str, crc: int) -> None:
    assert crc8_dallas(bytes.fromhex(data)) == crc


@pytest.mark.parametrize(
    ("data", "wire"), [("010400010002", "200b"), ("01030000000a", "c5cd"), (b"123456789".hex(), "374b")]
)
def test_modbus_checksum_gives_the_published_answers(data: str, wire: str) -> None:
    assert crc16_modbus(bytes.fromhex(data)).to_bytes(2, "little").hex() == wire


def test_checksums_give_every_shared_answer(shared_dir: Path) -> None:
    known = json.loads((shared_dir / "data/vectors/crc_and_modbus.json").read_text())["known_answers"]
    for row in known["sensirion_crc8"]:
        assert crc8_sensirion(bytes.fromhex(row["data"])) == int(row["crc"], 16)
    for row in known["dallas_crc8"]:
        assert crc8_dallas(bytes.fromhex(row["data"])) == int(row["crc"], 16)
    for row in known["modbus_crc16"]:
        assert crc16_modbus(bytes.fromhex(row["frame"])).to_bytes(2, "little").hex() == row["wire"]


@given(st.binary(min_size=1, max_size=16), st.integers(0, 127))
def test_one_flipped_bit_is_always_seen(data: bytes, bit: int) -> None:
    place = bit % (8 * len(data))
    flipped = bytearray(data)
    flipped[place // 8] ^= 1 << place % 8
    for checksum in (crc8_sensirion, crc8_dallas, crc16_modbus):
        assert checksum(bytes(flipped)) != checksum(data)
