"""`edge-agent outbox`: what waits in the outbox, a copy of it, whether it is whole, and where it will go."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from edge_agent.cli import options
from edge_agent.cli.options import config_option, load
from edge_agent.clock import NS_PER_S, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.config.model import Config
    from edge_agent.outbox.inspect import Contents, EpochContents


def _state_dir_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Directory of the outbox; default: as configured.",
    )(command)


@click.group
def outbox() -> None:
    """Look at the records that wait in the outbox. Nothing of it changes the outbox."""


@outbox.command
@config_option
@_state_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def ls(config_path: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """List what waits: records by epoch, damaged databases, secured rows of the open batch.

    Works while the agent runs; then it shows the last commit.
    """
    from edge_agent.outbox.inspect import contents_of

    directory = _directory(config_path, state_dir)
    contents = contents_of(directory)
    clock = SystemClock()
    age_s = max(0, clock.now_ns() + clock.anchor().offset_ns - contents.written_ns) / NS_PER_S
    if as_json:
        json.dump(_as_json(directory, contents, age_s), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        for line in _as_text(directory, contents, age_s):
            click.echo(line)


@outbox.command
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False), metavar="FILE|-")
@click.option(
    "--to",
    "form",
    type=click.Choice(["messages", "ndjson"]),
    default="messages",
    show_default=True,
    help="messages: as they would be sent, for `edge-agent decode`; ndjson: what that prints.",
)
@config_option
@_state_dir_option
def export(file: Path, form: str, config_path: Path | None, state_dir: Path | None) -> None:
    """Write all records that wait to FILE, or to standard output. Nothing is deleted.

    Records of damaged databases that were set aside are among them, and, if no agent runs, the secured rows of the
    open batch. Exit code 1 if some cannot be read.
    """
    if str(file) == "-":
        good = _export(sys.stdout.buffer, form, config_path, state_dir)
        sys.stdout.flush()
    else:
        partial = file.with_name(file.name + ".part")
        with partial.open("wb") as opened:
            good = _export(opened, form, config_path, state_dir)
        partial.replace(file)
    if not good:
        raise SystemExit(1)


@outbox.command
@config_option
@_state_dir_option
def verify(config_path: Path | None, state_dir: Path | None) -> None:
    """Check every page and every record, and say what is damaged. Exit code 1 if anything is.

    Changes nothing: the agent itself sets a damaged database aside at its next start and goes on with what can be read.
    """
    from edge_agent.outbox.inspect import process_of
    from edge_agent.outbox.verify import verify as verdict_of

    directory = _directory(config_path, state_dir)
    verdict = verdict_of(directory)
    if (process := process_of(directory)) is not None:
        click.echo(f"{_holder(process)}: this is the state of its last commit", err=True)
    for note in verdict.notes:
        click.echo(note, err=True)
    for fault in verdict.faults:
        click.echo(fault)
    if verdict.faults:
        raise SystemExit(1)
    click.echo(f"{verdict.records} records are as they were stored")


@outbox.command
@config_option
@_state_dir_option
def rebind(config_path: Path | None, state_dir: Path | None) -> None:
    """Show where the records that wait will go, after broker, prefix or format were changed in the configuration.

    Stored records hold none of these three, so there is nothing to convert: after a restart the agent sends them all to
    the new place. They do belong to the node that took them in, and a change of [gateway] id is refused here: a
    receiver would take them for records of another gateway.
    """
    from edge_agent.errors import DataError
    from edge_agent.outbox.inspect import contents_of

    config = load(config_path)
    directory = state_dir or Path(config.outbox.directory)
    contents = contents_of(directory)
    records = sum(epoch.records for epoch in contents.epochs)
    node, uplink = config.gateway.id, config.uplink
    if records and contents.node not in {"", node}:
        raise DataError(
            f"{records} records in {directory} belong to the node {contents.node}, and [gateway] id is {node};"
            f' set id = "{contents.node}" until they are delivered, or give the new gateway another directory'
        )
    where = f"group {uplink.sparkplug_group}" if uplink.format == "sparkplug-b" else uplink.prefix or f"edge/{node}"
    click.echo(f"{records} records of {node} go to {uplink.url}, {where}, as {uplink.format}; none had to be changed")
    if contents.process is not None:
        click.echo(f"{_holder(contents.process)}: restart it, so that it reads its configuration", err=True)


def _directory(config_path: Path | None, state_dir: Path | None) -> Path:
    return state_dir or Path(load(config_path).outbox.directory)


def _holder(process: int) -> str:
    return f"an agent uses the outbox (process {process})" if process else "an agent uses the outbox"


# ---- ls


def _as_json(directory: Path, contents: Contents, age_s: float) -> dict[str, Any]:
    """The object that `ls --json` prints. Keys are public; new ones may be added."""
    return {
        "v": 1,
        "directory": str(directory),
        "node": contents.node or None,
        "in_use": contents.process is not None,
        "process": contents.process or None,
        "written_s_ago": round(age_s, 3),
        "steady": contents.is_steady,
        "epochs": [
            {
                "epoch": epoch.epoch,
                "boot": epoch.boot,
                "mark": epoch.mark,
                "batches": epoch.batches,
                "events": epoch.events,
                "tombstones": epoch.tombstones,
                "records": epoch.records,
                "readings": epoch.readings,
                "first": _time(epoch.first_ns),
                "last": _time(epoch.last_ns),
                "bytes": epoch.bytes,
            }
            for epoch in contents.epochs
        ],
        "total": {
            name: sum(getattr(epoch, name) for epoch in contents.epochs)
            for name in ("batches", "events", "tombstones", "records", "readings", "bytes")
        },
        "secured_readings": contents.secured,
        "unreadable": list(contents.unreadable),
        "damaged": [
            {"name": aside.name, "bytes": aside.bytes, "salvaged": not aside.is_waiting} for aside in contents.asides
        ],
        "file_bytes": contents.file_bytes,
    }


def _as_text(directory: Path, contents: Contents, age_s: float) -> Iterator[str]:
    use = f"{_holder(contents.process)}; this is" if contents.process is not None else "no agent uses it;"
    yield f"{directory}  {contents.node}  {contents.file_bytes} bytes"
    yield f"{use} the state of {age_s:.0f} s ago"
    if not contents.is_steady:
        yield "it was written while it was read, so numbers may not add up; repeat this"
    for epoch in contents.epochs:
        yield f"epoch {epoch.epoch}  boot {epoch.boot}  mark {epoch.mark}"
        yield f"  {_numbers([epoch])}"
        if epoch.first_ns is not None:
            yield f"  from {_time(epoch.first_ns)} to {_time(epoch.last_ns)}"
    yield f"in all: {_numbers(contents.epochs)}"
    if contents.secured:
        yield f"open batch: {contents.secured} readings are secured"
    yield from contents.unreadable
    for aside in contents.asides:
        state = "is to be salvaged" if aside.is_waiting else "was salvaged and is kept for inspection"
        yield f"{aside.name}: a damaged database of {aside.bytes} bytes; it {state}"


def _numbers(epochs: Sequence[EpochContents]) -> str:
    records, batches, events, tombstones, readings, octets = (
        sum(getattr(epoch, name) for epoch in epochs)
        for name in ("records", "batches", "events", "tombstones", "readings", "bytes")
    )
    return (
        f"{records} records ({batches} batches, {events} events, {tombstones} tombstones), {readings} readings,"
        f" {octets} bytes"
    )


def _time(wall_ns: int | None) -> str | None:
    from edge_agent.wire.rows import iso_utc

    return None if wall_ns is None else iso_utc(wall_ns)


# ---- export


def _export(target: IO[bytes], form: str, config_path: Path | None, state_dir: Path | None) -> bool:
    """Write all records. Returns whether all could be read."""
    from edge_agent.outbox.inspect import Unreadable, contents_of, database_state, waiting_records
    from edge_agent.pipeline.open_rows import promote_rows
    from edge_agent.wire.codec import decode_message
    from edge_agent.wire.rows import objects

    # A copy of the directory on another machine needs no configuration.
    needs_config = state_dir is None or config_path is not None or options.DEFAULT_CONFIG.exists()
    config = load(config_path) if needs_config else None
    directory = state_dir or Path(config.outbox.directory if config is not None else ".")
    contents = contents_of(directory)
    if contents.process is not None:
        click.echo(f"{_holder(contents.process)}: what it commits meanwhile may be missing", err=True)
    message_of = _messages(contents.node, config)
    good, before = True, database_state(directory)
    for item in waiting_records(directory, promote_rows if contents.process is None else None):
        if isinstance(item, Unreadable):
            good = False
            click.echo(item.sentence, err=True)
            continue
        message = message_of(item)
        if form == "messages":
            target.write(message)
            continue
        for row in objects(decode_message(message)):
            target.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    if database_state(directory) != before:
        click.echo(
            "the agent wrote to the database while it was read, so records may be missing; repeat this", err=True
        )
        return False
    return good


def _messages(node: str, config: Config | None) -> Callable[..., bytes]:
    """What makes the message of a record."""
    from edge_agent.agent.messages import record_message
    from edge_agent.errors import DataError

    name = node or (config.gateway.id if config is not None else "")
    if not name:
        raise DataError("the outbox does not say which gateway it is of; give its configuration with --config")
    step_s = config.batch.time_resolution_s if config is not None else 0.001
    return lambda record: record_message(record, name, max(1, round(step_s * NS_PER_S)))
