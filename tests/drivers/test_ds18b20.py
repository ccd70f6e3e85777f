from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.checksum import crc8_dallas
from edge_agent.drivers.ds18b20 import BULK, Ds18b20, Ds18b20Options, scratchpad, temperature_c
from edge_agent.errors import BadReply, BusDenied, BusGone, ChecksumMismatch, DriverError, NotReady, WrongChip

if TYPE_CHECKING:
    from pathlib import Path

SERIAL = "28-0123456789ab"
OTHER = "28-ffffffffffff"
MASTER = "w1_bus_master1"


def w1_slave(raw: str, verdict: str = "YES", millidegrees: int = 0) -> str:
    """The file as w1_therm.c writes it; `raw` without its checksum."""
    data = bytes.fromhex(raw)
    data += bytes((crc8_dallas(data),))
    shown = data.hex(" ")
    return f"{shown} : crc={data[8]:02x} {verdict}\n{shown} t={millidegrees}\n"


WARM = w1_slave("91014b467fff0c10")  # 25.0625 °C


@dataclass
class Tree:
    """The kernel's 1-Wire tree, with bulk conversion (unless `bulk` is None) as w1_therm.c does it."""

    entries: list[str] = field(default_factory=lambda: [SERIAL, MASTER])
    files: dict[str, str] = field(default_factory=lambda: {f"{SERIAL}/w1_slave": WARM})
    bulk: str | None = None
    bulk_after_trigger: str = "1\n"
    denied: bool = False
    master: str = MASTER
    calls: list[str] = field(default_factory=list)

    def read(self, path: str) -> str:
        """As Sysfs."""
        self.calls.append(f"read {path}")
        if path == BULK and self.bulk is not None:
            return self.bulk
        if path not in self.files:
            raise BusGone(path)
        if path.endswith("/w1_slave") and self.bulk == "1\n":
            self.bulk = "0\n"
        return self.files[path]

    def write(self, path: str, text: str) -> None:
        """As Sysfs."""
        self.calls.append(f"write {path} {text!r}")
        if self.denied:
            raise BusDenied(path)
        if path != BULK or self.bulk is None:
            raise BusGone(path)
        self.bulk = self.bulk_after_trigger

    def names(self, path: str = "") -> list[str]:
        """As Sysfs."""
        assert not path
        return sorted(self.entries)

    def resolve(self, path: str) -> str:
        """As Sysfs."""
        return f"/sys/devices/{self.master}/{path}"

    def close(self) -> None:
        """As Sysfs."""


def started(tree: Tree, serial: str | None = None) -> Ds18b20:
    sensor = Ds18b20(tree, 0, Ds18b20Options(serial))
    assert list(sensor.probe()) == []
    return sensor


@pytest.mark.parametrize(
    ("raw", "degrees"),
    [
        ("d007", 125.0),
        ("9101", 25.0625),
        ("a200", 10.125),
        ("0800", 0.5),
        ("0000", 0.0),
        ("f8ff", -0.5),
        ("5eff", -10.125),
        ("6ffe", -25.0625),
        ("90fc", -55.0),
    ],
)
def test_the_datasheet_table_comes_out_of_the_bytes_and_not_of_the_kernels_figure(raw: str, degrees: float) -> None:
    text = w1_slave(raw + "4b467fff0c10", millidegrees=-127_000)
    assert temperature_c(scratchpad(text)) == degrees


def test_every_shared_row_has_the_verdict_of_another_reader_but_for_true_85_degrees(shared_dir: Path) -> None:
    rows = json.loads((shared_dir / "data/vectors/ds18b20_w1.json").read_text())["vectors"]
    for row in rows:
        verdict = row["w1thermsensor_2_3_0"]
        if verdict.get("error") == "ResetValueError":
            raw = scratchpad(row["w1_slave"])
            assert temperature_c(raw) == (None if raw[6] == 0x0C else 85.0)
        elif "error" in verdict:
            with pytest.raises(DriverError):
                scratchpad(row["w1_slave"])
        else:
            assert temperature_c(scratchpad(row["w1_slave"])) == verdict["temperature_c"]
    assert len(rows) > 50


def test_the_value_after_a_reset_is_none_and_a_true_85_degrees_is_not() -> None:
    assert temperature_c(scratchpad(w1_slave("50054b467fff0c10"))) is None
    assert temperature_c(scratchpad(w1_slave("50054b467fff0010"))) == 85.0


def test_a_conversion_without_supply_is_none() -> None:
    assert temperature_c(scratchpad(w1_slave("ff074b467fff0c10"))) is None


@pytest.mark.parametrize(
    ("raw", "family", "degrees"),
    [
        # DS18S20 datasheet table 2, and the fraction of equation 1.
        ("aa004b46ffff0c10", "10", None),
        ("aa004b46ffff0b10", "10", 85.0625),
        ("32004b46ffff0c10", "10", 25.0),
        ("32004b46ffff0810", "10", 25.25),
        ("33004b46ffff0410", "10", 25.5),
        ("01004b46ffff0410", "10", 0.5),
        ("00004b46ffff0c10", "10", 0.0),
        ("ceff4b46ffff0c10", "10", -25.0),
        ("cdff4b46ffff0410", "10", -25.5),
        ("92ff4b46ffff0c10", "10", -55.0),
        ("32004b46ffff0c00", "10", None),
        # Others keep sixteenths, the undefined ones of lesser resolution left out.
        ("91014b467fff0c10", "22", 25.0625),
        ("91014b467fff0c10", "42", 25.0625),
        ("9f014b461fff0c10", "28", 25.5),
        ("9f014b463fff0c10", "28", 25.75),
        ("9f014b465fff0c10", "28", 25.875),
        ("90ff4b461fff0c10", "28", -7.0),
        # MAX31850 (family 3b) has a fault bit, GX20MH01 two more bits in the configuration.
        ("90014b46f1ff0c10", "3b", 25.0),
        ("93014b46f1ff0c10", "3b", None),
        ("92014b46f1ff0c10", "3b", 25.0),
        ("91014b467fff0c10", "3b", 25.0625),
        ("91014b46e3ff0c10", "28", 25.109375),
    ],
)
def test_each_family_keeps_its_temperature_in_its_own_way(raw: str, family: str, degrees: float | None) -> None:
    assert temperature_c(scratchpad(w1_slave(raw)), family) == degrees


@pytest.mark.parametrize("family", ["10", "22", "28", "3b", "42"])
def test_every_family_of_thermometers_is_found(family: str) -> None:
    serial = f"{family}-0123456789ab"
    configuration = "ff" if family == "10" else "7f"
    text = w1_slave(f"32004b46{configuration}ff0c10")
    tree = Tree(entries=[serial, MASTER], files={f"{serial}/w1_slave": text})
    assert started(tree).collect() == ((25.0 if family == "10" else 3.125),)


def test_every_flipped_bit_of_the_scratchpad_is_noticed() -> None:
    data = bytes.fromhex("91014b467fff0c10")
    data += bytes((crc8_dallas(data),))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        kernels = crc8_dallas(bytes(damaged[:8]))
        with pytest.raises(DriverError):
            scratchpad(f"{damaged.hex(' ')} : crc={kernels:02x} {'NO' if kernels != damaged[8] else 'YES'}\n")


def test_an_empty_file_is_not_ready() -> None:
    with pytest.raises(NotReady):
        scratchpad("")


def test_the_kernels_no_is_believed_even_where_the_bytes_agree() -> None:
    with pytest.raises(ChecksumMismatch):
        scratchpad(w1_slave("91014b467fff0c10", "NO"))


def test_the_kernels_yes_is_checked() -> None:
    with pytest.raises(ChecksumMismatch) as caught:
        scratchpad("92 01 4b 46 7f ff 0c 10 25 : crc=25 YES\n")
    assert caught.value.received == 0x25
    assert caught.value.expected == crc8_dallas(bytes.fromhex("92014b467fff0c10"))


@pytest.mark.parametrize("byte", ["00", "ff"])
def test_a_line_held_fast_is_refused_although_zeros_have_a_right_checksum(byte: str) -> None:
    with pytest.raises(BadReply):
        scratchpad(" ".join([byte] * 9) + f" : crc={byte} YES\n")


@given(st.one_of(st.text(), st.text(alphabet="0123456789abcdef :crc=YESNO\n", max_size=60)))
def test_any_text_gives_bytes_or_an_error_of_ours(text: str) -> None:
    try:
        assert len(scratchpad(text)) == 9
    except DriverError:
        return


@given(st.binary(min_size=8, max_size=8), st.sampled_from(["10", "22", "28", "3b", "42"]))
def test_any_intact_scratchpad_gives_a_number_or_none(raw: bytes, family: str) -> None:
    try:
        value = temperature_c(scratchpad(w1_slave(raw.hex())), family)
    except BadReply:
        assert set(raw) in ({0}, {0xFF})
    else:
        assert value is None or -17_000 < value < 17_000


def test_the_only_sensor_needs_no_serial_number() -> None:
    sensor = started(Tree())
    assert sensor.trigger() == 0
    assert sensor.collect() == (25.0625,)


def test_one_of_several_is_found_by_its_serial_number_in_any_case() -> None:
    tree = Tree(entries=[SERIAL, OTHER, MASTER])
    assert started(tree, SERIAL.upper()).collect() == (25.0625,)


@pytest.mark.parametrize(
    ("entries", "serial", "error", "sentence"),
    [
        ([SERIAL, OTHER, MASTER], None, WrongChip, f"set serial to one of {SERIAL}, {OTHER}"),
        ([OTHER, MASTER], SERIAL, BadReply, f"{SERIAL} is not there.*on the bus: {OTHER}"),
        ([MASTER], None, BadReply, "pull-up"),
        (["00-400000000000", MASTER], None, BadReply, "pull-up"),
        ([], None, BadReply, "dtoverlay=w1-gpio"),
        (["26-0123456789ab", MASTER], None, BadReply, "on the bus: 26-0123456789ab"),
        (["26-0123456789ab", MASTER], "26-0123456789ab", WrongChip, "family"),
    ],
)
def test_a_sensor_that_cannot_be_chosen_says_what_is_there(
    entries: list[str], serial: str | None, error: type[DriverError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        started(Tree(entries=entries), serial)


@pytest.mark.parametrize("serial", ["", "28", "../../etc/passwd", "28-0123456789ab/../x", "28-0123456789abc"])
def test_what_is_no_serial_number_is_refused_with_the_configuration(serial: str) -> None:
    with pytest.raises(ValueError, match="1-Wire serial"):
        Ds18b20Options(serial)


def test_bulk_conversion_is_started_once_and_waited_for_only_if_the_kernel_did_not() -> None:
    waited = Tree(bulk="0\n")
    assert started(waited).trigger() == 0
    assert waited.calls == [f"write {BULK} 'trigger\\n'", f"read {BULK}"]
    running = Tree(bulk="0\n", bulk_after_trigger="-1\n")
    assert started(running).trigger() == 750_000_000


def test_a_second_sensor_shares_the_conversion_that_the_first_one_started() -> None:
    tree = Tree(entries=[SERIAL, OTHER, MASTER], bulk="0\n")
    tree.files[f"{OTHER}/w1_slave"] = WARM
    first, second = started(tree, SERIAL), started(tree, OTHER)
    first.collect()
    second.collect()
    tree.calls.clear()
    assert first.trigger() == 0
    assert second.trigger() == 0
    assert [call for call in tree.calls if call.startswith("write")] == [f"write {BULK} 'trigger\\n'"]


def test_a_conversion_left_over_from_an_earlier_round_is_not_taken_for_a_new_one() -> None:
    tree = Tree(bulk="1\n")
    sensor = started(tree)
    assert sensor.trigger() == 0
    assert sensor.trigger() == 0
    assert [call for call in tree.calls if call.startswith("write")] == [f"write {BULK} 'trigger\\n'"] * 2


def test_bulk_conversion_is_started_on_the_master_that_the_sensor_hangs_on() -> None:
    tree = Tree(entries=[SERIAL, MASTER, "w1_bus_master2"], bulk="0\n", master="w1_bus_master2")
    sensor = started(tree)
    assert sensor.trigger() == 0  # this tree has no file of that name: the read itself converts
    assert tree.calls == ["write w1_bus_master2/therm_bulk_read 'trigger\\n'"]


def test_without_the_right_to_start_bulk_conversion_the_read_converts() -> None:
    tree = Tree(bulk="0\n", denied=True)
    sensor = started(tree)
    assert sensor.trigger() == 0
    assert sensor.collect() == (25.0625,)


def test_a_sensor_that_the_kernel_dropped_is_gone() -> None:
    tree = Tree()
    sensor = started(tree)
    del tree.files[f"{SERIAL}/w1_slave"]
    with pytest.raises(BusGone):
        sensor.collect()


def test_an_unprobed_sensor_gives_nothing() -> None:
    with pytest.raises(BadReply, match="probed"):
        Ds18b20(Tree(), 0, Ds18b20Options()).collect()
