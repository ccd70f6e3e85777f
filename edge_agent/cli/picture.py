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
    from edge_agent.agent.snapshot import Snapshot

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
        now = self._agent.snapshot()
        values = _values(now)
        sensors = "; ".join(f"{sensor.id} {values[sensor.id] or sensor.state.value}" for sensor in now.sensors())
        parts = (_wall_time(now), sensors, _progress(now))
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

        now = self._agent.snapshot()
        values = _values(now)
        table = Table(title=f"{now.node}  {_wall_time(now)}", title_justify="left")
        for name, justify in (("sensor", "left"), ("state", "left"), ("readings", "right"), ("last values", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type] # one of rich's own words
        for sensor in now.sensors():
            shown = values[sensor.id] if sensor.state is SensorState.SAMPLING else sensor.cause
            table.add_row(
                sensor.id, Text(sensor.state.value, _COLOURS[sensor.state]), f"{sensor.measurements:,}", shown
            )
        return Group(*([table] if now.buses else []), Text(_progress(now)))


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
    outbox = report.outbox
    if outbox.failure:
        lines.append(f"outbox    nothing can be stored; {outbox.lost_records:,} records are lost")
    if outbox.salvaged or outbox.salvage_lost or outbox.salvage_remaining:
        lines.append(
            f"salvage   {outbox.salvaged:,} records found, {outbox.salvage_lost:,} lost,"
            f" {outbox.salvage_remaining:,} to be found"
        )
    if report.alerts or report.anomalies:
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(report.anomalies.items())) or "none"
        lines.append(f"alerts    {report.alerts} fired; anomalies: {found}")
    lines += [
        f"sensor    {name} is {sensor.state}: {sensor.cause}"
        for name, sensor in report.sensors.items()
        if sensor.state in {"absent", "degraded"}
    ]
    return "\n".join(lines)


def _values(now: Snapshot) -> dict[str, str]:
    """The latest values of each sensor, as text."""
    shown = {}
    for sensor in now.pipeline.latest:
        texts = []
        for channel in sensor.channels:
            if channel.value is not None:
                mark = "" if channel.quality is Quality.GOOD else f" ({channel.quality.name.lower()})"
                digits = 1 if abs(channel.value) < 1000 else 0
                texts.append(f"{channel.value:.{digits}f} {QUANTITIES[channel.quantity].unit}{mark}")
        shown[sensor.sensor] = "  ".join(texts)
    return shown


def _progress(now: Snapshot) -> str:
    uplink = now.uplink
    link = f"{uplink.state.value} ({uplink.reason})" if uplink.reason else uplink.state.value
    return (
        f"uplink {link}, {now.pipeline.batches:,} batches sealed, {uplink.acknowledged:,} records sent, "
        f"{now.store.tally.pending:,} in the outbox, clock {now.clock.quality.name.lower()}"
    )


def _wall_time(now: Snapshot) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now.clock.wall_ns // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
