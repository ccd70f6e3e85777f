"""The commands that end by themselves, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.bus.smbus import SmbusI2C
from edge_agent.cli.main import COMMANDS, main
from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.config.load import parse_config
from edge_agent.drivers.registry import all_drivers
from edge_agent.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
GREENHOUSE = str(ROOT / "config" / "simulate.toml")


def test_help_lists_every_command_and_each_has_its_own(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _err = run("--help")
    assert code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in out
        code, own, _err = run(name, "--help")
        assert code == 0
        assert own.startswith(f"Usage: edge-agent {name}")


def test_version(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("--version")[1].strip() == f"edge-agent, version {__version__}"


def test_check_of_a_good_file_says_what_it_holds(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _err = run("check", "--config", GREENHOUSE)
    assert code == 0
    assert out.startswith("ok: gateway greenhouse, 4 sensors with 8 channels on 3 buses")


def test_an_overdue_calibration_is_noted_by_check_and_doctor(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
        '[[sensor]]\nid = "air"\ndriver = "sht3x"\nbus = "i2c1"\n'
        '[sensor.temperature_c]\ncalibration_due = "2020-01-31"\n'
        '[sensor.humidity_pct]\ncalibration_due = "2999-01-31"\n'
    )
    said = "the calibration of {}temperature_c was due on 2020-01-31"
    code, out, _err = run("check", "--config", str(config))
    assert code == 0
    assert f"note: {said.format('air.')}" in out
    code, out, _err = run("doctor", "--simulate", "--config", str(config))
    assert code == 0
    assert f"sensor air: {said.format('')}" in out
    assert "2999" not in out


def test_check_notes_a_key_under_its_former_name_with_its_line(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
        '[[sensor]]\nid = "air"\ndriver = "sht3x"\nbus = "i2c1"\nmux = 0x70\nchannel = 3\n'
    )
    code, out, _err = run("check", "--config", str(config))
    assert code == 0
    assert out.splitlines()[2:] == [f"  note: {config}:10: sensor[1].channel: is now called mux_channel"]


def test_check_of_a_bad_file_lists_every_mistake(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('[gateway]\nid = "A B"\n[[sensor]]\nid = "x"\ndriver = "bme28"\nbus = "i2c1"\nperiod_s = nan\n')
    code, out, err = run("check", "--config", str(config))
    assert (code, out) == (78, "")
    assert [line.removeprefix(f"{config}:").split(":")[0] for line in err.splitlines()] == ["2", "5", "6", "7"]
    assert "did you mean 'bme280'?" in err


def test_read_measures_every_simulated_sensor(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _err = run("read", "--simulate", "--json")
    assert code == 0
    measured = {each["sensor"]: each["values"] for each in map(json.loads, out.splitlines())}
    assert list(measured) == ["air", "canopy", "soil", "outside"]
    assert set(measured["air"]) == {"temperature_c", "humidity_pct", "pressure_pa"}
    temperatures = [values["temperature_c"] for values in measured.values()]
    assert max(temperatures) - min(temperatures) < 3, "they stand in one greenhouse"
    code, out, _err = run("read", "--simulate")
    assert out.startswith("air: ")
    assert "°C" in out


@pytest.mark.parametrize(
    "options",
    [
        'driver = "modbus_rtu"\nregisters = [{quantity = "dew_point_c", at = 0, scale = 0.1}]',
        'driver = "ascii_line"\ncolumns = ["dew_point_c"]',
    ],
)
def test_what_the_simulated_weather_does_not_have_is_simulated_in_the_middle_of_its_range(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, options: str
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f'[gateway]\nid = "g"\n[bus.b]\ndevice = "/dev/ttyUSB0"\n[[sensor]]\nid = "a"\nbus = "b"\n{options}\n'
    )
    assert run("read", "--simulate", "--config", str(config)) == (0, "a: 5.00 °C\n", "")


def test_read_says_what_is_missing_and_reads_the_rest(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    slave = tmp_path / "w1" / "28-0123456789ab"
    slave.mkdir(parents=True)
    (slave / "w1_slave").write_text("a2 00 4b 46 7f ff 0c 10 74 : crc=74 YES\na2 00 4b 46 7f ff 0c 10 74 t=10125\n")
    config = tmp_path / "edge-agent.toml"
    config.write_text(
        f'[gateway]\nid = "g"\n[bus.w1]\ndevice = "{slave.parent}"\nkind = "sysfs"\n[bus.i2c]\ndevice = "/dev/i2c-99"\n'
        '[[sensor]]\nid = "soil"\ndriver = "ds18b20"\nbus = "w1"\n'
        '[[sensor]]\nid = "air"\ndriver = "sht3x"\nbus = "i2c"\n'
    )
    code, out, _err = run("read", "--config", str(config))
    assert code == 69
    soil, air = out.splitlines()
    assert soil == "soil: 10.12 °C"
    assert "I2C is off" in air


def test_read_tries_again_soon_however_long_the_period_is(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    slave = tmp_path / "w1" / "28-0123456789ab"
    slave.mkdir(parents=True)
    (slave / "w1_slave").write_text("a2 00 4b 46 7f ff 0c 10 75 : crc=74 NO\na2 00 4b 46 7f ff 0c 10 75 t=10125\n")
    config = tmp_path / "edge-agent.toml"
    config.write_text(
        f'[gateway]\nid = "g"\n[bus.w1]\ndevice = "{slave.parent}"\nkind = "sysfs"\n'
        '[[sensor]]\nid = "soil"\ndriver = "ds18b20"\nbus = "w1"\nperiod_s = 3600\n'
    )
    clock = SystemClock()
    started_ns = clock.now_ns()
    code, out, _err = run("read", "--config", str(config))
    assert code == 69
    assert out.startswith("soil: checksum 0x75 received where 0x74 was expected")
    assert clock.now_ns() - started_ns < 10 * NS_PER_S


def test_scan_of_the_simulated_rig_prints_configuration_that_loads(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _err = run("scan", "--simulate")
    assert code == 0
    config = parse_config('[gateway]\nid = "g"\n' + out)
    assert {(sensor.driver.name, sensor.address) for sensor in config.sensors} == {
        ("bme280", 0x76),
        ("sht3x", 0x44),
        ("ds18b20", 0),
    }


def test_scan_without_i2c_says_how_to_switch_it_on(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _out, err = run("scan", "--bus", "/dev/i2c-99")
    assert code == 69
    assert "dtparam=i2c_arm=on" in err


def test_scan_of_an_unknown_bus_is_a_usage_error(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _out, err = run("scan", "--config", GREENHOUSE, "--bus", "i2c7")
    assert code == 2
    assert "no bus 'i2c7'" in err
    code, _out, err = run("scan", "--config", GREENHOUSE, "--bus", "rs485")
    assert code == 2
    assert "no I2C bus" in err


def test_drivers_lists_all_and_shows_one(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _err = run("drivers")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == sorted(all_drivers())
    code, out, _err = run("drivers", "bme280")
    assert "addresses   0x76, 0x77" in out
    assert "pressure_pa: 30000 to 110000 Pa" in out
    assert "humidity_oversampling: default 1" in out
    code, _out, err = run("drivers", "bme999")
    assert code == 2
    assert "known: " in err
    assert ", bme280, " in err


@pytest.mark.parametrize("name", all_drivers())
def test_the_example_of_every_driver_can_be_pasted(run: Callable[..., tuple[int, str, str]], name: str) -> None:
    _code, out, _err = run("drivers", name)
    config = parse_config('[gateway]\nid = "g"\n' + out[out.index("[bus.mine]") :])
    assert [sensor.driver.name for sensor in config.sensors] == [name]


def test_an_unexpected_failure_is_one_sentence_and_a_traceback_only_on_demand(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: SmbusI2C, _address: int) -> bool:
        raise RuntimeError("on fire")

    monkeypatch.setattr(SmbusI2C, "ping", fail)
    code, _out, err = run("scan", "--bus", "/dev/i2c-99")
    assert code == 70
    assert err.strip() == "internal error: RuntimeError: on fire; run again with --debug and report it"
    with pytest.raises(RuntimeError, match="on fire"):
        main(["scan", "--bus", "/dev/i2c-99", "--debug"])


def test_docs_lists_the_pages_and_prints_one(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _err = run("docs")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()][:3] == ["index", "configuration", "sensors"]
    assert "alerts           Rules that send an event" in out
    code, out, _err = run("docs", "alerts")
    assert code == 0
    assert out.startswith("# Alerts and anomalies\n")


@pytest.mark.parametrize(
    ("topic", "said"), [("alert", "did you mean 'alerts'?"), ("zzz", "known: index, "), ("../x", "no page '../x'")]
)
def test_docs_names_the_nearest_page(run: Callable[..., tuple[int, str, str]], topic: str, said: str) -> None:
    code, out, err = run("docs", topic)
    assert (code, out) == (2, "")
    assert said in err
