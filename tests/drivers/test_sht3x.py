from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.checksum import crc8_sensirion
from edge_agent.drivers.sensirion import with_checksum
from edge_agent.drivers.sht3x import Sht3x, Sht3xOptions, decode
from edge_agent.errors import BadReply, ChecksumMismatch, ChipWasReset, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

REPLY = bytes.fromhex("63890b8a5d7e")
STATUS = b"\x80\x10\xe1"


def test_register_bytes_become_degrees_and_percent() -> None:
    assert decode(REPLY) == pytest.approx((23.04264896620127, 54.048981460288395))


def test_every_shared_row_agrees_with_two_other_drivers(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/sht3x.json").read_text())["vectors"]
    for row in rows:
        temperature, humidity = decode(bytes.fromhex(row["raw_hex"]))
        for peer in row["peers"].values():
            assert temperature == (None if row["adc"]["t"] in {0, 0xFFFF} else pytest.approx(peer["t"], abs=1e-9))
            assert humidity == (None if row["adc"]["h"] in {0, 0xFFFF} else pytest.approx(peer["h"], abs=1e-9))
    assert len(rows) > 50


@pytest.mark.parametrize("word", ["0000", "ffff"])
def test_a_floating_or_dead_element_gives_no_value(word: str) -> None:
    one = bytes.fromhex(word)
    one += bytes((crc8_sensirion(one),))
    without_temperature, without_humidity = decode(one + REPLY[3:]), decode(REPLY[:3] + one)
    assert without_temperature[0] is without_humidity[1] is None
    assert without_temperature[1] == pytest.approx(54.05, abs=0.01)
    assert without_humidity[0] == pytest.approx(23.04, abs=0.01)


@pytest.mark.parametrize("byte", range(6))
def test_damage_to_any_byte_is_seen_and_the_bytes_are_kept_as_evidence(byte: int) -> None:
    damaged = bytearray(REPLY)
    damaged[byte] ^= 0x10
    with pytest.raises(ChecksumMismatch) as caught:
        decode(bytes(damaged))
    assert caught.value.raw == damaged
    assert caught.value.expected != caught.value.received


@given(st.binary(max_size=9))
def test_any_bytes_give_values_or_an_error_of_ours(reply: bytes) -> None:
    try:
        temperature, humidity = decode(reply)
    except (BadReply, ChecksumMismatch):
        return
    assert temperature is None or -45.0 < temperature < 130.0
    assert humidity is None or 0.0 < humidity < 100.0


def test_probe_leaves_periodic_mode_resets_and_clears_the_status(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x30\x93")
    i2c.expect(b"\x30\xa2")
    i2c.expect(b"\xf3\x2d")
    i2c.expect(b"", STATUS)
    i2c.expect(b"\x30\x41")
    assert list(Sht3x(i2c, 0x44, Sht3xOptions()).probe()) == [1_000_000, 1_500_000]


def test_probe_refuses_a_status_with_a_bad_checksum(i2c: ScriptedI2C) -> None:
    for command in (b"\x30\x93", b"\x30\xa2", b"\xf3\x2d"):
        i2c.expect(command)
    i2c.expect(b"", b"\x80\x10\x00")
    with pytest.raises(ChecksumMismatch):
        list(Sht3x(i2c, 0x44, Sht3xOptions()).probe())


@pytest.mark.parametrize(
    ("repeatability", "command", "wait_ns"),
    [
        ("high", b"\x24\x00", 15_500_000),
        ("medium", b"\x24\x0b", 6_500_000),
        ("low", b"\x24\x16", 4_500_000),
    ],
)
def test_a_poll_is_one_command_and_one_read(
    i2c: ScriptedI2C, repeatability: Literal["high", "medium", "low"], command: bytes, wait_ns: int
) -> None:
    chip = Sht3x(i2c, 0x45, Sht3xOptions(repeatability))
    i2c.expect(command)
    assert chip.trigger() == wait_ns
    i2c.expect(b"", REPLY)
    assert chip.collect() == pytest.approx((23.0426, 54.0490), abs=1e-4)
    assert i2c.addresses == {0x45}


def test_a_busy_chip_is_not_ready_and_an_absent_one_does_not_acknowledge(i2c: ScriptedI2C) -> None:
    chip = Sht3x(i2c, 0x44, Sht3xOptions())
    i2c.expect(b"", NoAcknowledge("busy"))
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"\x24\x00", NoAcknowledge("absent"))
    with pytest.raises(NoAcknowledge):
        chip.trigger()


def test_an_sht4x_is_named_and_nobody_is_nobody(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x30\x93", NoAcknowledge("no such command"))
    i2c.expect(b"\x89")
    i2c.expect(b"", b"\xbe\xef\x92" * 2)
    with pytest.raises(WrongChip, match='set driver = "sht4x"'):
        list(Sht3x(i2c, 0x44, Sht3xOptions()).probe())
    i2c.expect(b"\x30\x93", NoAcknowledge("absent"))
    i2c.expect(b"\x89", NoAcknowledge("absent"))
    with pytest.raises(NoAcknowledge):
        list(Sht3x(i2c, 0x44, Sht3xOptions()).probe())


@pytest.mark.parametrize(("status", "was_reset"), [(0x8010, True), (0x2000, True), (0x0000, False), (0x8000, False)])
def test_silent_twice_its_status_tells_of_a_reset_or_a_heater_that_is_on(
    i2c: ScriptedI2C, status: int, was_reset: bool
) -> None:
    chip = Sht3x(i2c, 0x44, Sht3xOptions())
    i2c.expect(b"", NoAcknowledge("busy"))
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", NoAcknowledge("busy"))
    i2c.expect(b"\xf3\x2d")
    i2c.expect(b"", with_checksum(status))
    with pytest.raises(ChipWasReset if was_reset else NotReady):
        chip.collect()
    i2c.expect(b"\x24\x00")
    chip.trigger()
    i2c.expect(b"", NoAcknowledge("busy"))
    with pytest.raises(NotReady):  # counted anew
        chip.collect()


def test_a_chip_that_is_still_busy_when_asked_for_its_status_is_left_alone(i2c: ScriptedI2C) -> None:
    chip = Sht3x(i2c, 0x44, Sht3xOptions())
    i2c.expect(b"", NoAcknowledge("busy"))
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", NoAcknowledge("busy"))
    i2c.expect(b"\xf3\x2d", NoAcknowledge("busy"))
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", REPLY)
    assert chip.collect() == pytest.approx((23.0426, 54.0490), abs=1e-4)
