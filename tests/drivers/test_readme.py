from __future__ import annotations

import re
from pathlib import Path

import edge_agent.drivers
from edge_agent.cli.drivers import markdown_table
from edge_agent.drivers.registry import all_drivers

README = Path(edge_agent.drivers.__path__[0]) / "README.md"
SENSORS = README.parents[1] / "docs" / "sensors.md"


def test_the_table_of_chips_is_that_of_the_drivers() -> None:
    text = SENSORS.read_text(encoding="utf-8")
    found = re.search(r"<!-- table -->\n(.*?)\n?<!-- end of table -->", text, re.DOTALL)
    assert found is not None
    assert found[1].splitlines() == markdown_table(all_drivers().values()), (
        "put what `edge-agent drivers --table` prints between the two comments"
    )


def test_files_that_it_names_are_there() -> None:
    root = README.parents[2]
    for name in re.findall(r"`((?:edge_agent|tests)/[\w/]+\.py)`", README.read_text(encoding="utf-8")):
        assert (root / name).is_file(), name
