from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers import bme280, bmp280
from edge_agent.drivers.bme280 import (
    Bme280,
    Bme280Options,
    Bmp280Options,
    Trim,
    conversion_ns,
    decode,
)
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

# The datasheet's worked example (BMP280, section 3.12), with the humidity trim of a common chip.
LOW = bytes.fromhex("706b436718fc7d8e43d6d00b270b8c00f9ff8c3cf8c67017004b")
HIGH = bytes.fromhex("6801001504001e")
DATA = bytes.fromhex("655ac07eed007530")
SETTINGS = bytes.fromhex("010024a000")
"""ctrl_hum, status, ctrl_meas, config, and a reserved register."""
TEMPERATURE_C, PRESSURE_PA, HUMIDITY_PCT = 25.08247793081682, 100653.25814481472, 46.00144790836155


def expect_start(i2c: ScriptedI2C, *, chip_id: int = 0x60, humid: bool = True) -> None:
    i2c.expect(b"\xd0", bytes((chip_id,)))
    i2c.expect(b"\xe0\xb6")
    i2c.expect(b"\xf3", b"\x00")
    for _ in range(2):
        i2c.expect(b"\x88", LOW if humid else LOW[:24])
    for _ in range(2 if humid else 0):
        i2c.expect(b"\xe1", HIGH)
    i2c.expect(b"\xf5\xa0")
    if humid:
        i2c.expect(b"\xf2\x01")
    i2c.expect(b"\xf4\x24")


def started(i2c: ScriptedI2C, *, humid: bool = True) -> Bme280:
    chip = Bme280(i2c, 0x76, Bme280Options() if humid else Bmp280Options())
    expect_start(i2c, humid=humid)
    assert list(chip.probe()) == [2_000_000]
    return chip


def test_the_datasheet_example_gives_the_datasheet_values() -> None:
    temperature, humidity, pressure = decode(DATA, Trim.from_registers(LOW, HIGH))
    assert temperature == pytest.approx(TEMPERATURE_C, abs=1e-4)
    assert pressure == pytest.approx(PRESSURE_PA, abs=0.05)
    assert humidity == pytest.approx(HUMIDITY_PCT, abs=0.01)


def test_trim_signs_are_where_the_datasheet_puts_them() -> None:
    trim = Trim.from_registers(LOW, HIGH)
    assert trim.t == (27504, 26435, -1000)
    assert trim.p == (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
    assert trim.h == (75, 360, 0, 340, 0, 30)
    # H2, H4, H5 and H6 negative, H1 and H3 above 127; E5 feeds both H4 and H5.
    negative = Trim.from_registers(LOW[:25] + b"\xff", bytes.fromhex("ffffff80a5ffff"))
    assert negative.h == (255, -1, 255, -2048 + 0x5, -16 + 0xA, -1)
    assert Trim.from_registers(LOW[:24]).h is None


@pytest.mark.parametrize("chip", ["bme280", "bmp280"])
def test_every_plausible_shared_row_is_within_tolerance(shared_dir: Path, chip: str) -> None:
    rows = json.loads((shared_dir / f"data/vectors/{chip}.json").read_text())["vectors"]
    compared = 0
    for row in rows:
        temperature, humidity, pressure = decode(_data(row), _trim(row))
        if row["kind"].startswith("raw"):
            continue
        compared += 1
        expect = row["expect"]
        assert temperature == pytest.approx(expect["temperature_c"], abs=1e-4)
        assert pressure == pytest.approx(expect["pressure_pa"], abs=0.05)
        if expect["humidity_pct"] is not None:
            assert humidity == pytest.approx(expect["humidity_pct"], abs=0.01)
    assert compared > 100


@pytest.mark.parametrize("chip", ["bme280", "bmp280"])
def test_every_odd_shared_row_gives_none_for_what_was_skipped(shared_dir: Path, chip: str) -> None:
    rows = json.loads((shared_dir / f"data/vectors/{chip}.json").read_text())["vectors"]
    for row in rows:
        temperature, humidity, pressure = decode(_data(row), _trim(row))
        skipped, expect = row["skipped"], row["expect"]
        assert not skipped["t"] or temperature is None
        assert not skipped["p"] or pressure is None
        assert not skipped.get("h") or humidity is None
        if temperature is not None and not row.get("clamped", {}).get("t"):
            assert temperature == pytest.approx(expect["temperature_c"], abs=1e-4)


def _data(row: dict[str, Any]) -> bytes:
    return bytes.fromhex(row["raw_hex"]["0xF7"])


def _trim(row: dict[str, Any]) -> Trim:
    blocks = row["calib_hex"]
    return Trim.from_registers(bytes.fromhex(blocks["0x88"]), bytes.fromhex(blocks.get("0xE1", "")))


@pytest.mark.parametrize(
    ("data", "none"),
    [
        ("800000 800000 8000", (True, True, True)),
        ("655ac0 800000 7530", (True, True, True)),
        ("800000 7eed00 7530", (False, False, True)),
        ("655ac0 7eed00 8000", (False, True, False)),
    ],
)
def test_a_skipped_channel_is_none_and_so_is_what_needs_it(data: str, none: tuple[bool, ...]) -> None:
    values = decode(bytes.fromhex(data), Trim.from_registers(LOW, HIGH))
    assert tuple(value is None for value in values) == none


def test_a_calibration_that_would_divide_by_zero_gives_no_pressure() -> None:
    without_p1 = LOW[:6] + b"\x00\x00" + LOW[8:]
    temperature, _, pressure = decode(DATA, Trim.from_registers(without_p1, HIGH))
    assert temperature is not None
    assert pressure is None


def test_humidity_stays_within_0_and_100() -> None:
    trim = Trim.from_registers(LOW, HIGH)
    assert decode(DATA[:6] + b"\x00\x00", trim)[1] == 0.0
    assert decode(DATA[:6] + b"\xff\xff", trim)[1] == 100.0


def test_too_short_a_calibration_is_refused() -> None:
    with pytest.raises(BadReply, match="short"):
        Trim.from_registers(LOW[:23])
    with pytest.raises(BadReply, match="short"):
        Trim.from_registers(LOW, HIGH[:6])


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (bytes(26), bytes(26), "0x00"),
        (b"\xff" * 26, b"\xff" * 26, "0xff"),
        (LOW, LOW[:9] + b"\xff" + LOW[10:], "and then"),
    ],
)
def test_a_calibration_that_is_empty_or_reads_differently_twice_is_refused(
    i2c: ScriptedI2C, first: bytes, second: bytes, sentence: str
) -> None:
    i2c.expect(b"\xd0", b"\x60")
    i2c.expect(b"\xe0\xb6")
    i2c.expect(b"\xf3", b"\x00")
    i2c.expect(b"\x88", first)
    i2c.expect(b"\x88", second)
    with pytest.raises(BadReply, match=sentence):
        list(Bme280(i2c, 0x76, Bme280Options()).probe())


REGISTERS = st.tuples(st.binary(max_size=30), st.binary(max_size=9), st.binary(max_size=10))
WHOLE_REGISTERS = st.tuples(*(st.binary(min_size=size, max_size=size) for size in (26, 7, 8)))


@given(REGISTERS | WHOLE_REGISTERS)
def test_any_bytes_give_finite_values_or_none_or_a_refusal(registers: tuple[bytes, bytes, bytes]) -> None:
    low, high, data = registers
    try:
        trim = Trim.from_registers(low, high)
    except BadReply:
        return
    assert all(value is None or math.isfinite(value) for value in decode(data, trim))


def test_conversion_times_are_the_datasheet_maxima() -> None:
    assert conversion_ns(1, 1, 1) == 9_300_000
    assert conversion_ns(16, 16, 16) == 112_800_000
    assert conversion_ns(1, 1, 0) == 6_425_000


def test_a_poll_is_one_write_and_one_burst(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    assert chip.quantities == ("temperature_c", "humidity_pct", "pressure_pa")
    i2c.expect(b"\xf4\x25")
    assert chip.trigger() == 9_300_000
    i2c.expect(b"\xf2", SETTINGS + DATA)
    assert chip.collect() == pytest.approx((TEMPERATURE_C, HUMIDITY_PCT, PRESSURE_PA), abs=0.01)


def test_options_reach_the_registers(i2c: ScriptedI2C) -> None:
    options = Bme280Options(
        temperature_oversampling=2, humidity_oversampling=4, pressure_oversampling=16, iir_filter=16
    )
    chip = Bme280(i2c, 0x77, options)
    expect_start(i2c)
    i2c.script[-3:] = [(b"\xf5\xb0", b""), (b"\xf2\x03", b""), (b"\xf4\x54", b"")]
    list(chip.probe())
    i2c.expect(b"\xf4\x55")
    assert chip.trigger() == conversion_ns(2, 16, 4)
    assert i2c.addresses == {0x77}


def test_a_board_with_a_bmp280_goes_on_without_humidity(i2c: ScriptedI2C) -> None:
    chip = Bme280(i2c, 0x76, Bme280Options())
    expect_start(i2c, chip_id=0x58, humid=False)
    list(chip.probe())
    assert chip.quantities == ("temperature_c", "pressure_pa")
    i2c.expect(b"\xf4\x25")
    assert chip.trigger() == 6_425_000
    i2c.expect(b"\xf2", b"\x00" + SETTINGS[1:] + DATA[:6])
    assert chip.collect() == pytest.approx((TEMPERATURE_C, PRESSURE_PA), abs=0.05)


def test_the_right_chip_plugged_in_later_brings_humidity_back(i2c: ScriptedI2C) -> None:
    chip = Bme280(i2c, 0x76, Bme280Options())
    expect_start(i2c, chip_id=0x58, humid=False)
    list(chip.probe())
    expect_start(i2c)
    list(chip.probe())
    assert "humidity_pct" in chip.quantities


def test_a_bme280_configured_as_bmp280_runs_as_one(i2c: ScriptedI2C) -> None:
    chip = Bme280(i2c, 0x76, Bmp280Options())
    expect_start(i2c, chip_id=0x60, humid=False)
    list(chip.probe())
    assert chip.quantities == ("temperature_c", "pressure_pa")


@pytest.mark.parametrize(
    ("identities", "sentence"),
    [
        ([0x61], "is a BME680 or BME688 "),
        ([0x55], "is a BMP180 .* there is no driver"),
        ([0x00, 0x50], "is a BMP388 "),
        ([0xFF, 0xFF, 0xFF], "held fast"),
        ([0x42, 0x00, 0x00], "unknown chip id 0x42"),
    ],
)
def test_another_chip_is_named_and_left_alone(i2c: ScriptedI2C, identities: list[int], sentence: str) -> None:
    for register, identity in zip((0xD0, 0x00, 0x0D), identities, strict=False):
        i2c.expect(bytes((register,)), bytes((identity,)))
    with pytest.raises(WrongChip, match=sentence):
        list(Bme280(i2c, 0x76, Bme280Options()).probe())


def test_calibration_is_read_only_after_the_chip_has_copied_it(i2c: ScriptedI2C) -> None:
    chip = Bme280(i2c, 0x76, Bme280Options())
    expect_start(i2c)
    i2c.script[2:2] = [(b"\xf3", b"\x01"), (b"\xf3", b"\x01")]
    assert list(chip.probe()) == [2_000_000] * 3


def test_a_chip_that_never_finishes_copying_is_not_waited_for_for_ever(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xd0", b"\x60")
    i2c.expect(b"\xe0\xb6")
    for _ in range(5):
        i2c.expect(b"\xf3", b"\x01")
    waits: list[int] = []
    with pytest.raises(BadReply, match="calibration"):
        waits.extend(Bme280(i2c, 0x76, Bme280Options()).probe())
    assert waits == [2_000_000] * 5


def test_collected_too_early_is_not_ready(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    i2c.expect(b"\xf2", bytes.fromhex("010825a000") + DATA)
    with pytest.raises(NotReady):
        chip.collect()


@pytest.mark.parametrize(
    "held",
    [
        "0000000000",
        "ffffffffff",
        "000024a000",  # ctrl_hum: it was reset before the trigger wrote ctrl_meas
        "0100240000",  # config, likewise
        "010000a000",
    ],
)
def test_a_chip_that_lost_its_configuration_is_not_believed(i2c: ScriptedI2C, held: str) -> None:
    chip = started(i2c)
    i2c.expect(b"\xf2", bytes.fromhex(held) + DATA)
    with pytest.raises(ChipWasReset, match="was written"):
        chip.collect()


def test_a_bmp280_that_was_reset_before_the_trigger_is_not_believed_either(i2c: ScriptedI2C) -> None:
    chip = started(i2c, humid=False)
    i2c.expect(b"\xf2", bytes.fromhex("0000240000") + DATA[:6])
    with pytest.raises(ChipWasReset, match="0xf5"):
        chip.collect()


def test_a_chip_that_was_never_probed_or_failed_to_start_gives_nothing(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    i2c.expect(b"\xd0", b"\x61")
    with pytest.raises(WrongChip):
        list(chip.probe())
    with pytest.raises(ChipWasReset, match="probed"):
        chip.collect()


def test_declarations_name_both_chips_at_both_addresses() -> None:
    declared = (*bme280.DRIVERS, *bmp280.DRIVERS)
    assert [info.name for info in declared] == ["bme280", "bmp280"]
    assert all(info.addresses == (0x76, 0x77) for info in declared)
    assert [len(info.quantities) for info in declared] == [3, 2]
