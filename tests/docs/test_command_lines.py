"""Every call of edge-agent that people are told to make: those that need nothing are made, the others are parsed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from edge_agent.cli.main import COMMANDS, cli
from edge_agent.receiver.sinks.sqlite import SqliteSink
from tests.cli.test_outbox import fill
from tests.docs.pages import PACKAGE, ROOT, command_lines

if TYPE_CHECKING:
    from pathlib import Path

LINES = command_lines()
SIMULATED = {"read", "doctor", "scan"}
LONGEST_S = 3600

PROGRAM = """
import sys
from pathlib import Path
import edge_agent.cli.options as options
options.DEFAULT_CONFIG = Path(sys.argv[1])
from edge_agent.cli.main import main
main(sys.argv[2:])
"""


def needs_nothing(arguments: tuple[str, ...]) -> bool:
    """Whether it ends by itself, without hardware, broker, or files that are not there."""
    command, *rest = with_command(arguments)
    match command:
        case "check" | "drivers" | "docs" | "decode":
            return True
        case "read" | "doctor" | "scan" | "replay" | "outbox":
            return {"replay": "--plot", "outbox": "--state-dir"}.get(command, "--simulate") in rest
        case "receive":
            return "--broker" not in rest
        case "run":
            ends = "--duration" in rest and float(rest[rest.index("--duration") + 1]) <= LONGEST_S
            return ends and "--simulate" in rest and "max" in rest and "--broker" not in rest
    return False


def with_command(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return arguments if arguments and arguments[0] in COMMANDS else ("run", *arguments)


def test_the_pages_show_every_command() -> None:
    assert {with_command(arguments)[0] for arguments in LINES} == COMMANDS.keys()
    assert {with_command(arguments)[0] for arguments in LINES if needs_nothing(arguments)} == COMMANDS.keys()


@pytest.mark.parametrize("arguments", LINES, ids=" ".join)
def test_every_command_line_has_only_options_that_exist(arguments: tuple[str, ...]) -> None:
    name, *rest = with_command(arguments)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, list(rest))


@pytest.mark.parametrize("arguments", [line for line in LINES if needs_nothing(line)], ids=" ".join)
def test_what_needs_nothing_runs(arguments: tuple[str, ...], tmp_path: Path) -> None:
    rows = "".join(f"{1000 * second},{20 + second % 7 / 100}\n" for second in range(120))
    (tmp_path / "greenhouse.csv").write_text(f"timestamp_ms,temp\n{rows}")
    message = bytes.fromhex((ROOT / "tests" / "wire" / "golden" / "v2-small.hex").read_text())
    SqliteSink(tmp_path / "received.db").close()
    fill(tmp_path / "state")
    (tmp_path / "records.bin").write_bytes(message)
    config = PACKAGE / "simulate" / "greenhouse.toml"
    command = [sys.executable, "-c", PROGRAM, str(config), *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, input=message, capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout
