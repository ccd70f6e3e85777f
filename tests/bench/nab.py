"""The Numenta Anomaly Benchmark: its files, and its standard scoring profile, written from its description.

An alarm inside a labelled window earns by how early it is there, the earliest of each window counts; one outside costs
by how far behind the last window it is, at most 0.11; a window without alarm costs 1. The first 15 % of a file, at most
750 rows, are not scored. 0 is a detector that never says anything, 100 one that hits every window at its first row
(Lavin, Ahmad: Evaluating Real-time Anomaly Detection Algorithms, 2015).
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp, floor
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FALSE_ALARM: Final = 0.11
_PROBATION: Final = 0.15
_LONGEST_PROBATION: Final = 750


@dataclass(frozen=True, slots=True)
class Recording:
    """One file: seconds since its first row, values, and rows of its windows (first and last)."""

    name: str
    since_s: list[int]
    values: list[float]
    windows: list[tuple[int, int]]


class Score(NamedTuple):
    """What a set of files comes to at one threshold."""

    points: float
    threshold: float
    false_alarms: int
    hit: int
    windows: int


def load(folder: Path) -> list[Recording]:
    """Every file of a checkout of numenta/NAB, sorted by name."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    recordings = []
    for name in sorted(labels):
        with (folder / "data" / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        stamps = [datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC) for row in rows]
        places: dict[datetime, int] = {}
        for place, stamp in enumerate(stamps):
            places.setdefault(stamp, place)
        windows = [(places[_stamp(first)], places[_stamp(last)]) for first, last in labels[name]]
        since_s = [round((stamp - stamps[0]).total_seconds()) for stamp in stamps]
        recordings.append(Recording(name, since_s, [float(row["value"]) for row in rows], windows))
    return recordings


def _stamp(text: str) -> datetime:
    return datetime.fromisoformat(text.partition(".")[0]).replace(tzinfo=UTC)


def _sigmoid(place: float) -> float:
    return 2.0 / (1.0 + exp(5.0 * place)) - 1.0 if place <= 3.0 else -1.0


def _worth(recording: Recording) -> list[tuple[float, int | None]]:
    """What an alarm at each row is worth, and in which window it is."""
    worth: list[tuple[float, int | None]] = []
    behind: tuple[int, int] | None = None
    windows = list(enumerate(recording.windows))
    for row in range(len(recording.values)):
        if windows and row > windows[0][1][1]:
            behind = windows.pop(0)[1]
        if windows and row >= windows[0][1][0]:
            number, (first, last) = windows[0]
            worth.append((_sigmoid(-(last - row + 1) / (last - first + 1)) / _sigmoid(-1.0), number))
        elif behind is None:
            worth.append((-FALSE_ALARM, None))
        else:
            worth.append((FALSE_ALARM * _sigmoid((row - behind[1]) / (behind[1] - behind[0])), None))
    return worth


def sweep(recordings: Sequence[Recording], scores: Sequence[Sequence[float]]) -> list[Score]:
    """What they come to at every threshold, the highest first. Scores of 0 are no alarms at any."""
    alarms: list[tuple[float, float, tuple[int, int] | None]] = []
    windows = 0
    for number, (recording, rows) in enumerate(zip(recordings, scores, strict=True)):
        probation = min(floor(_PROBATION * len(rows)), _LONGEST_PROBATION)
        worth = _worth(recording)
        windows += len({window for _, window in worth[probation:] if window is not None})
        for row in range(probation, len(rows)):
            if rows[row] > 0.0:
                points, window = worth[row]
                alarms.append((rows[row], points, None if window is None else (number, window)))
    alarms.sort(key=lambda alarm: -alarm[0])
    best: dict[tuple[int, int], float] = {}
    total, false_alarms = -float(windows), 0
    swept = [Score(0.0, float("inf"), 0, 0, windows)]
    for place, (score, points, at) in enumerate(alarms):
        if at is None:
            total += points
            false_alarms += 1
        else:
            total += max(0.0, points - best.get(at, -1.0))
            best[at] = max(points, best.get(at, -1.0))
        if place + 1 == len(alarms) or alarms[place + 1][0] != score:
            whole = 100.0 * (total + windows) / (2.0 * max(1, windows))
            swept.append(Score(whole, score, false_alarms, len(best), windows))
    return swept


def best(recordings: Sequence[Recording], scores: Sequence[Sequence[float]]) -> Score:
    """At the best threshold."""
    return max(sweep(recordings, scores), key=lambda each: each.points)


def at(recordings: Sequence[Recording], scores: Sequence[Sequence[float]], threshold: float) -> Score:
    """At a given threshold."""
    return min((each for each in sweep(recordings, scores) if each.threshold >= threshold), key=lambda e: e.threshold)
