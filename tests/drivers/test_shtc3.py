from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.drivers.checksum import crc8_sensirion
from edge_agent.drivers.shtc3 import Shtc3, Shtc3Options, decode, recognise
from edge_agent.errors import ChecksumMismatch, NoAcknowledge, NotReady, WrongChip
from edge_agent.simulate.chips.tca9548a import Tca9548a
from edge_agent.simulate.i2c import SimulatedI2C

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.conftest import ScriptedI2C

REPLY = bytes.fromhex("6666938000a2")
WAKE, SLEEP, RESET, READ_ID = b"\x35\x17", b"\xb0\x98", b"\x80\x5d", b"\xef\xc8"
SILENCE = NoAcknowledge("asleep or busy")


def word(value: int) -> bytes:
    data = value.to_bytes(2)
    return data + bytes((crc8_sensirion(data),))


def test_register_bytes_become_degrees_and_percent() -> None:
    assert decode(REPLY) == pytest.approx((24.99893, 50.0), abs=1e-4)
    assert decode(word(0) + word(0xFFFF)) == (None, None)


def test_every_shared_row_agrees_with_two_other_drivers(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/shtc3.json").read_text())["vectors"]
    for row in rows:
        temperature, humidity = decode(bytes.fromhex(row["raw_hex"]))
        for name, peer in row["peers"].items():
            # Adafruit's rounds down to 0.01, Sensirion's divides by 2¹⁶ - 1.
            close = 0.0125 if "quantised" in name else 0.003
            assert temperature == (None if row["adc"]["t"] in {0, 0xFFFF} else pytest.approx(peer["t"], abs=close))
            assert humidity == (None if row["adc"]["h"] in {0, 0xFFFF} else pytest.approx(peer["h"], abs=close))
    assert len(rows) > 50


def test_probe_wakes_resets_identifies_and_sends_to_sleep(i2c: ScriptedI2C) -> None:
    i2c.expect(b"", NoAcknowledge("nothing to say"))
    for command in (WAKE, RESET, READ_ID):
        i2c.expect(command)
    i2c.expect(b"", word(0xC8C7 & ~0x083F | 0x0807))
    i2c.expect(SLEEP)
    assert list(Shtc3(i2c, 0x70, Shtc3Options()).probe()) == [240_000, 240_000]


def test_another_identity_is_refused(i2c: ScriptedI2C) -> None:
    i2c.expect(b"", SILENCE)
    for command in (WAKE, RESET, READ_ID):
        i2c.expect(command)
    i2c.expect(b"", word(0x0007))
    with pytest.raises(WrongChip, match="SHTC1"):
        list(Shtc3(i2c, 0x70, Shtc3Options()).probe())


def test_a_multiplexer_is_refused_and_its_channels_stay_as_they_are() -> None:
    bus = SimulatedI2C(SimulatedClock(0))
    multiplexer = Tca9548a()
    multiplexer.write(b"\x04")
    bus.attach(0x70, multiplexer)
    with pytest.raises(WrongChip, match="multiplexer"):
        list(Shtc3(bus, 0x70, Shtc3Options()).probe())
    assert recognise(bus, 0x70) is None
    assert multiplexer.read(1) == b"\x04"


def test_a_measurement_that_somebody_left_behind_does_not_make_it_a_multiplexer(i2c: ScriptedI2C) -> None:
    i2c.expect(b"", REPLY)
    i2c.expect(WAKE)
    assert next(Shtc3(i2c, 0x70, Shtc3Options()).probe()) == 240_000


@pytest.mark.parametrize(
    ("low_power", "command", "wait_ns"), [(False, b"\x78\x66", 12_100_000), (True, b"\x60\x9c", 800_000)]
)
def test_a_poll_is_wake_measure_read_sleep(i2c: ScriptedI2C, low_power: bool, command: bytes, wait_ns: int) -> None:
    chip = Shtc3(i2c, 0x70, Shtc3Options(low_power))
    i2c.expect(WAKE)
    assert chip.trigger() == 240_000
    i2c.expect(command, SILENCE)
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(command)
    with pytest.raises(NotReady) as started:
        chip.collect()
    assert started.value.wait_ns == wait_ns
    i2c.expect(b"", SILENCE)
    with pytest.raises(NotReady) as busy:
        chip.collect()
    assert busy.value.wait_ns is None
    i2c.expect(b"", REPLY)
    i2c.expect(SLEEP)
    assert chip.collect() == pytest.approx((24.9989, 50.0), abs=1e-4)


def test_damaged_bytes_are_refused_when_the_chip_has_been_sent_to_sleep(i2c: ScriptedI2C) -> None:
    chip = Shtc3(i2c, 0x70, Shtc3Options())
    i2c.expect(WAKE)
    chip.trigger()
    i2c.expect(b"\x78\x66")
    with pytest.raises(NotReady):
        chip.collect()
    i2c.expect(b"", REPLY[:5] + b"\xa3")
    i2c.expect(SLEEP, SILENCE)
    with pytest.raises(ChecksumMismatch):
        chip.collect()


def test_scan_tries_again_while_the_chip_wakes(i2c: ScriptedI2C) -> None:
    i2c.expect(b"", SILENCE)
    i2c.expect(WAKE)
    i2c.expect(READ_ID, SILENCE)
    i2c.expect(READ_ID)
    i2c.expect(b"", word(0x0887))
    assert recognise(i2c, 0x70) == "SHTC3"
    i2c.expect(b"", SILENCE)
    i2c.expect(WAKE)
    for _ in range(4):
        i2c.expect(READ_ID, SILENCE)
    with pytest.raises(NoAcknowledge):
        recognise(i2c, 0x70)
