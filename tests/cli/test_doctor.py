"""`edge-agent doctor` and `scan` on rigs with faults."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from edge_agent.cli.doctor import _board
from edge_agent.config.load import parse_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rig(tmp_path: Path) -> Callable[[str], str]:
    """Writes a configuration with one I2C bus and the given sensors, and returns its path."""

    def write(sensors: str) -> str:
        path = tmp_path / "rig.toml"
        path.write_text(f'[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n{sensors}')
        return str(path)

    return write


def sensor(name: str, driver: str, more: str = "") -> str:
    return f'[[sensor]]\nid = "{name}"\ndriver = "{driver}"\nbus = "i2c1"\n{more}\n'


def test_doctor_finds_the_simulated_rig_well(run: Run) -> None:
    code, out, err = run("doctor", "--simulate")
    assert code == 0
    assert err == ""
    assert {line.split()[0] for line in out.splitlines()} == {"ok"}
    assert "bus i2c1: 2 of 2 sensors answer on /dev/i2c-1" in out


def test_doctor_says_of_each_bus_and_sensor_what_is_wrong_and_how_to_mend_it(
    run: Run, rig: Callable[[str], str]
) -> None:
    code, out, _err = run("doctor", "--json", "--config", rig(sensor("air", "bme280") + sensor("leaf", "sht3x")))
    assert code == 69
    findings = [json.loads(line) for line in out.splitlines()]
    by_subject = {each["subject"]: each for each in findings}
    assert by_subject["bus i2c1"]["level"] == "bad"
    assert "dtparam=i2c_arm=on" in by_subject["bus i2c1"]["text"]
    assert by_subject["sensor air"] == {
        "level": "bad",
        "subject": "sensor air",
        "text": "no measurement: see bus i2c1",
    }


def test_doctor_names_what_answers_and_is_not_configured(run: Run, rig: Callable[[str], str]) -> None:
    path = rig(sensor("air", "bme280", "mux = 0x70\nmux_channel = 2"))
    code, out, _err = run("doctor", "--simulate", "--config", path)
    assert code == 0
    assert "not configured" not in out, "neither the multiplexer nor what hangs behind it"


def test_scan_finds_what_hangs_behind_a_multiplexer(run: Run, rig: Callable[[str], str]) -> None:
    path = rig(
        sensor("a", "bme280", "mux = 0x70\nmux_channel = 2")
        + sensor("b", "bme280", "mux = 0x70\nmux_channel = 5\naddress = 0x77")
        + sensor("c", "sht3x")
    )
    code, out, _err = run("scan", "--simulate", "--config", path)
    assert code == 0
    config = parse_config('[gateway]\nid = "g"\n' + out)
    found = {(each.driver.name, each.address, each.mux, each.mux_channel) for each in config.sensors}
    assert found == {("bme280", 0x76, 0x70, 2), ("bme280", 0x77, 0x70, 5), ("sht3x", 0x44, None, None)}


def test_scan_looks_behind_a_multiplexer_only_if_told_that_it_is_one(run: Run) -> None:
    code, _out, err = run("scan", "--mux", "0x50", "--simulate")
    assert code == 2
    assert "'0x50' is not 0x70 to 0x77" in err


@pytest.mark.parametrize(("alarm", "levels"), [("0", ["ok"]), ("1", ["bad"]), (None, [])])
def test_a_board_that_saw_too_low_a_voltage_is_told(tmp_path: Path, alarm: str | None, levels: list[str]) -> None:
    monitor = tmp_path / "class/hwmon/hwmon1"
    monitor.mkdir(parents=True)
    (monitor / "name").write_text("rpi_volt\n" if alarm is not None else "cpu_thermal\n")
    (monitor / "in0_lcrit_alarm").write_text(f"{alarm}\n")
    assert [each.level for each in _board(simulate=False, sys_root=tmp_path)] == levels


def test_scan_lists_what_the_kernel_reads_so_that_it_can_be_pasted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(
        '[gateway]\nid = "g"\n[bus.w1]\ndevice = "/sys/bus/w1/devices"\n[bus.iio]\ndevice = "/sys/bus/iio/devices"\n'
        '[bus.hwmon]\ndevice = "/sys/class/hwmon"\n'
        '[[sensor]]\nid = "a"\ndriver = "ds18b20"\nbus = "w1"\nserial = "28-0123456789ab"\n'
        '[[sensor]]\nid = "b"\ndriver = "iio"\nbus = "iio"\nname = "bme280"\n'
        '[[sensor]]\nid = "c"\ndriver = "hwmon"\nbus = "hwmon"\nname = "sht3x"\n'
    )
    code, out, _err = run("scan", "--simulate", "--config", str(path))
    assert code == 0
    found = {each.driver.name: each.options for each in parse_config('[gateway]\nid = "g"\n' + out).sensors}
    assert found.keys() == {"ds18b20", "iio", "hwmon"}
    assert found["ds18b20"].serial == "28-0123456789ab"
    assert found["iio"].name == "bme280"
    assert found["hwmon"].name == "sht3x"


def test_doctor_notes_an_authority_that_others_would_refuse(run: Run, tmp_path: Path) -> None:
    make = "openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.pem -subj /CN=home"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    file = tmp_path / "rig.toml"
    file.write_text(f'[gateway]\nid = "g"\n[uplink]\nurl = "mqtts://broker"\nca_file = "{tmp_path}/ca.pem"\n')
    code, out, _err = run("doctor", "--config", str(file))
    assert (code, out.split(":")[0]) == (0, "note  uplink")
    assert "has no key usage" in out
    (tmp_path / "ca.pem").write_text("no certificate")
    code, out, _err = run("doctor", "--config", str(file))
    assert (code, out.split(":")[0]) == (69, "bad   uplink")
