from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.drivers.registry import all_drivers, find_driver

ROOT = Path(__file__).parents[2]

OTHER_PACKAGE = '''
"""A driver in a package of its own."""
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
        return (float(self._bus.transfer(self._address, b"\\\\x00", 1)[0]),)

DRIVERS = (
    DriverInfo(
        name="acme9000", title="Acme 9000", source="Acme data sheet", bus=BusKind.I2C, addresses=(0x2A,),
        quantities=(Measured("temperature_c", 0.0, 255.0),), options=NoOptions, open=Acme,
    ),
)
'''


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Two installed packages: one with a driver, and one that fails when it is loaded."""
    for name, source in (("acme", OTHER_PACKAGE), ("broken", "raise RuntimeError('half a file')")):
        (tmp_path / f"{name}.py").write_text(source)
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[edge_agent.drivers]\n{name} = {name}\n")
    return tmp_path


def edge_agent(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{ROOT}:{path}", "PATH": ""}
    command = [sys.executable, "-m", "edge_agent", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_driver_of_another_package_is_there_like_our_own(site_packages: Path, tmp_path: Path) -> None:
    ended = edge_agent("drivers", "acme9000", path=site_packages)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("acme9000: Acme 9000\n")
    config = tmp_path / "acme.toml"
    config.write_text(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
        '[[sensor]]\nid = "a"\ndriver = "acme9000"\nbus = "i2c1"\n'
    )
    ended = edge_agent("check", "--config", str(config), path=site_packages)
    assert ended.returncode == 0, ended.stderr
    assert "1 sensors with 1 channels" in ended.stdout


def test_one_that_cannot_be_loaded_is_told_and_costs_no_other(site_packages: Path) -> None:
    ended = edge_agent("drivers", path=site_packages)
    assert ended.returncode == 0
    assert "acme9000" in ended.stdout
    assert "bme280" in ended.stdout
    assert "the driver broken of another package cannot be loaded: RuntimeError('half a file')" in ended.stderr


@pytest.mark.parametrize("name", all_drivers())
def test_every_driver_is_found_by_its_name_alone(name: str) -> None:
    info = find_driver(name)
    assert info is not None
    assert info == all_drivers()[name]
    assert find_driver(f"{name}9") is None
