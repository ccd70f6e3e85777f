"""What a simulated run looks like: a live table on a terminal, plain lines when piped, and a summary at the end."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from edge_agent.cli.main import set_up_logging
from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Quality
from edge_agent.sampling.sensor import SensorState

if TYPE_CHECKING:
    from edge_agent.agent.agent import Agent
    from edge_agent.agent.report import Report

_PLAIN_PERIOD_NS: Final = 5 * NS_PER_S
_COLOURS: Final = {
    SensorState.SAMPLING: "green",
    SensorState.STARTING: "yellow",
    SensorState.DEGRADED: "yellow",
    SensorState.OFFLINE: "red",
    SensorState.ABSENT: "red",
}


class Picture(Protocol):
    """Something that can show how a run is going."""

    def show(self) -> None:
        """Show it as it is now."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def picture_of(agent: Agent, headline: str) -> Picture:
    """A live table if there is a terminal and rich to draw it, else plain lines."""
    if sys.stdout.isatty():
        try:
            return LiveTable(agent, headline)
        except ImportError:
            pass
    return PlainLines(agent, headline)


class PlainLines:
    """A line every five real seconds."""

    def __init__(self, agent: Agent, headline: str) -> None:
        set_up_logging()
        self._agent = agent
        self._real = SystemClock()
        self._next_ns = self._real.now_ns() + _PLAIN_PERIOD_NS
        click.echo(headline)

    def show(self) -> None:
        """Print a line if it is time for one."""
        if self._real.now_ns() < self._next_ns:
            return
        self._next_ns = self._real.now_ns() + _PLAIN_PERIOD_NS
        sensors = "; ".join(
            f"{sensor.id} {_values(self._agent, sensor.id) or sensor.state.value}"
            for worker in self._agent.bus_workers
            for sensor in worker.sensors
        )
        parts = (_wall_time(self._agent), sensors, _progress(self._agent))
        click.echo(" | ".join(part for part in parts if part))

    def close(self) -> None:
        """Nothing to put back."""


class LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, agent: Agent, headline: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.logging import RichHandler

        self._agent = agent
        self._console = Console()
        handler = RichHandler(console=self._console, show_time=False, show_path=False)
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
        self._console.print(headline, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self.show()

    def show(self) -> None:
        """Redraw."""
        self._live.update(self._drawing(), refresh=True)

    def close(self) -> None:
        """Leave the last state standing."""
        self._live.stop()
        self._console.print(self._drawing())

    def _drawing(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self._agent.config.gateway.id}  {_wall_time(self._agent)}", title_justify="left")
        for name, justify in (("sensor", "left"), ("state", "left"), ("readings", "right"), ("last values", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type] # one of rich's own words
        for worker in self._agent.bus_workers:
            for sensor in worker.sensors:
                shown = _values(self._agent, sensor.id) if sensor.state is SensorState.SAMPLING else sensor.cause
                table.add_row(
                    sensor.id, Text(sensor.state.value, _COLOURS[sensor.state]), f"{sensor.measurements:,}", shown
                )
        return Group(*([table] if self._agent.bus_workers else []), Text(_progress(self._agent)))


def summary(report: Report) -> str:
    """What a run did, in sentences whose numbers add up."""
    readings, records = report.readings, report.records
    # What earlier runs left would be counted against the readings of this one.
    own = readings.sampled and not records.carried_over and not records.pending
    per_reading = f", {report.bytes.wire / readings.sampled:.2f} per reading" if own else ""
    lines = [
        f"{report.simulated_s:,.0f} simulated seconds in {report.wall_s:.1f} s"
        if report.simulated_s is not None
        else f"{report.wall_s:.1f} s",
        (
            f"readings  {readings.sampled:,} sampled = {readings.good:,} good + {readings.estimated:,} estimated"
            f" + {readings.suspect:,} suspect + {readings.bad:,} bad"
        ),
        (
            f"records   {records.committed:,} committed = {records.confirmed:,} confirmed"
            f" + {records.tombstoned:,} tombstoned + {records.pending:,} pending"
        ),
        f"bytes     {report.bytes.wire:,} published{per_reading}",
    ]
    if report.alerts or report.anomalies:
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(report.anomalies.items())) or "none"
        lines.append(f"alerts    {report.alerts} fired; anomalies: {found}")
    lines += [
        f"sensor    {name} is {sensor.state}: {sensor.cause}"
        for name, sensor in report.sensors.items()
        if sensor.state in {"absent", "degraded"}
    ]
    return "\n".join(lines)


def _values(agent: Agent, sensor: str) -> str:
    shown = []
    for name, value, quality in agent.pipeline.latest(sensor):
        if value is not None:
            unit = QUANTITIES[name].unit
            mark = "" if quality is Quality.GOOD else f" ({quality.name.lower()})"
            shown.append(f"{value:.{1 if abs(value) < 1000 else 0}f} {unit}{mark}")
    return "  ".join(shown)


def _progress(agent: Agent) -> str:
    tally, session = agent.outbox.tally(), agent.uplink.session
    link = f"{session.state.value} ({session.reason})" if session.reason else session.state.value
    return (
        f"uplink {link}, {agent.pipeline.batches:,} batches sealed, {session.acknowledged_count:,} records sent, "
        f"{tally.pending:,} in the outbox, clock {agent.clock.anchor().quality.name.lower()}"
    )


def _wall_time(agent: Agent) -> str:
    wall_ns = agent.clock.now_ns() + agent.clock.anchor().offset_ns
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=wall_ns // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
