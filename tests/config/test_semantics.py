from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.config.load import load_config_with_notes, parse_config
from edge_agent.config.tables import ALIASES, keys_of
from edge_agent.errors import ConfigError
from edge_agent.stages.derive import DERIVED

if TYPE_CHECKING:
    from pathlib import Path

BASE = """\
[gateway]
id = "gw"
[bus.one]
device = "/dev/i2c-1"
[bus.two]
device = "/dev/i2c-2"
[bus.w1]
device = "/sys/bus/w1/devices"
[bus.line]
device = "/dev/ttyUSB0"
"""


def sensor(name: str, driver: str, bus: str, more: str = "") -> str:
    return f'[[sensor]]\nid = "{name}"\ndriver = "{driver}"\nbus = "{bus}"\n{more}\n'


def problems(text: str) -> list[str]:
    try:
        parse_config(BASE + text, "f")
    except ConfigError as error:
        return [problem.split(": ", 1)[1] for problem in error.problems]
    return []


def test_sensors_on_two_buses_may_share_an_address() -> None:
    assert problems(sensor("a", "sht3x", "one") + sensor("b", "sht3x", "two")) == []


def test_sensors_on_one_bus_may_not() -> None:
    assert problems(sensor("a", "bme280", "one") + sensor("b", "bmp280", "one", "address = 0x76")) == [
        "sensor[2].address: sensor 'a' has address 0x76 on bus 'one' already"
    ]
    assert problems(sensor("a", "modbus_rtu", "line") + sensor("b", "modbus_rtu", "line", "address = 1")) == [
        "sensor[2].address: sensor 'a' has address 1 on bus 'line' already"
    ]


def test_two_sensors_may_not_have_one_name() -> None:
    assert problems(sensor("a", "bme280", "one") + sensor("a", "bmp280", "two")) == [
        "sensor[2].id: another sensor is called 'a' already"
    ]


def test_one_serial_is_one_sensor_whatever_its_case() -> None:
    first = sensor("a", "ds18b20", "w1", 'serial = "28-0000000000ab"')
    assert problems(first + sensor("b", "ds18b20", "w1", 'serial = "28-0000000000cd"')) == []
    assert problems(first + sensor("b", "ds18b20", "w1", 'serial = "28-0000000000AB"')) == [
        "sensor[2]: sensor 'a' has the same options on bus 'w1' already"
    ]
    assert len(problems(sensor("a", "ds18b20", "w1") + sensor("b", "ds18b20", "w1"))) == 1


def test_two_buses_may_not_be_one_device() -> None:
    assert problems('[bus.again]\ndevice = "/dev/i2c-1"\n') == [
        "bus.again.device: bus 'one' has the same device already"
    ]


def test_a_bus_whose_path_tells_nothing_needs_a_kind() -> None:
    assert problems('[bus.odd]\ndevice = "/run/odd"\n') == [
        'bus.odd.kind: cannot tell from \'/run/odd\'; expected "i2c", "serial" or "sysfs"'
    ]
    assert problems('[bus.odd]\ndevice = "/run/odd"\nkind = "serial"\n') == []


@pytest.mark.parametrize(
    "device", ["/dev/ttyUSB1", "/dev/ttyAMA0", "/dev/serial0", "/dev/serial/by-id/usb-FTDI_x", "/dev/rfcomm0"]
)
def test_a_serial_port_is_known_by_its_path(device: str) -> None:
    assert problems(f'[bus.port]\ndevice = "{device}"\n' + sensor("a", "mh_z19", "port")) == []


def test_a_driver_needs_its_kind_of_bus() -> None:
    assert problems(sensor("a", "bme280", "line")) == [
        "sensor[1].bus: bme280 needs a bus of kind 'i2c', 'line' is 'serial'"
    ]


@pytest.mark.parametrize(
    ("address", "said"), [(0, "can be at 1 to 247, found 0"), (248, "found 248"), (-1, "found -1")]
)
def test_an_address_that_the_driver_cannot_have(address: int, said: str) -> None:
    (found,) = problems(sensor("a", "modbus_rtu", "line", f"address = {address}"))
    assert found.endswith(said)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("range = [5, 5]", "temperature_c.range: expected [low, high], found [5.0, 5.0]"),
        ("points = [[1, 1]]", "temperature_c.points: expected two or more [raw, true] pairs with ascending raw"),
        (
            "points = [[2, 1], [1, 2]]",
            "temperature_c.points: expected two or more [raw, true] pairs with ascending raw",
        ),
        (
            "points = [[1, 1], [2, 2]]\ngain = 2",
            "temperature_c.points: give one of points, polynomial, or gain and offset",
        ),
        (
            "polynomial = [0, 1]\noffset = 2",
            "temperature_c.polynomial: give one of points, polynomial, or gain and offset",
        ),
    ],
)
def test_channel_keys_must_fit_together(keys: str, said: str) -> None:
    assert problems(sensor("a", "sht3x", "one") + "[sensor.temperature_c]\n" + keys) == ["sensor[1]." + said]


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://localhost",
        "mqtt://127.0.0.1:1884",
        "mqtt://[::1]:1883",
        "mqtts://broker.example.org/",
        "mqtts://a_b-c",
        "mqtts://[fe80::1%eth0]:8883",
    ],
)
def test_urls_that_are_right(url: str) -> None:
    assert problems(f'[uplink]\nurl = "{url}"\n') == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://a",
        "mqtt://",
        "mqtts://a:b",
        "mqtts://a:0",
        "mqtts://a:70000",
        "mqtts://a/topic",
        "mqtts://a?b",
        "mqtts://a#b",
        "mqtts://[::1",
        "mqtts://a..b",
        "mqtts://a b",
        "mqtts://" + "x" * 64,
    ],
)
def test_urls_that_are_wrong(url: str) -> None:
    assert problems(f'[uplink]\nurl = "{url}"\n') == [
        f"uplink.url: expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT], found {url!r}"
    ]


@pytest.mark.parametrize("url", ["mqtts://me:hunter2@host", "http://me:hunter2@host:x", "mqtts://me:hunter2@[::1"])
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    assert problems(f'[uplink]\nurl = "{url}"\n') == [
        "uplink.url: a password never stands in this file; use username and password_file"
    ]


def test_plain_text_over_the_network_must_be_meant() -> None:
    (found,) = problems('[uplink]\nurl = "mqtt://broker.example.org"\n')
    assert found.startswith("uplink.url: anyone on the way can read and change")
    assert problems('[uplink]\nurl = "mqtt://broker.example.org"\ninsecure_plaintext = true\n') == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('username = "u"\npassword_file = "/a"\npassword_credential = "b"', "password_file: give either"),
        ('password_file = "/a"', "username: missing, and a password is given"),
        ('url = "mqtts://a"\ncert_file = "/a"', "cert_file: cert_file and key_file go together"),
        ('ca_file = "/a"', "ca_file: certificates mean nothing to mqtt://; use mqtts://"),
        ('prefix = "a/#"', "prefix: expected text without +, # and outer slashes, found 'a/#'"),
        (
            'format = "infux"',
            "format: expected 'batch' or 'json' or 'influx' or 'senml' or 'sparkplug-b', found 'infux'",
        ),
        ('format = "sparkplug-b"\nprefix = "a"', "prefix: the topics of sparkplug-b are given"),
        ('sparkplug_group = "a/b"', "sparkplug_group: expected text without /, + and #, found 'a/b'"),
        ('client_id = ""', "client_id: expected text without +, # and outer slashes, found ''"),
    ],
)
def test_uplink_keys_must_fit_together(keys: str, said: str) -> None:
    (found,) = problems(f"[uplink]\n{keys}\n")
    assert found.startswith("uplink." + said)


def test_a_mapping_of_a_recording_that_means_nothing_is_told() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config('[gateway]\nid = "g"\n[replay]\nmap = ["t=air.warmth", "p=air.pressure_pa:hpa"]\n')
    (problem,) = raised.value.problems
    assert problem.startswith("config:4: replay.map: 'warmth' in 't=air.warmth' is not a quantity")


def test_behind_multiplexers_an_address_may_come_again() -> None:
    behind = "mux = 0x70\nmux_channel = {}\n"
    pair = sensor("a", "bme280", "one", behind.format(0)) + sensor("b", "bme280", "one", behind.format(1))
    assert problems(pair + sensor("c", "bme280", "one")) == []
    assert problems(pair + sensor("c", "bme280", "one", behind.format(1))) == [
        "sensor[3].address: sensor 'b' has address 0x76 on bus 'one' already"
    ]


def test_a_channel_of_a_multiplexer_keeps_its_former_name(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(BASE + sensor("a", "bme280", "one", "mux = 0x70\nchannel = 5"))
    config, notes = load_config_with_notes(tmp_path / "c.toml")
    assert config.sensors[0].mux_channel == 5
    assert notes == (f"{tmp_path}/c.toml:16: sensor[1].channel: is now called mux_channel",)
    (tmp_path / "c.toml").write_text(BASE + sensor("a", "bme280", "one", "mux = 0x70\nmux_channel = 5"))
    assert load_config_with_notes(tmp_path / "c.toml") == (config, ())


def test_a_wrong_value_is_told_under_the_name_that_stands_in_the_file() -> None:
    assert problems(sensor("a", "bme280", "one", "mux = 0x70\nchannel = 8")) == [
        "sensor[1].channel: expected at most 7, found 8"
    ]


def test_a_key_is_not_given_under_both_of_its_names() -> None:
    assert problems(sensor("a", "bme280", "one", "mux = 0x70\nchannel = 5\nmux_channel = 5")) == [
        "sensor[1].channel: is the former name of mux_channel, which is given too; leave channel out"
    ]


def test_a_misspelt_key_is_never_called_by_a_former_name() -> None:
    (problem,) = problems(sensor("a", "bme280", "one", "chanel = 5"))
    assert problem == "sensor[1].chanel: unknown key 'chanel'; did you mean 'mux_channel'?"


def test_every_former_name_is_one_no_more_and_its_present_name_is_one() -> None:
    for kind, names in ALIASES.items():
        assert not names.keys() & keys_of(kind)
        assert set(names.values()) <= keys_of(kind)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (sensor("a", "bme280", "one", "mux = 0x70"), "sensor[1].mux_channel: missing; mux and mux_channel go together"),
        (sensor("a", "bme280", "one", "mux_channel = 1"), "sensor[1].mux: missing; mux and mux_channel go together"),
        (
            sensor("a", "bme280", "one", "mux = 0x76\nmux_channel = 1"),
            "sensor[1].address: the multiplexer on bus 'one' has 0x76 already",
        ),
        (
            sensor("a", "bme280", "one", "mux = 0x77\nmux_channel = 1")
            + sensor("b", "bmp280", "one", "address = 0x77"),
            "sensor[2].address: the multiplexer on bus 'one' has 0x77 already",
        ),
        (
            sensor("a", "ds18b20", "w1", "mux = 0x70\nmux_channel = 1"),
            "sensor[1].mux: ds18b20 is not on I2C, and has no multiplexer before it",
        ),
    ],
)
def test_a_multiplexer_needs_a_channel_an_i2c_bus_and_its_address_for_itself(text: str, said: str) -> None:
    assert problems(text) == [said]


def test_ways_to_recover_a_bus_need_their_lines_and_an_i2c_bus() -> None:
    recover = '[bus.x]\ndevice = "/dev/i2c-7"\nrecover = ["reopen", "clock-pulses", "power-cycle"]\n'
    assert problems(recover + "sda_gpio = 2\n") == [
        'bus.x.power_gpio: missing, and recover has "power-cycle"',
        'bus.x.scl_gpio: missing, and recover has "clock-pulses"',
    ]
    assert problems(recover + "sda_gpio = 2\nscl_gpio = 3\npower_gpio = 17\n") == []
    assert problems('[bus.x]\ndevice = "/dev/ttyUSB7"\nrecover = ["rebind"]\n') == [
        'bus.x.recover: only "reopen" means anything to a bus that is not I2C'
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            sensor("a", "bme280", "one", 'derive = ["dew_point"]'),
            f"sensor[1].derive: 'dew_point' cannot be derived; known: {', '.join(DERIVED)}",
        ),
        (
            sensor("a", "bmp280", "one", 'derive = ["dew_point_c"]'),
            "sensor[1].derive: dew_point_c needs humidity_pct, which bmp280 does not measure",
        ),
        (
            sensor("a", "bmp280", "one", 'derive = ["sea_level_pressure_pa"]'),
            "gateway.altitude_m: missing; sensor 'a' derives sea_level_pressure_pa",
        ),
        (
            sensor("a", "bme280", "one", 'derive = ["dew_point_c"]\n[sensor.dew_point_c]\noffset = 1'),
            "sensor[1].dew_point_c: calibrate the quantities that it is derived from",
        ),
        (
            sensor("a", "bme280", "one", "[sensor.dew_point_c]\ndeadband = 1"),
            "sensor[1].dew_point_c: bme280 does not measure it; it measures temperature_c, humidity_pct, pressure_pa",
        ),
    ],
)
def test_what_is_derived_needs_what_it_is_derived_from(text: str, said: str) -> None:
    assert problems(text) == [said]


def test_a_derived_quantity_is_a_channel_with_settings_of_its_own() -> None:
    text = BASE.replace('id = "gw"', 'id = "gw"\naltitude_m = 120')
    text += sensor(
        "a", "bme280", "one", 'derive = ["dew_point_c", "sea_level_pressure_pa"]\n[sensor.dew_point_c]\ndeadband = 0.1'
    )
    (configured,) = parse_config(text).sensors
    assert list(configured.channels)[3:] == ["dew_point_c", "sea_level_pressure_pa"]
    assert configured.channels["dew_point_c"].deadband == 0.1


def test_a_sibling_is_another_channel_of_the_same_quantity() -> None:
    pair = sensor("a", "bme280", "one", '[sensor.temperature_c]\nsibling = "{}"') + sensor("b", "sht3x", "two")
    assert problems(pair.format("b.temperature_c")) == []
    known = "is no other channel of the same quantity; known: b.temperature_c"
    for wrong in ("a.temperature_c", "b.humidity_pct", "b"):
        assert problems(pair.format(wrong)) == [f"sensor[1].temperature_c.sibling: {wrong!r} {known}"]
    alone = sensor("a", "bme280", "one", '[sensor.pressure_pa]\nsibling = "b.pressure_pa"')
    assert "no other sensor measures it" in problems(alone)[0]


def test_confirmations_need_a_format_that_has_them_and_receivers_need_confirmations() -> None:
    base = '[gateway]\nid = "g"\n[uplink]\n'
    with pytest.raises(ConfigError) as caught:
        parse_config(base + 'format = "sparkplug-b"\nack = "receiver"\nprefix = "a"\n')
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["uplink.ack", "uplink.prefix"]
    with pytest.raises(ConfigError, match="only with ack"):
        parse_config(base + 'receivers = ["lab"]\n')
    with pytest.raises(ConfigError, match="ack_key_file: means something only with ack"):
        parse_config(base + 'ack_key_file = "/key"\n')
    assert parse_config(base + 'ack = "receiver"\nack_key_file = "/key"\n').uplink.ack_key_file == "/key"
    assert parse_config(base + 'ack = "receiver"\nreceivers = ["lab"]\n').uplink.receivers == ("lab",)
