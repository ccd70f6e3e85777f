from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.quantity import QUANTITIES, Quantity, find_unit, known_units, parse_mapping
from edge_agent.wire.names import pack_quantities, unpack_quantities
from tests.packages import ROOT, edge_agent, install

if TYPE_CHECKING:
    from pathlib import Path

QUANTITY_PACKAGE = """
from edge_agent.quantity import Quantity

QUANTITIES = (
    "not a quantity",
    Quantity("soil_moisture_pct", "%", 0.0, 100.0, 0.1, 0.5, 1e-3),
    Quantity("temperature_c", "never mind", 0.0, 1.0, 0.1, 0.5, 1e-3),
)
"""

DRIVER_PACKAGE = """
from dataclasses import dataclass
from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions

class Probe:
    quantities = ("{quantity}",)
    def __init__(self, bus, address, options):
        self._bus = bus
    def probe(self):
        yield from ()
    def trigger(self):
        return 0
    def collect(self):
        return (41.5,)

DRIVERS = (
    DriverInfo(
        name="{name}", title="A probe", source="none", bus=BusKind.SYSFS, addresses=(),
        quantities=(Measured("{quantity}", 0.0, 100.0),), options=NoOptions, open=Probe,
    ),
)
"""

CONFIG = """
[gateway]
id = "g"
[bus.tree]
device = "{directory}"
kind = "sysfs"
[[sensor]]
id = "bed"
driver = "{driver}"
bus = "tree"
[[alert]]
when = "bed.soil_moisture_pct < 20"
"""


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Packages as pip installs them: quantities, a module that fails, and drivers with a known and an unknown one."""
    modules = {
        "soil_quantities": ("quantities", QUANTITY_PACKAGE),
        "broken_quantities": ("quantities", "QUANTITIES = (1 / 0,)"),
        "probe": ("drivers", DRIVER_PACKAGE.format(name="probe", quantity="soil_moisture_pct")),
        "stray": ("drivers", DRIVER_PACKAGE.format(name="stray", quantity="soil_ph")),
    }
    for name, (group, source) in modules.items():
        install(tmp_path, name, group, source)
    return tmp_path


def config_for(driver: str, directory: Path) -> str:
    path = directory / f"{driver}.toml"
    path.write_text(CONFIG.format(driver=driver, directory=directory))
    return str(path)


def test_a_quantity_of_another_package_is_sampled_and_stored_like_our_own(site_packages: Path) -> None:
    config = config_for("probe", site_packages)
    ended = edge_agent("read", "--config", config, path=site_packages)
    assert (ended.returncode, ended.stdout) == (0, "bed: 41.50 %\n"), ended.stderr
    report = site_packages / "report.json"
    state = str(site_packages / "state")
    arguments = ("--config", config, "--state-dir", state, "--duration", "1.5", "--report", str(report))
    ended = edge_agent("run", *arguments, path=site_packages)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(report.read_text())["readings"]["good"] >= 1
    assert json.loads(report.read_text())["records"]["committed"] == 1


def test_packages_that_are_broken_are_told_and_cost_no_other(site_packages: Path) -> None:
    ended = edge_agent("drivers", "probe", path=site_packages)
    assert "soil_moisture_pct: 0 to 100 %, sent in steps of 0.1" in ended.stdout
    assert "the quantities broken_quantities of another package cannot be loaded: ZeroDivisionError" in ended.stderr
    assert "soil_quantities of another package lists 'not a quantity', which is not a Quantity" in ended.stderr


def test_a_quantity_of_ours_is_never_replaced(site_packages: Path) -> None:
    program = "from edge_agent.quantity import QUANTITIES as q; len(q); print(q['temperature_c'].unit, 'soil_ph' in q)"
    environment = {"PYTHONPATH": f"{ROOT}:{site_packages}", "PATH": ""}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "°C False\n"


def test_a_driver_with_an_unknown_quantity_is_refused_in_one_sentence(site_packages: Path) -> None:
    config = config_for("stray", site_packages)
    ended = edge_agent("check", "--config", config, path=site_packages)
    assert ended.returncode == 78
    (problem,) = [line for line in ended.stderr.splitlines() if line.startswith(config)]
    assert problem == (
        f"{config}:9: sensor[1].driver: stray measures soil_ph, which no installed package declares as a quantity "
        "(entry point edge_agent.quantities)"
    )
    for arguments in (("drivers",), ("drivers", "stray"), ("drivers", "--table")):
        assert edge_agent(*arguments, path=site_packages).returncode == 0


def test_known_quantities_are_found_without_a_look_at_other_packages() -> None:
    program = (
        "import sys; from edge_agent.quantity import QUANTITIES as q, parse_mapping\n"
        "[q[name] for name in ('temperature_c', 'wet_bulb_c')], parse_mapping('t=air.temperature_c')\n"
        "print('importlib.metadata' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_a_name_that_is_no_quantity_is_not_in_the_mapping() -> None:
    assert "warmth" not in QUANTITIES
    assert QUANTITIES.get("warmth") is None
    assert len(QUANTITIES) == len(list(QUANTITIES))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pH", "", 0.0, 14.0, 0.1, 0.1, 1e-3), "is not a name"),
        (("a" * 65, "", 0.0, 14.0, 0.1, 0.1, 1e-3), "is not a name"),
        (("ph", "", 14.0, 14.0, 0.1, 0.1, 1e-3), "not below the maximum"),
        (("ph", "", 0.0, 14.0, 0.0, 0.1, 1e-3), "resolution is 0.0"),
        (("ph", "", 0.0, 14.0, 0.1, float("nan"), 1e-3), "sigma is nan"),
        (("ph", "", 0.0, 14.0, 0.1, 0.1, -1.0), "drift_per_s is -1.0"),
    ],
)
def test_a_quantity_that_cannot_be_is_refused(
    arguments: tuple[str, str, float, float, float, float, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Quantity(*arguments)


def test_a_name_that_the_wire_has_no_code_for_comes_back_as_it_was() -> None:
    names = ("temperature_c", "soil_moisture_pct", "a" * 64, "dew_point_c")
    assert tuple(unpack_quantities(pack_quantities(names))) == names


def test_a_quantity_without_other_units_has_its_own() -> None:
    assert known_units("wet_bulb_c") == ("c",)
    assert parse_mapping("t=air.wet_bulb_c").unit == parse_mapping("t=air.wet_bulb_c:c").unit
    assert find_unit("wet_bulb_c", "°F") is None
    with pytest.raises(ValueError, match=r"'k' in .* is not a unit of wet_bulb_c; known: c"):
        parse_mapping("t=air.wet_bulb_c:k")


@pytest.mark.parametrize(
    "options",
    [
        'driver = "modbus_rtu"\nregisters = [{quantity = "dew_point_c", at = 0, scale = 0.1}]',
        'driver = "ascii_line"\ncolumns = ["dew_point_c"]',
    ],
)
def test_whatever_is_a_quantity_can_stand_in_a_map_of_a_user(options: str) -> None:
    from edge_agent.config.load import parse_config  # noqa: PLC0415 above this module

    text = f'[gateway]\nid = "g"\n[bus.b]\ndevice = "/dev/ttyUSB0"\n[[sensor]]\nid = "a"\nbus = "b"\n{options}\n'
    assert list(parse_config(text).sensors[0].channels) == ["dew_point_c"]
