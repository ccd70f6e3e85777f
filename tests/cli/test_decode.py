from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli.decode import READING_KEYS, decode, influx_line
from edge_agent.wire.formats.registry import rewriter
from tests.wire.samples import ANNOUNCEMENT, MESSAGES, REFERRING, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    assert problems[0] == f"{tmp_path / 'absent'}: No such file or directory"
    assert problems[1] == f"{damaged}: byte {len(good)}: the checksum does not match: the message was damaged"


def test_what_one_file_announces_holds_for_the_others_in_any_order(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text('edge/node-1/status {"announcement": "' + ANNOUNCEMENT.to_text() + '"}\n')
    result = run(GOLDEN / "v2-plain.hex", GOLDEN / "v2-next.hex", GOLDEN / "v2-elsewhen.hex", status)
    assert (result.exit_code, result.stderr) == (0, "")
    expected = "".join((GOLDEN / f"{name}.ndjson").read_text() for name in ("v2-plain", "v2-next", "v2-elsewhen"))
    assert result.stdout.startswith(expected)


def test_messages_whose_announcement_is_nowhere_are_counted_and_the_others_printed(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    names = ("v2-announced", "v2-small", "v2-elsewhen", "v2-event", "v2-next")
    messages = [bytes.fromhex((GOLDEN / f"{name}.hex").read_text()) for name in names]
    capture.write_bytes(b"".join(messages))
    result = run(capture)
    assert result.exit_code == 1
    assert result.stdout == (GOLDEN / "v2-small.ndjson").read_text() + (GOLDEN / "v2-event.ndjson").read_text()
    assert result.stderr == (
        f"{capture}: byte 0: refers to announcement {ANNOUNCEMENT.id:08x} of a birth message that is not in this "
        f"capture; capture edge/<node>/status too\n{capture}: byte 0: 2 more messages like this\n"
    )


def test_a_missing_batch_that_another_refers_to_is_named(tmp_path: Path) -> None:
    result = run(GOLDEN / "v2-teaching.hex", GOLDEN / "v2-next.hex")
    assert result.exit_code == 0
    event = tmp_path / "status"
    event.write_text('{"announcement": "' + ANNOUNCEMENT.to_text() + '"}')
    result = run(event, GOLDEN / "v2-next.hex")
    assert result.exit_code == 1
    assert "refers to the batch with seq 42 of node-1, epoch 3, which is not in this capture" in result.stderr


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


@pytest.mark.parametrize("hexadecimal", [True, False])
def test_what_was_sent_as_json_is_printed_like_what_was_sent_as_batch(tmp_path: Path, hexadecimal: bool) -> None:
    names = sorted(set(MESSAGES) - REFERRING)
    capture = tmp_path / "capture"
    payloads = [rewriter("json")(encoded(name)).payload for name in names]
    lines = [b"edge/node-1/live " + (each.hex().encode() if hexadecimal else each) for each in payloads]
    capture.write_bytes(b"\n".join(lines))
    result = run(capture)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "".join((GOLDEN / f"{name}.ndjson").read_text() for name in names)


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "batch", "seq": 1},
        {"kind": "batch", "node": "n", "epoch": 1, "seq": 1, "readings": [7], "features": []},
        {"kind": "batch", "node": "n", "epoch": 1, "seq": 1, "readings": [{"sensor": "s"}], "features": []},
        {"kind": "batch", "node": "n", "epoch": 1, "seq": 1, "readings": [], "features": [[]]},
    ],
)
@pytest.mark.parametrize("form", ["ndjson", "csv", "line"])
def test_what_only_looks_like_a_batch_in_json_is_said_in_one_sentence(document: dict[str, object], form: str) -> None:
    result = run("--format", form, stdin=json.dumps(document).encode())
    assert result.exit_code == 1
    assert result.stderr.startswith("standard input: a JSON object ")


@pytest.mark.parametrize(("form", "name"), [("influx", "InfluxDB line protocol"), ("senml", "a SenML pack")])
@pytest.mark.parametrize("message", ["v2-plain", "v2-event", "v2-tombstone"])
@pytest.mark.parametrize("topic", ["", "edge/node-1/live "])
def test_what_others_read_is_called_by_its_name(form: str, name: str, message: str, topic: str) -> None:
    payload = rewriter(form)(encoded(message)).payload
    for written in (payload, payload.hex().encode()):
        result = run(stdin=topic.encode() + written + b"\n")
        assert result.exit_code == 1
        assert result.stderr == (
            f"standard input: byte 0: this is {name}, which other programs read; "
            'here only formats "batch" and "json" are\n'
        )


def test_sparkplug_is_called_by_its_name() -> None:
    result = run(stdin=b"spBv1.0/growers/NDATA/node-1 \x08\x01")
    assert "this is a Sparkplug B topic" in result.stderr


@pytest.fixture
def pipe() -> Iterator[subprocess.Popen[bytes]]:
    program = "from edge_agent.cli.main import main; main()"
    command = [sys.executable, "-c", program, "decode"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        yield process
        process.kill()


def write(pipe: subprocess.Popen[bytes], data: bytes) -> None:
    assert pipe.stdin is not None
    pipe.stdin.write(data)
    pipe.stdin.flush()


def lines(pipe: subprocess.Popen[bytes], count: int) -> str:
    """So many lines, while the pipe stays open."""
    assert pipe.stdout is not None
    return b"".join(pipe.stdout.readline() for _ in range(count)).decode()


def test_what_comes_through_a_pipe_is_printed_when_it_is_whole(pipe: subprocess.Popen[bytes]) -> None:
    small, plain = (f"edge/n/live {encoded(name).hex()}\n".encode() for name in ("v2-small", "v2-announced"))
    rows = (GOLDEN / "v2-announced.ndjson").read_text()
    write(pipe, plain + small + small[:40])
    assert lines(pipe, 4) == (GOLDEN / "v2-small.ndjson").read_text()
    write(pipe, small[40:])
    assert lines(pipe, 4) == (GOLDEN / "v2-small.ndjson").read_text()
    write(pipe, b'{"announcement": "' + ANNOUNCEMENT.to_text().encode() + b'"}')
    status = lines(pipe, 1)
    assert json.loads(status) == {"kind": "status", "announcement": ANNOUNCEMENT.to_text()}
    assert lines(pipe, rows.count("\n")) == rows
    assert pipe.communicate(timeout=30) == (b"", b"")
    assert pipe.returncode == 0


def test_a_pipe_is_told_at_its_end_what_waited_in_vain(pipe: subprocess.Popen[bytes]) -> None:
    output, problems = pipe.communicate(encoded("v2-announced") * 3 + encoded("v2-event"), timeout=30)
    assert output.decode() == (GOLDEN / "v2-event.ndjson").read_text()
    first, second = problems.decode().splitlines()
    assert first.startswith(f"standard input: byte 0: refers to announcement {ANNOUNCEMENT.id:08x}")
    assert second == "standard input: byte 0: 2 more messages like this"
    assert pipe.returncode == 1


def test_damage_in_a_pipe_ends_it_with_its_place(pipe: subprocess.Popen[bytes]) -> None:
    small = encoded("v2-small")
    write(pipe, small + small[:-1] + b"!")
    assert lines(pipe, 4) == (GOLDEN / "v2-small.ndjson").read_text()
    assert pipe.wait(timeout=30) == 1
    assert pipe.stderr is not None
    assert pipe.stderr.read().decode().startswith(f"standard input: byte {len(small)}: the checksum")


def test_control_c_ends_a_pipe_quietly(pipe: subprocess.Popen[bytes]) -> None:
    write(pipe, encoded("v2-event"))
    lines(pipe, 1)
    pipe.send_signal(signal.SIGINT)
    assert pipe.communicate(timeout=30) == (b"", b"")
    assert pipe.returncode == 130


def test_a_pipe_whose_reader_has_gone_ends_quietly(pipe: subprocess.Popen[bytes]) -> None:
    write(pipe, encoded("v2-event"))
    lines(pipe, 1)
    assert pipe.stdout is not None
    pipe.stdout.close()
    write(pipe, encoded("v2-event"))
    assert pipe.wait(timeout=30) == 0
    assert pipe.stderr is not None
    assert pipe.stderr.read() == b""


def test_a_regular_file_on_standard_input_is_read_in_any_order(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    capture.write_bytes(encoded("v2-announced") + encoded("v2-teaching"))
    program = "from edge_agent.cli.main import main; main()"
    with capture.open("rb") as file:
        result = subprocess.run([sys.executable, "-c", program, "decode"], stdin=file, capture_output=True, check=True)
    rows = (GOLDEN / "v2-announced.ndjson").read_text()
    assert result.stdout.decode().startswith(rows)


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    named = tmp_path / "pipe"
    os.mkfifo(named)
    program = f"from edge_agent.cli.main import main; main(['decode', {str(named)!r}])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=PIPE) as process:
        with named.open("wb") as writer:
            writer.write(encoded("v2-small"))
            writer.flush()
            assert lines(process, 4) == (GOLDEN / "v2-small.ndjson").read_text()
        assert process.wait(timeout=30) == 0


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
