"""What a recording looked like on its way: a picture for people. Needs the extra `plot`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl

mpl.use("Agg")  # no window, and no library for one

from matplotlib import dates
from matplotlib.figure import Figure

from edge_agent.clock import NS_PER_S
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import EventKind, Quality, quality_of
from edge_agent.stages.alerts import parse_condition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.reading import ChannelBlock, Event
    from edge_agent.stages.alerts import AlertSettings

_SIGMAS: Final = 2.0
_MOST_CHANNELS: Final = 40
_ENDED: Final = "-ended"
# A line is not drawn across a step of so many usual ones.
_GAP: Final = 20
_REFUSED: Final = frozenset({Quality.BAD, Quality.ESTIMATED})


@dataclass(slots=True)
class _Track:
    """What one channel has been through; one entry per reading."""

    times_ns: list[int] = field(default_factory=list)
    raws: list[float | None] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    sigmas: list[float | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def add(self, now_ns: int, raw: float | None, value: float | None, sigma: float | None, status: int) -> None:
        """Append one reading."""
        self.times_ns.append(now_ns)
        self.raws.append(raw)
        self.values.append(value)
        self.sigmas.append(sigma)
        self.statuses.append(status)


class Plot:
    """A `Tap` that keeps everything it sees, and draws it at the end.

    Args:
        rules: to tell which channel an alert is about.
    """

    prompt = False

    def __init__(self, rules: Sequence[AlertSettings] = ()) -> None:
        self._tracks: dict[str, _Track] = {}
        self._events: list[Event] = []
        self._about = {rule.name: parse_condition(rule.when).left for rule in rules}

    def wants(self, sensor: str, quantity: str) -> bool:  # noqa: ARG002 every one
        """Every channel."""
        return True

    def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
        """Readings of a channel."""
        track = self._tracks.setdefault(f"{sensor}.{quantity}", _Track())
        track.times_ns += block.times_ns
        track.raws += block.raws
        track.values += block.values
        track.sigmas += block.sigmas
        track.statuses += block.statuses

    def heard(self, event: Event) -> None:
        """Something happened."""
        self._events.append(event)

    def draw(self, path: Path, title: str, offset_ns: int) -> None:
        """Write the picture; the ending of the name says as what (png, svg, pdf).

        Args:
            path: where to.
            title: above it.
            offset_ns: wall minus boot time.

        Raises:
            ValueError: the ending is none that is known.
            OSError: it cannot be written.
        """
        names = list(self._tracks)[:_MOST_CHANNELS]
        figure = Figure(figsize=(14, 1.2 + 2.6 * max(1, len(names))), layout="constrained")
        figure.suptitle(title)
        panels: Any = figure.subplots(max(1, len(names)), 1, sharex=True, squeeze=False)[:, 0]
        for panel, name in zip(panels, names, strict=False):
            self._draw_channel(panel, name, self._tracks[name], offset_ns)
        figure.savefig(path, dpi=110)

    def _draw_channel(self, panel: Any, name: str, track: _Track, offset_ns: int) -> None:
        track = _broken_at_gaps(track)
        times = [_moment(now_ns + offset_ns) for now_ns in track.times_ns]
        refused = [quality_of(status) in _REFUSED for status in track.statuses]
        raws = _numbers(track.raws)
        panel.plot(times, raws, ".", ms=2, color="0.65", label="measured", zorder=1)
        # Where something was refused, the estimate stands in for it; it is shown as such.
        panel.plot(times, _numbers(track.values), "-", lw=1.0, color="tab:blue", label="estimate", zorder=3)
        if any(sigma is not None for sigma in track.sigmas):
            pairs = list(zip(_numbers(track.values), _numbers(track.sigmas), strict=True))
            low = [value - _SIGMAS * sigma for value, sigma in pairs]
            high = [value + _SIGMAS * sigma for value, sigma in pairs]
            panel.fill_between(times, low, high, color="tab:blue", alpha=0.2, lw=0, label="± 2 σ", zorder=2)
        crosses = [(time, raw) for time, raw, bad in zip(times, raws, refused, strict=True) if bad]
        if crosses:
            panel.plot(*zip(*crosses, strict=True), "x", ms=5, color="tab:red", label="refused", zorder=4)
        self._mark_anomalies(panel, name, offset_ns)
        self._shade_alerts(panel, name, offset_ns, times)
        sensor, quantity = name.split(".", 1)
        panel.set_ylabel(f"{sensor}\n{quantity} [{QUANTITIES[quantity].unit}]")
        formatter: Any = dates.ConciseDateFormatter
        panel.xaxis.set_major_formatter(formatter(panel.xaxis.get_major_locator(), tz=dt.UTC))
        panel.margins(x=0.01)
        panel.grid(visible=True, alpha=0.3)
        panel.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize="small", ncols=9, frameon=False)

    def _mark_anomalies(self, panel: Any, name: str, offset_ns: int) -> None:
        """A line where something was found, and a span for what lasted."""
        kinds: dict[str, str] = {}
        begun: dict[str, dt.datetime] = {}
        for event in self._events:
            if event.kind is not EventKind.ANOMALY or event.subject != name:
                continue
            kind, moment = event.state.removesuffix(_ENDED), _moment(event.boot_ns + offset_ns)
            label = None if kind in kinds else kind
            color = kinds.setdefault(kind, f"C{1 + len(kinds) % 8}")
            if event.state == kind:
                begun[kind] = moment
                panel.axvline(moment, color=color, lw=1.2, ls="--", label=label, zorder=0)
            elif kind in begun:
                panel.axvspan(begun.pop(kind), moment, color=color, alpha=0.2, lw=0, zorder=0)

    def _shade_alerts(self, panel: Any, name: str, offset_ns: int, times: Sequence[dt.datetime]) -> None:
        begun: dict[str, dt.datetime] = {}
        spans: list[tuple[str, dt.datetime, dt.datetime]] = []
        for event in self._events:
            about = self._about.get(event.subject, "") if event.kind is EventKind.ALERT else ""
            # Also rules about a feature of the channel, or about its sensor.
            if not (about == name or about.startswith(f"{name}.") or name.startswith(f"{about}.")):
                continue
            moment = _moment(event.boot_ns + offset_ns)
            if event.state == "firing":
                begun[event.subject] = moment
            elif event.subject in begun:
                spans.append((event.subject, begun.pop(event.subject), moment))
        spans += [(subject, moment, max(moment, times[-1])) for subject, moment in begun.items()]
        said: set[str] = set()
        for subject, start, end in spans:
            label = None if subject in said else f"alert {subject}"
            said.add(subject)
            panel.axvspan(start, end, color="tab:red", alpha=0.15, lw=0, label=label, zorder=0)


def _broken_at_gaps(track: _Track) -> _Track:
    """Put a reading without a value into each gap, where lines then break off."""
    steps = [later - before for before, later in pairwise(track.times_ns)]
    if not steps:
        return track
    usual_ns = median(steps)
    broken = _Track()
    for place, now_ns in enumerate(track.times_ns):
        if place and steps[place - 1] > _GAP * usual_ns:
            broken.add(now_ns - 1, None, None, None, 0)
        broken.add(now_ns, track.raws[place], track.values[place], track.sigmas[place], track.statuses[place])
    return broken


def _moment(wall_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(wall_ns / NS_PER_S, dt.UTC)


def _numbers(column: Sequence[float | None]) -> list[float]:
    return [float("nan") if number is None else number for number in column]
