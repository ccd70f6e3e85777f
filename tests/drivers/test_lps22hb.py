from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers import lps22hb, lps22hh, lps25hb
from edge_agent.drivers.base import NoOptions
from edge_agent.drivers.lps22hb import LPS22HB, LPS25HB, decode
from edge_agent.errors import BadReply, ChipWasReset, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.drivers.base import Driver, DriverInfo
    from edge_agent.drivers.lps22hb import Kind
    from tests.drivers.conftest import ScriptedI2C

DATA = bytes.fromhex("66d53e c409")
"""1005.337 hPa; 25.00 °C on the LPS22HB."""
INFO: dict[str, DriverInfo] = {module.DRIVERS[0].name: module.DRIVERS[0] for module in (lps22hb, lps22hh, lps25hb)}
LPS22 = pytest.mark.parametrize(("name", "identity"), [("lps22hb", 0xB1), ("lps22hh", 0xB3)])


def make(name: str, i2c: ScriptedI2C, address: int = 0x5C) -> Driver:
    return INFO[name].open(i2c, address, NoOptions())


def started(name: str, identity: int, i2c: ScriptedI2C) -> Driver:
    chip = make(name, i2c)
    i2c.expect(b"\x0f", bytes((identity,)))
    for_25 = name == "lps25hb"
    i2c.expect(b"\x21\x04" if for_25 else b"\x11\x14")
    i2c.expect(b"\x21" if for_25 else b"\x11", b"\x00" if for_25 else b"\x10")
    i2c.expect(b"\x20\x84" if for_25 else b"\x10\x02")
    assert list(chip.probe()) == [2_200_000]
    return chip


def test_register_bytes_become_degrees_and_pascal() -> None:
    assert decode(DATA, LPS22HB) == pytest.approx((25.0, 100_533.74), abs=0.01)
    assert decode(bytes.fromhex("ffffff 90df"), LPS22HB) == pytest.approx((-83.04, -0.0244), abs=1e-4)
    assert decode(bytes.fromhex("66d53e 90df"), LPS25HB)[0] == pytest.approx(42.5 - 8304 / 480)


@pytest.mark.parametrize(("name", "kind"), [("lps22hb", LPS22HB), ("lps25hb", LPS25HB)])
def test_every_shared_row_agrees_with_another_driver(shared_dir: Path, name: str, kind: Kind) -> None:
    rows = json.loads((shared_dir / f"data/vectors/{name}.json").read_text())["vectors"]
    for row in rows:
        temperature, pressure = decode(bytes.fromhex(row["raw_hex"]["0x28"]), kind)
        (peer,) = row["peers"].values()
        assert temperature == pytest.approx(peer["t"], abs=1e-9)
        assert pressure == pytest.approx(peer["p"], abs=1e-6)
    assert len(rows) > 50


@LPS22
def test_a_poll_of_the_lps22_is_one_write_and_two_reads(i2c: ScriptedI2C, name: str, identity: int) -> None:
    chip = started(name, identity, i2c)
    i2c.expect(b"\x11\x11")
    assert chip.trigger() == 20_000_000
    i2c.expect(b"\x10", b"\x02")
    i2c.expect(b"\x27", b"\x03" + DATA)
    assert chip.collect() == pytest.approx((25.0, 100_533.74), abs=0.01)


def test_a_poll_of_the_lps25_is_one_write_and_one_burst_with_bit_7_set(i2c: ScriptedI2C) -> None:
    chip = started("lps25hb", 0xBD, i2c)
    i2c.expect(b"\x21\x01")
    assert chip.trigger() == 60_000_000
    i2c.expect(b"\xa0", b"\x84" + bytes(6) + b"\x03" + DATA)
    assert chip.collect() == pytest.approx((42.5 + 2500 / 480, 100_533.74), abs=0.01)


@LPS22
@pytest.mark.parametrize("status", [0x00, 0x01, 0x02])
def test_collected_too_early_is_not_ready(i2c: ScriptedI2C, name: str, identity: int, status: int) -> None:
    chip = started(name, identity, i2c)
    i2c.expect(b"\x10", b"\x02")
    i2c.expect(b"\x27", bytes((status,)) + DATA)
    with pytest.raises(NotReady):
        chip.collect()


@pytest.mark.parametrize("control", [0x00, 0xFF])
def test_a_chip_that_lost_its_settings_is_not_believed(i2c: ScriptedI2C, control: int) -> None:
    chip = started("lps22hb", 0xB1, i2c)
    i2c.expect(b"\x10", bytes((control,)))
    with pytest.raises(ChipWasReset, match="supply"):
        chip.collect()
    chip = started("lps25hb", 0xBD, i2c)
    i2c.expect(b"\xa0", bytes((control,)) * 13)
    with pytest.raises(ChipWasReset, match="supply"):
        chip.collect()


def test_a_reset_is_waited_for_but_not_for_ever(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x0f", b"\xb1")
    i2c.expect(b"\x11\x14")
    for _ in range(5):
        i2c.expect(b"\x11", b"\x14")
    waits: list[int] = []
    with pytest.raises(BadReply, match="reset"):
        waits.extend(make("lps22hb", i2c).probe())
    assert waits == [2_200_000] * 5


@pytest.mark.parametrize(
    ("identity", "sentence"),
    [
        (0xBD, 'is a LPS25HB .* not a LPS22HB: set driver = "lps25hb"'),
        (0xB4, "is a LPS28DFW .* there is no driver"),
        (0x42, "unknown chip id 0x42"),
    ],
)
def test_another_chip_is_named_and_left_alone(i2c: ScriptedI2C, identity: int, sentence: str) -> None:
    i2c.expect(b"\x0f", bytes((identity,)))
    with pytest.raises(WrongChip, match=sentence):
        list(make("lps22hb", i2c, 0x5D).probe())
    assert i2c.addresses == {0x5D}


@pytest.mark.parametrize("name", INFO)
def test_each_is_recognised_by_its_own_identity_alone(i2c: ScriptedI2C, name: str) -> None:
    recognise = INFO[name].recognise
    assert recognise is not None
    found = []
    for identity in (0xB1, 0xB3, 0xBD, 0x00):
        i2c.expect(b"\x0f", bytes((identity,)))
        found.append(recognise(i2c, 0x5C))
    assert [each for each in found if each] == [name.upper()]
