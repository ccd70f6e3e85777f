from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import pytest

from edge_agent.drivers.tmp117 import Tmp117, Tmp117Options, recognise, temperature_c
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C


@pytest.mark.parametrize(
    ("raw", "celsius"),
    [("7fff", 255.9921875), ("0c80", 25.0), ("0001", 0.0078125), ("0000", 0.0), ("ffff", -0.0078125), ("f380", -25.0)],
)
def test_register_bytes_become_degrees_as_in_the_datasheets_table(raw: str, celsius: float) -> None:
    assert temperature_c(bytes.fromhex(raw)) == celsius


def test_every_shared_row_agrees_with_another_driver(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/tmp117.json").read_text())["vectors"]
    for row in rows:
        for peer in row["peers"].values():
            expected = None if row["raw_hex"] == "8000" else peer["t"]
            assert temperature_c(bytes.fromhex(row["raw_hex"])) == expected
    assert len(rows) > 50


def test_probe_identifies_resets_waits_for_the_eeprom_and_shuts_down(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x0f", b"\x01\x17")
    i2c.expect(b"\x01\x00\x02")
    i2c.expect(b"\x01", b"\x12\x20")
    i2c.expect(b"\x01", b"\x02\x20")
    i2c.expect(b"\x01\x04\x20")
    assert list(Tmp117(i2c, 0x48, Tmp117Options()).probe()) == [2_000_000, 2_000_000]


def test_an_eeprom_that_stays_busy_is_not_waited_for_for_ever(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x0f", b"\x21\x17")
    i2c.expect(b"\x01\x00\x02")
    for _ in range(5):
        i2c.expect(b"\x01", b"\x12\x20")
    with pytest.raises(BadReply, match="EEPROM"):
        list(Tmp117(i2c, 0x48, Tmp117Options()).probe())


@pytest.mark.parametrize("identity", [b"\x75\x00", b"\x50\x00", b"\x00\x00", b"\xff\xff"])
def test_another_identity_is_refused_and_not_recognised(i2c: ScriptedI2C, identity: bytes) -> None:
    i2c.expect(b"\x0f", identity)
    with pytest.raises(WrongChip, match=identity.hex()):
        list(Tmp117(i2c, 0x48, Tmp117Options()).probe())
    i2c.expect(b"\x0f", identity)
    assert recognise(i2c, 0x48) is None


@pytest.mark.parametrize(("identity", "name"), [(b"\x01\x17", "TMP117"), (b"\x21\x17", "TMP119")])
def test_the_upper_bits_of_the_identity_are_the_revision(i2c: ScriptedI2C, identity: bytes, name: str) -> None:
    i2c.expect(b"\x0f", identity)
    assert recognise(i2c, 0x48) == name


@pytest.mark.parametrize(
    ("averaging", "command", "wait_ns", "done"),
    [
        (1, b"\x01\x0c\x00", 17_500_000, b"\x24\x00"),
        (8, b"\x01\x0c\x20", 140_000_000, b"\x24\x20"),
        (32, b"\x01\x0c\x40", 560_000_000, b"\x24\x40"),
        (64, b"\x01\x0c\x60", 1_120_000_000, b"\xa4\x60"),
    ],
)
def test_a_poll_is_one_write_and_two_reads(
    i2c: ScriptedI2C, averaging: Literal[1, 8, 32, 64], command: bytes, wait_ns: int, done: bytes
) -> None:
    chip = Tmp117(i2c, 0x4B, Tmp117Options(averaging))
    i2c.expect(command)
    assert chip.trigger() == wait_ns
    i2c.expect(b"\x01", done)
    i2c.expect(b"\x00", b"\x0c\x80")
    assert chip.collect() == (25.0,)


@pytest.mark.parametrize("config", [b"\x0c\x20", b"\x04\x20"])
def test_a_conversion_that_runs_or_was_read_before_gives_no_value(i2c: ScriptedI2C, config: bytes) -> None:
    i2c.expect(b"\x01", config)
    with pytest.raises(NotReady):
        Tmp117(i2c, 0x48, Tmp117Options()).collect()


@pytest.mark.parametrize("config", [b"\x02\x20", b"\x22\x20", b"\x24\x00", b"\x00\x00", b"\xff\xff"])
def test_a_configuration_that_is_not_ours_is_not_believed(i2c: ScriptedI2C, config: bytes) -> None:
    i2c.expect(b"\x01", config)
    with pytest.raises(ChipWasReset, match=config.hex()):
        Tmp117(i2c, 0x48, Tmp117Options()).collect()
