from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.simulate.registry import chip_makers, find_chip
from tests.packages import ACME_DRIVER, ROOT, edge_agent, install

if TYPE_CHECKING:
    from pathlib import Path

OVERRIDE = 'CHIPS = {"bme280": None}\n'


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Installed packages: a driver with its model from the docs, a model that fails to load, one of our name."""
    page = (ROOT / "edge_agent/docs/sensors.md").read_text(encoding="utf-8")
    example = next(block for block in page.split("```python\n") if "CHIPS = " in block).split("```")[0]
    install(tmp_path, "acme", "drivers", ACME_DRIVER)
    install(tmp_path, "acme_model", "chips", example)
    install(tmp_path, "broken_model", "chips", "raise RuntimeError('half a file')")
    install(tmp_path, "other_bme280", "chips", OVERRIDE)
    return tmp_path


def test_a_model_of_another_package_is_simulated_like_our_own(site_packages: Path, tmp_path: Path) -> None:
    config, report = tmp_path / "acme.toml", tmp_path / "report.json"
    config.write_text(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
        '[[sensor]]\nid = "a"\ndriver = "acme9000"\nbus = "i2c1"\n'
        '[[sensor]]\nid = "b"\ndriver = "bme280"\nbus = "i2c1"\n'
    )
    options = ["--simulate", "--speed", "max", "--duration", "60", "--config", str(config), "--report", str(report)]
    ended = edge_agent(*options, path=site_packages)
    assert ended.returncode == 0, ended.stderr
    sensors = json.loads(report.read_text())["sensors"]
    assert (sensors["a"]["state"], sensors["a"]["readings"]) == ("sampling", 60)
    assert sensors["b"]["state"] == "sampling"
    message = "the chip model broken_model of another package cannot be loaded: RuntimeError('half a file')"
    assert message in ended.stderr


@pytest.mark.parametrize("driver", chip_makers())
def test_every_model_is_found_by_the_name_of_its_driver(driver: str) -> None:
    assert find_chip(driver) is chip_makers()[driver]
