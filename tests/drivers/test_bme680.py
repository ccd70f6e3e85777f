from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.bme680 import Bme680, Bme680Options, Trim, conversion_ns, decode, recognise
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

# A part with a usual calibration, H1 = 852 and H2 = 989 sharing the byte 0xD4, in a hot greenhouse.
LOW = bytes.fromhex("206403007c9887d75800d92026ff251e000010f6e6f51e")
HIGH = bytes.fromhex("3dd435002d14789cec65")
DATA = bytes.fromhex("69943095f6006ea5")
TEMPERATURE_C, HUMIDITY_PCT, PRESSURE_PA = 60.145017, 89.272507, 81558.8514
SETTINGS = bytes.fromhex("080001002400")


def expect_start(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xd0", b"\x61")
    i2c.expect(b"\xe0\xb6")
    for register, block in ((b"\x8a", LOW), (b"\xe1", HIGH)):
        i2c.expect(register, block)
        i2c.expect(register, block)
    for setting in ("7008", "7201", "7424", "7500"):
        i2c.expect(bytes.fromhex(setting))


def started(i2c: ScriptedI2C) -> Bme680:
    chip = Bme680(i2c, 0x76, Bme680Options())
    expect_start(i2c)
    assert list(chip.probe()) == [10_000_000]
    return chip


def test_register_bytes_become_degrees_percent_and_pascal() -> None:
    assert decode(DATA, Trim.from_registers(LOW, HIGH)) == pytest.approx(
        (TEMPERATURE_C, HUMIDITY_PCT, PRESSURE_PA), abs=1e-3
    )


def test_trim_is_where_the_datasheet_puts_it() -> None:
    trim = Trim.from_registers(LOW, HIGH)
    assert trim.t == (26092, 25632, 3)
    assert trim.p == (39036, -10361, 88, 8409, -218, 30, 37, -2544, -2586, 30)
    assert trim.h == (852, 989, 0, 45, 20, 120, -100)
    assert Trim.from_registers(LOW, bytes.fromhex("00f50000000000000000")).h[:2] == (5, 15)
    with pytest.raises(BadReply, match="short"):
        Trim.from_registers(LOW[:-1], HIGH)


@pytest.mark.parametrize("chip", ["bme680", "bme688"])
def test_every_shared_row_is_within_tolerance_or_none(shared_dir: Path, chip: str) -> None:
    rows = json.loads((shared_dir / f"data/vectors/{chip}.json").read_text())["vectors"]
    for row in rows:
        temperature, humidity, pressure = decode(_bytes(row, "raw_hex", "0x1D")[2:], _trim(row))
        expect = row["expect"]
        if row["skipped"]["t"]:
            assert temperature is humidity is pressure is None
            continue
        assert temperature == pytest.approx(expect["temperature_c"], abs=1e-4)
        assert humidity == pytest.approx(expect["humidity_pct"], abs=0.01)
        if expect["pressure_pa"] > 0:
            assert pressure == pytest.approx(expect["pressure_pa"], abs=0.05)
        else:
            assert pressure is None
    assert len(rows) > 100


def _bytes(row: dict[str, Any], kind: str, start: str) -> bytes:
    return bytes.fromhex(row[kind][start])


def _trim(row: dict[str, Any]) -> Trim:
    return Trim.from_registers(_bytes(row, "calib_hex", "0x8A"), _bytes(row, "calib_hex", "0xE1"))


@pytest.mark.parametrize(
    ("data", "none"),
    [
        ("800000 800000 8000", (True, True, True)),
        ("800000 95f600 6ea5", (False, False, True)),
        ("699430 95f600 8000", (False, True, False)),
    ],
)
def test_a_skipped_channel_is_none_and_so_is_what_needs_it(data: str, none: tuple[bool, ...]) -> None:
    values = decode(bytes.fromhex(data), Trim.from_registers(LOW, HIGH))
    assert tuple(value is None for value in values) == none


def test_a_calibration_that_would_divide_by_zero_gives_no_pressure() -> None:
    without_p1 = LOW[:4] + b"\x00\x00" + LOW[6:]
    assert decode(DATA, Trim.from_registers(without_p1, HIGH))[2] is None


@given(st.tuples(*(st.binary(min_size=size, max_size=size) for size in (23, 10, 8))))
def test_any_bytes_give_finite_values_or_none(registers: tuple[bytes, bytes, bytes]) -> None:
    low, high, data = registers
    values = decode(data, Trim.from_registers(low, high))
    assert all(value is None or math.isfinite(value) for value in values)


def test_conversion_times_are_those_of_the_makers_driver() -> None:
    assert conversion_ns(1, 1, 1) == 11_182_000
    assert conversion_ns(16, 16, 16) == 99_517_000


def test_a_poll_is_one_write_and_two_bursts(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    i2c.expect(b"\x74\x25")
    assert chip.trigger() == 11_182_000
    i2c.expect(b"\x70", SETTINGS)
    i2c.expect(b"\x1d", b"\x80\x00" + DATA)
    assert chip.collect() == pytest.approx((TEMPERATURE_C, HUMIDITY_PCT, PRESSURE_PA), abs=1e-3)


def test_options_reach_the_registers(i2c: ScriptedI2C) -> None:
    chip = Bme680(i2c, 0x77, Bme680Options(2, 4, 16, 127))
    expect_start(i2c)
    i2c.script[-3:] = [(bytes.fromhex(setting), b"") for setting in ("7203", "7454", "751c")]
    list(chip.probe())
    i2c.expect(b"\x74\x55")
    assert chip.trigger() == conversion_ns(2, 16, 4)
    assert i2c.addresses == {0x77}


@pytest.mark.parametrize("status", [0x20, 0x00, 0xA0])
def test_collected_too_early_is_not_ready(i2c: ScriptedI2C, status: int) -> None:
    chip = started(i2c)
    i2c.expect(b"\x70", SETTINGS)
    i2c.expect(b"\x1d", bytes((status, 0)) + DATA)
    with pytest.raises(NotReady):
        chip.collect()


@pytest.mark.parametrize("held", ["000000000000", "ffffffffffff", "080000002500", "080001002404", "000001002400"])
def test_a_chip_that_lost_its_settings_is_not_believed(i2c: ScriptedI2C, held: str) -> None:
    chip = started(i2c)
    i2c.expect(b"\x70", bytes.fromhex(held))
    with pytest.raises(ChipWasReset, match="was written"):
        chip.collect()


def test_reserved_bits_and_the_mode_are_no_settings(i2c: ScriptedI2C) -> None:
    chip = started(i2c)
    i2c.expect(b"\x70", bytes.fromhex("f700c9ff27e3"))
    i2c.expect(b"\x1d", b"\x80\x00" + DATA)
    with pytest.raises(ChipWasReset):
        chip.collect()
    i2c.script.clear()
    i2c.expect(b"\x70", bytes.fromhex("f8ffc9ff27e3"))
    i2c.expect(b"\x1d", b"\x80\x00" + DATA)
    assert None not in chip.collect()


def test_a_calibration_that_reads_differently_twice_is_refused(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xd0", b"\x61")
    i2c.expect(b"\xe0\xb6")
    i2c.expect(b"\x8a", LOW)
    i2c.expect(b"\x8a", b"\x21" + LOW[1:])
    chip = Bme680(i2c, 0x76, Bme680Options())
    with pytest.raises(BadReply, match="and then"):
        list(chip.probe())
    with pytest.raises(ChipWasReset, match="probed"):
        chip.collect()


def test_another_chip_is_named_and_left_alone(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xd0", b"\x60")
    with pytest.raises(WrongChip, match=r'0x76 is a BME280 .* set driver = "bme280"'):
        list(Bme680(i2c, 0x76, Bme680Options()).probe())


def test_it_is_recognised_by_its_identity(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xd0", b"\x61")
    assert recognise(i2c, 0x76) == "BME680 or BME688"
    i2c.expect(b"\xd0", b"\x60")
    assert recognise(i2c, 0x76) is None
