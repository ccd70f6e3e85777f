"""`edge-agent receive`: the other end. Stores what gateways send, confirms it, and reports what is missing."""

from __future__ import annotations

import json
import logging
import random
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import SystemClock
    from edge_agent.receiver.link import LinkEvent
    from edge_agent.receiver.receiver import Receiver
    from edge_agent.receiver.subscriber import Subscriber
    from edge_agent.uplink.mqtt import Broker

log = logging.getLogger(__name__)

DEFAULT_PREFIX: Final = "edge/+"
KEEPALIVE_S: Final = 30
_SQLITE: Final = "sqlite:"
_NDJSON: Final = "ndjson:"


@click.command
@click.option("--broker", metavar="URL", help="mqtt[s]://HOST[:PORT]")
@click.option("--to", "sinks", multiple=True, required=True, metavar="SINK", help="sqlite:FILE, and ndjson:FILE or -")
@click.option("--prefix", default=DEFAULT_PREFIX, show_default=True, help="Topics of the gateways; + is one level.")
@click.option("--name", help="Of this receiver, in its topics.  [default: the host name]")
@click.option("--username", help="For the broker.")
@click.option("--password-file", type=click.Path(), help="Nobody else may read it.")
@click.option("--ca-file", type=click.Path(), help="Authority of an mqtts:// broker.  [default: the system's]")
@click.option(
    "--ack-key-file", type=click.Path(), help="Secret that signs what gateways are told; nobody else may read it."
)
@click.option("--report", is_flag=True, help="Print what is here and what is missing, and end; needs no broker.")
@click.option("--json", "as_json", is_flag=True, help="With --report: as JSON.")
@click.option("--accept-lost", is_flag=True, help="Close what is missing and cannot be had, and end; needs no broker.")
def receive(
    broker: str | None,
    sinks: tuple[str, ...],
    prefix: str,
    name: str | None,
    username: str | None,
    password_file: str | None,
    ca_file: str | None,
    ack_key_file: str | None,
    report: bool,
    as_json: bool,
    accept_lost: bool,
) -> None:
    """Store what gateways send in SQLite, each reading once, and confirm it to them.

    A message is acknowledged to the broker after the commit, and to the gateway by a retained message on
    <prefix>/ack/<name>. `edge-agent docs confirmation` describes the protocol, `edge-agent docs receive` the tables.
    """
    from edge_agent.uplink.secret import read_password

    database, feeds = _sinks(sinks)
    if as_json and not report:
        raise click.UsageError("--json needs --report")
    if accept_lost:
        _accept_lost(database)
    if report:
        _report(database, as_json=as_json)
    if report or accept_lost:
        return
    if broker is None:
        raise click.UsageError("--broker is missing; without it only --report and --accept-lost work")
    topics = [f"{_checked_prefix(prefix)}/{lane}" for lane in ("live", "backlog", "event", "status")]
    own = _checked_name(name or socket.gethostname())
    address = _address(broker, own, username, password_file, ca_file)
    _receive(address, topics, own, database, feeds, read_password(ack_key_file, None))


def _receive(
    broker: Broker, topics: Sequence[str], name: str, database: Path, feeds: Sequence[str], key: str | None
) -> None:
    """Receive until a signal comes."""
    from edge_agent.cli.main import set_up_logging
    from edge_agent.cli.run import on_signals
    from edge_agent.clock import SystemClock
    from edge_agent.receiver.receiver import Receiver
    from edge_agent.receiver.sinks.ndjson import NdjsonFeed
    from edge_agent.receiver.sinks.sqlite import SqliteSink

    clock = SystemClock()
    stop = threading.Event()
    with ExitStack() as stack:
        sink = stack.enter_context(SqliteSink(database))
        written = [stack.enter_context(NdjsonFeed(sink.db, target)) for target in feeds]
        rng = random.Random()  # noqa: S311 spreads waiting times
        receiver = Receiver(name, sink, _connector(broker, topics), clock, rng, written, key)

        def end() -> None:
            stop.set()
            receiver.inbox.arrival.set()

        set_up_logging()
        on_signals(end)
        log.info("receiving from %s:%d into %s as %s", broker.host, broker.port, database, name)
        _run(receiver, stop, clock)
        total = receiver.total
        log.info(
            "receiver stopped records=%d readings=%d duplicates=%d refused=%d",
            total.records,
            total.readings,
            total.duplicates,
            total.refused.total(),
        )


def _run(receiver: Receiver, stop: threading.Event, clock: SystemClock) -> None:
    """Step the receiver until `stop`. What goes wrong in one step does not end it."""
    from edge_agent.runtime import RETRY_NS

    while not stop.is_set():
        try:
            deadline_ns = receiver.step()
        except BrokenPipeError:
            raise
        except Exception:
            log.exception("the receiver failed and goes on in a second")
            clock.wait(stop, clock.now_ns() + RETRY_NS)
            continue
        if not stop.is_set():
            clock.wait(receiver.inbox.arrival, deadline_ns)
    receiver.stop()


def _connector(broker: Broker, topics: Sequence[str]) -> Callable[[int, Callable[[LinkEvent], object]], Subscriber]:
    from edge_agent.receiver.subscriber import Subscriber

    return lambda version, emit: Subscriber(broker, topics, version, emit)


def _address(url: str, name: str, username: str | None, password_file: str | None, ca_file: str | None) -> Broker:
    """Check address and identity as the configuration of a gateway is checked."""
    from urllib.parse import urlsplit

    from edge_agent.config.model import Uplink
    from edge_agent.config.semantics import check_uplink
    from edge_agent.uplink.mqtt import Broker, tls_context
    from edge_agent.uplink.secret import read_password

    # mqtt:// on the command line is meant as it stands, but no password goes over it to another machine.
    uplink = Uplink(
        url=url,
        username=username,
        password_file=password_file,
        ca_file=ca_file,
        insecure_plaintext=password_file is None,
    )
    for path, sentence in check_uplink(uplink):
        raise click.BadParameter(
            sentence.replace(", or say insecure_plaintext = true", ""),
            param_hint=_OPTIONS.get(str(path[-1]), f"--{path[-1]}"),
        )
    parts = urlsplit(url)
    is_secure = parts.scheme == "mqtts"
    return Broker(
        host=parts.hostname or "",
        port=parts.port or (8883 if is_secure else 1883),
        tls=tls_context(ca_file, None, None) if is_secure else None,
        client_id=f"edge-receiver-{name}",
        username=username,
        password=read_password(password_file, None),
        keepalive_s=KEEPALIVE_S,
    )


_OPTIONS: Final = {"url": "--broker", "password_file": "--password-file", "ca_file": "--ca-file"}


def _sinks(sinks: Sequence[str]) -> tuple[Path, list[str]]:
    """Take apart what `--to` was given: the database, and targets of ndjson."""
    databases = [each.removeprefix(_SQLITE) for each in sinks if each.startswith(_SQLITE)]
    feeds = [each.removeprefix(_NDJSON) for each in sinks if each.startswith(_NDJSON)]
    unknown = [each for each in sinks if not each.startswith((_SQLITE, _NDJSON))]
    if unknown or "" in databases + feeds:
        raise click.BadParameter(
            f"expected sqlite:FILE or ndjson:FILE, found {(unknown or ['nothing'])[0]!r}", param_hint="--to"
        )
    if len(databases) != 1:
        raise click.BadParameter("exactly one sqlite:FILE is needed: it holds the ledger", param_hint="--to")
    return Path(databases[0]), feeds


def _checked_prefix(prefix: str) -> str:
    levels = prefix.split("/")
    if not all(levels) or any("#" in level or "\0" in level or ("+" in level and level != "+") for level in levels):
        raise click.BadParameter(f"expected levels such as edge/+, found {prefix!r}", param_hint="--prefix")
    return prefix


def _checked_name(name: str) -> str:
    if any(char in name for char in "+#/\0") or len(name.encode()) > 64:
        raise click.BadParameter(f"expected at most 64 bytes without +, # and /, found {name!r}", param_hint="--name")
    return name


def _report(database: Path, *, as_json: bool) -> None:
    from edge_agent.receiver import completeness
    from edge_agent.receiver.sinks import look
    from edge_agent.receiver.sinks.schema import open_database

    db = open_database(database, read_only=True)
    try:
        nodes, refused = look.nodes(db), look.refused_of_nobody(db)
    finally:
        db.close()
    if as_json:
        json.dump(completeness.as_json(nodes, refused), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        for line in completeness.as_text(nodes, refused):
            click.echo(line)


def _accept_lost(database: Path) -> None:
    from edge_agent.clock import SystemClock
    from edge_agent.receiver.sinks import look
    from edge_agent.receiver.sinks.schema import open_database

    clock = SystemClock()
    db = open_database(database)
    try:
        closed = look.accept_lost(db, clock.now_ns() + clock.anchor().offset_ns)
    finally:
        db.close()
    for node, epoch, records in closed:
        click.echo(f"{node}, epoch {epoch}: {records} records are accepted as lost")
    if not closed:
        click.echo("nothing is missing that cannot be had")
