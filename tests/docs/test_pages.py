"""What people read is true as far as a machine can tell."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.cli.docs import INDEX, first_paragraph, page, topics_in_order
from edge_agent.cli.main import COMMANDS
from edge_agent.config import model
from edge_agent.config.load import SECTIONS, parse_config
from edge_agent.config.tables import keys_of
from edge_agent.quantity import QUANTITIES, known_units
from edge_agent.simulate.scenario import parse_scenario
from edge_agent.stages.derive import DERIVED
from edge_agent.version import __version__
from tests.docs.pages import MANUAL, PACKAGE, PAGES, README, anchors, blocks, links

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.pages import Block

RIG = (PACKAGE / "simulate" / "greenhouse.toml").read_text()


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", PAGES[1:], ids=lambda path: path.name)
def test_a_page_links_to_nothing_that_is_not_installed_with_it(path: Path) -> None:
    for link in links(path):
        assert (path.parent / link.partition("#")[0]).resolve().is_relative_to(PACKAGE), link


def test_the_index_names_every_page_and_the_readme_too() -> None:
    topics = topics_in_order()
    assert sorted([INDEX, *topics]) == [path.stem for path in MANUAL]
    assert {f"edge_agent/docs/{topic}.md" for topic in topics} <= {link.partition("#")[0] for link in links(README)}


@pytest.mark.parametrize("path", MANUAL, ids=lambda path: path.stem)
def test_a_page_begins_with_one_sentence_that_fits_into_a_list(path: Path) -> None:
    sentence = first_paragraph(page(path.stem))
    assert sentence.endswith(".")
    assert len(sentence) <= 110


def test_the_index_names_every_command_and_every_extra() -> None:
    text = page(INDEX)
    assert set(re.findall(r"^\| `edge-agent (\w+)", text, re.MULTILINE)) == COMMANDS.keys() - {"run"}
    project = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]
    table = text[text.index("## Extras") :]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == project["optional-dependencies"].keys() - {
        "bench",
        "test",
    }


def test_the_changes_have_an_entry_for_this_version() -> None:
    assert f"## {__version__}" in page("changes")


# Tables


SECTION_KEYS: dict[str, type[Any]] = {
    "[gateway]": model.Gateway,
    "[bus.NAME]": model.Bus,
    "[[sensor]]": model.SensorKeys,
    "[sensor.QUANTITY]": model.Channel,
    "[batch]": model.Batch,
    "[outbox]": model.Outbox,
    "[uplink]": model.Uplink,
    "[[alert]]": model.Alert,
    "[replay]": model.Replay,
}


@pytest.mark.parametrize("section", SECTION_KEYS)
def test_the_configuration_page_has_every_key_with_its_default(section: str) -> None:
    text = page("configuration").split(f"## `{section}`\n")[1].split("\n## ")[0]
    text = text[text.index("| key |") :].split("\n\n")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE))
    assert shown.keys() == keys_of(SECTION_KEYS[section])
    for field in dataclasses.fields(SECTION_KEYS[section]):
        if field.default is dataclasses.MISSING:
            assert shown[field.name] == "required"
        elif field.default is None:
            assert shown[field.name] == "–", field.name
        else:
            value = tomllib.loads(f"value = {shown[field.name].strip('`')}")["value"]
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert (value, type(value)) == (default, type(default)), field.name


def test_the_pages_have_every_derived_quantity_and_every_unit() -> None:
    assert re.findall(r"^\| `(\w+)` \| temperature", page("sensors"), re.MULTILINE) == list(DERIVED)
    units = {
        quantity: re.findall(r"`([\w%]+)`", names)
        for quantity, names in re.findall(r"^\| `(\w+)` \| (`.+`) \|$", page("replay"), re.MULTILINE)
    }
    assert units.keys() == QUANTITIES.keys() - set(DERIVED)
    assert all(set(names) <= set(known_units(quantity)) for quantity, names in units.items())


# Blocks


def block_id(block: Block) -> str:
    return f"{block.page}-{block.text.splitlines()[0]}"


@pytest.mark.parametrize("block", blocks("toml"), ids=block_id)
def test_every_toml_block_is_read_by_what_it_is_for(block: Block) -> None:
    keys = tomllib.loads(block.text).keys()
    if "step" in keys:
        assert parse_scenario(block.text, block.page).steps
    elif keys <= set(SECTIONS):
        parse_config(completed(block.text), block.page)
    else:
        assert keys <= {"project", "inputs"}, "neither configuration nor known to this test"


def completed(text: str) -> str:
    """A fragment of a configuration with a gateway, and with buses and sensors of the default rig that it needs."""
    data = tomllib.loads(text)
    # The rig in pieces, one for each header.
    for piece in re.split(r"\n(?=\[)", RIG):
        header = re.search(r"^\[+([\w.]+)\]+$", piece, re.MULTILINE)
        if header is None:
            continue
        section, _, name = header[1].partition(".")
        is_there = name in data.get("bus", {}) if section == "bus" else section in data
        text += "" if is_there else f"\n{piece}\n"
    return text


@pytest.mark.parametrize("block", blocks("json"), ids=block_id)
def test_every_json_block_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", [block for block in blocks("python") if "edge_agent.open" not in block.text])
def test_every_python_block_runs(block: Block) -> None:
    exec(compile(block.text, block.page, "exec"), {})  # noqa: S102 our own page


@pytest.mark.parametrize("block", [block for block in blocks("python") if "edge_agent.open" in block.text])
def test_the_example_of_embedding_reads_runs_and_looks(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slave = tmp_path / "w1" / "28-0123456789ab"
    slave.mkdir(parents=True)
    (slave / "w1_slave").write_text("a2 00 4b 46 7f ff 0c 10 74 : crc=74 YES\na2 00 4b 46 7f ff 0c 10 74 t=10125\n")
    (tmp_path / "edge-agent.toml").write_text(
        f'[gateway]\nid = "g"\n[bus.w1]\ndevice = "{slave.parent}"\nkind = "sysfs"\n'
        '[[sensor]]\nid = "soil"\ndriver = "ds18b20"\nbus = "w1"\n'
        f'[outbox]\ndirectory = "{tmp_path}/state"\n[uplink]\nurl = "mqtt://127.0.0.1:9"\n'
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, block.page, "exec"), {})  # noqa: S102 our own page
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "soil temperature_c 10.125"
    assert len(printed) > 1
    assert (tmp_path / "state" / "outbox.db").is_file()
