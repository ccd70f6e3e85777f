from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.config.load import parse_config
from edge_agent.drivers.scd4x import Scd4x, Scd4xOptions, decode, recognise
from edge_agent.drivers.sensirion import with_checksum
from edge_agent.errors import ChecksumMismatch, ChipWasReset, ConfigError, NoAcknowledge, NotReady

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

REPLY = bytes.fromhex("01f4336667a25eb93c")
SERIAL = with_checksum(0xF896) + with_checksum(0x9F07) + with_checksum(0x3BBE)
SILENCE = NoAcknowledge("nothing to give")


def expect_start(i2c: ScriptedI2C, *settings: bytes, start: bytes = b"\x21\xb1") -> None:
    for command in (b"\x3f\x86", b"\x36\x46", b"\x36\x82"):
        i2c.expect(command)
    i2c.expect(b"", SERIAL)
    for setting in (*settings, start):
        i2c.expect(setting)


def test_the_bytes_of_the_datasheets_example_become_ppm_degrees_and_percent() -> None:
    assert decode(REPLY) == pytest.approx((500.0, 25.00267, 37.0016), abs=1e-4)


def test_every_shared_row_agrees_with_two_other_drivers(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/scd4x.json").read_text())["vectors"]
    for row in rows:
        co2, temperature, humidity = decode(bytes.fromhex(row["raw_hex"]))
        ends = {0, 0xFFFF}
        for name, peer in row["peers"].items():
            close = 0.003 if "sensirion" in name else 1e-9  # divides by 2¹⁶
            assert co2 == (None if row["adc"]["co2"] in ends else peer["co2"])
            assert temperature == (None if row["adc"]["t"] in ends else pytest.approx(peer["t"], abs=close))
            assert humidity == (None if row["adc"]["h"] in ends else pytest.approx(peer["h"], abs=close))
    assert len(rows) > 50


@pytest.mark.parametrize("word", [0x0000, 0xFFFF])
def test_a_word_that_no_measurement_gives_costs_only_its_own_quantity(word: int) -> None:
    for position in range(3):
        reply = bytearray(REPLY)
        reply[3 * position : 3 * position + 3] = with_checksum(word)
        assert [value is None for value in decode(bytes(reply))] == [position == each for each in range(3)]


@pytest.mark.parametrize("byte", range(9))
def test_damage_to_any_byte_is_seen(byte: int) -> None:
    damaged = bytearray(REPLY)
    damaged[byte] ^= 0x04
    with pytest.raises(ChecksumMismatch):
        decode(bytes(damaged))


def test_probe_stops_reloads_identifies_starts_and_waits_for_the_first_measurement(i2c: ScriptedI2C) -> None:
    expect_start(i2c)
    waits = list(Scd4x(i2c, 0x62, Scd4xOptions()).probe())
    assert waits == [500_000_000, 30_000_000, 1_000_000, 5_000_000_000]


def test_low_power_measures_every_half_minute(i2c: ScriptedI2C) -> None:
    expect_start(i2c, start=b"\x21\xac")
    assert list(Scd4x(i2c, 0x62, Scd4xOptions(low_power=True)).probe())[-1] == 30_000_000_000


def test_settings_go_to_its_memory_and_never_to_its_eeprom(i2c: ScriptedI2C) -> None:
    options = Scd4xOptions(temperature_offset_c=5.4, altitude_m=1950.0, ambient_pressure_pa=98_700.0)
    # The datasheet's examples: 0x07E6 is 5.4 °C, 0x079E is 1950 m, 0x03DB is 987 hPa.
    expect_start(i2c, b"\x24\x1d\x07\xe6\x48", b"\x24\x27\x07\x9e\x09", b"\xe0\x00\x03\xdb\x42")
    assert list(Scd4x(i2c, 0x62, options).probe())[3:6] == [1_000_000] * 3


def test_settings_beyond_the_chips_limits_are_taken_as_the_limits() -> None:
    beyond = Scd4xOptions(temperature_offset_c=-1.0, altitude_m=9_000.0, ambient_pressure_pa=1_013.25)
    values = [int.from_bytes(setting[2:4]) for setting in beyond.settings()]
    assert values == [0, 3_000, 700]


def test_a_sleeping_chip_is_woken(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x3f\x86", SILENCE)
    i2c.expect(b"\x36\xf6", SILENCE)  # never acknowledged
    expect_start(i2c)
    assert list(Scd4x(i2c, 0x62, Scd4xOptions()).probe())[:2] == [30_000_000, 500_000_000]


def test_nobody_stays_nobody(i2c: ScriptedI2C) -> None:
    for command in (b"\x3f\x86", b"\x36\xf6", b"\x3f\x86"):
        i2c.expect(command, SILENCE)
    with pytest.raises(NoAcknowledge):
        list(Scd4x(i2c, 0x62, Scd4xOptions()).probe())


def test_a_poll_asks_waits_a_millisecond_and_reads(i2c: ScriptedI2C) -> None:
    chip = Scd4x(i2c, 0x62, Scd4xOptions())
    for _ in range(2):
        assert chip.trigger() == 0
        i2c.expect(b"\xec\x05")
        with pytest.raises(NotReady) as asked:
            chip.collect()
        assert asked.value.wait_ns == 1_000_000
        i2c.expect(b"", REPLY)
        assert chip.collect() == pytest.approx((500.0, 25.0027, 37.0016), abs=1e-3)


def refused(i2c: ScriptedI2C, chip: Scd4x) -> None:
    i2c.expect(b"\xec\x05")
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", SILENCE)


def test_a_chip_that_measures_and_has_nothing_new_is_asked_again(i2c: ScriptedI2C) -> None:
    chip = Scd4x(i2c, 0x62, Scd4xOptions())
    chip.trigger()
    refused(i2c, chip)
    i2c.expect(b"\x36\x82", SILENCE)
    with pytest.raises(NotReady) as nothing:
        chip.collect()
    assert nothing.value.wait_ns is None
    refused(i2c, chip)
    with pytest.raises(NotReady):  # its serial number is not asked for again
        chip.collect()
    i2c.expect(b"\xec\x05")
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", REPLY)
    assert chip.collect()[0] == 500.0


@pytest.mark.parametrize(
    ("answer", "error"), [(SERIAL, ChipWasReset), (SILENCE, NotReady), (bytes(9), ChecksumMismatch)]
)
def test_a_chip_that_gives_its_serial_number_has_stopped_measuring(
    i2c: ScriptedI2C, answer: bytes | Exception, error: type[Exception]
) -> None:
    chip = Scd4x(i2c, 0x62, Scd4xOptions())
    chip.trigger()
    refused(i2c, chip)
    i2c.expect(b"\x36\x82")
    with pytest.raises(NotReady) as asked:
        chip.collect()
    assert asked.value.wait_ns == 1_000_000
    i2c.expect(b"", answer)
    with pytest.raises(error):
        chip.collect()


def test_scan_asks_what_may_be_asked_while_it_measures(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xe4\xb8")
    i2c.expect(b"", with_checksum(0x8000))
    name = recognise(i2c, 0x62)
    assert name is not None
    assert "SCD41" in name


def test_low_power_takes_thirty_seconds_and_a_shorter_period_is_refused() -> None:
    base = '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
    base += '[[sensor]]\nid = "a"\ndriver = "scd4x"\nbus = "i2c1"\n'
    assert parse_config(base).sensors[0].period_s == 5
    assert parse_config(base + "low_power = true\n").sensors[0].period_s == 30
    with pytest.raises(ConfigError, match="scd4x takes 30 s or more, as it is set up here"):
        parse_config(base + "low_power = true\nperiod_s = 5\n")
