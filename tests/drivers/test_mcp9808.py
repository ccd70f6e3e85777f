from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers.base import NoOptions
from edge_agent.drivers.mcp9808 import Mcp9808, recognise, temperature_c
from edge_agent.errors import BadReply, ChipWasReset, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C


def expect_start(i2c: ScriptedI2C, config: bytes) -> None:
    i2c.expect(b"\x06", b"\x00\x54")
    i2c.expect(b"\x07", b"\x04\x00")
    i2c.expect(b"\x08\x03")
    i2c.expect(b"\x01\x02\x00")
    i2c.expect(b"\x01", config)


@pytest.mark.parametrize(
    ("raw", "celsius"),
    [
        ("c190", 25.0),
        ("0190", 25.0),
        ("1ff0", -1.0),
        ("1fff", -0.0625),
        ("0000", 0.0),
        ("fe70", -25.0),
        ("07d0", 125.0),
    ],
)
def test_register_bytes_become_degrees_without_the_flags_of_the_alarm(raw: str, celsius: float) -> None:
    assert temperature_c(bytes.fromhex(raw)) == celsius


def test_every_shared_row_agrees_with_another_driver(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/mcp9808.json").read_text())["vectors"]
    for row in rows:
        for peer in row["peers"].values():
            assert temperature_c(bytes.fromhex(row["raw_hex"])) == peer["t"]
    assert len(rows) > 50


def test_all_ones_would_be_above_and_below_the_limits_and_are_no_value() -> None:
    assert temperature_c(b"\xff\xff") is None


def test_probe_identifies_configures_and_waits_for_a_conversion(i2c: ScriptedI2C) -> None:
    expect_start(i2c, b"\x02\x00")
    assert list(Mcp9808(i2c, 0x18, NoOptions()).probe()) == [300_000_000]


@pytest.mark.parametrize(
    ("config", "sentence"), [(b"\x00\x40", "locked"), (b"\x01\x80", "locked"), (b"\x00\x00", "supply")]
)
def test_a_configuration_that_does_not_stay_is_told_with_its_cure(
    i2c: ScriptedI2C, config: bytes, sentence: str
) -> None:
    expect_start(i2c, config)
    with pytest.raises(BadReply, match=sentence):
        list(Mcp9808(i2c, 0x18, NoOptions()).probe())


@pytest.mark.parametrize(
    ("maker", "device"), [(b"\x00\x54", b"\x05\x00"), (b"\x00\x55", b"\x04\x01"), (b"\xff\xff", b"\xff\xff")]
)
def test_another_identity_is_refused_and_not_recognised(i2c: ScriptedI2C, maker: bytes, device: bytes) -> None:
    for _ in range(2):
        i2c.expect(b"\x06", maker)
        i2c.expect(b"\x07", device)
    with pytest.raises(WrongChip, match="no MCP9808"):
        list(Mcp9808(i2c, 0x18, NoOptions()).probe())
    assert recognise(i2c, 0x18) is None


def test_scan_goes_by_maker_and_device(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x06", b"\x00\x54")
    i2c.expect(b"\x07", b"\x04\x00")
    assert recognise(i2c, 0x1F) == "MCP9808"


def test_a_poll_starts_nothing_and_reads_configuration_and_temperature(i2c: ScriptedI2C) -> None:
    chip = Mcp9808(i2c, 0x18, NoOptions())
    assert chip.trigger() == 0
    i2c.expect(b"\x01", b"\x02\x10")  # with the flag of an interrupt
    i2c.expect(b"\x05", b"\xc1\x90")
    assert chip.collect() == (25.0,)


@pytest.mark.parametrize("config", [b"\x00\x00", b"\x03\x00", b"\xff\xff"])
def test_a_configuration_that_is_not_ours_is_not_believed(i2c: ScriptedI2C, config: bytes) -> None:
    i2c.expect(b"\x01", config)
    with pytest.raises(ChipWasReset, match=config.hex()):
        Mcp9808(i2c, 0x18, NoOptions()).collect()
