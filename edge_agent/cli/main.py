"""The `edge-agent` command: finds the subcommand, and turns an error into one sentence and an exit code."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Final

import click

from edge_agent.errors import EdgeAgentError
from edge_agent.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = {
    "run": "The daemon: sample, store, forward. The default command.",
    "check": "Validate the configuration; touches no hardware and no network.",
    "doctor": "What is wrong with buses and sensors, and how to fix it.",
    "read": "One measurement with every sensor.",
    "scan": "Which chips answer; prints configuration that can be pasted.",
    "drivers": "The sensors that are supported.",
    "decode": "Captured messages to readings.",
    "replay": "Recorded readings through the same pipeline.",
    "receive": "The other end: stores what gateways send, and confirms it.",
    "outbox": "What waits in the outbox: list, copy, check.",
    "docs": "The manual; needs no internet.",
}
"""Name → help. The module of that name in this package defines the command; it is loaded when it is called."""


class _Commands(click.Group):
    """Subcommands by name. Arguments that begin with an option belong to `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if not args or (args[0] not in COMMANDS and args[0] not in own and args[0].startswith("-")):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"edge_agent.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a command: run. Try `edge-agent --simulate` first; it needs no hardware.",
)
@click.version_option(__version__, prog_name="edge-agent")
def cli() -> None:
    """Reads environment sensors on a gateway and gets every reading upstream."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with the error's code if there is one.

    An error is one sentence on stderr. With `--debug` anywhere among the arguments it is raised instead.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    args = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in args
    try:
        cli.main(args=[arg for arg in args if arg != "--debug"], prog_name="edge-agent", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except EdgeAgentError as error:
        if debug:
            raise
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        click.echo(f"internal error: {type(error).__name__}: {error}; run again with --debug and report it", err=True)
        sys.exit(EdgeAgentError.exit_code)


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to stderr, without time stamps: the journal adds them."""
    logging.basicConfig(level=level, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True)
    for chatty in ("apscheduler", "iotcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
