from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.config.child import load_config_in_child
from edge_agent.config.load import load_config
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[gateway]
id = "g"
[bus.i2c1]
device = "/dev/i2c-1"
[[sensor]]
id = "air"
driver = "bme280"
bus = "i2c1"
derive = ["dew_point_c"]
pressure_oversampling = 4
[sensor.temperature_c]
points = [[0, 0.1], [50, 50.2]]
[[alert]]
when = "air.dew_point_c > 17"
"""


def test_it_is_what_would_be_read_here(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(CONFIG)
    config = load_config_in_child(file)()
    assert config == load_config(file)
    assert config.sensors[0].driver is load_config(file).sensors[0].driver


def test_problems_are_told_here(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(CONFIG.replace("bme280", "bme281").replace("[gateway]", "[gate]"))
    with pytest.raises(ConfigError) as here:
        load_config(file)
    with pytest.raises(ConfigError) as there:
        load_config_in_child(file)()
    assert there.value.problems == here.value.problems
    assert len(there.value.problems) >= 2


def test_a_file_that_is_not_there_is_told_here(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config_in_child(tmp_path / "c.toml")()


def test_what_only_reading_it_needs_is_not_loaded_here(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(CONFIG)
    script = (
        "import sys, pathlib\n"
        "from edge_agent.config.child import load_config_in_child\n"
        "config = load_config_in_child(pathlib.Path(sys.argv[1]))()\n"
        "print(config.gateway.id, 'cattrs' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["g", "False"]
