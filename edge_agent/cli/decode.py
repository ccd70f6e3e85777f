"""`edge-agent decode`: captured messages from files or standard input → readings on standard output."""

from __future__ import annotations

import csv
import json
import os
import stat
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge_agent.wire.batch import Message, StatusText
    from edge_agent.wire.codec import Unread

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
INTERRUPTED: Final = 130
_PIECE_BYTES: Final = 1 << 16


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
    """Print the readings, events and tombstones in captured messages.

    Takes binary messages one after another, hex text with one message per line, JSON status messages, and messages of
    format = "json"; each with or without its topic before it, as mosquitto_sub writes them. Without FILE, or with -,
    reads standard input. From a pipe, each message is printed when it arrives.

    A batch may refer to an announcement, which is in a status message or in another batch. It may be anywhere in the
    files. From a pipe, a batch that comes before its announcement is printed after it.
    """
    writer: Callable[[dict[str, Any]], None] = {
        "ndjson": _print_json,
        "csv": _print_csv,
        "line": _print_line,
    }[form]
    names = files or ("-",)
    try:
        if form == "csv":
            csv.writer(sys.stdout, lineterminator="\n").writerow(READING_KEYS)
        good = _decode_pipe(names[0], writer) if len(names) == 1 and _is_pipe(names[0]) else _decode(names, writer)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader ended (`| head`). What is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except KeyboardInterrupt:  # the usual way to end a pipe
        raise SystemExit(INTERRUPTED) from None
    if not good:
        raise SystemExit(1)


def _is_pipe(name: str) -> bool:
    """Whether it is not a regular file, so that more may come while it is read."""
    try:
        status = os.fstat(sys.stdin.fileno()) if name == "-" else Path(name).stat()
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(status.st_mode) and (name == "-" or os.access(name, os.R_OK))


def _shown(name: str) -> str:
    return "standard input" if name == "-" else click.format_filename(name)


def _decode_pipe(name: str, writer: Callable[[dict[str, Any]], None]) -> bool:
    """Print each message when it is complete. Returns whether all of them were good."""
    with click.open_file(name, "rb") as pipe:
        return _decode_capture(_shown(name), _arriving(pipe), writer)


def _arriving(pipe: IO[bytes]) -> Iterator[Message | StatusText | Unread]:
    from edge_agent.errors import WireError
    from edge_agent.wire.codec import LiveStream

    live = LiveStream()
    more = True
    while more:
        sys.stdout.flush()
        piece = os.read(pipe.fileno(), _PIECE_BYTES)
        more = bool(piece)
        try:
            yield from live.feed(piece, more=more)
        except WireError:
            yield from live.give_up()
            raise


def _decode(names: Iterable[str], writer: Callable[[dict[str, Any]], None]) -> bool:
    """Print all captures; an announcement in one is used for all. Returns whether all of them were good."""
    from edge_agent.wire.codec import Known, decode_stream, learn_stream

    captures: dict[str, bytes] = {}
    results: list[bool] = []
    known = Known()
    for name in names:
        try:
            with click.open_file(name, "rb") as file:
                captures[_shown(name)] = file.read()
        except OSError as error:
            click.echo(f"{_shown(name)}: {error.strerror}", err=True)
            results.append(False)
    for data in captures.values():
        learn_stream(data, known)
    results += [_decode_capture(shown, decode_stream(data, known), writer) for shown, data in captures.items()]
    return all(results)


def _decode_capture(
    shown: str, items: Iterable[Message | StatusText | Unread], writer: Callable[[dict[str, Any]], None]
) -> bool:
    """Print one capture, and one sentence about damage in it. Returns whether all of it was good."""
    from edge_agent.errors import WireError
    from edge_agent.wire.codec import Unread

    unread: dict[str, list[int]] = {}
    good = True
    try:
        for item in items:
            if not isinstance(item, Unread):
                for row in _rows(item):
                    writer(row)
                continue
            places = unread.setdefault(item.reason, [])
            places.append(item.at)
            if len(places) == 1:  # printed at once: a pipe may not end
                click.echo(f"{shown}: byte {item.at}: {item.reason}", err=True)
    except WireError as error:
        good = False
        click.echo(f"{shown}: {error}", err=True)
    for at, *others in unread.values():
        if others:
            messages = "messages" if len(others) > 1 else "message"
            click.echo(f"{shown}: byte {at}: {len(others)} more {messages} like this", err=True)
    return good and not unread


def _rows(item: Message | StatusText) -> Iterable[dict[str, Any]]:
    """The objects to print for a message or a JSON object; the latter may be a record in format = "json"."""
    from edge_agent.wire.batch import StatusText
    from edge_agent.wire.formats import json_document
    from edge_agent.wire.rows import objects

    if isinstance(item, StatusText) and json_document.is_record(item.fields):
        return json_document.rows_of(item.fields)
    return objects(item)


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
    """One reading in InfluxDB line protocol: sensor as measurement, node and quality as tags."""
    from edge_agent.wire.formats.influx_line import line

    tags = {"node": row["node"], "quality": row["quality"]}
    return line(row["sensor"], tags, {row["quantity"]: float(row["value"])}, row["t_ns"])
