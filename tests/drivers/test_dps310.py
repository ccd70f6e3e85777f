from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.dps310 import SCALE, Coefficients, Dps310, Dps310Options, decode, measuring_ns, recognise
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

BLOCK = bytes.fromhex("0e3ef5155dff2562f58f05f2e173ffa4f869")
DATA = bytes.fromhex("0b9fc102a828")
"""At 64-fold oversampling of both."""
TEMPERATURE_C, PRESSURE_PA = 68.814538, 41314.2971
SETTINGS = "24a0 {:02x} 04"


def settings(status: int = 0xF7) -> bytes:
    return bytes.fromhex(SETTINGS.format(status))


def decoded(data: bytes, block: bytes = BLOCK) -> tuple[float | None, float | None]:
    return decode(data, Coefficients.from_registers(block), temperature_oversampling=64, pressure_oversampling=64)


def expect_start(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x0d", b"\x10")
    i2c.expect(b"\x0c\x89")
    i2c.expect(b"\x08", b"\xc0")
    for write in ("0ea5", "0f96", "6202", "0e00", "0f00"):
        i2c.expect(bytes.fromhex(write))
    i2c.expect(b"\x10", BLOCK)
    i2c.expect(b"\x10", BLOCK)
    i2c.expect(b"\x28", b"\x80")
    for write in ("0624", "07a0", "0904", "0807"):
        i2c.expect(bytes.fromhex(write))


def started(i2c: ScriptedI2C) -> Dps310:
    chip = Dps310(i2c, 0x77, Dps310Options())
    expect_start(i2c)
    assert list(chip.probe()) == [40_000_000, 35_880_000]
    return chip


def test_register_bytes_become_degrees_and_pascal() -> None:
    assert decoded(DATA) == pytest.approx((TEMPERATURE_C, PRESSURE_PA), abs=1e-3)


def test_coefficients_are_packed_without_gaps_and_signed() -> None:
    assert Coefficients.from_registers(BLOCK) == Coefficients(
        227, -267, 87519, -55966, -2673, 1522, -7821, -92, -1943
    )  # fmt: skip
    assert Coefficients.from_registers(b"\xff" * 18) == Coefficients(*[-1] * 9)
    with pytest.raises(BadReply, match="short"):
        Coefficients.from_registers(BLOCK[:-1])


def test_every_shared_row_agrees_with_another_driver(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/dps310.json").read_text())["vectors"]
    for row in rows:
        temperature, pressure = decoded(
            bytes.fromhex(row["raw_hex"]["0x00"]), bytes.fromhex(row["calib_hex"]["0x10"])
        )  # fmt: skip
        (peer,) = row["peers"].values()
        assert temperature == pytest.approx(peer["t"], abs=1e-4)
        assert pressure == pytest.approx(peer["p"], abs=0.05)
    assert len(rows) > 50


def test_a_negative_count_of_the_thermometer_is_warmer_than_half_of_c0() -> None:
    temperature, _ = decoded(DATA[:3] + b"\xff\x00\x00")
    assert temperature == pytest.approx(227 / 2 + 267 * 65536 / SCALE[64])


def test_what_no_conversion_gives_is_none_and_so_is_what_needs_it() -> None:
    assert decoded(DATA[:3] + b"\x80\x00\x00") == (None, None)
    temperature, pressure = decoded(b"\x80\x00\x00" + DATA[3:])
    assert temperature == pytest.approx(TEMPERATURE_C)
    assert pressure is None


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=18, max_size=18))
def test_any_bytes_give_finite_values_or_none(data: bytes, block: bytes) -> None:
    assert all(value is None or math.isfinite(value) for value in decoded(data, block))


def test_a_poll_is_two_bursts_and_triggers_nothing(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    assert chip.trigger() == 0
    i2c.expect(b"\x06", settings())
    i2c.expect(b"\x00", DATA)
    temperature, pressure = chip.collect()
    assert temperature == pytest.approx(227 / 2 - 267 * 174120 / SCALE[1])
    assert pressure is not None


@pytest.mark.parametrize(
    ("options", "writes", "oversampled_ns"),
    [
        (Dps310Options(64, 64), ("0626", "07a6", "090c"), 1150 * 208_800),
        (Dps310Options(128, 128), ("0617", "0797", "090c"), 1150 * 413_600),
        (Dps310Options(8, 2), ("0621", "07a3", "0900"), 1150 * 20_000),
    ],
)
def test_options_reach_the_registers_at_a_rate_that_leaves_time(
    i2c: ScriptedI2C, options: Dps310Options, writes: tuple[str, ...], oversampled_ns: int
) -> None:
    chip = Dps310(i2c, 0x76, options)
    expect_start(i2c)
    i2c.script[-4:-1] = [(bytes.fromhex(write), b"") for write in writes]
    assert list(chip.probe())[-1] == oversampled_ns
    assert measuring_ns(options.temperature_oversampling, options.pressure_oversampling) == oversampled_ns
    assert i2c.addresses == {0x76}


@pytest.mark.parametrize("status", [0xC7, 0xD7, 0xE7])
def test_what_was_seen_before_is_not_taken_again(i2c: ScriptedI2C, status: int) -> None:
    chip = started(i2c)
    i2c.expect(b"\x06", settings(status))
    with pytest.raises(NotReady) as caught:
        chip.collect()
    assert caught.value.wait_ns == 35_880_000


@pytest.mark.parametrize("held", ["0000c000", "ffffffff", "24a0f004", "2420f704", "24a0f700"])
def test_a_chip_that_lost_its_settings_is_not_believed(i2c: ScriptedI2C, held: str) -> None:
    chip = started(i2c)
    i2c.expect(b"\x06", bytes.fromhex(held))
    with pytest.raises(ChipWasReset, match="24a00704 was written"):
        chip.collect()


def test_the_calibration_is_waited_for_but_not_for_ever(i2c: ScriptedI2C) -> None:
    chip = Dps310(i2c, 0x77, Dps310Options())
    expect_start(i2c)
    i2c.script[2:2] = [(b"\x08", b"\x40")] * 2
    assert list(chip.probe()) == [40_000_000, 10_000_000, 10_000_000, 35_880_000]
    i2c.expect(b"\x0d", b"\x10")
    i2c.expect(b"\x0c\x89")
    for _ in range(5):
        i2c.expect(b"\x08", b"\x40")
    with pytest.raises(BadReply, match="calibration"):
        list(chip.probe())
    with pytest.raises(ChipWasReset, match="probed"):
        chip.collect()


def test_another_chip_is_named_and_left_alone(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x0d", b"\x00")
    i2c.expect(b"\xd0", b"\x58")
    with pytest.raises(WrongChip, match='set driver = "bmp280"'):
        list(Dps310(i2c, 0x77, Dps310Options()).probe())


@pytest.mark.parametrize(
    ("registers", "known"), [("c00000000010", True), ("f70c00000010", True), ("000000000010", False)]
)
def test_it_is_recognised_by_more_than_one_register(i2c: ScriptedI2C, registers: str, known: bool) -> None:
    i2c.expect(b"\x08", bytes.fromhex(registers))
    assert (recognise(i2c, 0x77) is not None) == known
    i2c.expect(b"\x08", b"\xc0\x00\x00\xff\x00\x10")
    assert recognise(i2c, 0x77) is None
