from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers import aht10, aht20
from edge_agent.drivers.aht10 import Aht10
from edge_agent.drivers.aht20 import Aht, check, decode
from edge_agent.drivers.base import NoOptions
from edge_agent.drivers.checksum import crc8_sensirion
from edge_agent.errors import BadReply, ChecksumMismatch, ChipWasReset, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

REPLY = bytes.fromhex("18718587862c73")
VALUES = (44.051361083984375, 44.344329833984375)
REFUSED = NoAcknowledge("no such command")


def sealed(data: bytes) -> bytes:
    return data + bytes((crc8_sensirion(data),))


def test_data_bytes_become_degrees_and_percent() -> None:
    assert decode(REPLY) == pytest.approx(VALUES, abs=1e-9)


def test_every_shared_row_agrees_with_another_driver_and_its_own_checksum(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/aht20.json").read_text())["vectors"]
    for row in rows:
        reply = bytes.fromhex(row["raw_hex"])
        check(reply)
        for peer in row["peers"].values():
            temperature, humidity = decode(reply)
            assert temperature == (None if row["adc"]["t"] in {0, 0xFFFFF} else pytest.approx(peer["t"], abs=1e-9))
            assert humidity == (None if row["adc"]["h"] in {0, 0xFFFFF} else pytest.approx(peer["h"], abs=1e-9))
    assert len(rows) > 50


@pytest.mark.parametrize(("data", "none"), [("1800000861ae", (False, True)), ("187185800000", (True, False))])
def test_counts_that_no_conversion_gives_are_no_value(data: str, none: tuple[bool, bool]) -> None:
    assert tuple(value is None for value in decode(bytes.fromhex(data))) == none
    assert decode(b"\x18" + b"\xff" * 5) == (None, None)


def test_probe_resets_and_leaves_a_ready_chip_alone(i2c: ScriptedI2C) -> None:
    i2c.expect(b"", REPLY)
    i2c.expect(b"\xba")
    i2c.expect(b"", b"\x18")
    assert list(Aht(i2c, 0x38, NoOptions()).probe()) == [20_000_000]


@pytest.mark.parametrize(
    ("chip", "own", "other"),
    [(Aht, b"\xbe\x08\x00", b"\xe1\x08\x00"), (Aht10, b"\xe1\x08\x00", b"\xbe\x08\x00")],
)
def test_a_chip_that_is_not_ready_is_made_so_in_its_own_way_or_in_that_of_its_relative(
    i2c: ScriptedI2C, chip: type[Aht], own: bytes, other: bytes
) -> None:
    answers: tuple[bytes | Exception, ...] = (b"", REFUSED)
    for first in answers:
        i2c.expect(b"", REPLY)
        i2c.expect(b"\xba")
        i2c.expect(b"", b"\x10")
        i2c.expect(own, first)
        if first:
            i2c.expect(b"", b"\x10")
            i2c.expect(other)
        i2c.expect(b"", b"\x18")
        assert list(chip(i2c, 0x38, NoOptions()).probe()) == [20_000_000, 10_000_000]


def test_a_chip_that_never_gets_ready_is_not_believed(i2c: ScriptedI2C) -> None:
    i2c.expect(b"", REPLY)
    i2c.expect(b"\xba")
    for command in (b"\xbe\x08\x00", b"\xe1\x08\x00"):
        i2c.expect(b"", b"\x10")
        i2c.expect(command)
    i2c.expect(b"", b"\x10")
    with pytest.raises(BadReply, match="calibration"):
        list(Aht(i2c, 0x38, NoOptions()).probe())


def test_an_io_expander_is_not_written_to(i2c: ScriptedI2C) -> None:
    for port in (0x00, 0x18, 0xFF):
        i2c.expect(b"", bytes((port,)) * 7)
        with pytest.raises(WrongChip, match="PCF8574A"):
            list(Aht(i2c, 0x38, NoOptions()).probe())


def test_a_poll_is_one_command_and_one_read(i2c: ScriptedI2C) -> None:
    for chip, reply in ((Aht(i2c, 0x38, NoOptions()), REPLY), (Aht10(i2c, 0x38, NoOptions()), REPLY[:6])):
        i2c.expect(b"\xac\x33\x00")
        assert chip.trigger() == 80_000_000
        i2c.expect(b"", reply)
        assert chip.collect() == pytest.approx(VALUES, abs=1e-9)


def test_a_busy_chip_is_not_ready_and_one_without_calibration_was_reset(i2c: ScriptedI2C) -> None:
    chip = Aht(i2c, 0x38, NoOptions())
    i2c.expect(b"", sealed(b"\x98" + REPLY[1:6]))
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", sealed(b"\x10" + bytes(5)))
    with pytest.raises(ChipWasReset, match="0x10"):
        chip.collect()


def test_a_missing_checksum_is_an_aht10s_until_there_has_been_a_right_one(i2c: ScriptedI2C) -> None:
    chip = Aht(i2c, 0x38, NoOptions())
    i2c.expect(b"", REPLY[:6] + b"\xff")
    with pytest.raises(WrongChip, match='set driver = "aht10"'):
        chip.collect()
    i2c.expect(b"", REPLY)
    chip.collect()
    i2c.expect(b"", REPLY[:6] + b"\xff")
    with pytest.raises(ChecksumMismatch):
        chip.collect()


@pytest.mark.parametrize(
    ("reply", "driver"),
    [
        (REPLY, "aht20"),
        (REPLY[:6] + b"\xff", "aht10"),
        (sealed(b"\x08" + bytes(5)), "aht20"),
        (b"\x18" + bytes(5) + b"\xff", "aht10"),
        (b"\x18" * 7, None),
        (sealed(b"\x10" + bytes(5)), None),
        (sealed(b"\x48" + REPLY[1:6]), None),
    ],
)
def test_scan_goes_by_what_a_mere_read_tells(i2c: ScriptedI2C, reply: bytes, driver: str | None) -> None:
    for module, name in ((aht20, "aht20"), (aht10, "aht10")):
        i2c.expect(b"", reply)
        assert (module.recognise(i2c, 0x38) is not None) is (name == driver)
