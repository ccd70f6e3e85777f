from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli.decode import READING_KEYS, decode, influx_line
from tests.wire.samples import REFERRING

GOLDEN = Path(__file__).parent.parent / "wire" / "golden"


def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(decode, [str(argument) for argument in arguments], input=stdin)


@pytest.mark.parametrize(
    "path",
    sorted(set(GOLDEN.glob("*.hex")) - {GOLDEN / f"{name}.hex" for name in REFERRING}),
    ids=lambda path: path.stem,
)
def test_golden_files_print_golden_rows(path: Path) -> None:
    result = run(path)
    assert result.exit_code == 0
    assert result.stdout == path.with_suffix(".ndjson").read_text()


def test_standard_input_is_read_without_a_file_and_with_a_dash() -> None:
    data = bytes.fromhex((GOLDEN / "v2-small.hex").read_text())
    assert run(stdin=data).stdout == run("-", stdin=data).stdout == (GOLDEN / "v2-small.ndjson").read_text()


def test_a_reading_has_the_public_keys_in_order() -> None:
    first = json.loads(run(GOLDEN / "v2-small.hex").stdout.splitlines()[0])
    assert tuple(first) == READING_KEYS


def test_a_damaged_file_is_named_and_the_others_are_still_decoded(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.bin"
    good = bytes.fromhex((GOLDEN / "v2-small.hex").read_text())
    damaged.write_bytes(good + good[:-1] + b"!")
    result = run(damaged, GOLDEN / "v2-event.hex", tmp_path / "absent")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 4 + 1
    problems = result.stderr.splitlines()
    assert problems[0] == f"{damaged}: byte {len(good)}: the checksum does not match: the message was damaged"
    assert problems[1] == f"{tmp_path / 'absent'}: No such file or directory"


def test_csv_has_a_header_and_readings_only() -> None:
    result = run(GOLDEN / "v2-full.hex", GOLDEN / "v2-event.hex", "--format", "csv")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert len(rows) == 8
    assert tuple(rows[0]) == READING_KEYS
    assert rows[1]["value"] == ""
    assert rows[2]["flags"] == "too_fast outlier"


def test_line_protocol_leaves_out_what_has_no_value() -> None:
    lines = run(GOLDEN / "v2-full.hex", "--format", "line").stdout.splitlines()
    assert len(lines) == 7
    assert lines[0] == "air,node=node-1,quality=good temperature_c=21.5 1767225600123456789"


def test_line_protocol_escapes_what_would_separate() -> None:
    row = {
        "node": "a b,c=d\\",
        "sensor": "x y,z=w",
        "quantity": "q=1 ,",
        "quality": "good",
        "value": 1,
        "t_ns": 5,
    }
    assert influx_line(row) == "x\\ y\\,z=w,node=a\\ b\\,c\\=d,quality=good q\\=1\\ \\,=1.0 5"


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    many = tmp_path / "many.hex"
    many.write_text((GOLDEN / "v2-full.hex").read_text() * 500)
    program = f"from edge_agent.cli.decode import decode; decode([{str(many)!r}])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 0
