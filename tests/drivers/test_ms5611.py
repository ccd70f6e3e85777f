from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers import ms5607, ms5611, ms5637, ms5837
from edge_agent.drivers.ms56_maths import (
    ALL_KINDS,
    MS5607,
    MS5611,
    MS5637,
    MS5837,
    Kind,
    compensate,
    crc4,
    prom_is_valid,
)
from edge_agent.drivers.ms5607 import Ms5607Options
from edge_agent.drivers.ms5611 import Ms56, Ms5611Options, Ms5637Options
from edge_agent.drivers.ms5837 import Ms5837Options
from edge_agent.errors import BadReply, BusError, ChecksumMismatch, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

# The datasheet's worked example; its CRC is 0.
PROM = (0, 40127, 36924, 23317, 23282, 33464, 28312, 0)
D1, D2 = bytes.fromhex("8aa21a"), bytes.fromhex("82c13e")
TEMPERATURE_C, PRESSURE_PA = 20.07, 100_009.0


def expect_start(i2c: ScriptedI2C, prom: tuple[int, ...]) -> None:
    i2c.expect(b"\x1e")
    for number, word in enumerate(prom):
        i2c.expect(bytes((0xA0 + 2 * number,)), word.to_bytes(2))


def started(i2c: ScriptedI2C, prom: tuple[int, ...] = PROM, options: Ms5611Options | None = None) -> Ms56:
    chip = Ms56(i2c, 0x77, options or Ms5611Options())
    expect_start(i2c, prom)
    assert list(chip.probe()) == [2_800_000]
    return chip


def poll(i2c: ScriptedI2C, chip: Ms56, d1: bytes = D1, d2: bytes = D2) -> tuple[float | None, ...]:
    i2c.expect(b"\x48")
    assert chip.trigger() == 9_040_000
    i2c.expect(b"\x00", d1)
    i2c.expect(b"\x58")
    with pytest.raises(NotReady) as caught:
        chip.collect()
    assert caught.value.wait_ns == 9_040_000
    i2c.expect(b"\x00", d2)
    return chip.collect()


def with_crc_last(*constants: int) -> tuple[int, ...]:
    words = (0x0100, *constants, 0x4500)
    return (*words[:7], words[7] | crc4(words, crc_in_last_word=True)[1])


def with_crc_first(version: int, *constants: int) -> tuple[int, ...]:
    words = (version << 5, *constants, 0)
    return (words[0] | crc4(words, crc_in_last_word=False)[1] << 12, *words[1:])


@pytest.mark.parametrize(
    ("kind", "constants", "d1", "d2", "expected"),
    [
        (MS5611, PROM[1:7], 9_085_466, 8_569_150, (20.07, 100_009.0)),
        (MS5607, (46372, 43981, 29059, 27842, 31553, 28165), 6_465_444, 8_077_636, (20.00, 110_002.0)),
        (MS5637, (46372, 43981, 29059, 27842, 31553, 28165), 6_465_444, 8_077_636, (20.00, 110_002.0)),
        (MS5837, (34982, 36352, 20328, 22354, 26646, 26146), 4_958_179, 6_815_414, (19.81, 399_980.0)),
    ],
)
def test_the_worked_example_of_each_datasheet(
    kind: Kind, constants: tuple[int, ...], d1: int, d2: int, expected: tuple[float, float]
) -> None:
    assert compensate(kind, (0, *constants, 0), d1, d2) == expected


def test_every_shared_row_agrees_with_the_kernel_to_the_last_digit(shared_dir: Path) -> None:
    kinds = {"ms5611": MS5611, "ms5607": MS5607}
    rows = json.loads((shared_dir / "data/vectors/ms5611.json").read_text())["vectors"]
    for row in rows:
        prom = struct.unpack(">8H", bytes.fromhex(row["calib_hex"]["prom"]))
        assert prom_is_valid(prom, crc_in_last_word=True) == row["prom_crc4_ok"]
        temperature, pressure = compensate(kinds[row["chip"]], prom, row["adc"]["d1"], row["adc"]["d2"])
        assert temperature == row["expect"]["temperature_c"]
        assert pressure == row["expect"]["pressure_pa"]
    assert len(rows) > 100


def test_crc_is_that_of_the_application_note() -> None:
    words = (0x3132, 0x3334, 0x3536, 0x3738, 0x3940, 0x4142, 0x4344, 0x4500)
    assert crc4(words, crc_in_last_word=True) == (0, 0xB)
    assert prom_is_valid((*words[:7], 0x450B), crc_in_last_word=True)


def test_seven_words_and_a_zero_pass_for_eight() -> None:
    assert prom_is_valid(with_crc_first(0x1A, *PROM[1:7]), crc_in_last_word=True)


@given(st.integers(0, 111))
def test_any_damaged_bit_of_the_calibration_is_seen(bit: int) -> None:
    sent = with_crc_first(0x01, *PROM[1:7])
    assert prom_is_valid(sent, crc_in_last_word=False)
    damaged = list(sent)
    damaged[bit // 16] ^= 1 << bit % 16
    assert not prom_is_valid(tuple(damaged), crc_in_last_word=False)


@pytest.mark.parametrize("word", [0x0000, 0xFFFF])
def test_zeros_and_ones_are_no_calibration_whatever_their_crc(word: int) -> None:
    for last in (True, False):
        assert not prom_is_valid((word,) * 8, crc_in_last_word=last)


@given(st.lists(st.integers(0, 0xFFFF), min_size=8, max_size=8), st.integers(0, 2**24), st.integers(0, 2**24))
def test_any_counts_give_numbers(prom: list[int], d1: int, d2: int) -> None:
    for kind in ALL_KINDS:
        assert all(isinstance(value, float) for value in compensate(kind, tuple(prom), d1, d2))


def test_a_poll_is_two_conversions_of_a_command_and_a_read_each(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    for _ in range(2):
        assert poll(i2c, chip) == (TEMPERATURE_C, PRESSURE_PA)
    assert i2c.addresses == {0x77}


@pytest.mark.parametrize(
    ("options", "command", "wait_ns"),
    [
        (Ms5611Options(oversampling=256), b"\x40", 600_000),
        (Ms5607Options(oversampling=1024), b"\x44", 2_280_000),
        (Ms5637Options(oversampling=8192), b"\x4a", 18_080_000),
        (Ms5837Options(oversampling=512), b"\x42", 1_170_000),
    ],
)
def test_oversampling_reaches_the_command(
    i2c: ScriptedI2C, options: Ms5611Options | Ms5637Options, command: bytes, wait_ns: int
) -> None:
    chip = Ms56(i2c, 0x76, options)
    i2c.expect(command)
    assert chip.trigger() == wait_ns


@pytest.mark.parametrize(("reply", "error"), [("000000", ChipWasReset), ("ffffff", BadReply)])
@pytest.mark.parametrize("second", [False, True])
def test_a_lost_conversion_is_no_number(i2c: ScriptedI2C, reply: str, error: type[Exception], second: bool) -> None:
    chip = started(i2c)
    i2c.expect(b"\x48")
    chip.trigger()
    if second:
        i2c.expect(b"\x00", D1)
        i2c.expect(b"\x58")
        with pytest.raises(NotReady):
            chip.collect()
    i2c.expect(b"\x00", bytes.fromhex(reply))
    with pytest.raises(error):
        chip.collect()
    assert poll(i2c, chip) == (TEMPERATURE_C, PRESSURE_PA)


def test_a_poll_begins_anew_after_one_that_broke_off(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    i2c.expect(b"\x48")
    chip.trigger()
    i2c.expect(b"\x00", D1)
    i2c.expect(b"\x58", BusError("glitch"))
    with pytest.raises(BusError):
        chip.collect()
    assert poll(i2c, chip) == (TEMPERATURE_C, PRESSURE_PA)


def test_a_damaged_calibration_is_refused(i2c: ScriptedI2C) -> None:
    prom = with_crc_last(*PROM[1:7])
    expect_start(i2c, (*prom[:7], prom[7] ^ 0x01))
    i2c.expect(b"\xd0", b"\x00")
    chip = Ms56(i2c, 0x77, Ms5611Options())
    with pytest.raises(ChecksumMismatch) as caught:
        list(chip.probe())
    assert caught.value.received ^ caught.value.expected == 0x01
    assert caught.value.raw[:2] == b"\x01\x00"
    with pytest.raises(ChipWasReset, match="probed"):
        chip.collect()


@pytest.mark.parametrize(
    ("options", "prom", "sentence"),
    [
        (Ms5611Options(), (*with_crc_first(0x01, *PROM[1:7])[:7], 0x1234), "is a MS5637 or MS5837-30BA, not"),
        (Ms5637Options(), with_crc_last(*PROM[1:7]), "is a MS5611 or MS5607, not"),
        (Ms5637Options(), with_crc_first(0x1A, *PROM[1:7]), 'is a MS5837-30BA, not a MS5637: set driver = "ms5837"'),
        (Ms5837Options(), with_crc_first(0x15, *PROM[1:7]), "is a MS5837-02BA"),
    ],
)
def test_a_relative_is_known_by_its_calibration(
    i2c: ScriptedI2C, options: Ms5611Options | Ms5637Options, prom: tuple[int, ...], sentence: str
) -> None:
    expect_start(i2c, prom)
    with pytest.raises(WrongChip, match=sentence):
        list(Ms56(i2c, 0x76, options).probe())


@pytest.mark.parametrize(
    ("prom", "identity", "sentence"),
    [((0x1234,) * 8, 0x60, "is a BME280"), ((0,) * 8, 0x61, "is a BME680"), ((0xFFFF,) * 8, 0x99, "id 0x99")],
)
def test_another_chip_is_named(i2c: ScriptedI2C, prom: tuple[int, ...], identity: int, sentence: str) -> None:
    expect_start(i2c, prom)
    i2c.expect(b"\xd0", bytes((identity,)))
    if identity == 0x99:
        i2c.expect(b"\x00", b"\x00")
        i2c.expect(b"\x0d", b"\x00")
    with pytest.raises(WrongChip, match=sentence):
        list(Ms56(i2c, 0x77, Ms5611Options()).probe())


def test_a_relative_that_looks_alike_is_known_by_its_first_pressure(i2c: ScriptedI2C) -> None:
    with pytest.raises(WrongChip, match="200018 Pa as a MS5607 and 100009 Pa as a MS5611"):
        poll(i2c, started(i2c, options=Ms5607Options()))


def test_a_later_pressure_is_believed_whatever_it_is(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    poll(i2c, chip)
    _, pressure = poll(i2c, chip, d1=bytes.fromhex("6aa21a"))
    assert pressure is not None
    assert pressure < 60_000.0


def test_thin_air_that_no_relative_explains_is_believed_at_once(i2c: ScriptedI2C) -> None:
    _, pressure = poll(i2c, started(i2c), d1=bytes.fromhex("58a21a"))
    assert pressure is not None
    assert pressure < 40_000.0


@pytest.mark.parametrize(
    ("prom", "names"),
    [
        (with_crc_last(*PROM[1:7]), ["MS5611 or MS5607"]),
        (with_crc_first(0x01, *PROM[1:7]), ["MS5637"]),
        (with_crc_first(0x1A, *PROM[1:7]), ["MS5837-30BA"]),
        (with_crc_first(0x15, *PROM[1:7]), []),
        ((0x0000,) * 8, []),
    ],
)
def test_each_is_recognised_by_its_calibration(i2c: ScriptedI2C, prom: tuple[int, ...], names: list[str]) -> None:
    found = []
    for module in (ms5611, ms5637, ms5837):
        for number, word in enumerate(prom):
            i2c.expect(bytes((0xA0 + 2 * number,)), word.to_bytes(2))
        found.append(module.recognise(i2c, 0x76))
    assert [name for name in found if name] == names
    assert ms5607.DRIVERS[0].recognise is None
