from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.wire.formats.registry import find_format, known_formats, rewriter
from tests.packages import ROOT, edge_agent, install
from tests.wire.samples import MESSAGES, REFERRING, encoded

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [name for name in known_formats() if name != "sparkplug-b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sample", sorted(MESSAGES.keys() - REFERRING))
def test_every_format_that_the_configuration_knows_takes_every_kind_of_record(name: str, sample: str) -> None:
    written = rewriter(name)(encoded(sample))
    assert written.payload
    assert written.topic is None


@pytest.mark.parametrize("sample", MESSAGES)
def test_a_batch_stays_as_it_is_to_the_byte(sample: str) -> None:
    written = rewriter("batch")(encoded(sample))
    assert written.payload == encoded(sample)
    assert (written.content_type, written.version) == ("application/vnd.edge-agent.batch;v=2", "2")


OTHER_PACKAGE = """
from edge_agent.wire.formats.base import Rewritten
from edge_agent.wire.formats.registry import Format

def load():
    return lambda message: Rewritten(b"%d bytes" % len(message), "text/plain")

FORM = Format("length", load, max_cells=100)
"""


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Installed packages: one with a format, one with something else, and one that fails when it is loaded."""
    for name, source in (("length", OTHER_PACKAGE), ("other", "FORM = 7"), ("broken", "raise RuntimeError('half')")):
        install(tmp_path, f"{name}_format", "formats", source, "FORM")
    return tmp_path


def test_a_format_of_another_package_is_there_like_our_own(site_packages: Path, tmp_path: Path) -> None:
    config, report = tmp_path / "g.toml", tmp_path / "report.json"
    config.write_text(
        '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n[[sensor]]\nid = "a"\ndriver = "bme280"\n'
        'bus = "i2c1"\n[uplink]\nformat = "length"\n'
    )
    run = ["--simulate", "--config", str(config), "--speed", "max", "--duration", "120", "--report", str(report)]
    for arguments in (["check", "--config", str(config)], run):
        ended = edge_agent(*arguments, path=site_packages, timeout_s=120)
        assert ended.returncode == 0, ended.stderr
    records = json.loads(report.read_text())["records"]
    assert records["confirmed"] == records["committed"] > 3  # sealed at 100 readings, not once a minute


def test_what_cannot_be_loaded_or_is_no_format_costs_no_other(site_packages: Path) -> None:
    code = "from edge_agent.wire.formats.registry import known_formats; print(*known_formats())"
    environment = {"PYTHONPATH": f"{ROOT}:{site_packages}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["batch", "json", "influx", "senml", "sparkplug-b", "length"]
    assert "broken_format" in done.stderr
    assert "is no Format" in done.stderr


def test_an_unknown_format_is_none() -> None:
    assert find_format("morse") is None
    with pytest.raises(KeyError):
        rewriter("morse")
    with pytest.raises(KeyError):
        rewriter("sparkplug-b")
