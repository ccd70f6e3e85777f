from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers.base import NoOptions
from edge_agent.drivers.hdc1080 import Hdc1080, decode, recognise
from edge_agent.errors import ChipWasReset, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from tests.drivers.conftest import ScriptedI2C

SILENCE = NoAcknowledge("busy, or no such command")
REPLY = bytes.fromhex("66507ffc")


def driver(i2c: ScriptedI2C) -> Hdc1080:
    return Hdc1080(i2c, 0x40, NoOptions())


def test_result_bytes_become_degrees_and_percent() -> None:
    # By hand: 0x6650 is 26 192 of 65 536, 0x8000 a half.
    assert decode(bytes.fromhex("66508000")) == pytest.approx((26_192 / 65_536 * 165 - 40, 50.0), abs=1e-9)
    assert decode(bytes.fromhex("3e0c1000")) == pytest.approx((-0.0085, 6.25), abs=1e-3)


@pytest.mark.parametrize("word", ["0000", "fffc", "ffff"])
def test_a_word_that_no_conversion_gives_is_no_value(word: str) -> None:
    assert decode(bytes.fromhex(word) + b"\x80\x00") == (None, 50.0)
    assert decode(b"\x66\x50" + bytes.fromhex(word))[1] is None


def test_probe_identifies_resets_and_sets_both_conversions_with_the_heater_off(i2c: ScriptedI2C) -> None:
    for device in (b"\x10\x50", b"\x10\x00"):
        i2c.expect(b"\xff", device)
        i2c.expect(b"\xfe", b"\x54\x49")
        i2c.expect(b"\x02\x80\x00")
        i2c.expect(b"\x02\x10\x00")
        assert list(driver(i2c).probe()) == [15_000_000]


def test_an_sht2x_which_does_not_know_the_question_is_named_and_not_reset(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xff", SILENCE)
    i2c.expect(b"\xe7", b"\x02")
    with pytest.raises(WrongChip, match='set driver = "htu21d"'):
        list(driver(i2c).probe())


def test_nobody_is_nobody(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xff", SILENCE)
    i2c.expect(b"\xe7", SILENCE)
    with pytest.raises(NoAcknowledge):
        list(driver(i2c).probe())


@pytest.mark.parametrize("device", [b"\x07\xd0", b"\x39\x9f", b"\xff\xff", b"\x00\x00"])
def test_another_identity_is_refused_and_not_recognised(i2c: ScriptedI2C, device: bytes) -> None:
    i2c.expect(b"\xff", device)
    with pytest.raises(WrongChip, match="no HDC1080"):
        list(driver(i2c).probe())
    i2c.expect(b"\xff", device)
    assert recognise(i2c, 0x40) is None


def test_scan_wants_the_maker_too(i2c: ScriptedI2C) -> None:
    for maker, name in ((b"\x54\x49", "HDC1080"), (b"\x00\x00", None)):
        i2c.expect(b"\xff", b"\x10\x50")
        i2c.expect(b"\xfe", maker)
        assert recognise(i2c, 0x40) == name


def test_a_poll_triggers_stops_and_reads_results_and_configuration(i2c: ScriptedI2C) -> None:
    chip = driver(i2c)
    i2c.expect(b"\x00")
    assert chip.trigger() == 20_000_000
    i2c.expect(b"", SILENCE)
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", REPLY)
    i2c.expect(b"\x02", b"\x18\x00")  # with the flag of a low supply
    assert chip.collect() == pytest.approx((25.9438, 49.9939), abs=1e-3)


@pytest.mark.parametrize("config", [b"\x30\x00", b"\x00\x00", b"\x14\x00", b"\xff\xff"])
def test_a_heater_or_settings_that_are_not_ours_are_not_believed(i2c: ScriptedI2C, config: bytes) -> None:
    i2c.expect(b"", REPLY)
    i2c.expect(b"\x02", config)
    with pytest.raises(ChipWasReset, match=config.hex()):
        driver(i2c).collect()
