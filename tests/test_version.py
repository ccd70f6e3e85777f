from __future__ import annotations

import re
import sys
import sysconfig
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest

from edge_agent.version import DISTRIBUTION, __version__, install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_distribution_has_the_name_that_hints_give_it() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert metadata(DISTRIBUTION)["Version"] == __version__


def test_every_hint_names_an_extra_that_exists() -> None:
    sources = [path.read_text() for path in (ROOT / "edge_agent").rglob("*.py")]
    hinted = {extra for source in sources for extra in re.findall(r"install_command\(['\"](\w+)['\"]\)", source)}
    assert hinted == {"gpio", "plot", "simulate", "sparkplug"}
    assert hinted < PROJECT["optional-dependencies"].keys()


def test_extras_refer_to_each_other_by_the_name_of_the_distribution() -> None:
    required = [text for extra in PROJECT["optional-dependencies"].values() for text in extra if "edge" in text]
    assert required
    assert all(text.startswith(f"{DISTRIBUTION}[") for text in required)


def test_nothing_tells_people_to_install_another_program() -> None:
    texts = [*(ROOT / "edge_agent").rglob("*.py"), *(ROOT / "config").iterdir(), ROOT / "README.md"]
    texts += (ROOT / "edge_agent").rglob("*.md")
    wrong = re.compile(r"\bedge-agent\[|pip install ['\"]?edge-agent(?!-gateway)")
    assert [path for path in texts if wrong.search(path.read_text())] == []


def test_in_a_virtual_environment_its_own_pip_installs_an_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/edge-agent/bin/python")
    assert install_command("plot") == "/opt/edge-agent/bin/python -m pip install 'edge-agent-gateway[plot]'"


def test_an_environment_of_pipx_is_changed_through_pipx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert install_command("gpio") == "pipx runpip edge-agent-gateway install 'edge-agent-gateway[gpio]'"


@pytest.mark.parametrize(("managed", "option"), [(True, "--break-system-packages "), (False, "")])
def test_a_python_that_the_system_manages_needs_an_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, managed: bool, option: str
) -> None:
    if managed:
        (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    assert install_command("gpio") == f"/usr/bin/python3 -m pip install {option}'edge-agent-gateway[gpio]'"
