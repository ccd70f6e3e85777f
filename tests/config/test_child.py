from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from edge_agent.config.child import load_config_in_child
from edge_agent.config.load import load_config

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def in_new_process(script: str, file: Path) -> None:
    """Run a script where there are no threads, unlike here; `path` is the configuration's."""
    start = (
        "import pathlib, sys\n"
        "from edge_agent.config.child import load_config_in_child\n"
        "path = pathlib.Path(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", start + script, file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration."""
    path = tmp_path / "c.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def thread() -> Iterator[None]:
    """Beside the test there is another thread."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    yield
    done.set()
    other.join()


def test_it_is_what_would_be_read_here(file: Path) -> None:
    in_new_process(
        "config = load_config_in_child(path)()\n"
        "from edge_agent.config.load import load_config\n"
        "assert config == load_config(path)\n"
        "assert config.sensors[0].driver is load_config(path).sensors[0].driver\n",
        file,
    )


def test_problems_are_told_here(file: Path) -> None:
    file.write_text(CONFIG.replace("bme280", "bme281").replace("[gateway]", "[gate]"))
    in_new_process(
        "from edge_agent.errors import ConfigError\n"
        "def problems(load):\n"
        "    try:\n"
        "        load(path)\n"
        "    except ConfigError as error:\n"
        "        return error.problems\n"
        "there = problems(lambda path: load_config_in_child(path)())\n"
        "from edge_agent.config.load import load_config\n"
        "assert there == problems(load_config)\n"
        "assert len(there) >= 2\n",
        file,
    )


def test_a_file_that_is_not_there_is_told_here(tmp_path: Path) -> None:
    in_new_process(
        "problem = ''\n"
        "try:\n"
        "    load_config_in_child(path)()\n"
        "except Exception as error:\n"
        "    problem = str(error)\n"
        "assert 'no such file' in problem\n",
        tmp_path / "c.toml",
    )


def test_what_only_reading_it_needs_is_not_loaded_here(file: Path) -> None:
    in_new_process("assert load_config_in_child(path)().gateway.id == 'g'\nassert 'cattrs' not in sys.modules\n", file)


@pytest.mark.usefixtures("thread")
def test_where_there_are_threads_no_process_is_forked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    assert load_config_in_child(file)() == load_config(file)
