from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.simulate.registry import chip_makers, find_chip

ROOT = Path(__file__).parents[2]

DRIVER = """
from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions

class Acme:
    quantities = ("temperature_c",)
    def __init__(self, bus, address, options):
        self._bus, self._address = bus, address
    def probe(self):
        yield from ()
    def trigger(self):
        return 0
    def collect(self):
        return (float(self._bus.transfer(self._address, b"", 1)[0]),)

DRIVERS = (
    DriverInfo(
        name="acme9000", title="Acme 9000", source="Acme data sheet", bus=BusKind.I2C, addresses=(0x2A,),
        quantities=(Measured("temperature_c", 0.0, 255.0),), options=NoOptions, open=Acme,
    ),
)
"""
OVERRIDE = 'CHIPS = {"bme280": None}\n'


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Installed packages: a driver with its model from the docs, a model that fails to load, one of our name."""
    page = (ROOT / "edge_agent/docs/sensors.md").read_text(encoding="utf-8")
    example = next(block for block in page.split("```python\n") if "CHIPS = " in block).split("```")[0]
    for name, group, source in (
        ("acme", "edge_agent.drivers", DRIVER),
        ("acme_model", "edge_agent.chips", example),
        ("broken_model", "edge_agent.chips", "raise RuntimeError('half a file')"),
        ("other_bme280", "edge_agent.chips", OVERRIDE),
    ):
        (tmp_path / f"{name}.py").write_text(source)
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")
    return tmp_path


def test_a_model_of_another_package_is_simulated_like_our_own(site_packages: Path, tmp_path: Path) -> None:
    config, report = tmp_path / "acme.toml", tmp_path / "report.json"
    config.write_text(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
        '[[sensor]]\nid = "a"\ndriver = "acme9000"\nbus = "i2c1"\n'
        '[[sensor]]\nid = "b"\ndriver = "bme280"\nbus = "i2c1"\n'
    )
    command = [sys.executable, "-m", "edge_agent", "--simulate", "--speed", "max", "--duration", "60"]
    ended = subprocess.run(
        [*command, "--config", str(config), "--report", str(report)],
        env={"PYTHONPATH": f"{ROOT}:{site_packages}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    sensors = json.loads(report.read_text())["sensors"]
    assert (sensors["a"]["state"], sensors["a"]["readings"]) == ("sampling", 60)
    assert sensors["b"]["state"] == "sampling"
    message = "the chip model broken_model of another package cannot be loaded: RuntimeError('half a file')"
    assert message in ended.stderr


@pytest.mark.parametrize("driver", chip_makers())
def test_every_model_is_found_by_the_name_of_its_driver(driver: str) -> None:
    assert find_chip(driver) is chip_makers()[driver]
