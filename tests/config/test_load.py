from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import load, model
from edge_agent.config.load import load_config, parse_config
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "config"
SAMPLE = (FOLDER / "edge-agent.toml").read_text(encoding="utf-8")
SMALL = """\
[gateway]
id = "gw"

[bus.i2c1]
device = "/dev/i2c-1"
[bus.w1]
device = "/sys/bus/w1/devices"

[[sensor]]
id = "air"
driver = "bme280"
bus = "i2c1"
"""


def problems(text: str) -> list[str]:
    """What is said of a text, without its name; nothing if it is right."""
    try:
        parse_config(text, "f")
    except ConfigError as error:
        told = error.problems
    else:
        return []
    assert all(problem.startswith("f:") for problem in told)
    return [problem.removeprefix("f:") for problem in told]


def test_the_small_one_is_right() -> None:
    config = parse_config(SMALL)
    assert config.gateway == model.Gateway("gw")
    assert config.buses["i2c1"].resolved_kind() == "i2c"
    (sensor,) = config.sensors
    assert (sensor.id, sensor.address, sensor.period_s) == ("air", 0x76, 1.0)
    assert list(sensor.channels) == ["temperature_c", "humidity_pct", "pressure_pa"]
    assert config.uplink == model.Uplink()


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('[gatway]\nid = "x"', "13: gatway: unknown section 'gatway'; did you mean 'gateway'?"),
        ("perod_s = 5", "13: sensor[1].perod_s: unknown key 'perod_s'; did you mean 'period_s'?"),
        ("zzz = 5", "13: sensor[1].zzz: unknown key 'zzz'; known: "),
        ('"a b\\nc" = 5', '9: sensor[1]."a b\\nc": unknown key'),
        ('period_s = "5"', "13: sensor[1].period_s: expected a finite number, found '5'"),
        ("period_s = nan", "13: sensor[1].period_s: expected a finite number, found nan"),
        ("period_s = inf", "13: sensor[1].period_s: expected a finite number, found inf"),
        ("period_s = true", "13: sensor[1].period_s: expected a finite number, found True"),
        ("period_s = 0", "13: sensor[1].period_s: expected at least 0.01, found 0"),
        ("address = 0x76.5", "13: not valid TOML"),
        ("address = 118.0", "13: sensor[1].address: expected a whole number, found 118.0"),
        ("address = 0x40", "13: sensor[1].address: bme280 can be at 0x76, 0x77, found 0x40"),
        ("iir_filter = 3", "13: sensor[1].iir_filter: expected 0 or 2 or 4 or 8 or 16, found 3"),
        ("iir_filter = true", "13: sensor[1].iir_filter: expected 0 or 2 or 4 or 8 or 16, found True"),
        ("temperature_c = 5", "13: sensor[1].temperature_c: expected a table"),
        ("[sensor.co2_ppm]", "13: sensor[1].co2_ppm: bme280 does not measure it; it measures temperature_c, hum"),
        ("[sensor.pressure_pa]\nofset = 1", "14: sensor[1].pressure_pa.ofset: unknown key 'ofset'; did you mean 'off"),
        (
            '[sensor.pressure_pa]\nfilter = "k"',
            "14: sensor[1].pressure_pa.filter: expected 'auto' or 'kalman' or 'median' or 'none', fo",
        ),
        ("[sensor.pressure_pa]\nrange = [1]", "14: sensor[1].pressure_pa.range: expected [a finite number, a finite"),
        ("[sensor.pressure_pa]\npoints = [1]", "14: sensor[1].pressure_pa.points: expected a list of [a finite numb"),
        ("[sensor.pressure_pa]\nsigma = 0", "14: sensor[1].pressure_pa.sigma: expected more than 0, found 0"),
        ("[sensor.pressure_pa]\ndeadband = -1", "14: sensor[1].pressure_pa.deadband: expected at least 0, found -1"),
        ('[[sensor]]\nid = "b"\ndriver = "bme28"\nbus = "i2c1"', "15: sensor[2].driver: unknown driver 'bme28'; did"),
        (
            '[[sensor]]\ndriver = "bmp280"\nbus = "i2c1"\naddress = 0x77',
            "13: sensor[2].id: missing; expected 1 to 64 of",
        ),
        ('[[sensor]]\nid = "b"\ndriver = "sht3x"', "13: sensor[2].bus: missing; expected text in quotes"),
        ('[[sensor]]\nid = "b"\nbus = "i2c1"', "13: sensor[2].driver: missing; expected text in quotes"),
        ('[[sensor]]\nid = "b"\ndriver = "sht3x"\nbus = "i2c2"', "16: sensor[2].bus: unknown bus 'i2c2'; did you me"),
        (
            '[[sensor]]\nid = "b"\ndriver = "ds18b20"\nbus = "w1"\naddress = 0',
            "17: sensor[2].address: ds18b20 has no add",
        ),
        (
            '[[sensor]]\nid = "b"\ndriver = "ds18b20"\nbus = "w1"\nserial = "x"',
            "13: sensor[2]: 'x' is not a 1-Wire ser",
        ),
        (
            '[[sensor]]\nid = "B"\ndriver = "sht3x"\nbus = "i2c1"',
            "14: sensor[2].id: expected 1 to 64 of a-z, 0-9 and -",
        ),
        ('[bus.b]\ndevice = "i2c-1"', "14: bus.b.device: expected a path that begins with /, found 'i2c-1'"),
        ("[bus.b]", "13: bus.b.device: missing; expected a path that begins with /"),
        ('[bus.B]\ndevice = "/dev/i2c-5"', "13: bus.B: expected a name of 1 to 64 of a-z, 0-9 and -"),
        ('[bus.b]\ndevice = "/dev/ttyS1"\nbaud = 9600.0', "15: bus.b.baud: expected a whole number, found 9600.0"),
        ("[batch]\nfeatures = 1", "14: batch.features: expected true or false, found 1"),
        ("[outbox]\nmax_mib = 0.5", "14: outbox.max_mib: expected at least 1, found 0.5"),
        ("[uplink]\nwindow = 5000", "14: uplink.window: expected at most 1000, found 5000"),
        ('[uplink]\npassword = "hunter2"', "14: uplink.password: a password never stands in this file; use passw"),
        ('[uplink]\npasword = "hunter2"', "14: uplink.pasword: unknown key 'pasword'; did you mean"),
    ],
)
def test_one_mistake_is_told_with_its_line_and_what_was_expected(added: str, said: str) -> None:
    (found,) = problems(SMALL + added + "\n")
    assert found.startswith(said)
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: gateway.id: missing; expected 1 to 64 of a-z, 0-9 and -"),
        ("gateway = 5", "1: gateway: expected a table"),
        ('[gateway]\nid = "g"\n[sensor]\nid = "a"', "3: sensor: expected [[sensor]] tables, with two brackets"),
        ('[gateway]\nid = "g"\n[bus]\ndevice = "/dev/i2c-1"', "4: bus.device: expected a table [bus.NAME]"),
        ('bus = 5\n[gateway]\nid = "g"', "1: bus: expected a table [bus.NAME]"),
        ("a = \n", "1: not valid TOML: Invalid value (at line 1, column 5)"),
        ("a = 1\na = 2\n", "2: not valid TOML: Cannot overwrite a value (at line 2, column 6)"),
        ("a = " + "9" * 5000, " not valid TOML: Exceeds the limit"),
        ("a = " + "[" * 100_000, " not valid TOML: maximum recursion depth"),
    ],
)
def test_a_text_that_is_wrong_as_a_whole(text: str, said: str) -> None:
    (found,) = problems(text)
    assert found.startswith(said)


def test_all_mistakes_are_told_at_once_in_file_order() -> None:
    text = SMALL.replace('"gw"', '"G W"').replace("/dev/i2c-1", "dev").replace("bme280", "bme288")
    text += 'perid_s = 3\nperiod_s = "x"\n[batch]\nperiod_s = 0\n[nonsense]\n'
    lines = [int(problem.split(":")[0]) for problem in problems(text)]
    assert lines == [2, 5, 11, 14, 16, 17]


def test_a_huge_number_is_told_in_a_short_line() -> None:
    (found,) = problems(SMALL + "[uplink]\nwindow = 0x" + "f" * 5000)
    assert found == "14: uplink.window: expected at most 1000, found a very large number"


def test_a_missing_file_is_told_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: no such file; `edge-agent docs configuration` shows"):
        load_config(tmp_path / "no.toml")


@pytest.mark.parametrize("content", [b"a = '\xff\xfe'", b"\xff\xfea\x00"])
def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml: cannot be read: 'utf-8' codec"):
        load_config(tmp_path / "c.toml")


def test_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: .*Is a directory"):
        load_config(tmp_path)


def test_what_windows_editors_write_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_config(tmp_path / "c.toml").gateway.id == "gw"


def test_problems_begin_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(SMALL.replace("bme280", "x"))
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.toml")
    assert caught.value.problems[0].startswith(f"{tmp_path}/c.toml:11: sensor[1].driver: unknown driver 'x'; known: ")
    assert caught.value.exit_code == 78


def test_an_unknown_driver_hides_no_unknown_bus(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(SMALL.replace("bme280", "x").replace('bus = "i2c1"', 'bus = "i2c2"'))
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.toml")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["sensor[1].driver", "sensor[1].bus"]


# The files that we ship

_LINE = re.compile(r"(#:? )?(\[.*\]|[a-z0-9_]+ = .*)")


@pytest.mark.parametrize("name", ["edge-agent.toml", "simulate.toml"])
def test_what_we_ship_is_right(name: str) -> None:
    assert len(load_config(FOLDER / name).sensors) == 4


def shown() -> dict[str, dict[str, dict[str, Any]]]:
    """What the sample shows: section (of a sensor: its driver) → key → marker → value."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    section = ""
    for line in SAMPLE.splitlines():
        if line.startswith("##") or not line:
            continue
        match = _LINE.fullmatch(line)
        assert match, f"neither a comment nor a key nor a header: {line}"
        marker, said = (match[1] or "").strip(), match[2]
        if said.startswith("["):
            section = said.strip("[]").split(".")[0] if not said.startswith("[sensor.") else "channel"
            continue
        ((key, value),) = tomllib.loads(said).items()
        if key == "driver":
            found.setdefault(value, {}).update(found.pop("sensor"))
            found[value][key] = {"": value}
            section = value
        else:
            found.setdefault(section, {}).setdefault(key, {})[marker] = value
    return found


def expected_fields() -> list[tuple[str, type[Any], bool]]:
    sections = {
        "gateway": model.Gateway,
        "bus": model.Bus,
        "channel": model.Channel,
        "batch": model.Batch,
        "outbox": model.Outbox,
        "uplink": model.Uplink,
        "alert": model.Alert,
        "replay": model.Replay,
        "bme280": model.SensorKeys,
    }
    # Options of other drivers are told by `edge-agent drivers NAME`: a new chip needs no line here.
    options = [(name, driver.options, False) for name, driver in all_drivers().items() if name in shown()]
    return [(name, kind, name != "bme280") for name, kind in sections.items()] + options


@pytest.mark.parametrize(("section", "kind", "complete"), expected_fields())
def test_the_sample_shows_every_key_with_its_default(section: str, kind: type[Any], complete: bool) -> None:
    keys = shown()[section]
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING:
            assert "" in keys[field.name], f"{field.name} is required"
        elif field.default is None:
            assert "#:" in keys[field.name], f"{field.name} has no default, so there is an example"
        else:
            value = keys[field.name]["#"]
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert (value, type(value)) == (default, type(default)), field.name
    if complete:
        assert keys.keys() == get_type_hints(kind).keys()


def test_the_sample_has_every_section() -> None:
    sections = {"bus": "buses", "sensor": "sensors", "alert": "alerts"}
    fields = {field.name for field in dataclasses.fields(model.Config)}
    assert {sections.get(name, name) for name in load.SECTIONS} == fields
    assert all(f"[{name}" in SAMPLE for name in load.SECTIONS)


SPELLED_OUT = "\n".join(line.removeprefix("# ") for line in SAMPLE.splitlines() if not line.startswith("# url"))


def test_the_sample_says_the_same_with_its_defaults_uncommented() -> None:
    plain, spelled_out = parse_config(SAMPLE), parse_config(SPELLED_OUT)
    count = len(plain.sensors)
    buses = {name: spelled_out.buses[name] for name in plain.buses}
    assert dataclasses.replace(spelled_out, sensors=spelled_out.sensors[:count], buses=buses) == plain
    more = spelled_out.sensors[count:]
    assert {"ascii_line", "iio"} <= {sensor.driver.name for sensor in more}
    assert all(sensor.options == sensor.driver.options() for sensor in more)


@pytest.mark.parametrize("example", [line for line in SAMPLE.splitlines() if line.startswith("#: ")])
def test_every_example_of_the_sample_is_well_formed(example: str) -> None:
    for problem in problems(SPELLED_OUT.replace(example, example.removeprefix("#: "), 1)):
        excused = ("go together", "a password is given", "only with ack")
        assert any(each in problem for each in excused), problem


# Whatever it is given, it refuses or it reads

SECTIONS = ["gateway", "bus", "sensor", "batch", "outbox", "uplink", "alert", "replay", "i2c1", "temperature_c"]
NAMES = ["id", "driver", "address", "device", "url", "points", "range", "serial", "password", "period_s", "x"]
KEYS = st.sampled_from([*SECTIONS, *NAMES])
TEXTS = st.sampled_from(["bme280", "ds18b20", "modbus_rtu", "i2c1", "/dev/i2c-1", "mqtt://[", "", "é", "a@b"])
SCALARS = st.integers() | st.floats() | st.booleans() | TEXTS | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def as_toml(value: Any) -> str:
    """An inline value of TOML."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{key} = {as_toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(as_toml(each) for each in value) + "]"
        case str():
            return '"' + "".join(f"\\U{ord(char):08X}" for char in value if not 0xD800 <= ord(char) < 0xE000) + '"'
        case _:
            return str(value)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_toml_is_refused_in_sentences_or_read(data: dict[str, Any]) -> None:
    problems("\n".join(f"{key} = {as_toml(value)}" for key, value in data.items()))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_the_sample_is_refused_in_sentences_or_read(data: st.DataObject) -> None:
    lines = [line for line in SAMPLE.splitlines() if line and not line.startswith("##")]
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        line = lines[index]
        match data.draw(st.sampled_from(["drop", "twice", "cut", "value", "uncomment"])):
            case "drop":
                lines[index] = ""
            case "twice":
                lines.insert(data.draw(st.integers(0, len(lines))), line)
            case "cut":
                at = data.draw(st.integers(0, len(line)))
                lines[index] = line[:at] + data.draw(st.text(max_size=3)) + line[at + 1 :]
            case "value":
                lines[index] = line.split("=")[0] + "= " + as_toml(data.draw(VALUES))
            case "uncomment":
                lines[index] = line.removeprefix("# ").removeprefix("#: ")
    problems("\n".join(lines))


@settings(max_examples=50, deadline=None)
@given(
    period_s=st.floats(0.01, 86_400),
    address=st.sampled_from([0x76, 0x77]),
    iir=st.sampled_from([0, 2, 4, 8, 16]),
    offset=st.floats(-100, 100),
    points=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5, unique=True).map(sorted),
    site=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_right_values_are_read_as_they_stand(
    period_s: float, address: int, iir: int, offset: float, points: list[float], site: str
) -> None:
    pairs = [[raw, 1.0] for raw in points]
    text = SMALL.replace('id = "gw"', f'id = "gw"\nsite = {as_toml(site)}')
    text += f"period_s = {period_s!r}\naddress = {address}\niir_filter = {iir}\n"
    text += f"[sensor.temperature_c]\noffset = {offset!r}\n[sensor.humidity_pct]\npoints = {as_toml(pairs)}\n"
    config = parse_config(text)
    (sensor,) = config.sensors
    assert (config.gateway.site, sensor.period_s, sensor.address) == (site, period_s, address)
    assert sensor.options.iir_filter == iir
    assert sensor.channels["temperature_c"].offset == offset
    assert sensor.channels["humidity_pct"].points == tuple((raw, 1.0) for raw in points)


def test_one_mistake_does_not_hide_another() -> None:
    told = problems(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
        '[[sensor]]\nid = "air"\ndriver = "sht3x"\nbus = "i2c1"\n'
        '[[sensor]]\nid = "air"\ndriver = "sht4000"\nbus = "i2c1"\n'
        '[[sensor]]\nid = "other"\ndriver = "sht3x"\nbus = "i2c1"\nperiod_s = nan\n'
        '[uplink]\nurl = "mqtt://broker.example.org"\nusername = 5\npassword_file = "/p"\nwindow = 0\n'
        '[[alert]]\nwhen = "x"\n[receiver]\n'
    )
    assert [":".join(problem.split(":")[:2]) for problem in told] == [
        "10: sensor[2].id",
        "11: sensor[2].driver",
        "13: sensor[3].address",  # the usual one, where the first sensor is
        "17: sensor[3].period_s",
        "19: uplink.url",
        "20: uplink.username",
        "22: uplink.window",
        "24: alert[1].when",
        "25: receiver",
    ]
    assert "unknown section 'receiver'" in told[-1]
