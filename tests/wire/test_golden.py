"""Bytes of version 2 that must never change. `python tests/wire/samples.py` made them, by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import edge_agent.wire
from tests.wire.samples import GOLDEN, MESSAGES, OUTGROWN, encoded, ndjson

NAMES = sorted(path.stem for path in GOLDEN.glob("v2-*.hex"))


def test_every_sample_has_its_golden_file() -> None:
    assert sorted(MESSAGES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_decode_to_golden_rows(name: str) -> None:
    data = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    expected = (GOLDEN / f"{name}.ndjson").read_text()
    assert ndjson(data) == expected
    assert all(json.loads(line) for line in expected.splitlines())


@pytest.mark.parametrize("name", sorted(set(NAMES) - OUTGROWN))
def test_the_encoder_still_writes_the_golden_bytes(name: str) -> None:
    assert encoded(name).hex() == (GOLDEN / f"{name}.hex").read_text().strip()


@pytest.mark.parametrize("name", sorted(OUTGROWN))
def test_what_is_no_longer_written_so_is_written_in_fewer_bytes(name: str) -> None:
    assert len(encoded(name).hex()) < len((GOLDEN / f"{name}.hex").read_text().strip())
    assert ndjson(encoded(name)) == (GOLDEN / f"{name}.ndjson").read_text()


def test_the_example_in_the_specification_is_the_golden_message() -> None:
    text = (Path(edge_agent.wire.__file__).parent / "FORMAT.md").read_text()
    example = re.search(r"```hex\n(.*?)```", text, re.DOTALL)
    assert example is not None
    octets = "".join(line.split("#")[0] for line in example[1].splitlines())
    assert bytes.fromhex(octets) == encoded("v2-small")
