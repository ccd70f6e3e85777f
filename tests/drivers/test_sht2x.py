from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers import htu21d, sht2x, si7021
from edge_agent.drivers.base import NoOptions
from edge_agent.drivers.checksum import crc8_sht2x
from edge_agent.drivers.htu21d import Htu21d
from edge_agent.drivers.sht2x import Sht2x, checked_raw, decode
from edge_agent.drivers.si7021 import Si7021, previous_temperature_c
from edge_agent.errors import BadReply, ChecksumMismatch, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

TEMPERATURE, HUMIDITY = bytes.fromhex("68381e"), bytes.fromhex("4e8638")
SILENCE = NoAcknowledge("busy")


def result(word: int) -> bytes:
    data = word.to_bytes(2)
    return data + bytes((crc8_sht2x(data),))


@pytest.mark.parametrize(("data", "crc"), [("dc", 0x79), ("683a", 0x7C), ("4e85", 0x6B), ("0000", 0x00)])
def test_the_checksum_is_that_of_the_datasheet(data: str, crc: int) -> None:
    assert crc8_sht2x(bytes.fromhex(data)) == crc


def test_result_bytes_become_degrees_and_percent_without_their_status_bits() -> None:
    assert decode(TEMPERATURE, HUMIDITY) == pytest.approx((24.686401, 32.337708), abs=1e-6)


def test_every_shared_row_agrees_with_three_other_drivers(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/sht2x_htu21d_si7021.json").read_text())["vectors"]
    for row in rows:
        raw = row["raw_hex"]
        temperature, humidity = decode(bytes.fromhex(raw["t"]), bytes.fromhex(raw["h"]))
        for name, peer in row["peers"].items():
            # Sensirion's divides by 2¹⁶ - 1, and the others do not take the status bits out of the humidity.
            assert temperature == pytest.approx(peer["t"], abs=0.003 if "sensirion" in name else 1e-9)
            assert humidity == pytest.approx(min(100.0, max(0.0, peer["h"])), abs=0.006)
    assert len(rows) > 50


@pytest.mark.parametrize("word", [0x0000, 0x0002, 0xFFFC, 0xFFFE, 0xFFFF])
def test_a_dead_element_or_a_line_held_fast_gives_no_value_though_zeros_pass_the_checksum(word: int) -> None:
    assert decode(result(word), HUMIDITY)[0] is None
    assert decode(TEMPERATURE, result(word))[1] is None
    assert previous_temperature_c(word.to_bytes(2)) is None


def test_humidity_is_cropped_to_what_there_is() -> None:
    assert decode(TEMPERATURE, result(0x0006))[1] == 0.0
    assert decode(TEMPERATURE, result(0xFFF2))[1] == 100.0


def test_a_result_of_the_other_quantity_is_refused() -> None:
    with pytest.raises(BadReply, match="a humidity came where the temperature"):
        checked_raw(HUMIDITY, humidity=False)
    with pytest.raises(BadReply, match="a temperature came where the humidity"):
        checked_raw(TEMPERATURE, humidity=True)
    with pytest.raises(BadReply, match="no temperature"):
        previous_temperature_c(HUMIDITY[:2])


@given(st.binary(max_size=4), st.booleans())
def test_any_bytes_give_a_value_or_an_error_of_ours(reply: bytes, humidity: bool) -> None:
    try:
        raw = checked_raw(reply, humidity=humidity)
    except (BadReply, ChecksumMismatch):
        return
    assert raw is None or (0 < raw < 0xFFFC and raw % 4 == 0)


def test_probe_resets_and_leaves_alone_what_is_as_it_should_be(i2c: ScriptedI2C) -> None:
    for user in (b"\x3a", b"\x02", b"\x7a"):
        i2c.expect(b"\xfe")
        i2c.expect(b"\xe7", user)
        assert list(Sht2x(i2c, 0x40, NoOptions()).probe()) == [15_000_000]


def test_probe_switches_off_the_heater_and_sets_the_finest_resolution(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xfe")
    i2c.expect(b"\xe7", b"\xbf")
    i2c.expect(b"\xe6\x3a")
    list(Htu21d(i2c, 0x40, NoOptions()).probe())


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"\x10\x50", 'set driver = "hdc1080"'),
        (b"\x10\x00", 'set driver = "hdc1080"'),
        (b"\x39\x9f", "INA219"),
        (SILENCE, "INA219"),
    ],
)
def test_another_chip_is_named(i2c: ScriptedI2C, answer: bytes | Exception, sentence: str) -> None:
    i2c.expect(b"\xfe")
    i2c.expect(b"\xe7", b"\xff")
    i2c.expect(b"\xff", answer)
    with pytest.raises(WrongChip, match=sentence):
        list(Sht2x(i2c, 0x40, NoOptions()).probe())


@pytest.mark.parametrize(
    ("chip", "humidity_ns", "temperature_ns"), [(Sht2x, 29_000_000, 85_000_000), (Htu21d, 16_000_000, 50_000_000)]
)
def test_a_poll_is_two_conversions_and_never_holds_the_clock(
    i2c: ScriptedI2C, chip: type[Sht2x], humidity_ns: int, temperature_ns: int
) -> None:
    driver = chip(i2c, 0x40, NoOptions())
    for _ in range(2):
        i2c.expect(b"\xf5")
        assert driver.trigger() == humidity_ns
        i2c.expect(b"", HUMIDITY)
        i2c.expect(b"\xf3")
        with pytest.raises(NotReady) as halfway:
            driver.collect()
        assert halfway.value.wait_ns == temperature_ns
        i2c.expect(b"", SILENCE)
        with pytest.raises(NotReady) as busy:
            driver.collect()
        assert busy.value.wait_ns is None
        i2c.expect(b"", TEMPERATURE)
        assert driver.collect() == pytest.approx((24.6864, 32.3377), abs=1e-4)


def test_a_humidity_without_a_value_does_not_lose_the_temperature(i2c: ScriptedI2C) -> None:
    driver = Sht2x(i2c, 0x40, NoOptions())
    i2c.expect(b"\xf5")
    driver.trigger()
    i2c.expect(b"", bytes(3))
    i2c.expect(b"\xf3")
    with pytest.raises(NotReady):
        driver.collect()
    i2c.expect(b"", TEMPERATURE)
    temperature, humidity = driver.collect()
    assert temperature == pytest.approx(24.6864, abs=1e-4)
    assert humidity is None


def test_an_si7021_gives_the_temperature_of_its_humidity(i2c: ScriptedI2C) -> None:
    driver = Si7021(i2c, 0x40, NoOptions())
    i2c.expect(b"\xf5")
    assert driver.trigger() == 22_800_000
    i2c.expect(b"", SILENCE)
    with pytest.raises(NotReady):
        driver.collect()
    i2c.expect(b"", HUMIDITY)
    i2c.expect(b"\xe0", TEMPERATURE[:2])
    assert driver.collect() == pytest.approx((24.6864, 32.3377), abs=1e-4)


@pytest.mark.parametrize("first", [0x0D, 0x14, 0x15])
def test_an_si70xx_is_known_by_its_identification(i2c: ScriptedI2C, first: int) -> None:
    i2c.expect(b"\xfe")
    i2c.expect(b"\xe7", b"\x3a")
    i2c.expect(b"\xfc\xc9", bytes((first,)) + bytes(5))
    assert list(Si7021(i2c, 0x40, NoOptions()).probe()) == [15_000_000]


@pytest.mark.parametrize(
    ("user", "answer", "named"),
    [
        (0x3A, b"\x49" * 6, "sht2x"),
        (0x02, b"\x32" * 6, "htu21d"),
        (0x3A, SILENCE, "sht2x"),
        (0x3A, b"\x15" * 6, "si7021"),
    ],
)
def test_each_of_the_family_is_recognised_by_its_own_driver(
    i2c: ScriptedI2C, user: int, answer: bytes | Exception, named: str
) -> None:
    for module in (sht2x, htu21d, si7021):
        i2c.expect(b"\xe7", bytes((user,)))
        if user == 0x3A:
            i2c.expect(b"\xfc\xc9", answer)
        name = module.__name__.rpartition(".")[2]
        assert (module.recognise(i2c, 0x40) is not None) is (name == named)


def test_a_relative_without_its_own_temperature_is_named_to_an_si7021(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xfe")
    i2c.expect(b"\xe7", b"\x02")
    i2c.expect(b"\xfc\xc9", b"\x32" * 6)
    i2c.expect(b"\xe7", b"\x02")
    with pytest.raises(WrongChip, match='set driver = "htu21d"'):
        list(Si7021(i2c, 0x40, NoOptions()).probe())
