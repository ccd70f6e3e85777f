from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers.registry import all_drivers, find_driver
from tests.packages import ACME_DRIVER, edge_agent, install

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Two installed packages: one with a driver, and one that fails when it is loaded."""
    install(tmp_path, "acme", "drivers", ACME_DRIVER)
    install(tmp_path, "broken", "drivers", "raise RuntimeError('half a file')")
    return tmp_path


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
