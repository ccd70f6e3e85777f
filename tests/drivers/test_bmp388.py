from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers import bmp388, bmp390
from edge_agent.drivers.bmp388 import Bmp388, Bmp388Options, Trim, conversion_ns, decode
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

TRIM = bytes.fromhex("386c6446f6000201002a00a061ae77faf3693e0dc6")
DATA = bytes.fromhex("4bc57133df94")
TEMPERATURE_C, PRESSURE_PA = 44.460301, 100924.5306
IDLE = bytes(6)  # sensor time and what is reserved


def burst(*, error: int = 0, status: int = 0x70, event: int = 0, data: bytes = DATA) -> bytes:
    return bytes((error, status)) + data + IDLE + bytes((event,))


def expect_start(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x00", b"\x50")
    i2c.expect(b"\x7e\xb6")
    i2c.expect(b"\x03", b"\x10")
    i2c.expect(b"\x31", TRIM)
    i2c.expect(b"\x31", TRIM)
    i2c.expect(b"\x1c\x02")
    i2c.expect(b"\x1f\x00")
    i2c.expect(b"\x02", burst(event=1))


def started(i2c: ScriptedI2C) -> Bmp388:
    chip = Bmp388(i2c, 0x76, Bmp388Options())
    expect_start(i2c)
    assert list(chip.probe()) == [2_000_000]
    return chip


def test_register_bytes_become_degrees_and_pascal() -> None:
    assert decode(DATA, Trim.from_registers(TRIM)) == pytest.approx((TEMPERATURE_C, PRESSURE_PA), abs=1e-3)


@pytest.mark.parametrize("chip", ["bmp388", "bmp390"])
def test_every_shared_row_is_within_tolerance_or_none(shared_dir: Path, chip: str) -> None:
    rows = json.loads((shared_dir / f"data/vectors/{chip}.json").read_text())["vectors"]
    for row in rows:
        data, block = bytes.fromhex(row["raw_hex"]["0x04"]), bytes.fromhex(row["calib_hex"]["0x31"])
        temperature, pressure = decode(data, Trim.from_registers(block))
        if row["skipped"]["t"]:
            assert temperature is pressure is None
            continue
        expect, clamped = row["expect"], row["clamped"]
        if clamped["t"]:  # where the maker's code gives up and leaves a pressure of 0
            assert temperature is not None
            assert not -40.0 < temperature < 85.0
            assert pressure is None or pressure > 0.0
        else:
            assert temperature == pytest.approx(expect["temperature_c"], abs=1e-4)
        if not clamped["t"] and not clamped["p"]:
            assert pressure == pytest.approx(expect["pressure_pa"], abs=0.05)
    assert len(rows) > 100


def test_a_skipped_channel_is_none_and_so_is_what_needs_it() -> None:
    trim = Trim.from_registers(TRIM)
    skipped = bytes.fromhex("000080")
    assert decode(DATA[:3] + skipped, trim) == (None, None)
    temperature, pressure = decode(skipped + DATA[3:], trim)
    assert temperature == pytest.approx(TEMPERATURE_C, abs=1e-3)
    assert pressure is None


def test_too_short_a_calibration_is_refused() -> None:
    with pytest.raises(BadReply, match="short"):
        Trim.from_registers(TRIM[:-1])


@given(st.binary(min_size=21, max_size=21), st.binary(min_size=6, max_size=6))
def test_any_bytes_give_finite_values_or_none(block: bytes, data: bytes) -> None:
    assert all(value is None or math.isfinite(value) for value in decode(data, Trim.from_registers(block)))


def test_conversion_times_are_the_typical_ones_and_a_margin() -> None:
    assert conversion_ns(1, 1) == 1150 * 4979
    assert conversion_ns(1, 4) == 12_694_850
    assert conversion_ns(32, 32) == 1150 * 130_219


def test_a_poll_is_one_write_and_one_burst(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    i2c.expect(b"\x1b\x13")
    assert chip.trigger() == 12_694_850
    i2c.expect(b"\x02", burst())
    assert chip.collect() == pytest.approx((TEMPERATURE_C, PRESSURE_PA), abs=1e-3)


def test_options_reach_the_registers(i2c: ScriptedI2C) -> None:
    chip = Bmp388(i2c, 0x77, Bmp388Options(temperature_oversampling=2, pressure_oversampling=32, iir_filter=7))
    expect_start(i2c)
    i2c.script[-3:-1] = [(b"\x1c\x0d", b""), (b"\x1f\x06", b"")]
    list(chip.probe())
    i2c.expect(b"\x1b\x13")
    assert chip.trigger() == conversion_ns(2, 32)
    assert i2c.addresses == {0x77}


@pytest.mark.parametrize("status", [0x10, 0x30, 0x50])
def test_collected_too_early_is_not_ready(i2c: ScriptedI2C, status: int) -> None:
    chip = started(i2c)
    i2c.expect(b"\x02", burst(status=status))
    with pytest.raises(NotReady):
        chip.collect()


@pytest.mark.parametrize(
    ("reply", "error", "sentence"),
    [
        (burst(event=0x01), ChipWasReset, "supply"),
        (burst(status=0x10, event=0x03), ChipWasReset, "supply"),
        (b"\xff" * 15, ChipWasReset, "supply"),
        (bytes(15), BadReply, "held low"),
        (burst(error=0x04), BadReply, "0x04"),
    ],
)
def test_what_is_wrong_with_the_chip_is_said(
    i2c: ScriptedI2C, reply: bytes, error: type[Exception], sentence: str
) -> None:
    chip = started(i2c)
    i2c.expect(b"\x02", reply)
    with pytest.raises(error, match=sentence):
        chip.collect()


def test_the_chip_is_given_time_to_take_commands_but_not_for_ever(i2c: ScriptedI2C) -> None:
    chip = Bmp388(i2c, 0x76, Bmp388Options())
    expect_start(i2c)
    i2c.script[2:2] = [(b"\x03", b"\x00")] * 2
    assert list(chip.probe()) == [2_000_000] * 3
    i2c.expect(b"\x00", b"\x60")
    i2c.expect(b"\x7e\xb6")
    for _ in range(5):
        i2c.expect(b"\x03", b"\x00")
    with pytest.raises(BadReply, match="commands"):
        list(chip.probe())
    with pytest.raises(ChipWasReset, match="probed"):
        chip.collect()


@pytest.mark.parametrize(
    ("identities", "sentence"),
    [
        ([0x60], "is a BME280 "),
        ([0x00, 0x42, 0x10], "is a DPS310"),
        ([0x00, 0xFF, 0x00], "MS5611"),
        ([0x99, 0x00, 0x00], "unknown chip id 0x99"),
    ],
)
def test_another_chip_is_named_by_the_register_where_its_identity_lies(
    i2c: ScriptedI2C, identities: list[int], sentence: str
) -> None:
    i2c.expect(b"\x00", b"\x42")
    for register, identity in zip((0xD0, 0x00, 0x0D), identities, strict=False):
        i2c.expect(bytes((register,)), bytes((identity,)))
    with pytest.raises(WrongChip, match=sentence):
        list(Bmp388(i2c, 0x76, Bmp388Options()).probe())


@pytest.mark.parametrize(
    ("registers", "name"),
    [("50000010", "bmp388"), ("60010070", "bmp390"), ("50320010", "bmp388"), ("50001000", None), ("600000ff", None)],
)
def test_it_is_recognised_by_its_identity_and_the_zeros_beside(
    i2c: ScriptedI2C, registers: str, name: str | None
) -> None:
    for module in (bmp388, bmp390):
        i2c.expect(b"\x00", bytes.fromhex(registers))
        title = module.recognise(i2c, 0x76)
        assert (title is not None) == (module.DRIVERS[0].name == name)
