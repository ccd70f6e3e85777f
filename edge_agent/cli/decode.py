"""`edge-agent decode`: captured messages to readings. Reads files or standard input, prints."""

from __future__ import annotations

import csv
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_agent.wire.batch import Message, StatusText
    from edge_agent.wire.codec import Known

READING_KEYS: Final = (
    "node",
    "epoch",
    "seq",
    "sensor",
    "quantity",
    "t",
    "t_ns",
    "t_quality",
    "value",
    "raw",
    "quality",
    "flags",
)


@click.command
@click.argument("files", nargs=-1, type=click.Path(allow_dash=True, dir_okay=False), metavar="[FILE…|-]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv", "line"]),
    default="ndjson",
    show_default=True,
    help="ndjson: everything; csv: readings only; line: InfluxDB line protocol, readings that have a value.",
)
def decode(files: tuple[str, ...], form: str) -> None:
    """Print what captured messages hold.

    Takes binary messages one after another, hex text one message per line, JSON status messages and what is sent with
    format = "json", each with or without its topic before it: what mosquitto_sub writes. Batches whose channels were
    announced once need the announcement, from the status message or from a batch that bears it, anywhere in the
    files. Without FILE, or with -, reads standard input.
    """
    writer: Callable[[dict[str, Any]], None] = {
        "ndjson": _print_json,
        "csv": _print_csv,
        "line": _print_line,
    }[form]
    failed = False
    captures: dict[str, bytes] = {}
    for name in files or ("-",):
        try:
            with click.open_file(name, "rb") as stream:
                captures["standard input" if name == "-" else click.format_filename(name)] = stream.read()
        except OSError as error:
            click.echo(f"{click.format_filename(name)}: {error.strerror}", err=True)
            failed = True
    try:
        if form == "csv":
            csv.writer(sys.stdout, lineterminator="\n").writerow(READING_KEYS)
        failed |= not _decode(captures, writer)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`). What is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if failed:
        raise SystemExit(1)


def _decode(captures: Mapping[str, bytes], writer: Callable[[dict[str, Any]], None]) -> bool:
    """Print all captures; what one of them announces holds for the others. Returns whether all of them were good."""
    from edge_agent.wire.codec import Known, learn_stream

    known = Known()
    for data in captures.values():
        learn_stream(data, known)
    results = [_decode_capture(shown, data, known, writer) for shown, data in captures.items()]
    return all(results)


def _decode_capture(shown: str, data: bytes, known: Known, writer: Callable[[dict[str, Any]], None]) -> bool:
    """Print one capture; on damage, say so in one sentence. Returns whether all of it was good."""
    from edge_agent.errors import WireError
    from edge_agent.wire.codec import Unread, decode_stream

    unread: dict[str, list[int]] = {}
    problems = []
    try:
        for item in decode_stream(data, known):
            if isinstance(item, Unread):
                unread.setdefault(item.reason, []).append(item.at)
                continue
            for row in _rows(item):
                writer(row)
    except WireError as error:
        problems.append(str(error))
    problems += [f"byte {places[0]}: {reason}{_others(len(places) - 1)}" for reason, places in unread.items()]
    for problem in problems:
        click.echo(f"{shown}: {problem}", err=True)
    return not problems


def _rows(item: Message | StatusText) -> Iterable[dict[str, Any]]:
    """What is printed of a message, or of a JSON object, which may be a record that was sent so."""
    from edge_agent.wire.batch import StatusText
    from edge_agent.wire.formats import json_document
    from edge_agent.wire.rows import objects

    if isinstance(item, StatusText) and json_document.is_record(item.fields):
        return json_document.rows_of(item.fields)
    return objects(item)


def _others(count: int) -> str:
    return f" ({count} more {'messages' if count > 1 else 'message'} like this)" if count else ""


def _print_json(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


def _print_csv(row: dict[str, Any]) -> None:
    if "kind" not in row:
        csv.writer(sys.stdout, lineterminator="\n").writerow(
            [" ".join(row["flags"]) if key == "flags" else row[key] for key in READING_KEYS]
        )


def _print_line(row: dict[str, Any]) -> None:
    if "kind" not in row and row["value"] is not None:
        sys.stdout.write(influx_line(row) + "\n")


def influx_line(row: dict[str, Any]) -> str:
    """Write one reading in InfluxDB line protocol: sensor as measurement, node and quality as tags."""
    from edge_agent.wire.formats.influx_line import line

    tags = {"node": row["node"], "quality": row["quality"]}
    return line(row["sensor"], tags, {row["quantity"]: float(row["value"])}, row["t_ns"])
