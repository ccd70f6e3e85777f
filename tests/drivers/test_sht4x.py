from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.checksum import crc8_sensirion
from edge_agent.drivers.sht4x import Sht4x, Sht4xOptions, decode, recognise
from edge_agent.errors import BadReply, ChecksumMismatch, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

REPLY = bytes.fromhex("63890b8a5d7e")
SERIAL = b"\xbe\xef\x92\x00\x00\x81"
STATUS = b"\x80\x10\xe1"


def word(value: int) -> bytes:
    data = value.to_bytes(2)
    return data + bytes((crc8_sensirion(data),))


def test_register_bytes_become_degrees_and_percent() -> None:
    assert decode(REPLY) == pytest.approx((23.04264896620127, 61.56122682536049))


def test_every_shared_row_agrees_with_two_other_drivers(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/sht4x.json").read_text())["vectors"]
    for row in rows:
        temperature, humidity = decode(bytes.fromhex(row["raw_hex"]))
        for peer in row["peers"].values():
            assert temperature == (None if row["adc"]["t"] in {0, 0xFFFF} else pytest.approx(peer["t"], abs=1e-9))
            cropped = min(100.0, max(0.0, peer["h"]))
            assert humidity == (None if row["adc"]["h"] in {0, 0xFFFF} else pytest.approx(cropped, abs=1e-9))
    assert len(rows) > 50


def test_humidity_beyond_the_ends_of_the_scale_is_cropped_and_the_ends_are_no_value() -> None:
    humidity = [decode(word(0x6000) + word(raw))[1] for raw in (0x0000, 0x0001, 0x0C49, 0xD916, 0xFFFE, 0xFFFF)]
    assert humidity == [None, 0.0, pytest.approx(0.0, abs=0.01), pytest.approx(100.0, abs=0.01), 100.0, None]
    assert [decode(word(raw) + REPLY[3:])[0] for raw in (0x0000, 0xFFFF)] == [None, None]


@given(st.binary(max_size=9))
def test_any_bytes_give_values_or_an_error_of_ours(reply: bytes) -> None:
    try:
        temperature, humidity = decode(reply)
    except (BadReply, ChecksumMismatch):
        return
    assert temperature is None or -45.0 < temperature < 130.0
    assert humidity is None or 0.0 <= humidity <= 100.0


def test_probe_reads_the_serial_number_and_resets(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x89")
    i2c.expect(b"", SERIAL)
    i2c.expect(b"\x94")
    assert list(Sht4x(i2c, 0x46, Sht4xOptions()).probe()) == [1_000_000, 1_000_000]


def test_probe_refuses_a_serial_number_with_a_bad_checksum(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x89")
    i2c.expect(b"", SERIAL[:-1] + b"\x80")
    with pytest.raises(ChecksumMismatch):
        list(Sht4x(i2c, 0x44, Sht4xOptions()).probe())


def test_an_sht3x_is_named(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x89")
    i2c.expect(b"", NoAcknowledge("no such command"))
    i2c.expect(b"\xf3\x2d")
    i2c.expect(b"", STATUS)
    with pytest.raises(WrongChip, match='set driver = "sht3x"'):
        list(Sht4x(i2c, 0x44, Sht4xOptions()).probe())


def test_a_chip_that_answers_neither_is_absent(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x89")
    i2c.expect(b"", NoAcknowledge("busy"))
    i2c.expect(b"\xf3\x2d", NoAcknowledge("busy"))
    with pytest.raises(NoAcknowledge):
        list(Sht4x(i2c, 0x44, Sht4xOptions()).probe())


@pytest.mark.parametrize(
    ("repeatability", "command", "wait_ns"),
    [("high", b"\xfd", 8_300_000), ("medium", b"\xf6", 4_500_000), ("low", b"\xe0", 1_600_000)],
)
def test_a_poll_is_one_command_and_one_read(
    i2c: ScriptedI2C, repeatability: Literal["high", "medium", "low"], command: bytes, wait_ns: int
) -> None:
    chip = Sht4x(i2c, 0x45, Sht4xOptions(repeatability))
    i2c.expect(command)
    assert chip.trigger() == wait_ns
    i2c.expect(b"", NoAcknowledge("busy"))
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", REPLY)
    assert chip.collect() == pytest.approx((23.0426, 61.5612), abs=1e-4)


def test_scan_goes_by_the_checksums_of_the_serial_number(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x89")
    i2c.expect(b"", SERIAL)
    name = recognise(i2c, 0x44)
    assert name is not None
    assert name.startswith("SHT40")
    i2c.expect(b"\x89")
    i2c.expect(b"", bytes(6))
    with pytest.raises(ChecksumMismatch):
        recognise(i2c, 0x44)
