"""Options that several commands share, and the conversion of their values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.model import Config

CommandT = TypeVar("CommandT", bound="Callable[..., Any]")
DEFAULT_CONFIG: Final = Path("/etc/edge-agent/edge-agent.toml")
SIMULATION_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


def speed(text: str) -> float | None:
    """Parse `N|max`: simulated seconds per real second, from 0.001 on; None: as fast as the machine can."""
    if text == "max":
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.001 <= number <= 1e9:
        raise click.BadParameter(f"{text!r} is neither max nor a number from 0.001 on")
    return number


def wall_time(text: str) -> int:
    """Parse an ISO 8601 time, UTC if it has no zone, to nanoseconds since 1970."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time such as 2026-01-01T00:00:00Z") from None
    return to_ns(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def to_ns(moment: datetime) -> int:
    """Convert to nanoseconds since 1970, exactly."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1_000


def today() -> str:
    """Today's date in UTC, e.g. `2026-11-23`."""
    from edge_agent.clock import SystemClock

    clock = SystemClock()
    return datetime.fromtimestamp((clock.now_ns() + clock.anchor().offset_ns) / NS_PER_S, tz=UTC).date().isoformat()


def epoch_option(command: CommandT) -> CommandT:
    """Add `--epoch`, for runs that are to give the same bytes."""
    return click.option(
        "--epoch",
        type=click.IntRange(min=1, max=(1 << 53) - 1),
        metavar="N",
        help="Identity of the run; only for runs whose records never meet. Default: a new one.",
    )(command)


def config_option(command: CommandT) -> CommandT:
    """Add the option `--config FILE` to a command."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"Configuration.  [default: {DEFAULT_CONFIG}]",
    )(command)


def load(config_path: Path | None) -> Config:
    """Load the configuration at the given path, or at the default one. Raises as `load_config` does."""
    return load_with_notes(config_path)[0]


def load_with_notes(config_path: Path | None) -> tuple[Config, tuple[str, ...]]:
    """Load the configuration as `load` does; besides, sentences about what is worth knowing."""
    from edge_agent.config.load import load_config_with_notes

    return load_config_with_notes(config_path or DEFAULT_CONFIG)


def with_broker(config: Config, url: str) -> Config:
    """The configuration with the broker that the command line names.

    Raises:
        click.BadParameter: it is no MQTT URL.
    """
    from edge_agent.config.semantics import check_uplink

    # mqtt:// on the command line is meant as it stands, without encryption.
    uplink = dataclasses.replace(config.uplink, url=url, insecure_plaintext=True)
    problems = [sentence for path, sentence in check_uplink(uplink) if path[-1] == "url"]
    if problems:
        raise click.BadParameter(problems[0], param_hint="--broker")
    return dataclasses.replace(config, uplink=uplink)
