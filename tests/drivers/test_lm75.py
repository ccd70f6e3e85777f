"""The LM75 and what grew from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.drivers.base import NoOptions
from edge_agent.drivers.lm75 import DRIVERS, Lm75, Lm75Options, temperature_c
from edge_agent.drivers.registry import find_driver
from edge_agent.drivers.tmp75 import Tmp75
from edge_agent.drivers.tmp102 import Tmp102, Tmp102Options, extended_temperature_c
from edge_agent.drivers.tmp1075 import Tmp1075, recognise
from edge_agent.errors import BadReply, ChipWasReset, WrongChip

if TYPE_CHECKING:
    from tests.drivers.conftest import ScriptedI2C

NO_ID = b"\x50\x00"
START: list[tuple[type[Lm75], Any, bytes, int]] = [
    (Lm75, Lm75Options(), b"\x08", 300_000_000),
    (Tmp75, NoOptions(), b"\x68", 300_000_000),
    (Tmp102, Tmp102Options(), b"\x68\x80", 300_000_000),
    (Tmp102, Tmp102Options(extended=True), b"\x68\x90", 300_000_000),
    (Tmp1075, NoOptions(), b"\x08\xff", 60_000_000),
]
every_kind = pytest.mark.parametrize(("chip", "options", "config", "wait_ns"), START)


@pytest.mark.parametrize(
    ("raw", "bits", "celsius"),
    [
        # LM75B table 10, LM75 table 1, TMP75 table 4.
        ("7f00", 11, 127.0),
        ("0020", 11, 0.125),
        ("ffe0", 11, -0.125),
        ("e700", 11, -25.0),
        ("c900", 11, -55.0),
        ("7d00", 9, 125.0),
        ("0080", 9, 0.5),
        ("ff80", 9, -0.5),
        ("ff00", 9, -1.0),
        ("7ff0", 12, 127.9375),
        ("0040", 12, 0.25),
        ("ffc0", 12, -0.25),
        ("8000", 12, -128.0),
        # What stands below the bits that count is nothing.
        ("197f", 9, 25.0),
        ("191f", 11, 25.0),
        ("e71f", 11, -25.0),
    ],
)
def test_register_bytes_become_degrees_of_either_sign(raw: str, bits: int, celsius: float) -> None:
    assert temperature_c(bytes.fromhex(raw), bits) == celsius


@pytest.mark.parametrize(
    ("raw", "celsius"),
    [("7ff0", 127.9375), ("fff0", -0.0625), ("3ff9", 127.9375), ("4b01", 150.0), ("f381", -25.0)],
)
def test_a_tmp102_tells_its_mode_with_the_last_bit(raw: str, celsius: float) -> None:
    assert extended_temperature_c(bytes.fromhex(raw)) == celsius


def test_all_ones_are_a_line_that_nobody_drives(i2c: ScriptedI2C) -> None:
    assert extended_temperature_c(b"\xff\xff") is None
    for chip, options, _, _ in START:
        assert chip(i2c, 0x48, options).decode(b"\xff\xff") is None


def test_bits_that_a_format_leaves_empty_are_empty(i2c: ScriptedI2C) -> None:
    for raw in (b"\x19\x02", b"\x19\x03"):
        with pytest.raises(BadReply, match=raw.hex()):
            extended_temperature_c(raw)
    with pytest.raises(BadReply, match="1901"):
        Tmp75(i2c, 0x48, NoOptions()).decode(b"\x19\x01")


@every_kind
def test_probe_excludes_relatives_configures_and_waits_for_a_conversion(
    i2c: ScriptedI2C, chip: type[Lm75], options: Any, config: bytes, wait_ns: int
) -> None:
    i2c.expect(b"\x0f", b"\x75\x00" if chip is Tmp1075 else NO_ID)
    i2c.expect(b"\x01" + config)
    i2c.expect(b"\x01", config)
    assert list(chip(i2c, 0x48, options).probe()) == [wait_ns]


@every_kind
def test_a_poll_starts_nothing_and_reads_configuration_and_temperature(
    i2c: ScriptedI2C, chip: type[Lm75], options: Any, config: bytes, wait_ns: int
) -> None:
    assert wait_ns
    driver = chip(i2c, 0x49, options)
    assert driver.trigger() == 0
    i2c.expect(b"\x01", config)
    i2c.expect(b"\x00", b"\xe7\x00")
    assert driver.collect() == (-25.0,)


@every_kind
def test_a_configuration_that_is_not_ours_is_not_believed(
    i2c: ScriptedI2C, chip: type[Lm75], options: Any, config: bytes, wait_ns: int
) -> None:
    assert wait_ns
    for found in (b"\x00\xff", b"\x60\xa0", b"\xff\xff", b"\x09\xff", b"\x69\x80"):
        i2c.expect(b"\x01", found[: len(config)])
        with pytest.raises(ChipWasReset, match="supply dip"):
            chip(i2c, 0x48, options).collect()


def test_flags_of_a_tmp102_are_no_part_of_its_configuration(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x01", b"\xe8\xa0")
    i2c.expect(b"\x00", b"\x19\x00")
    assert Tmp102(i2c, 0x48, Tmp102Options()).collect() == (25.0,)


@pytest.mark.parametrize(
    ("chip", "options", "device", "named"),
    [
        (Lm75, Lm75Options(), b"\x01\x17", "tmp117"),
        (Tmp75, NoOptions(), b"\x21\x17", "tmp117"),
        (Tmp1075, NoOptions(), b"\x01\x17", "tmp117"),
        (Lm75, Lm75Options(), b"\x75\x00", "tmp1075"),
        (Tmp102, Tmp102Options(), b"\x75\x00", "tmp1075"),
        (Tmp1075, NoOptions(), NO_ID, "0x7500 is expected"),
    ],
)
def test_a_relative_with_an_identity_is_named(
    i2c: ScriptedI2C, chip: type[Lm75], options: Any, device: bytes, named: str
) -> None:
    i2c.expect(b"\x0f", device)
    with pytest.raises(WrongChip, match=named):
        list(chip(i2c, 0x48, options).probe())


@pytest.mark.parametrize(
    ("chip", "options", "found", "named"),
    [
        (Lm75, Lm75Options(), b"\x68", 'set driver = "tmp102"'),
        (Tmp75, NoOptions(), b"\x08", 'set driver = "lm75"'),
        (Tmp102, Tmp102Options(), b"\x08\xff", 'set driver = "lm75"'),
        (Tmp102, Tmp102Options(), b"\x68\xff", "ADS1115"),
        (Lm75, Lm75Options(), b"\x00", "ADS1115"),
    ],
)
def test_a_relative_without_one_is_guessed_from_what_it_keeps_of_its_configuration(
    i2c: ScriptedI2C, chip: type[Lm75], options: Any, found: bytes, named: str
) -> None:
    driver = chip(i2c, 0x48, options)
    i2c.expect(b"\x0f", NO_ID)
    i2c.expect(b"\x01" + driver.config)
    i2c.expect(b"\x01", found)
    with pytest.raises(WrongChip, match=named):
        list(driver.probe())


def test_scan_claims_only_what_has_an_identity(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x0f", b"\x75\x00")
    assert recognise(i2c, 0x48) == "TMP1075"
    i2c.expect(b"\x0f", NO_ID)
    assert recognise(i2c, 0x48) is None
    assert DRIVERS[0].recognise is None


def test_the_extended_mode_of_a_tmp102_measures_further() -> None:
    info = find_driver("tmp102")
    assert info is not None
    assert [info.measures(Tmp102Options(extended=extended))[0].maximum for extended in (False, True)] == [125.0, 150.0]
